//! Lines of text: nginx's common format, ingress-nginx's own, and whatever a template says.

use http::HeaderName;

use super::entry::{Entry, Try};
use super::field::{self, Field};
use super::headers::Headers;
use super::query::QueryShown;
use super::stamp::{self, Stamp};

/// A template, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
    Header(HeaderName),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("there is no field `{{{0}}}`; there are {names} and header.NAME", names = Field::NAMES.join(", "))]
    Field(String),
    #[error("`{{` without `}}`; write {{{{ for a brace that is meant as one")]
    Open,
    #[error("the template is empty; write one such as {{client_ip}} {{method}} {{target}} {{status}}")]
    Empty,
}

impl Template {
    /// Reads `{client_ip} {method} {target}`; `{{` and `}}` are braces.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at_checked(at).unwrap_or((rest, ""));
            literal.push_str(before);
            if let Some(after) = brace.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = brace.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some(after) = brace.strip_prefix('{') {
                let (name, after) = after.split_once('}').ok_or(TemplateError::Open)?;
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                let header = name.strip_prefix("header.").and_then(|name| HeaderName::try_from(name).ok());
                let piece = header.map(Piece::Header).or_else(|| Field::named(name).map(Piece::Field));
                pieces.push(piece.ok_or_else(|| TemplateError::Field(name.to_owned()))?);
                rest = after;
            } else {
                literal.push('}');
                rest = brace.get(1..).unwrap_or_default();
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        if pieces.is_empty() { Err(TemplateError::Empty) } else { Ok(Self(pieces)) }
    }

    /// The headers that it asks for.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Header(name) => Some(name),
            Piece::Text(_) | Piece::Field(_) => None,
        })
    }

    /// Whether it has this field.
    pub(super) fn has(&self, field: Field) -> bool {
        self.0.contains(&Piece::Field(field))
    }

    /// Appends a line, without its end.
    pub(super) fn encode(
        &self,
        out: &mut Vec<u8>,
        entry: &Entry<'_>,
        query: QueryShown,
        headers: &Headers,
        stamp: &mut Stamp,
    ) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Field(field) => field.write(out, entry, query, stamp),
                Piece::Header(name) => {
                    let mut asked = headers.others().enumerate();
                    let value = asked
                        .find(|(_, (known, _))| *known == name)
                        .and_then(|(number, (_, shown))| shown.of(entry.headers.of(number)));
                    field::text(out, value.unwrap_or_default());
                }
            }
        }
    }
}

/// Appends nginx's `combined`, then how long it took, who answered and how long that took.
pub(super) fn combined(out: &mut Vec<u8>, entry: &Entry<'_>, query: QueryShown, stamp: &mut Stamp) {
    begin(out, entry, query, stamp);
    out.push(b' ');
    stamp::seconds(out, entry.duration);
    out.push(b' ');
    joined(out, entry.tries, |out, one| field::address(out, one.endpoint));
    out.push(b' ');
    joined(out, entry.tries, |out, one| stamp::seconds(out, one.waited));
}

/// Appends the line that ingress-nginx writes unless it is told otherwise (its `log-format-upstream`).
pub(super) fn nginx(out: &mut Vec<u8>, entry: &Entry<'_>, query: QueryShown, stamp: &mut Stamp) {
    begin(out, entry, query, stamp);
    out.push(b' ');
    stamp::number(out, entry.head.saturating_add(entry.received));
    out.push(b' ');
    stamp::seconds(out, entry.duration);
    // `$proxy_upstream_name` is `namespace-service-port`.
    out.extend_from_slice(b" [");
    let name = out.len();
    field::text(out, entry.service);
    for byte in out.iter_mut().skip(name).filter(|byte| matches!(byte, b'/' | b':')) {
        *byte = b'-';
    }
    // There is no alternative upstream.
    out.extend_from_slice(b"] [] ");
    joined(out, entry.tries, |out, one| field::address(out, one.endpoint));
    out.push(b' ');
    let last = entry.tries.len().saturating_sub(1);
    let mut number = 0;
    joined(out, entry.tries, |out, _| {
        stamp::number(out, if number == last { entry.sent } else { 0 });
        number += 1;
    });
    out.push(b' ');
    joined(out, entry.tries, |out, one| stamp::seconds(out, one.waited));
    out.push(b' ');
    joined(out, entry.tries, |out, one| match one.status {
        Some(status) => stamp::number(out, status),
        // nginx names the status that it makes of an endpoint without an answer.
        None => stamp::number(out, 502),
    });
    out.push(b' ');
    field::text(out, entry.request_id);
}

/// What both have in common: `combined` itself.
fn begin(out: &mut Vec<u8>, entry: &Entry<'_>, query: QueryShown, stamp: &mut Stamp) {
    field::text(out, entry.client_ip);
    out.extend_from_slice(b" - - [");
    stamp.clf(out, entry.began);
    out.extend_from_slice(b"] \"");
    Field::Method.write(out, entry, query, stamp);
    out.push(b' ');
    field::target(out, entry, query);
    out.push(b' ');
    out.extend_from_slice(entry.protocol().as_bytes());
    out.extend_from_slice(b"\" ");
    stamp::number(out, entry.status);
    out.push(b' ');
    stamp::number(out, entry.sent);
    out.extend_from_slice(b" \"");
    field::referer(out, entry, query);
    out.extend_from_slice(b"\" \"");
    field::text(out, entry.user_agent.unwrap_or_default());
    out.push(b'"');
}

/// What is to be said of each try, with nginx's `, ` in between; a dash when there was none.
fn joined(out: &mut Vec<u8>, tries: &[Try], mut say: impl FnMut(&mut Vec<u8>, &Try)) {
    if tries.is_empty() {
        out.push(b'-');
    }
    for (number, one) in tries.iter().enumerate() {
        if number > 0 {
            out.extend_from_slice(b", ");
        }
        say(out, one);
    }
}
