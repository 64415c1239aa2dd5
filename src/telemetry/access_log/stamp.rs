//! Times and numbers as text, without making the same text twice.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use crate::telemetry::hexadecimal;

/// Digits of hexadecimal numbers.
pub(super) const HEX: &[u8; 16] = b"0123456789abcdef";

/// The current second as text: lines of one second share it.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Stamp {
    second: u64,
    iso: String,
    clf: String,
}

impl Stamp {
    /// Appends `2026-11-25T20:55:43.123456Z`.
    pub(super) fn iso(&mut self, out: &mut Vec<u8>, micros: u64) {
        self.enter(micros / 1_000_000);
        out.extend_from_slice(self.iso.as_bytes());
        out.push(b'.');
        digits::<6>(out, micros);
        out.push(b'Z');
    }

    /// Appends `25/Nov/2026:20:55:43 +0000`, the time of Common Log Format.
    pub(super) fn clf(&mut self, out: &mut Vec<u8>, micros: u64) {
        self.enter(micros / 1_000_000);
        out.extend_from_slice(self.clf.as_bytes());
    }

    fn enter(&mut self, second: u64) {
        if second == self.second && !self.iso.is_empty() {
            return;
        }
        self.second = second;
        let time = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
        let time = time.unwrap_or(Timestamp::UNIX_EPOCH);
        self.iso.clear();
        self.clf.clear();
        // Writing to a string does not fail.
        let _ = write!(self.iso, "{}", time.strftime("%Y-%m-%dT%H:%M:%S"));
        let _ = write!(self.clf, "{}", time.strftime("%d/%b/%Y:%H:%M:%S +0000"));
    }
}

/// Appends a number.
pub(super) fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends the last digits of a number, with zeros in front.
fn digits<const COUNT: u32>(out: &mut Vec<u8>, number: u64) {
    let place = const { 10_u32.pow(COUNT) };
    // A digit more in front keeps the zeros.
    let mut text = itoa::Buffer::new();
    let text = text.format((number % u64::from(place)) as u32 + place);
    out.extend_from_slice(text.as_bytes().get(1..).unwrap_or_default());
}

/// Appends a time in milliseconds with three decimals.
pub(super) fn milliseconds(out: &mut Vec<u8>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    number(out, micros / 1000);
    out.push(b'.');
    digits::<3>(out, micros);
}

/// Appends a time in seconds with three decimals, as nginx has it.
pub(super) fn seconds(out: &mut Vec<u8>, time: Duration) {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    number(out, millis / 1000);
    out.push(b'.');
    digits::<3>(out, millis);
}

/// Appends bytes as hexadecimal digits.
pub(super) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        out.extend_from_slice(&hexadecimal::digits(u32::from_be_bytes(*word)));
    }
    for byte in rest {
        let [.., high, low] = hexadecimal::digits(u32::from(*byte));
        out.extend_from_slice(&[high, low]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_and_numbers() {
        let mut stamp = Stamp::default();
        let micros = 1_700_000_000_000_042;
        assert_eq!(text(|out| stamp.iso(out, micros)), "2023-11-14T22:13:20.000042Z");
        assert_eq!(text(|out| stamp.clf(out, micros + 1_000_000)), "14/Nov/2023:22:13:21 +0000");
        assert_eq!(text(|out| Stamp::default().iso(out, 0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(|out| milliseconds(out, Duration::from_micros(12_005))), "12.005");
        assert_eq!(text(|out| seconds(out, Duration::from_micros(1_012_900))), "1.012");
        assert_eq!(text(|out| hex(out, &[0, 0xab])), "00ab");
    }
}
