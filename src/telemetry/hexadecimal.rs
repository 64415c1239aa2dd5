//! Ids as people read them: bytes as hexadecimal digits, and back.

const ONES: u64 = 0x0101_0101_0101_0101;

/// The digits of a number, all eight of them at once.
pub(crate) fn digits(number: u32) -> [u8; 8] {
    let mut nibbles = u64::from(number);
    nibbles = (nibbles << 16 | nibbles) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles << 8 | nibbles) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles << 4 | nibbles) & 0x0f0f_0f0f_0f0f_0f0f;
    // Those over 9 carry into the upper half of their byte when 6 is added.
    let letters = (nibbles + 6 * ONES) >> 4 & ONES;
    (nibbles + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// The number that is written so: eight lower-case digits.
fn number(text: [u8; 8]) -> Option<u32> {
    let bytes = u64::from_be_bytes(text);
    // Letters have the bit of 64, which no digit has, and count from 1 in their lower half.
    let letters = bytes >> 6 & ONES;
    let mut nibbles = (bytes & (0x0f * ONES)) + 9 * letters;
    nibbles = (nibbles >> 4 | nibbles) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles >> 8 | nibbles) & 0x0000_ffff_0000_ffff;
    let number = (nibbles >> 16 | nibbles) as u32;
    // Of anything else a number comes out too, but that would be written otherwise.
    (digits(number) == text).then_some(number)
}

/// Lower-case digits as bytes.
pub(super) fn parse<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    let (texts, short) = digits.as_chunks();
    let (words, rest) = bytes.as_chunks_mut();
    for (word, text) in words.iter_mut().zip(texts) {
        *word = number(*text)?.to_be_bytes();
    }
    for (byte, pair) in rest.iter_mut().zip(short.as_chunks().0) {
        let [high, low] = *pair;
        *byte = number([b'0', b'0', b'0', b'0', b'0', b'0', high, low])? as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_they_are_written() {
        for number in [0, 1, 9, 10, 15, 0x89ab_cdef, 0x0123_4567, u32::MAX] {
            assert_eq!(digits(number), format!("{number:08x}").as_bytes());
            assert_eq!(parse(&digits(number)), Some(number.to_be_bytes()));
        }
        assert_eq!(parse::<2>(b"abc"), None);
        assert_eq!(parse::<2>(b"ABCD"), None);
        assert_eq!(parse(b"0123456789ab"), Some([0x01, 0x23, 0x45, 0x67, 0x89, 0xab]));
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit() && !(b'a'..=b'f').contains(byte)) {
            for place in 0..8 {
                let mut text = *b"89abcdef";
                text[place] = byte;
                assert_eq!(parse::<4>(&text), None, "{text:?}");
            }
        }
    }
}
