//! Sizes in bytes, as Kubernetes writes quantities.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes: a whole number, alone or with a suffix of `Ki`, `Mi`, `Gi`, `Ti` (powers of 1024) or
/// `k`, `M`, `G`, `T` (powers of 1000), such as `10Mi`.
///
/// This is the part of a Kubernetes quantity that makes sense for a size. Keeps the text it was read from; two sizes
/// are equal when they are the same number of bytes.
#[derive(Clone, Debug)]
pub struct ByteSize {
    text: String,
    bytes: u64,
}

/// Why a text is not a [`ByteSize`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseByteSizeError {
    text: String,
}

/// Bounded so that every text it admits fits a `u64`.
pub(super) const PATTERN: &str = "^([0-9]{1,15}|[0-9]{1,6}(Ki|Mi|Gi|Ti|k|M|G|T))$";

/// The longest text [`PATTERN`] admits.
const MAX_LENGTH: usize = 15;

/// Digits allowed before a suffix: 999999Ti is about 2^60 bytes.
const MAX_DIGITS_WITH_SUFFIX: usize = 6;

// === impl ByteSize ===

impl ByteSize {
    /// The number of bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The text as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A schema default in whole kibibytes.
    pub(super) fn from_kibibytes(kibibytes: u32) -> Self {
        Self { text: format!("{kibibytes}Ki"), bytes: u64::from(kibibytes) << 10 }
    }
}

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
            .map(|bytes| Self { text: text.to_owned(), bytes })
            .ok_or_else(|| ParseByteSizeError { text: text.chars().take(2 * MAX_LENGTH).collect() })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for ByteSize {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for ByteSize {}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX_LENGTH, "pattern": PATTERN })
    }
}

// === impl ParseByteSizeError ===

impl fmt::Display for ParseByteSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a size: write a whole number of bytes, with Ki, Mi, Gi, Ti, k, M, G or T after at most six digits, such as 10Mi",
            self.text
        )
    }
}

impl std::error::Error for ParseByteSizeError {}

fn parse(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at_checked(digits)?;
    let unit: u64 = match suffix {
        "" if digits <= MAX_LENGTH => 1,
        _ if digits > MAX_DIGITS_WITH_SUFFIX => return None,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_numbers_with_a_suffix_and_nothing_else() {
        let cases: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("512", Some(512)),
            ("1Ki", Some(1024)),
            ("10Mi", Some(10 << 20)),
            ("2Gi", Some(2 << 30)),
            ("1Ti", Some(1 << 40)),
            ("3k", Some(3_000)),
            ("3M", Some(3_000_000)),
            ("3G", Some(3_000_000_000)),
            ("3T", Some(3_000_000_000_000)),
            ("999999999999999", Some(999_999_999_999_999)),
            ("999999Ti", Some(999_999 << 40)),
            ("1000000Ti", None),
            ("9999999999999999", None),
            ("", None),
            ("Mi", None),
            ("1.5Gi", None),
            ("-1", None),
            ("1K", None),
            ("1KiB", None),
            ("1 Mi", None),
            ("1e3", None),
            ("٣", None),
        ];
        let pattern = regex::Regex::new(PATTERN).unwrap();
        for &(text, expected) in cases {
            assert_eq!(text.parse::<ByteSize>().ok().map(|it| it.bytes()), expected, "{text:?}");
            assert_eq!(pattern.is_match(text), expected.is_some(), "the schema's pattern on {text:?}");
        }
    }

    #[test]
    fn keeps_its_text_and_compares_by_bytes() {
        let size: ByteSize = serde_json::from_str(r#""1024""#).unwrap();
        assert_eq!(serde_json::to_string(&size).unwrap(), r#""1024""#);
        assert_eq!(size, ByteSize::from_kibibytes(1));
        assert_eq!(ByteSize::from_kibibytes(1).as_str(), "1Ki");
    }
}
