use proptest::prelude::*;

use super::*;

#[test]
fn paths_are_brought_into_one_spelling() {
    for (raw, normal) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("//", "/"),
        ("//a///b//", "/a/b/"),
        ("/%61%7e%2D%5f", "/a~-_"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/caf%C3%A9", "/caf%C3%A9"),
        ("/%E4", "/%E4"),
        ("/.", "/"),
        ("/./", "/"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("/a/.", "/a/"),
        ("/a/./b", "/a/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../c", "/a/c"),
        ("/a/b/%2e%2E/c", "/a/c"),
        ("/a/.%2e/b", "/b"),
        ("/a//../b", "/b"),
        ("/a/b/../../../c", "/c"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/..a/.b", "/..a/.b"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a.;x", "/a.;x"),
        ("/!$&'()*+,;=:@", "/!$&'()*+,;=:@"),
        ("/a|b", "/a%7Cb"),
        ("/a%7cb", "/a%7Cb"),
        ("/{id}", "/%7Bid%7D"),
        ("/\"<>[]^`", "/%22%3C%3E%5B%5D%5E%60"),
        ("/%252e%252e/a", "/%252e%252e/a"),
        ("/%3F%23%20", "/%3F%23%20"),
    ] {
        assert_eq!(normalise(raw, false).as_deref(), Ok(normal), "{raw}");
        assert_eq!(normalise(raw, true).as_deref(), Ok(normal), "{raw}");
    }
}

#[test]
fn paths_with_two_readings_are_refused() {
    for (raw, error) in [
        ("", PathError::NotAbsolute),
        ("*", PathError::NotAbsolute),
        ("a/b", PathError::NotAbsolute),
        ("/%", PathError::BadEncoding),
        ("/%4", PathError::BadEncoding),
        ("/%4g", PathError::BadEncoding),
        ("/%u0041", PathError::BadEncoding),
        ("/a%2fb", PathError::EncodedSlash),
        ("/a%2Fb", PathError::EncodedSlash),
        ("/a\\b", PathError::Backslash),
        ("/a%5cb", PathError::Backslash),
        ("/a%00", PathError::Nul),
        ("/a#b", PathError::Byte(b'#')),
        ("/a?b", PathError::Byte(b'?')),
        ("/a b", PathError::Byte(b' ')),
        ("/a\tb", PathError::Byte(b'\t')),
        ("/a\x7f", PathError::Byte(0x7F)),
        ("/é", PathError::Byte(0xC3)),
        ("/%c0%ae%c0%ae/a", PathError::Overlong),
        ("/%C1%9C", PathError::Overlong),
        ("/a/..;/b", PathError::DisguisedDots),
        ("/a/.;x=1/b", PathError::DisguisedDots),
        ("/a/%2e%2e;x", PathError::DisguisedDots),
        // A refusal at the end counts, however early the path has turned out to need repair.
        ("//a/%5C", PathError::Backslash),
    ] {
        assert_eq!(normalise(raw, false), Err(error), "{raw}");
    }
}

#[test]
fn encoded_slashes_pass_where_they_are_allowed_but_not_around_dots() {
    assert_eq!(normalise("/a%2fb", true).as_deref(), Ok("/a%2Fb"));
    assert_eq!(normalise("/a%2F%2Fb/", true), Ok(Cow::Borrowed("/a%2F%2Fb/")));
    assert_eq!(normalise("/a%2F.b", true), Ok(Cow::Borrowed("/a%2F.b")));
    for raw in ["/a/..%2fb", "/a%2F..", "/a%2F../b", "/a%2F%2e%2e%2Fb", "/a%2F.", "/.%2fa", "/x%2F..;y"] {
        assert_eq!(normalise(raw, true), Err(PathError::DisguisedDots), "{raw}");
    }
}

/// Pieces that paths with two readings are made of.
fn raw_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "/", ".", "..", "//", "/./", "/../", "%2e", "%2E", "%2f", "%2F", "%5c", "%00", "%c3%A9", "%c0", "%ae", "%25",
            "%7e", "%", ";", ";a=b", "\\", "a", "admin", "A", "|", "{", "é", "~", "+", ":", " ",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,4}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// The laws, written down apart from the code: what a normalised path never has.
fn check_normal(path: &str) -> Result<(), TestCaseError> {
    prop_assert!(path.starts_with('/'));
    prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
    prop_assert!(!path.contains(['#', '?', '\\', '"', '<', '>', '[', ']', '^', '`', '{', '|', '}']), "{path}");
    prop_assert!(!path.contains("//"), "{path}");
    for segment in path.split('/') {
        let stem = segment.split(';').next().unwrap();
        prop_assert!(stem != "." && stem != "..", "{path}");
        for part in segment.split("%2F") {
            prop_assert!(part != "." && part != "..", "{path}");
        }
    }
    for (at, _) in path.match_indices('%') {
        let digits = &path[at + 1..at + 3];
        prop_assert_eq!(digits.to_ascii_uppercase(), digits);
        let byte = u8::from_str_radix(digits, 16).unwrap();
        prop_assert!(!byte.is_ascii_alphanumeric() && !b"-._~\\\0".contains(&byte), "{}", path);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_normal_path_is_a_fixed_point_and_has_one_reading(raw in raw_path(), slashes: bool) {
        let Ok(normal) = normalise(&raw, slashes) else { return Ok(()) };
        check_normal(&normal)?;
        prop_assert_eq!(matches!(normal, Cow::Borrowed(_)), *normal == raw, "borrowed exactly if unchanged");
        prop_assert_eq!(normalise(&normal, slashes), Ok(Cow::Borrowed(&*normal)));
        prop_assert!(slashes || !normal.contains("%2F"));
        prop_assert_eq!(normalise(&raw, true), Ok(normal.clone()), "letting more through changes nothing else");
    }

    #[test]
    fn a_plain_path_is_borrowed(raw in "(/[a-zA-Z0-9_~!$&'()*+,=:@-]{1,8}){0,6}/?") {
        prop_assume!(!raw.is_empty());
        prop_assert_eq!(normalise(&raw, false), Ok(Cow::Borrowed(&*raw)));
    }
}
