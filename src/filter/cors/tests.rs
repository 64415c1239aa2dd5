use super::*;

fn origins(declared: &[&str]) -> Origins {
    Origins::These(declared.iter().map(|text| Origin::parse(text).unwrap()).collect())
}

fn cors(origins: Origins) -> Cors {
    Cors {
        origins,
        methods: Listed::these(["GET", "POST"]),
        headers: Listed::Nothing,
        exposed: Listed::Nothing,
        credentials: false,
        max_age: HeaderValue::from_static("5"),
    }
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn origins_match_by_scheme_host_and_port() {
    for (declared, matching, other) in [
        (
            "https://app.example.com",
            vec!["https://app.example.com", "https://APP.example.com", "https://app.example.com:443"],
            vec![
                "http://app.example.com",
                "https://app.example.com:8443",
                "https://app.example.com.evil.test",
                "https://evil.test#app.example.com",
                "https://app.example.com/",
                "https://user@app.example.com",
                "app.example.com",
                "null",
                "",
            ],
        ),
        (
            "https://*.example.com",
            vec!["https://a.example.com", "https://a.b.example.com"],
            vec![
                "https://example.com",
                "https://.example.com",
                "https://aexample.com",
                "http://a.example.com",
                "https://a.example.com:8443",
                "https://evil.test/.example.com",
                "https://evil.test:1.example.com",
                "https://evil.test?.example.com",
            ],
        ),
        ("http://*.example.com:8080", vec!["http://a.example.com:8080"], vec!["http://a.example.com"]),
        ("https://*", vec!["https://anything.test", "https://[::1]"], vec!["http://anything.test", "null"]),
        ("http://[::1]:3000", vec!["http://[::1]:3000"], vec!["http://[::1]", "http://[::2]:3000"]),
        ("capacitor://localhost", vec!["capacitor://localhost"], vec!["http://localhost"]),
    ] {
        let origin = Origin::parse(declared).unwrap();
        assert_eq!(origin.to_string(), declared);
        matching.iter().for_each(|sent| assert!(origin.matches(sent), "{declared} and {sent}"));
        other.iter().for_each(|sent| assert!(!origin.matches(sent), "{declared} and {sent}"));
    }
    for (declared, error) in [
        ("app.example.com", OriginError::Malformed),
        ("https://app.example.com/", OriginError::Malformed),
        ("https://", OriginError::Malformed),
        ("https://a:port", OriginError::Malformed),
        ("https://a:99999", OriginError::Malformed),
        ("https://a.*.com", OriginError::Star),
        ("https://*a.com", OriginError::Star),
        ("https://*.*.com", OriginError::Star),
        ("https://*.", OriginError::Star),
    ] {
        assert_eq!(Origin::parse(declared), Err(error), "{declared}");
    }
}

#[test]
fn a_preflight_request_is_told_what_is_allowed() {
    let mut cors = cors(origins(&["https://app.test"]));
    let asked = headers(&[
        ("origin", "https://app.test"),
        ("access-control-request-method", "DELETE"),
        ("access-control-request-headers", "authorization, x-a"),
    ]);
    assert_eq!(preflight(&Method::OPTIONS, &asked), Some(Method::DELETE));
    let said = |cors: &Cors, asked: &HeaderMap| -> HeaderMap {
        let reply = cors.answer(asked);
        assert_eq!((reply.status, reply.reason), (StatusCode::NO_CONTENT, ReplyReason::Preflight));
        reply.headers.into_iter().collect()
    };
    let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    let listed = [
        ("vary", vary),
        ("access-control-allow-origin", "https://app.test"),
        ("access-control-allow-methods", "GET, POST"),
        ("access-control-max-age", "5"),
    ];
    assert_eq!(said(&cors, &asked), headers(&listed));
    // Nobody else learns what is allowed.
    let other = headers(&[("origin", "https://evil.test"), ("access-control-request-method", "GET")]);
    assert_eq!(said(&cors, &other), headers(&[("vary", vary)]));

    cors.methods = Listed::Everything;
    cors.headers = Listed::Everything;
    cors.credentials = true;
    let echoed = [
        ("vary", vary),
        ("access-control-allow-origin", "https://app.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "DELETE"),
        ("access-control-allow-headers", "authorization, x-a"),
        ("access-control-max-age", "5"),
    ];
    assert_eq!(said(&cors, &asked), headers(&echoed));
}

#[test]
fn only_a_preflight_request_is_one() {
    let of = |method: Method, fields: &[(&'static str, &'static str)]| preflight(&method, &headers(fields));
    let (origin, asked) = (("origin", "https://a.test"), ("access-control-request-method", "GET"));
    assert_eq!(of(Method::OPTIONS, &[origin, asked]), Some(Method::GET));
    assert_eq!(of(Method::GET, &[origin, asked]), None);
    assert_eq!(of(Method::OPTIONS, &[asked]), None);
    assert_eq!(of(Method::OPTIONS, &[origin]), None);
    assert_eq!(of(Method::OPTIONS, &[origin, ("access-control-request-method", "not one")]), None);
}

#[test]
fn a_backends_own_words_are_replaced() {
    let backend = headers(&[
        ("access-control-allow-origin", "*"),
        ("access-control-allow-origin", "https://other.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-secret"),
        ("vary", "Accept, ORIGIN"),
        ("x-kept", "1"),
    ]);
    let mut cors = cors(origins(&["https://app.test"]));
    cors.exposed = Listed::these(["X-Kept"]);
    let answered = |cors: &Cors, origin: &'static str| {
        let mut response = backend.clone();
        let request = headers(if origin.is_empty() { &[] } else { &[("origin", "")] });
        let request: HeaderMap =
            request.into_iter().filter_map(|(name, _)| Some((name?, HeaderValue::from_static(origin)))).collect();
        cors.apply(cors.allowed(&request), &mut response);
        response
    };
    let silent = [("vary", "Accept, ORIGIN"), ("x-kept", "1")];
    for origin in ["", "https://evil.test", "null"] {
        assert_eq!(answered(&cors, origin), headers(&silent), "{origin}");
    }
    let mut told = headers(&silent);
    told.extend(headers(&[
        ("access-control-allow-origin", "https://app.test"),
        ("access-control-expose-headers", "X-Kept"),
    ]));
    assert_eq!(answered(&cors, "https://app.test"), told);
    // With credentials a star would be the name of a header.
    cors.credentials = true;
    cors.exposed = Listed::Everything;
    let mut told = headers(&silent);
    told.extend(headers(&[
        ("access-control-allow-origin", "https://app.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "vary, x-kept"),
    ]));
    assert_eq!(answered(&cors, "https://app.test"), told);
}

#[test]
fn an_answer_for_everybody_does_not_vary() {
    let cors = cors(Origins::Every);
    let mut response = HeaderMap::new();
    cors.apply(cors.allowed(&HeaderMap::new()), &mut response);
    assert_eq!(response, headers(&[("access-control-allow-origin", "*")]));
}

#[test]
fn two_origins_are_none() {
    let cors = cors(origins(&["https://app.test"]));
    let twice = headers(&[("origin", "https://app.test"), ("origin", "https://app.test")]);
    assert_eq!(cors.allowed(&twice), None);
}
