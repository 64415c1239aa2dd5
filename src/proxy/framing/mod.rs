//! The strict look at a client's HTTP/1.1 bytes.
//!
//! A proxy that frames a message otherwise than its backend does hands one client's bytes to another, so everything that
//! two parsers could read in two ways is refused. The look keeps no copy: heads are checked where they lie in the read
//! buffer, and chunk lines are walked byte by byte.
//!
//! What passes is the subset of HTTP/1.1 on which everybody agrees: CRLF line ends, no folded lines, one `Host`, one
//! way to tell the body's length, a single `chunked` coding, versions 1.0 and 1.1.

mod authority;
mod chunked;
mod head;

pub use authority::{Authority, AuthorityError};
pub(super) use chunked::{Chunked, Piece};
pub use head::MAX_HEAD;
pub(super) use head::{Body, Head, Memory};

use http::StatusCode;

use crate::field_kinds::FieldKinds;
use crate::scan;

/// The target of a request of which that is all that is known; nobody can ask for it with GET.
pub(super) const UNKNOWN_TARGET: &str = "*";

/// What the look at a request's head has shown; it goes no further than us.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// It asks for WebSocket, on a connection that can become one.
    pub(super) upgrade: bool,
    /// What its fields are.
    pub(super) kinds: FieldKinds,
    /// It is not served, and this is to be answered. What is known of the request may be nothing.
    pub(super) refusal: Option<Refusal>,
}

/// Why a request was refused before anybody asked where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request line is not `method SP target SP version CRLF`.
    RequestLine,
    /// The target is in no form that is served.
    Target,
    /// The target is over 8 KiB.
    TargetTooLong,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// The method is CONNECT.
    Connect,
    /// The method is TRACE.
    Trace,
    /// A line that is no header field, is folded, or ends otherwise than with CRLF.
    Field,
    /// There is no `Host`, or more than one, or it is no host and port (RFC 9112 3.2).
    Host,
    /// `Content-Length` is repeated or no number (RFC 9112 6.3).
    Length,
    /// `Transfer-Encoding` is anything but a single `chunked`, comes with `Content-Length`, or comes in HTTP/1.0
    /// (RFC 9112 6.1).
    Coding,
    /// `Expect` is anything but `100-continue`.
    Expectation,
    /// The head is over 32 KiB or has over 100 fields.
    HeadTooLarge,
    /// A chunk of the body is malformed (RFC 9112 7.1).
    Chunk,
}

impl Refusal {
    /// The status that tells the client.
    pub fn status(self) -> StatusCode {
        match self {
            Self::RequestLine | Self::Target | Self::Field | Self::Host | Self::Length | Self::Coding | Self::Chunk => {
                StatusCode::BAD_REQUEST
            }
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Connect => StatusCode::NOT_IMPLEMENTED,
            Self::Trace => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    /// What to tell the client.
    pub fn detail(self) -> &'static str {
        match self {
            Self::RequestLine => "malformed request line",
            Self::Target => "unsupported request target",
            Self::TargetTooLong => "request target over 8 KiB",
            Self::Version => "only HTTP/1.0, HTTP/1.1 and HTTP/2 are served",
            Self::Connect => "CONNECT is not served",
            Self::Trace => "TRACE is not served",
            Self::Field => "malformed header field",
            Self::Host => "exactly one valid Host is required",
            Self::Length => "malformed or repeated Content-Length",
            Self::Coding => "unsupported Transfer-Encoding",
            Self::Expectation => "only 100-continue can be expected",
            Self::HeadTooLarge => "request head over 32 KiB or 100 fields",
            Self::Chunk => "malformed chunked body",
        }
    }
}

/// Classes of bytes, one bit each.
pub(crate) mod class {
    /// May stand in a method or a field name: RFC 9110 5.6.2 `tchar`.
    pub(crate) const TOKEN: u8 = 1;
    /// May stand in a request target: visible ASCII other than `#`.
    pub(crate) const TARGET: u8 = 2;
    /// May stand in a host name as we take it.
    pub(crate) const HOST: u8 = 4;
    /// May stand in a field's name that nobody takes for another: a letter, a digit or `-`.
    pub(crate) const NAME: u8 = 8;

    pub(crate) const TABLE: [u8; 256] = table();

    const fn table() -> [u8; 256] {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let c = byte as u8;
            let mut bits = 0;
            if c.is_ascii_alphanumeric()
                || matches!(
                    c,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                )
            {
                bits |= TOKEN;
            }
            if c.is_ascii_graphic() && c != b'#' {
                bits |= TARGET;
            }
            if c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_') {
                bits |= HOST;
            }
            if c.is_ascii_alphanumeric() || c == b'-' {
                bits |= NAME;
            }
            // A constant's index that the loop bounds.
            #[allow(clippy::indexing_slicing)]
            {
                table[byte] = bits;
            }
            byte += 1;
        }
        table
    }

    /// The classes that a byte is of.
    fn of(byte: u8) -> u8 {
        // A byte is always a valid index of a table of 256.
        #[allow(clippy::indexing_slicing)]
        TABLE[usize::from(byte)]
    }

    /// Whether the byte is of the class.
    pub(crate) fn is(byte: u8, class: u8) -> bool {
        of(byte) & class != 0
    }

    /// Those of these classes that every byte is of. There is no early end, since most texts are what they should be.
    pub(crate) fn common(bytes: &[u8], classes: u8) -> u8 {
        bytes.iter().fold(classes, |left, byte| left & of(*byte))
    }

    /// Whether every byte is of the class.
    pub(crate) fn all(bytes: &[u8], class: u8) -> bool {
        common(bytes, class) != 0
    }
}

/// What a field of a request is by its name. One that has anything else in it than letters, digits and `-` is an alias.
pub(super) fn kinds_of(name: &[u8]) -> FieldKinds {
    let alias = if class::all(name, class::NAME) { FieldKinds::NONE } else { FieldKinds::ALIAS };
    FieldKinds::of(name) | alias
}

/// Whether these bytes may stand in a field's value: no control character other than a tab (RFC 9110 5.5).
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    !scan::any(value, is_control)
}

/// Whether this may stand nowhere in a line.
fn is_control(byte: u8) -> bool {
    ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f)
}

/// Without the optional white space around it (RFC 9110 5.6.3).
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
