//! Text of others in lines of ours: nothing in it can end a line, a string or the reader's trust.

use super::stamp::HEX;
use crate::scan;

/// Whether a line can have a byte as it is, in JSON or as nginx writes it. What is above ASCII needs a look at the whole
/// character. All comparisons are made, so that the compiler can make them for sixteen bytes at a time.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

/// Whether a line can have all of this as it is.
pub(crate) fn is_all_plain(bytes: &[u8]) -> bool {
    !scan::any(bytes, |byte| !is_plain(byte))
}

/// Appends bytes as the inside of a JSON string. What is no UTF-8 becomes U+FFFD; control characters of every kind are
/// escaped, also those that JSON would allow and a terminal would obey.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_all_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        json_by_character(out, bytes);
    }
}

#[cold]
fn json_by_character(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                // The separators end a line for readers that think in JavaScript.
                '\u{2028}' | '\u{2029}' => unicode(out, character),
                _ if character.is_control() => unicode(out, character),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn unicode(out: &mut Vec<u8>, character: char) {
    let code = u32::from(character);
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(digit(code >> shift));
    }
}

/// Appends bytes as nginx does: quotes, backslashes and whatever is not visible ASCII become `\x22`.
pub(super) fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_all_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    for byte in bytes {
        if is_plain(*byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(b"\\x");
            out.push(digit(u32::from(*byte) >> 4).to_ascii_uppercase());
            out.push(digit(u32::from(*byte)).to_ascii_uppercase());
        }
    }
}

fn digit(nibble: u32) -> u8 {
    HEX.get((nibble & 0xf) as usize).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(escape: fn(&mut Vec<u8>, &[u8]), bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_ends_a_line_or_a_string() {
        assert_eq!(escaped(json, b"a\"b\\c\nd\r\t\x1b[31m\x7f"), r#"a\"b\\c\nd\r\t\u001b[31m\u007f"#);
        assert_eq!(escaped(json, "é\u{85}\u{2028}😀".as_bytes()), "é\\u0085\\u2028😀");
        assert_eq!(escaped(json, b"a\xff\xc3b"), "a\\ufffd\\ufffdb");
        assert_eq!(escaped(text, b"a\"b\\c\nd\x1b\xff"), r"a\x22b\x5Cc\x0Ad\x1B\xFF");
    }

    proptest! {
        #[test]
        fn json_means_what_was_sent(bytes: Vec<u8>) {
            let quoted = format!("\"{}\"", escaped(json, &bytes));
            prop_assert!(!quoted.chars().any(char::is_control));
            let read: String = serde_json::from_str(&quoted).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn text_is_visible_ascii(bytes: Vec<u8>) {
            let text = escaped(text, &bytes);
            prop_assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"'));
        }
    }
}
