//! Durations as Gateway API writes them.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time in the syntax of GEP-2257: one to four numbers with a unit of `h`, `m`, `s` or `ms`, such as `1m30s`.
///
/// Keeps the text it was read from, so that writing an object back does not rewrite `60s` as `1m`. Two durations are
/// equal when they last equally long.
#[derive(Clone, Debug)]
pub struct Duration {
    text: String,
    length: time::Duration,
}

/// Why a text is not a [`Duration`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDurationError {
    text: String,
}

/// The syntax of GEP-2257, as Gateway API's own CRDs state it.
pub(super) const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Four groups of five digits and a two-letter unit need 28 characters; CEL's cost estimate wants a bound.
const MAX_LENGTH: usize = 32;

/// GEP-2257 allows this many number-and-unit groups.
const MAX_GROUPS: usize = 4;

/// GEP-2257 allows this many digits in a group.
const MAX_DIGITS: usize = 5;

// === impl Duration ===

impl Duration {
    /// The length of time.
    pub fn as_std(&self) -> time::Duration {
        self.length
    }

    /// The text as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is `0s` in any spelling, which several fields read as "no limit".
    pub fn is_zero(&self) -> bool {
        self.length.is_zero()
    }

    /// A schema default, written in whole milliseconds or seconds.
    pub(super) fn from_millis(millis: u32) -> Self {
        let text = if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") };
        Self { text, length: time::Duration::from_millis(u64::from(millis)) }
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
            .map(|length| Self { text: text.to_owned(), length })
            .ok_or_else(|| ParseDurationError { text: text.chars().take(MAX_LENGTH).collect() })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Duration {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length
    }
}

impl Eq for Duration {}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX_LENGTH, "pattern": PATTERN })
    }
}

// === impl ParseDurationError ===

impl fmt::Display for ParseDurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a duration: write one to four whole numbers, each with a unit of h, m, s or ms, such as 1m30s",
            self.text
        )
    }
}

impl std::error::Error for ParseDurationError {}

/// At most four groups of at most five digits: the sum stays far below what `u64` milliseconds hold.
fn parse(text: &str) -> Option<time::Duration> {
    let mut rest = text;
    let mut millis = 0_u64;
    for _ in 0..MAX_GROUPS {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > MAX_DIGITS {
            return None;
        }
        let (number, tail) = rest.split_at_checked(digits)?;
        let number = number.parse::<u64>().ok()?;
        let (unit, tail) = if let Some(tail) = tail.strip_prefix("ms") {
            (1, tail)
        } else if let Some(tail) = tail.strip_prefix('s') {
            (1_000, tail)
        } else if let Some(tail) = tail.strip_prefix('m') {
            (60_000, tail)
        } else {
            (3_600_000, tail.strip_prefix('h')?)
        };
        millis += number * unit;
        if tail.is_empty() {
            return Some(time::Duration::from_millis(millis));
        }
        rest = tail;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_gep_2257_allows_and_nothing_else() {
        let millis = |text: &str| text.parse::<Duration>().ok().map(|it| it.as_std().as_millis());
        let cases: &[(&str, Option<u128>)] = &[
            ("0s", Some(0)),
            ("1h", Some(3_600_000)),
            ("1m", Some(60_000)),
            ("15s", Some(15_000)),
            ("250ms", Some(250)),
            ("1h2m3s4ms", Some(3_723_004)),
            ("1m1m", Some(120_000)),
            ("4ms3s", Some(3_004)),
            ("00005s", Some(5_000)),
            ("99999h99999h99999h99999h", Some(4 * 99_999 * 3_600_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("+1s", None),
            ("1d", None),
            ("1us", None),
            ("1 s", None),
            ("1s ", None),
            ("123456s", None),
            ("1s1s1s1s1s", None),
            ("1h٣m", None),
            ("1µs", None),
        ];
        let pattern = regex::Regex::new(PATTERN).unwrap();
        for &(text, expected) in cases {
            assert_eq!(millis(text), expected, "{text:?}");
            assert_eq!(pattern.is_match(text), expected.is_some(), "the schema's pattern on {text:?}");
        }
    }

    #[test]
    fn keeps_its_text_and_compares_by_length() {
        let minute: Duration = serde_json::from_str(r#""60s""#).unwrap();
        assert_eq!(serde_json::to_string(&minute).unwrap(), r#""60s""#);
        assert_eq!(minute, "1m".parse().unwrap());
        assert_eq!(Duration::from_millis(1500).as_str(), "1500ms");
        assert_eq!(Duration::from_millis(30_000).as_str(), "30s");
        for millis in [1500, 30_000] {
            let made = Duration::from_millis(millis);
            assert_eq!(made, made.as_str().parse().unwrap());
        }
    }

    #[test]
    fn says_what_would_be_right() {
        let error = serde_json::from_str::<Duration>(r#""5 minutes""#).unwrap_err().to_string();
        assert!(error.contains(r#""5 minutes" is not a duration"#) && error.contains("1m30s"), "{error}");
    }
}
