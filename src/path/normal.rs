//! One spelling for every path.
//!
//! A path is normalised once; that one value is matched, limited, logged and forwarded, so that no two parties can read
//! the same request differently. What has no single reading is refused.

use std::borrow::Cow;

/// Why a path has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// A `%` without two hexadecimal digits after it.
    #[error("the path has a `%` that is not followed by two hexadecimal digits")]
    BadEncoding,
    /// `%C0` or `%C1` before a continuation byte: ASCII in a disguise that some decoders still see through.
    #[error("the path has an overlong UTF-8 encoding")]
    Overlong,
    /// `%2F`, which some backends take for a separator and others do not.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// `\` or `%5C`, which some backends take for a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// `%00`.
    #[error("the path has an encoded NUL")]
    Nul,
    /// A control character, a space, `#`, `?` or a byte beyond ASCII.
    #[error("the path has the byte 0x{0:02X}, which must be percent-encoded")]
    Byte(u8),
    /// `..;x` or, where encoded slashes are let through, `..%2F`: some backends climb up on it and others do not.
    #[error("the path has a dot segment in disguise")]
    DisguisedDots,
}

/// The normal form of a path: percent-encoded unreserved characters decoded, the other hexadecimal digits in upper
/// case, characters that a URI cannot hold encoded, runs of slashes merged, dot segments removed, a trailing slash kept.
///
/// The form is a fixed point, and a path that already has it is borrowed. A path that climbs beyond the root stays at
/// the root (RFC 3986 5.2.4). `allow_encoded_slash` lets `%2F` through, as a character of its segment.
pub fn normalise(raw: &str, allow_encoded_slash: bool) -> Result<Cow<'_, str>, PathError> {
    if !raw.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_normal(raw.as_bytes(), allow_encoded_slash)? {
        return Ok(Cow::Borrowed(raw));
    }
    rebuild(raw.as_bytes()).map(Cow::Owned)
}

/// What a byte asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Nothing: RFC 3986 lets it stand in a path segment.
    Plain,
    Slash,
    Dot,
    Percent,
    /// Clients send it bare although RFC 3986 wants it encoded; encoding it leaves one spelling.
    Encode,
    Refuse,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Refuse; 256];
    let mut byte = 0x21;
    while byte < 0x7F {
        #[allow(clippy::indexing_slicing, reason = "a constant is evaluated by the compiler")]
        {
            classes[byte as usize] = match byte {
                b'/' => Class::Slash,
                b'.' => Class::Dot,
                b'%' => Class::Percent,
                b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => Class::Encode,
                b'#' | b'?' | b'\\' => Class::Refuse,
                _ => Class::Plain,
            };
        }
        byte += 1;
    }
    classes
};

fn class(byte: u8) -> Class {
    #[allow(clippy::indexing_slicing, reason = "every u8 is below 256")]
    CLASSES[usize::from(byte)]
}

/// Whether the path is its own normal form; an error when it has none.
fn is_normal(path: &[u8], allow_encoded_slash: bool) -> Result<bool, PathError> {
    let mut normal = true;
    let mut at = 0;
    // At the beginning of a segment, and at that of a part which an encoded slash sets off.
    let (mut begins, mut part_begins) = (false, false);
    while let Some(&byte) = path.get(at) {
        let (began, part_began) = (begins, part_begins);
        (begins, part_begins) = (false, false);
        match class(byte) {
            Class::Plain => {}
            Class::Slash => {
                normal &= !began;
                begins = true;
            }
            Class::Dot => {
                if (began || part_began) && path.get(at..).is_some_and(begins_with_dots) {
                    normal = false;
                }
            }
            Class::Percent => {
                let (value, upper) = percent(path, at)?;
                match value {
                    b'/' if !allow_encoded_slash => return Err(PathError::EncodedSlash),
                    b'/' => part_begins = true,
                    b'\\' => return Err(PathError::Backslash),
                    0 => return Err(PathError::Nul),
                    _ => {}
                }
                normal &= upper && !is_unreserved(value);
                at += 2;
            }
            Class::Encode => normal = false,
            Class::Refuse if byte == b'\\' => return Err(PathError::Backslash),
            Class::Refuse => return Err(PathError::Byte(byte)),
        }
        at += 1;
    }
    Ok(normal)
}

/// The normal form of a path in which every byte and every encoding is known to be good.
fn rebuild(path: &[u8]) -> Result<String, PathError> {
    let mut out = Vec::with_capacity(path.len() + 16);
    out.push(b'/');
    let mut at = 1;
    while let Some(&byte) = path.get(at) {
        match class(byte) {
            Class::Slash => end_segment(&mut out, true)?,
            Class::Percent => {
                let (value, _) = percent(path, at)?;
                if is_unreserved(value) {
                    out.push(value);
                } else {
                    push_encoded(&mut out, value);
                }
                at += 2;
            }
            Class::Encode => push_encoded(&mut out, byte),
            Class::Plain | Class::Dot | Class::Refuse => out.push(byte),
        }
        at += 1;
    }
    end_segment(&mut out, false)?;
    // Only ASCII was pushed.
    String::from_utf8(out).map_err(|_| PathError::BadEncoding)
}

/// Looks at the segment after the last slash of `out`: an empty one and a dot segment leave nothing behind.
fn end_segment(out: &mut Vec<u8>, slash: bool) -> Result<(), PathError> {
    let start = after_last_slash(out);
    let segment = out.get(start..).unwrap_or_default();
    match segment {
        b"" | b"." => out.truncate(start),
        b".." => {
            // Up: without the slash that ends the parent, without the parent; at the root there is nowhere to go.
            out.truncate(start.saturating_sub(1).max(1));
            out.truncate(after_last_slash(out));
        }
        _ if has_disguised_dots(segment) => return Err(PathError::DisguisedDots),
        _ if slash => out.push(b'/'),
        _ => {}
    }
    Ok(())
}

fn after_last_slash(path: &[u8]) -> usize {
    memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1)
}

/// The byte that the encoding at `at` stands for, and whether it is spelt in upper case.
fn percent(path: &[u8], at: usize) -> Result<(u8, bool), PathError> {
    let (Some(&high), Some(&low)) = (path.get(at + 1), path.get(at + 2)) else { return Err(PathError::BadEncoding) };
    let (Some(first), Some(second)) = (hex_value(high), hex_value(low)) else { return Err(PathError::BadEncoding) };
    let value = first << 4 | second;
    if matches!(value, 0xC0 | 0xC1)
        && let Some([b'%', b'8' | b'9' | b'a' | b'A' | b'b' | b'B']) = path.get(at + 3..at + 5)
    {
        return Err(PathError::Overlong);
    }
    Ok((value, !high.is_ascii_lowercase() && !low.is_ascii_lowercase()))
}

pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// RFC 3986 2.3: what means the same encoded and bare.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Appends a text so that nothing in it means anything in a URL: all but what is unreserved (RFC 3986 2.3) is encoded.
pub(crate) fn push_component(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        if is_unreserved(byte) {
            out.push(byte);
        } else {
            push_encoded(out, byte);
        }
    }
}

/// Appends `%` and two upper-case digits.
pub(crate) fn push_encoded(out: &mut Vec<u8>, byte: u8) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
    out.extend([b'%', digit(byte >> 4), digit(byte & 0xF)]);
}

/// Whether one or two dots stand alone up to the end of a segment or to what some backends take for its end.
fn begins_with_dots(path: &[u8]) -> bool {
    let ([b'.', b'.', rest @ ..] | [b'.', rest @ ..]) = path else { return false };
    matches!(rest, [] | [b'/' | b';', ..] | [b'%', b'2', b'f' | b'F', ..])
}

/// Whether `.` or `..` hides in a segment that is not simply one of them; encodings are already in upper case.
fn has_disguised_dots(segment: &[u8]) -> bool {
    begins_with_dots(segment)
        || memchr::memmem::find_iter(segment, b"%2F").any(|at| segment.get(at + 3..).is_some_and(begins_with_dots))
}

#[cfg(test)]
mod tests;
