//! HPACK's Huffman code (RFC 7541 5.2 and appendix B). It is canonical, so lengths say everything: codes of one length
//! follow each other in the order of their symbols, and shorter ones come first.

use std::slice;

use super::Malformed;

/// The symbol that ends a text; nobody sends it.
const END: u16 = 256;

/// How many bits each symbol takes.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

/// The longest code, in bits, and the longest of those that one look at a byte decides.
const LONGEST: usize = 30;
const SHORT: usize = 8;

/// Codes of one length: the first of them, and the one after the last, as the highest bits of 32, and where their symbols
/// begin.
#[derive(Clone, Copy)]
struct Row {
    length: u32,
    first: u32,
    end: u64,
    symbols: usize,
}

struct Code {
    /// By the next byte: the symbol, and its length in bits; 0 when that is longer than a byte.
    short: [(u8, u8); 256],
    rows: [Row; LONGEST + 1],
    /// All symbols in the order of their codes.
    symbols: [u16; 257],
}

static CODE: Code = code();

// Every index is bounded by the loop around it, and all of this happens while compiling.
#[allow(clippy::indexing_slicing)]
const fn code() -> Code {
    let mut code = Code {
        short: [(0, 0); 256],
        rows: [Row { length: 0, first: 0, end: 0, symbols: 0 }; LONGEST + 1],
        symbols: [0; 257],
    };
    let (mut next, mut filled, mut length) = (0_u64, 0, 1);
    while length <= LONGEST {
        let step = 1_u64 << (32 - length);
        let (first, begins) = (next, filled);
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.symbols[filled] = symbol as u16;
                if length <= SHORT {
                    let mut byte = (next >> 24) as usize;
                    while (byte as u64) << 24 < next + step {
                        code.short[byte] = (symbol as u8, length as u8);
                        byte += 1;
                    }
                }
                filled += 1;
                next += step;
            }
            symbol += 1;
        }
        code.rows[length] = Row { length: length as u32, first: first as u32, end: next, symbols: begins };
        length += 1;
    }
    assert!(next == 1 << 32, "a code that is complete ends with all ones");
    code
}

/// The symbol that the highest bits of these are, and how many they are.
fn symbol(bits: u32) -> (u16, u32) {
    if let Some((symbol, length)) = CODE.short.get((bits >> 24) as usize).filter(|(_, length)| *length > 0) {
        return ((*symbol).into(), (*length).into());
    }
    let row = CODE.rows.iter().skip(SHORT + 1).find(|row| u64::from(bits) < row.end);
    let Some(row) = row else { return (END, LONGEST as u32) };
    let place = row.symbols + ((bits - row.first) >> (32 - row.length)) as usize;
    (CODE.symbols.get(place).copied().unwrap_or(END), row.length)
}

/// Appends the text that these bytes are the code of. Tokens come in it with every request, since no table keeps them.
pub(super) fn decode(coded: &[u8], text: &mut Vec<u8>) -> Result<(), Malformed> {
    let before = text.len();
    // No code is shorter than five bits.
    text.resize(before + coded.len() * 8 / 5, 0);
    let mut room = text.get_mut(before..).unwrap_or_default().iter_mut();
    let decoded = put(Bits { rest: coded, bits: 0, count: 0 }, &mut room);
    let unused = room.len();
    text.truncate(text.len() - unused);
    decoded
}

fn put(mut source: Bits<'_>, room: &mut slice::IterMut<'_, u8>) -> Result<(), Malformed> {
    loop {
        source.fill();
        while source.count >= SHORT as u32
            && let Some((symbol, length)) = CODE.short.get((source.bits >> 56) as usize).filter(|short| short.1 > 0)
            && let Some(place) = room.next()
        {
            *place = *symbol;
            source.take((*length).into());
        }
        // Now there is a long one, or the end is near.
        source.fill();
        if source.count == 0 {
            return Ok(());
        }
        let (symbol, length) = symbol((source.bits >> 32) as u32);
        if length > source.count {
            // What fills the last byte up is the beginning of the end: less than a byte of ones.
            let is_padding = source.count < 8 && source.bits >> (64 - source.count) == (1 << source.count) - 1;
            return if is_padding { Ok(()) } else { Err(Malformed) };
        }
        let place = room.next().ok_or(Malformed)?;
        *place = u8::try_from(symbol).map_err(|_| Malformed)?;
        source.take(length);
    }
}

/// Bits to be read, the next one highest.
struct Bits<'c> {
    rest: &'c [u8],
    bits: u64,
    /// How many there are; behind them may already be some of those to come.
    count: u32,
}

impl Bits<'_> {
    /// Takes as many whole bytes in as there is room for.
    fn fill(&mut self) {
        if let Some(next) = self.rest.first_chunk() {
            self.bits |= u64::from_be_bytes(*next) >> self.count;
            let bytes = (63 - self.count) / 8;
            self.rest = self.rest.get(bytes as usize..).unwrap_or_default();
            self.count += 8 * bytes;
            return;
        }
        while self.count <= 56
            && let Some((byte, rest)) = self.rest.split_first()
        {
            self.bits |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
            self.rest = rest;
        }
    }

    /// So many have been read.
    fn take(&mut self, bits: u32) {
        self.bits <<= bits;
        self.count -= bits;
    }
}

/// The code of a text, for tests.
#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let (mut coded, mut bits, mut count) = (Vec::new(), 0_u64, 0);
    for byte in text {
        let length = u32::from(LENGTHS[usize::from(*byte)]);
        let row = CODE.rows[length as usize];
        let place = CODE.symbols[row.symbols..].iter().position(|symbol| *symbol == u16::from(*byte)).unwrap();
        let code = (row.first >> (32 - length)) + u32::try_from(place).unwrap();
        bits = bits << length | u64::from(code);
        count += length;
        while count >= 8 {
            count -= 8;
            coded.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        coded.push((bits << (8 - count)) as u8 | (0xff >> count));
    }
    coded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut text = Vec::new();
        decode(coded, &mut text).map(|()| text)
    }

    #[test]
    fn texts_of_the_rfc_are_what_it_says() {
        for (text, code) in [
            // RFC 7541 C.4 and C.6.
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("302", "6402"),
            ("private", "aec3771a4b"),
            ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            ("https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
            (
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ),
        ] {
            let code: Vec<u8> =
                (0..code.len()).step_by(2).map(|at| u8::from_str_radix(&code[at..at + 2], 16).unwrap()).collect();
            assert_eq!(decoded(&code).as_deref(), Ok(text.as_bytes()), "{text}");
            assert_eq!(encode(text.as_bytes()), code, "{text}");
        }
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        assert_eq!(decoded(&encode(&all)), Ok(all));
        assert_eq!(decoded(b""), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn any_text_comes_back_behind_what_was_there(text: Vec<u8>, word in "[A-Za-z0-9_.-]{0,200}", before: Vec<u8>) {
            for text in [&text[..], word.as_bytes()] {
                let mut decoded = before.clone();
                prop_assert_eq!(decode(&encode(text), &mut decoded), Ok(()));
                prop_assert_eq!(decoded, [&before[..], text].concat());
            }
        }

        /// Whatever is taken is the one way to write it.
        #[test]
        fn what_is_taken_is_written_so(coded: Vec<u8>) {
            if let Ok(text) = decoded(&coded) {
                prop_assert_eq!(encode(&text), coded);
            }
        }
    }

    #[test]
    fn what_fills_up_is_less_than_a_byte_of_ones() {
        // `0` is five zeros.
        assert_eq!(decoded(&[0b0000_0111]), Ok(b"0".to_vec()));
        for wrong in [&[0b0000_0110][..], &[0b0000_0111, 0xff], &[0xff], &[0xff, 0xff, 0xff, 0xff], &[0b0000_0000, 0]] {
            // The last is `0` three times, and then a single zero.
            assert_eq!(decoded(wrong), Err(Malformed), "{wrong:?}");
        }
    }
}
