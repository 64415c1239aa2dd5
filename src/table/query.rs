//! Query parameters as they stand in a request: found without parsing the rest, decoded only as far as asked.

use std::borrow::Cow;

use crate::path::hex_value;

/// The first value of a parameter, as sent; a parameter without `=` has an empty one.
pub fn first<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // An empty pair, as in `a=1&&b=2`, names nothing.
        (!pair.is_empty() && decoded_eq(key, name)).then_some(value)
    })
}

/// Whether a name or value, decoded, is this text.
pub fn decoded_eq(raw: &str, text: &str) -> bool {
    if is_plain(raw) { raw == text } else { decoded_bytes(raw).eq(text.bytes()) }
}

/// A name or value with its percent-encodings decoded and `+` as a space; an encoding that is none stays as it is, and
/// what is not UTF-8 is replaced.
pub fn decode(raw: &str) -> Cow<'_, str> {
    if is_plain(raw) {
        return raw.into();
    }
    let bytes: Vec<u8> = decoded_bytes(raw).collect();
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()).into()
}

fn is_plain(raw: &str) -> bool {
    memchr::memchr2(b'%', b'+', raw.as_bytes()).is_none()
}

fn decoded_bytes(raw: &str) -> impl Iterator<Item = u8> + '_ {
    let mut rest = raw.as_bytes();
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        let (byte, after) = match (first, after) {
            (b'+', _) => (b' ', after),
            (b'%', [high, low, beyond @ ..]) => match (hex_value(*high), hex_value(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, beyond),
                _ => (first, after),
            },
            _ => (first, after),
        };
        rest = after;
        Some(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_parameter_is_found_as_sent() {
        for (query, name, value) in [
            (None, "a", None),
            (Some(""), "", None),
            (Some("a=1&b=2&a=3"), "a", Some("1")),
            (Some("a=1&b=2"), "b", Some("2")),
            (Some("a&b"), "b", Some("")),
            (Some("a=1&&b=x=y"), "b", Some("x=y")),
            (Some("=1"), "", Some("1")),
            (Some("%61=1"), "a", Some("1")),
            (Some("a+b=1"), "a b", Some("1")),
            (Some("aa=1"), "a", None),
            (Some("a;b=1"), "b", None),
        ] {
            assert_eq!(first(query, name), value, "{name} of {query:?}");
        }
    }

    #[test]
    fn values_are_decoded_and_compared_alike() {
        for (raw, text) in [
            ("plain", "plain"),
            ("a%20b+c", "a b c"),
            ("caf%C3%a9", "café"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%2525", "%25"),
        ] {
            assert_eq!(decode(raw), text);
            assert!(decoded_eq(raw, text), "{raw}");
            assert!(!decoded_eq(raw, "other"));
        }
        assert_eq!(decode("%FF"), "\u{FFFD}");
        assert!(matches!(decode("plain"), Cow::Borrowed(_)));
    }
}
