//! One document of a file: where it stands, its value, and where in it a field stands.

use serde::de::DeserializeSeed as _;
use serde_json::Value;

use super::locate;
use super::tree::{TOO_MUCH_REPETITION, Tree};

/// The largest document, in bytes: the largest object that etcd takes is 1.5 MiB, and the API server's default for a
/// request is smaller still in practice.
const MAX_BYTES: usize = 1024 * 1024;

/// The most documents in one file.
const MAX_COUNT: usize = 1_000;

/// The most brackets open at once. The parser's time grows with their number times the length of the document, and it
/// has no bound of its own; what it is given after this takes at most a tenth of a second.
const MAX_OPEN: usize = 256;

/// How the text of a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One or more documents.
    Yaml,
    /// Exactly one document.
    Json,
}

/// The text of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    text: &'a str,
    /// How many lines of the file come before it.
    offset: usize,
    format: Format,
}

/// Where something stands in a file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Why the text of a file could not be read as documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) position: Option<Position>,
}

/// The documents of a file, without those that hold nothing but comments.
pub(super) fn split(text: &str, format: Format) -> Result<Vec<Document<'_>>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = match format {
        Format::Yaml => split_yaml(text),
        Format::Json if text.trim().is_empty() => Vec::new(),
        Format::Json => vec![Document { text, offset: 0, format }],
    };
    if documents.len() > MAX_COUNT {
        return Err(Fault {
            message: format!("the file has {} documents; at most {MAX_COUNT} are read, so split it", documents.len()),
            position: None,
        });
    }
    for document in &documents {
        let length = document.text.len();
        let message = if length > MAX_BYTES {
            format!("this document has {length} bytes; a document may have at most {MAX_BYTES}")
        } else if most_open(document.text) > MAX_OPEN {
            format!("this document has more than {MAX_OPEN} brackets open at once")
        } else {
            continue;
        };
        return Err(Fault { message, position: Some(document.start()) });
    }
    Ok(documents)
}

/// The most brackets and braces open at once, taking none for part of a text: a little too many rather than too few.
fn most_open(text: &str) -> usize {
    let mut open: usize = 0;
    let mut most = 0;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Cuts at the lines that begin with `---` or `...`: YAML 1.2 section 9.1.2 reserves them at the start of a line even
/// inside quotes and block scalars, so no other look at the text is needed.
fn split_yaml(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    // Where the current document begins, in bytes and lines; whether its `---` and its first content were seen.
    let (mut start, mut offset, mut marked, mut filled) = (0, 0, false, false);
    let mut at = 0;
    let mut push = |from: usize, to: usize, offset: usize, filled: bool| {
        if let (true, Some(text)) = (filled, text.get(from..to)) {
            documents.push(Document { text, offset, format: Format::Yaml });
        }
    };
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line, "---") {
            // Directives and comments before the marker belong to the document that it opens.
            if marked || filled {
                push(start, at, offset, filled);
                (start, offset) = (at, number);
            }
            marked = true;
            filled = has_content(line.get(3..).unwrap_or_default());
        } else if is_marker(line, "...") {
            push(start, at, offset, filled);
            (start, offset) = (at + line.len(), number + 1);
            (marked, filled) = (false, false);
        } else {
            filled |= has_content(line) && (marked || !line.starts_with('%'));
        }
        at += line.len();
    }
    push(start, at, offset, filled);
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn has_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

impl Document<'_> {
    /// Its first line that is neither empty nor a comment.
    pub(super) fn start(&self) -> Position {
        let before = self.text.lines().take_while(|line| is_marker(line, "---") || !has_content(line)).count();
        Position { line: self.offset + before + 1, column: 1 }
    }

    /// The document as a tree; `None` when it says `null`.
    pub(super) fn value(&self) -> Result<Option<Value>, Fault> {
        let value = match self.format {
            Format::Yaml => {
                let read = Tree::default().deserialize(serde_yaml::Deserializer::from_str(self.text));
                read.map_err(|error| {
                    let location = error.location();
                    self.fault(&error.to_string(), location.map(|at| (at.line(), at.column())))
                })?
            }
            Format::Json => {
                let mut json = serde_json::Deserializer::from_str(self.text);
                let read = Tree::default().deserialize(&mut json).and_then(|value| json.end().map(|()| value));
                read.map_err(|error| self.fault(&error.to_string(), Some((error.line(), error.column()))))?
            }
        };
        match value {
            Value::Null => Ok(None),
            Value::Object(_) => Ok(Some(value)),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(Fault {
                message: "this document is no object; it must be a mapping with apiVersion, kind and metadata"
                    .to_owned(),
                position: Some(self.start()),
            }),
        }
    }

    /// Where the field stands, or else the nearest thing around it that there is; the document's start for no field.
    pub(super) fn locate(&self, field: &str) -> Position {
        if field.is_empty() {
            return self.start();
        }
        // JSON is read here as the YAML that it is: the one parser that tells where a value begins.
        match locate::position(self.text, field) {
            Some((line, column)) => Position { line: self.offset + line, column },
            None => self.start(),
        }
    }

    fn fault(&self, message: &str, at: Option<(usize, usize)>) -> Fault {
        // The parser's words for the same thing: it counts how often aliases are followed.
        let repeats = message.contains("repetition limit exceeded");
        Fault {
            message: if repeats { TOO_MUCH_REPETITION.to_owned() } else { without_positions(message) },
            position: at.map(|(line, column)| Position { line: self.offset + line, column }),
        }
    }
}

/// Takes every ` at line 3 column 5` out of a parser's message: its lines count from the document, and the finding
/// says the place by itself.
fn without_positions(message: &str) -> String {
    let mut parts = message.split(" at line ");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = |text: &str| text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let after_line = part.get(part.len() - digits(part)..).unwrap_or_default();
        match after_line.strip_prefix(" column ") {
            Some(rest) => clean.push_str(rest.get(rest.len() - digits(rest)..).unwrap_or_default()),
            None => {
                clean.push_str(" at line ");
                clean.push_str(part);
            }
        }
    }
    clean
}

#[cfg(test)]
mod tests;
