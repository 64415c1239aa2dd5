//! What a client accepts of codings (RFC 9110 12.5.3).

use http::header::{self, HeaderMap};

use super::{Coding, items};

/// How much each is wanted, in thousandths; `None` is not named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    zstd: Option<u16>,
    br: Option<u16>,
    gzip: Option<u16>,
    plain: Option<u16>,
    any: Option<u16>,
}

impl Accepted {
    /// What the head says. A client that says nothing would have to take anything, and gets what is plain.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        for item in items(headers, &header::ACCEPT_ENCODING) {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(quality).unwrap_or(1000);
            let named = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let place = if named("zstd") {
                &mut accepted.zstd
            } else if named("br") {
                &mut accepted.br
            } else if named("gzip") || named("x-gzip") {
                &mut accepted.gzip
            } else if named("identity") {
                &mut accepted.plain
            } else if named("*") {
                &mut accepted.any
            } else {
                continue;
            };
            *place = Some(quality);
        }
        accepted
    }

    /// How much a coding is wanted; 0 is not at all.
    pub(super) fn quality(self, coding: Coding) -> u16 {
        let named = match coding {
            Coding::Zstd => self.zstd,
            Coding::Br => self.br,
            Coding::Gzip => self.gzip,
        };
        named.or(self.any).unwrap_or(0)
    }

    /// How much a coding must be wanted to be better than none. Where nothing is said of that, any coding is.
    pub(super) fn plain_preferred(self) -> u16 {
        self.plain.unwrap_or(0)
    }

    /// Whether a body as it is will do.
    pub(super) fn admits_plain(self) -> bool {
        self.plain.or(self.any.filter(|quality| *quality == 0)) != Some(0)
    }
}

/// The weight in `q=0.5`, in thousandths; what is none counts for nothing at all.
fn quality(parameter: &[u8]) -> Option<u16> {
    let (name, value) = parameter.split_at_checked(parameter.iter().position(|byte| *byte == b'=')?)?;
    if !name.trim_ascii().eq_ignore_ascii_case(b"q") {
        return None;
    }
    let mut digits = value.get(1..)?.trim_ascii().iter();
    let whole = digits.next();
    let mut thousandths = 0;
    if digits.next().is_none_or(|byte| *byte == b'.') {
        for worth in [100, 10, 1] {
            let digit = digits.next().unwrap_or(&b'0');
            if !digit.is_ascii_digit() {
                return Some(0);
            }
            thousandths += worth * u16::from(digit - b'0');
        }
    }
    Some(match (whole, digits.next()) {
        (Some(b'0'), None) => thousandths,
        (Some(b'1'), None) if thousandths == 0 => 1000,
        _ => 0,
    })
}
