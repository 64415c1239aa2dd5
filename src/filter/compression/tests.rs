use super::*;

fn compression(codings: &[Coding]) -> Compression {
    Compression { codings: codings.into(), min_size: 1024, types: None }
}

fn all() -> Compression {
    compression(&[Coding::Zstd, Coding::Br, Coding::Gzip])
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn wish(accepted: &'static str) -> Wish {
    all().wish(&Method::GET, &headers(&[("accept-encoding", accepted)]))
}

#[test]
fn the_best_liked_coding_is_taken_and_the_routes_order_decides_among_equals() {
    for (accepted, expected) in [
        ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
        ("gzip, deflate, br", Some(Coding::Br)),
        ("gzip, deflate", Some(Coding::Gzip)),
        ("GZip ; Q=1.0", Some(Coding::Gzip)),
        ("x-gzip", Some(Coding::Gzip)),
        ("deflate", None),
        ("", None),
        ("identity", None),
        ("zstd;q=0.5, br;q=0.501, gzip;q=0.2", Some(Coding::Br)),
        ("zstd;q=0, br;q=0.0, gzip;q=0.001", Some(Coding::Gzip)),
        ("zstd;q=0, br;q=0.000, gzip;q=0.000", None),
        ("*", Some(Coding::Zstd)),
        ("zstd;q=0, *;q=0.3", Some(Coding::Br)),
        ("gzip, *;q=0", Some(Coding::Gzip)),
        // Whoever likes it plain better gets it plain.
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.5", Some(Coding::Gzip)),
        ("gzip;q=0.5, identity;q=0.6", None),
        // Nonsense is no consent.
        ("gzip;q=2", None),
        ("gzip;q=1.5", None),
        ("gzip;q=-1", None),
        ("gzip;q=high", None),
        ("gzip;level=1;q=0", None),
        (",, gzip ,", Some(Coding::Gzip)),
    ] {
        assert_eq!(wish(accepted).coding, expected, "{accepted:?}");
    }
    let two = headers(&[("accept-encoding", "br;q=0.1"), ("accept-encoding", "gzip")]);
    assert_eq!(all().wish(&Method::GET, &two).coding, Some(Coding::Gzip));
    assert_eq!(all().wish(&Method::GET, &HeaderMap::new()).coding, None);
    let gzip = compression(&[Coding::Gzip]);
    assert_eq!(gzip.wish(&Method::GET, &headers(&[("accept-encoding", "br, zstd")])).coding, None);
    let unchanged = headers(&[("accept-encoding", "gzip"), ("cache-control", "max-age=0, No-Transform")]);
    assert_eq!(gzip.wish(&Method::GET, &unchanged).coding, None);
}

#[test]
fn a_head_tells_that_its_body_is_compressed() {
    let mut response = headers(&[
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "5000"),
        ("accept-ranges", "bytes"),
        ("etag", "\"v1\""),
        ("vary", "Origin"),
    ]);
    let done = all().apply(wish("br"), StatusCode::OK, &mut response, |_| true);
    assert_eq!(done, Some(Coding::Br));
    let expected = headers(&[
        ("content-type", "text/html; charset=utf-8"),
        ("etag", "W/\"v1\""),
        ("vary", "Origin"),
        ("vary", "accept-encoding"),
        ("content-encoding", "br"),
    ]);
    assert_eq!(response, expected);
}

#[test]
fn a_weak_tag_stays_and_vary_is_not_said_twice() {
    for vary in ["Accept-Encoding", "*", "origin , ACCEPT-ENCODING"] {
        let mut response = headers(&[("content-type", "text/css"), ("etag", "W/\"v1\""), ("vary", vary)]);
        assert_eq!(all().apply(wish("br"), StatusCode::OK, &mut response, |_| true), Some(Coding::Br));
        assert_eq!(response.get_all("vary").iter().count(), 1, "{vary}");
        assert_eq!(response["etag"], "W/\"v1\"");
    }
}

#[test]
fn a_response_that_might_have_been_compressed_varies() {
    // For whoever does not accept it, for whoever asks for the head alone, and where there is no room.
    let plain = headers(&[("content-type", "text/html"), ("content-length", "5000"), ("etag", "\"v1\"")]);
    let head_only = all().wish(&Method::HEAD, &headers(&[("accept-encoding", "br")]));
    for (wish, room) in [(wish("deflate"), true), (wish("br"), false), (head_only, true)] {
        let mut response = plain.clone();
        assert_eq!(all().apply(wish, StatusCode::OK, &mut response, |_| room), None);
        let mut expected = plain.clone();
        expected.append("vary", HeaderValue::from_static("accept-encoding"));
        assert_eq!(response, expected);
    }
}

#[test]
fn everything_else_is_left_alone() {
    let html: (&str, &str) = ("content-type", "text/html");
    for (status, fields) in [
        (204, vec![html]),
        (205, vec![html]),
        (206, vec![html, ("content-range", "bytes 0-9/10")]),
        (416, vec![html, ("content-range", "bytes */10")]),
        (200, vec![html, ("content-encoding", "gzip")]),
        (200, vec![html, ("content-encoding", "identity")]),
        (200, vec![html, ("cache-control", "public, no-transform")]),
        (200, vec![html, ("content-digest", "sha-256=:abc=:")]),
        (200, vec![html, ("content-length", "1023")]),
        (200, vec![html, ("content-length", "0")]),
        (200, vec![("content-type", "image/png")]),
        (200, vec![("content-type", "text/event-stream; charset=utf-8")]),
        (200, vec![("content-type", "application/grpc")]),
        (200, vec![("content-type", "application/grpc-web+proto")]),
        (200, vec![]),
    ] {
        let before = headers(&fields);
        let mut after = before.clone();
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(all().apply(wish("gzip"), status, &mut after, |_| true), None, "{status} {before:?}");
        assert_eq!(after, before, "{status}");
    }
}

#[test]
fn who_refuses_it_plain_gets_it_compressed_whatever_its_size_and_type() {
    for accepted in ["gzip, identity;q=0", "gzip, *;q=0"] {
        let mut small = headers(&[("content-type", "image/png"), ("content-length", "10")]);
        assert_eq!(all().apply(wish(accepted), StatusCode::OK, &mut small, |_| true), Some(Coding::Gzip), "{accepted}");
        let mut events = headers(&[("content-type", "text/event-stream")]);
        assert_eq!(all().apply(wish(accepted), StatusCode::OK, &mut events, |_| true), None, "{accepted}");
    }
    // Nothing that it would take can be made.
    let mut small = headers(&[("content-type", "image/png"), ("content-length", "10")]);
    assert_eq!(all().apply(wish("deflate, identity;q=0"), StatusCode::OK, &mut small, |_| true), None);
}

#[test]
fn a_304_has_the_tag_that_the_client_knows() {
    let knows = |tag| all().wish(&Method::GET, &headers(&[("accept-encoding", "br"), ("if-none-match", tag)]));
    for (known, expected) in [("W/\"v1\"", "W/\"v1\""), ("\"v0\", W/\"v1\"", "W/\"v1\""), ("\"v1\"", "\"v1\"")] {
        let mut response = headers(&[("etag", "\"v1\"")]);
        assert_eq!(all().apply(knows(known), StatusCode::NOT_MODIFIED, &mut response, |_| true), None);
        assert_eq!(response, headers(&[("etag", expected), ("vary", "accept-encoding")]), "{known}");
    }
}

#[test]
fn media_types_are_named_alone_or_by_kind() {
    let types = ["Application/JSON; charset=utf-8", "text/*"].map(|text| MediaRange::parse(text).unwrap());
    let some = Compression { types: Some(types.into()), ..all() };
    for (media_type, expected) in [
        ("application/json", true),
        ("application/JSON", true),
        ("application/json2", false),
        ("application/problem+json", false),
        ("text/x-anything", true),
        ("texts/plain", false),
        ("text/event-stream", false),
    ] {
        let mut response = headers(&[("content-type", media_type)]);
        let done = some.apply(wish("br"), StatusCode::OK, &mut response, |_| true);
        assert_eq!(done.is_some(), expected, "{media_type}");
    }
    assert_eq!(some.to_string(), "Compression: zstd, br, gzip from 1024 bytes; application/json, text/*");
    assert_eq!(all().to_string(), "Compression: zstd, br, gzip from 1024 bytes; formats of text");
    for (declared, error) in [
        ("json", MediaRangeError::Malformed),
        ("*/*", MediaRangeError::Malformed),
        ("text/ht*", MediaRangeError::Malformed),
        ("/json", MediaRangeError::Malformed),
        ("text/event-stream", MediaRangeError::Never),
        ("application/grpc+proto", MediaRangeError::Never),
    ] {
        assert_eq!(MediaRange::parse(declared), Err(error), "{declared}");
    }
}

#[test]
fn text_is_compressed_without_being_named() {
    for (media_type, expected) in [
        ("text/plain", true),
        ("TEXT/CSS", true),
        ("application/vnd.api+json", true),
        ("application/rss+XML", true),
        ("application/wasm", true),
        ("application/json-seq", false),
        ("application/octet-stream", false),
        ("application/zip", false),
        ("image/svg+xml", true),
        ("image/jpeg", false),
        ("video/mp4", false),
        ("font/woff2", false),
        ("é", false),
    ] {
        assert_eq!(all().is_for(media_type), expected, "{media_type}");
    }
}
