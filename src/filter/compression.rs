//! Compression of responses: which are compressed, by which coding, and what their heads say then.

mod accepted;
#[cfg(test)]
mod tests;

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use accepted::Accepted;

/// Which responses of a route are compressed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The codings, the preferred one first.
    pub codings: Box<[Coding]>,
    /// The smallest body that is worth it, where its length is known beforehand.
    pub min_size: u64,
    /// Media types that are compressed; `None` stands for formats of text.
    pub types: Option<Box<[MediaRange]>>,
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Br,
    /// gzip (RFC 1952).
    Gzip,
}

/// A media type, or all of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    /// In lower case; up to its slash, that included, where it stands for all of the kind.
    text: Box<str>,
    all: bool,
}

/// Why a text is no [`MediaRange`] of which a response may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaRangeError {
    /// It is none.
    #[error("it is no media type, and no kind of them such as text/*")]
    Malformed,
    /// Its messages are for when they are sent, or are framed and compressed by those who speak it.
    #[error("responses of that type are never compressed")]
    Never,
}

/// What the client of a request would have done with the response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    coding: Option<Coding>,
    /// It refuses a body as it is.
    not_plain: bool,
    /// It has a response with a weak tag.
    knows_weak_tag: bool,
    /// It wants the head alone.
    head_only: bool,
}

/// What is compressed without being named: formats of text, and those in which repetition is usual.
const TEXT: [&str; 19] = [
    "application/javascript",
    "application/json",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "text/",
];

/// Fields that vouch for the very bytes of the body.
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

// === impl Compression ===

impl Compression {
    /// What the client of this request would have done, and may.
    pub fn wish(&self, method: &Method, headers: &HeaderMap) -> Wish {
        let accepted = Accepted::of(headers);
        // Whoever asks for the representation as it is gets it so (RFC 9111 5.2.1.6).
        let transform = !says(headers, &header::CACHE_CONTROL, "no-transform");
        let head_only = *method == Method::HEAD;
        let best = self.codings.iter().copied().map(|coding| (coding, accepted.quality(coding)));
        // Of equals the first stays.
        let best = best.fold(None, |best: Option<(Coding, u16)>, next| match best {
            Some(best) if best.1 >= next.1 => Some(best),
            _ => Some(next),
        });
        let coding = best.filter(|(_, quality)| transform && *quality > 0 && *quality >= accepted.plain_preferred());
        Wish {
            coding: coding.map(|(coding, _)| coding),
            not_plain: !accepted.admits_plain(),
            knows_weak_tag: headers.get_all(header::IF_NONE_MATCH).iter().any(has_weak_tag),
            head_only,
        }
    }

    /// What is done with the body of a response, and says so in its head. `None` leaves the body as it is; `room` says
    /// whether there is what it takes to compress one more by that coding.
    pub fn apply(
        &self,
        wish: Wish,
        status: StatusCode,
        headers: &mut HeaderMap,
        room: impl FnOnce(Coding) -> bool,
    ) -> Option<Coding> {
        if status == StatusCode::NOT_MODIFIED {
            // It speaks of the response that the client has, which had a weak tag if we compressed it.
            vary(headers);
            if wish.knows_weak_tag {
                weaken(headers);
            }
            return None;
        }
        if !self.may_compress(wish, status, headers) {
            return None;
        }
        vary(headers);
        let coding = wish.coding.filter(|coding| !wish.head_only && room(*coding))?;
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
        headers.remove(header::CONTENT_LENGTH);
        // Ranges would be of the body that is not sent.
        headers.remove(header::ACCEPT_RANGES);
        weaken(headers);
        Some(coding)
    }

    /// Whether a response is of those that are compressed for whoever accepts it.
    fn may_compress(&self, wish: Wish, status: StatusCode, headers: &HeaderMap) -> bool {
        let bodiless = status.is_informational() || matches!(status.as_u16(), 204 | 205);
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if bodiless
            || status == StatusCode::PARTIAL_CONTENT
            || length == Some(0)
            || headers.contains_key(header::CONTENT_ENCODING)
            || headers.contains_key(header::CONTENT_RANGE)
            || DIGESTS.iter().any(|name| headers.contains_key(*name))
            || says(headers, &header::CACHE_CONTROL, "no-transform")
        {
            return false;
        }
        let media_type = media_type(headers);
        if is_never(media_type) {
            return false;
        }
        // Size and type are a matter of thrift, which has nothing to say where the body as it is was refused.
        wish.not_plain && wish.coding.is_some()
            || length.is_none_or(|length| length >= self.min_size) && self.is_for(media_type)
    }

    fn is_for(&self, media_type: &str) -> bool {
        match &self.types {
            Some(types) => types.iter().any(|range| range.holds(media_type)),
            None => {
                TEXT.iter().any(|text| {
                    media_type.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text))
                        && (text.ends_with('/') || media_type.len() == text.len())
                }) || ["+json", "+xml", "+yaml"].iter().any(|suffix| {
                    let start = media_type.len().checked_sub(suffix.len());
                    start.and_then(|at| media_type.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
                })
            }
        }
    }
}

impl fmt::Display for Compression {
    /// `Compression: zstd, br from 1024 bytes; text/*`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { codings, min_size, types } = self;
        f.write_str("Compression:")?;
        for (index, coding) in codings.iter().enumerate() {
            write!(f, "{} {}", if index == 0 { "" } else { "," }, coding.as_str())?;
        }
        write!(f, " from {min_size} bytes; ")?;
        match types {
            None => f.write_str("formats of text"),
            Some(types) => types
                .iter()
                .enumerate()
                .try_for_each(|(index, range)| write!(f, "{}{range}", if index == 0 { "" } else { ", " })),
        }
    }
}

// === impl Coding ===

impl Coding {
    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

// === impl MediaRange ===

impl MediaRange {
    /// A media type as declared: `application/json`, `text/*`. Parameters are of no account.
    ///
    /// # Errors
    /// When it is none, or one whose responses are never compressed.
    pub fn parse(declared: &str) -> Result<Self, MediaRangeError> {
        let text = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (kind, subtype) = text.split_once('/').ok_or(MediaRangeError::Malformed)?;
        let is_token = |part: &str| {
            let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
            !part.is_empty() && part.bytes().all(in_token)
        };
        let all = subtype == "*";
        if !is_token(kind) || !(all || is_token(subtype)) {
            return Err(MediaRangeError::Malformed);
        }
        if is_never(&text) {
            return Err(MediaRangeError::Never);
        }
        let text = if all { text.trim_end_matches('*') } else { &text };
        Ok(Self { text: text.into(), all })
    }

    fn holds(&self, media_type: &str) -> bool {
        let compared = if self.all { media_type.get(..self.text.len()) } else { Some(media_type) };
        compared.is_some_and(|compared| compared.eq_ignore_ascii_case(&self.text))
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.all { "*" } else { "" })
    }
}

/// The media type of a body, without its parameters; empty when the head does not say.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Whether bodies of that type are left alone whatever anybody wants: events are for now and not for when there are
/// more of them, and messages of gRPC have a compression of their own.
fn is_never(media_type: &str) -> bool {
    let grpc =
        media_type.get(.."application/grpc".len()).filter(|start| start.eq_ignore_ascii_case("application/grpc"));
    grpc.is_some() || media_type.eq_ignore_ascii_case("text/event-stream")
}

/// Whether a list of directives has this one.
fn says(headers: &HeaderMap, name: &HeaderName, directive: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(directive.as_bytes()))
}

/// The items of a list, over all fields of that name.
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

fn has_weak_tag(tags: &HeaderValue) -> bool {
    tags.as_bytes().windows(3).any(|three| three == b"W/\"")
}

/// Says that the response depends on what the client accepts.
fn vary(headers: &mut HeaderMap) {
    let known = items(headers, &header::VARY)
        .any(|item| item == b"*" || item.eq_ignore_ascii_case(header::ACCEPT_ENCODING.as_str().as_bytes()));
    if !known {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// A tag that stands for the very bytes does not stand for other ones (RFC 9110 8.8.1).
fn weaken(headers: &mut HeaderMap) {
    if let Some(tag) = headers.get(header::ETAG)
        && tag.as_bytes().starts_with(b"\"")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(header::ETAG, weak);
    }
}
