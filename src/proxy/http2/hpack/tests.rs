use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::decoder::{Field, Scratch};
use super::*;
use crate::proxy::framing::kinds_of;

fn bytes(hexadecimal: &str) -> Bytes {
    let digits: String = hexadecimal.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn decode(decoder: &mut Decoder, block: &Bytes) -> Result<Vec<(Field, usize)>, Malformed> {
    let mut fields = Vec::new();
    decoder.decode(block, &mut Scratch::default(), |field, size| fields.push((field, size))).map(|()| fields)
}

fn plain(name: &'static str, value: &str) -> Field {
    let (name, kinds) = (HeaderName::from_static(name), kinds_of(name.as_bytes()));
    Field::Plain { name, value: HeaderValue::try_from(value).unwrap(), kinds }
}

/// RFC 7541 C.3 and C.4: three requests on one connection, without the Huffman code and with it.
#[test]
fn requests_of_the_rfc_are_what_it_says() {
    let authority = || Field::Authority(HeaderValue::from_static("www.example.com"));
    let first = vec![
        (Field::Method(Method::GET), 42),
        (Field::Scheme(Scheme::HTTP), 43),
        (Field::Path("/".parse().unwrap()), 38),
        (authority(), 57),
    ];
    let mut second = first.clone();
    second.push((plain("cache-control", "no-cache"), 53));
    let third = vec![
        (Field::Method(Method::GET), 42),
        (Field::Scheme(Scheme::HTTPS), 44),
        (Field::Path("/index.html".parse().unwrap()), 48),
        (authority(), 57),
        (plain("custom-key", "custom-value"), 54),
    ];
    for blocks in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ] {
        let mut decoder = Decoder::default();
        for (block, fields) in blocks.iter().zip([&first, &second, &third]) {
            assert_eq!(decode(&mut decoder, &bytes(block)).as_ref(), Ok(fields), "{block}");
        }
    }
}

#[test]
fn what_cannot_be_is_told_from_what_breaks_the_connection() {
    for (block, name) in [
        ("8e", "a status"),
        ("00 01 41 01 62", "capitals"),
        ("00 03 782061 01 62", "a space in a name"),
        ("00 00 01 62", "no name"),
        ("00 02 3a78 01 62", "an unknown pseudo-field"),
        ("00 01 61 03 620d0a", "a line end in a value"),
        ("44 00", "an empty path"),
    ] {
        let fields = decode(&mut Decoder::default(), &bytes(block)).unwrap();
        assert_eq!(fields.iter().map(|(field, _)| field).collect::<Vec<_>>(), [&Field::Malformed], "{name}");
    }
    for (block, name) in [
        ("80", "place 0"),
        ("be", "a place where nothing is"),
        ("ff ff ff ff 7f", "a large place"),
        ("ff ff ff ff ff 01", "a number without end"),
        ("7f", "half of a number"),
        ("00", "no name at all"),
        ("00 05 61", "half of a name"),
        ("00 01 61", "no value"),
        ("00 01 61 82 ff ff", "a value that is filled up with too much"),
        ("82 20", "a size after a field"),
        ("3f e2 1f", "a size over 4096"),
    ] {
        assert_eq!(decode(&mut Decoder::default(), &bytes(block)), Err(Malformed), "{name}");
    }
}

#[test]
fn the_oldest_makes_room_and_a_size_of_none_empties_the_table() {
    let mut decoder = Decoder::default();
    // Room for two of 34 bytes.
    let block = bytes("3f 2c 40 01 61 01 62  40 01 63 01 64  be bf");
    let (ab, cd) = (plain("a", "b"), plain("c", "d"));
    let fields = decode(&mut decoder, &block).unwrap();
    assert_eq!(fields, [(ab.clone(), 34), (cd.clone(), 34), (cd.clone(), 34), (ab, 34)]);
    decode(&mut decoder, &bytes("40 01 65 01 66")).unwrap();
    assert_eq!(decode(&mut decoder, &bytes("bf")), Ok(vec![(cd, 34)]));
    assert_eq!(decode(&mut decoder, &bytes("c0")), Err(Malformed));
    assert_eq!(decode(&mut decoder, &bytes("20")), Ok(vec![]));
    assert_eq!(decode(&mut decoder, &bytes("be")), Err(Malformed));
    // What is larger than the table is a field all the same.
    assert_eq!(decode(&mut decoder, &bytes("40 01 61 01 62")), Ok(vec![(plain("a", "b"), 34)]));
    assert_eq!(decode(&mut decoder, &bytes("be")), Err(Malformed));
}

#[test]
fn what_comes_again_is_remembered_and_what_is_secret_never() {
    let (mut encoder, mut lengths) = (Encoder::default(), Vec::new());
    let name = HeaderName::from_static("content-type");
    let mut secret = HeaderValue::from_static("text/plain");
    secret.set_sensitive(true);
    for value in [&HeaderValue::from_static("text/plain"), &secret] {
        for _ in 0..4 {
            let mut block = Vec::new();
            encoder.field(&mut block, &name, value);
            lengths.push((block.len(), block[0] >> 4));
        }
    }
    // As it is, then to be remembered, then by its place; the last ones never (RFC 7541 6.2.3).
    assert_eq!(lengths[..4], [(13, 0), (12, 5), (1, 11), (1, 11)]);
    assert_eq!(lengths[4..], [(13, 1); 4]);
}

fn field() -> impl Strategy<Value = (&'static str, String)> {
    let names = vec!["content-type", "date", "x-a", "set-cookie", "etag", "x_b", "content-length"];
    (prop::sample::select(names), prop_oneof![3 => "[a-d]", 1 => "[ -~]{0,40}", 1 => "[a-b]{300}"])
}

proptest! {
    /// Whatever the other side says that it remembers, and whenever it says so.
    #[test]
    fn what_is_written_is_what_is_read(
        blocks in prop::collection::vec((prop::option::of(0usize..5000), prop::collection::vec((field(), any::<bool>()), 0..20)), 1..30),
    ) {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for (limit, fields) in blocks {
            if let Some(limit) = limit {
                encoder.set_limit(limit);
            }
            let (mut block, mut written) = (Vec::new(), Vec::new());
            encoder.begin(&mut block);
            for ((name, value), sensitive) in fields {
                let field = plain(name, &value);
                let mut value = HeaderValue::try_from(value).unwrap();
                value.set_sensitive(sensitive);
                encoder.field(&mut block, &HeaderName::from_static(name), &value);
                written.push(field);
            }
            let read = decode(&mut decoder, &block.into()).unwrap();
            prop_assert_eq!(read.into_iter().map(|(field, _)| field).collect::<Vec<_>>(), written);
        }
    }

    /// Nothing that comes does harm.
    #[test]
    fn whatever_comes_is_read_or_refused(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8)) {
        let mut decoder = Decoder::default();
        for block in blocks {
            if let Ok(fields) = decode(&mut decoder, &block.into()) {
                prop_assert!(fields.iter().all(|(_, size)| *size >= ENTRY));
            }
        }
    }
}
