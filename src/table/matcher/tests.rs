use super::*;

/// A request from its method, its query and its header lines.
struct Request {
    method: Method,
    query: Option<&'static str>,
    headers: HeaderMap,
}

fn request(method: Method, query: &'static str, lines: &[(&'static str, &'static str)]) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    Request { method, query: (!query.is_empty()).then_some(query), headers }
}

fn exact(text: &str) -> ValueMatch {
    ValueMatch::Exact(text.into())
}

fn expression(text: &str) -> ValueMatch {
    ValueMatch::parse_regular_expression(text).unwrap()
}

fn header(name: &'static str, value: ValueMatch) -> Matcher {
    Matcher { headers: [HeaderMatch { name: HeaderName::from_static(name), value }].into(), ..Matcher::default() }
}

fn query(name: &str, value: ValueMatch) -> Matcher {
    Matcher { queries: [QueryMatch { name: name.into(), value }].into(), ..Matcher::default() }
}

#[track_caller]
fn check(matcher: &Matcher, request: &Request, reason: Option<&str>) {
    let Request { method, query, headers } = request;
    let head = RequestHead { method, path: "/", query: *query, headers, secure: false };
    assert_eq!(matcher.reject_reason(&head).as_deref(), reason);
    assert_eq!(matcher.accepts(&head), reason.is_none());
}

#[test]
fn conditions_hold_or_say_why_not() {
    let plain = request(Method::GET, "", &[]);
    check(&Matcher::default(), &plain, None);
    let post = Matcher { method: Some(Method::POST), ..Matcher::default() };
    check(&post, &request(Method::POST, "", &[]), None);
    check(&post, &plain, Some("method: wanted POST, request has GET"));

    let version = header("x-api-version", exact("2"));
    check(&version, &request(Method::GET, "", &[("x-api-version", "2")]), None);
    check(&version, &plain, Some("header X-Api-Version: wanted \"2\", request has none"));
    let other = request(Method::GET, "", &[("x-api-version", "1")]);
    check(&version, &other, Some("header X-Api-Version: wanted \"2\", request has \"1\""));
    check(&header("x-api-version", ValueMatch::Present), &other, None);
    check(&header("x-api-version", expression("^[0-9]$")), &other, None);
    let mobile = header("user-agent", expression("^mobile/"));
    let desktop = request(Method::GET, "", &[("user-agent", "desktop/1 mobile/2")]);
    check(&mobile, &desktop, Some("header User-Agent: wanted /^mobile//, request has \"desktop/1 mobile/2\""));

    let expand = query("expand", ValueMatch::Present);
    check(&expand, &request(Method::GET, "a=1&expand", &[]), None);
    check(&expand, &plain, Some("query parameter expand: wanted any value, request has none"));
    let name = query("full name", exact("Ann Lee"));
    check(&name, &request(Method::GET, "full+name=Ann%20Lee", &[]), None);
    check(
        &name,
        &request(Method::GET, "full%20name=Bob&full+name=Ann+Lee", &[]),
        Some("query parameter full name: wanted \"Ann Lee\", request has \"Bob\""),
    );
    check(&query("q", expression("^a b$")), &request(Method::GET, "q=a+b", &[]), None);
}

/// RFC 9110 5.3, and RFC 9113 8.2.3 for cookies.
#[test]
fn several_values_are_taken_as_one() {
    let twice =
        request(Method::GET, "", &[("x-a", "1"), ("x-a", "2"), ("x-a", "3"), ("cookie", "a=1"), ("cookie", "b=2")]);
    check(&header("x-a", exact("1,2,3")), &twice, None);
    check(&header("x-a", exact("1")), &twice, Some("header X-A: wanted \"1\", request has \"1,2,3\""));
    check(&header("x-a", expression("^1,2,3$")), &twice, None);
    check(&header("cookie", exact("a=1; b=2")), &twice, None);
}

#[test]
fn bytes_beyond_utf_8_neither_match_nor_break() {
    let odd = Request {
        headers: HeaderMap::from_iter([(HeaderName::from_static("x-a"), HeaderValue::from_bytes(b"a\xFF").unwrap())]),
        ..request(Method::GET, "q=%FF", &[])
    };
    check(&header("x-a", exact("a")), &odd, Some("header X-A: wanted \"a\", request has \"a\u{FFFD}\""));
    check(&header("x-a", expression("^a")), &odd, None);
    check(&query("q", exact("a")), &odd, Some("query parameter q: wanted \"a\", request has \"\u{FFFD}\""));
}

#[test]
fn conditions_are_described_in_the_order_of_their_checks() {
    let all = Matcher {
        path: Some(Box::new(Regex::new("^/a").unwrap())),
        method: Some(Method::GET),
        headers: [HeaderMatch { name: HeaderName::from_static("x-api-version"), value: exact("2") }].into(),
        queries: [
            QueryMatch { name: "a".into(), value: ValueMatch::Present },
            QueryMatch { name: "b".into(), value: expression("^x") },
        ]
        .into(),
    };
    assert_eq!(
        all.to_string(),
        "path /^/a/, GET, header X-Api-Version: \"2\", query parameter a: any value, query parameter b: /^x/"
    );
    assert_eq!(Matcher::default().to_string(), "");
    assert!(Matcher::default().is_empty() && !all.is_empty());
}
