//! Ids as people read them: bytes as hexadecimal digits, and back.

/// The digits of a number, all eight of them at once.
pub(crate) fn digits(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut nibbles = u64::from(number);
    nibbles = (nibbles << 16 | nibbles) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles << 8 | nibbles) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles << 4 | nibbles) & 0x0f0f_0f0f_0f0f_0f0f;
    // Those over 9 carry into the upper half of their byte when 6 is added.
    let letters = (nibbles + 6 * ONES) >> 4 & ONES;
    (nibbles + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// Lower-case digits as bytes.
pub(super) fn parse<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
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
    }
}
