use super::*;
use crate::filter::sample::with_request;
use crate::filter::{Filter, Flow};

fn redirect() -> Redirect {
    Redirect { scheme: None, hostname: None, path: None, port: None, status: StatusCode::FOUND }
}

fn location(redirect: &Redirect, secure: bool, port: Option<u16>) -> String {
    let (reply, _) = with_request("Prefix /old", "/old/x", Some("q=1"), |parts, matched| {
        parts.secure = secure;
        parts.port = port;
        redirect.reply(parts, matched)
    });
    assert_eq!((reply.status, reply.reason), (redirect.status, ReplyReason::Redirect));
    let [(name, location)] = &reply.headers[..] else { panic!("{reply:?}") };
    assert_eq!(name, header::LOCATION);
    location.to_str().unwrap().to_owned()
}

/// Gateway API, `HTTPRequestRedirectFilter.port`: the port given; else that of the scheme given; else the listener's. The
/// usual port of the scheme is not written.
#[test]
fn the_port_follows_the_scheme() {
    let https = || Some(Scheme::HTTPS);
    let http = || Some(Scheme::HTTP);
    for (scheme, port, secure, listener, expected) in [
        (None, None, false, None, "http://shop.example.com/old/x?q=1"),
        (None, None, false, Some(80), "http://shop.example.com/old/x?q=1"),
        (None, None, false, Some(8080), "http://shop.example.com:8080/old/x?q=1"),
        (None, None, true, Some(443), "https://shop.example.com/old/x?q=1"),
        (None, None, true, Some(8443), "https://shop.example.com:8443/old/x?q=1"),
        (https(), None, false, Some(8080), "https://shop.example.com/old/x?q=1"),
        (http(), None, true, Some(8443), "http://shop.example.com/old/x?q=1"),
        (https(), Some(443), false, None, "https://shop.example.com/old/x?q=1"),
        (https(), Some(8443), false, None, "https://shop.example.com:8443/old/x?q=1"),
        (http(), Some(443), false, None, "http://shop.example.com:443/old/x?q=1"),
        (None, Some(80), false, Some(8080), "http://shop.example.com/old/x?q=1"),
        (None, Some(80), true, None, "https://shop.example.com:80/old/x?q=1"),
    ] {
        let redirect = Redirect { scheme: scheme.clone(), port, ..redirect() };
        assert_eq!(location(&redirect, secure, listener), expected, "{scheme:?} {port:?} {secure} {listener:?}");
    }
}

#[test]
fn host_and_path_are_replaced_and_the_query_goes_along() {
    let to = |path| Redirect { path: Some(path), ..redirect() };
    let host = Redirect { hostname: Some("www.example.com".into()), ..redirect() };
    assert_eq!(location(&host, false, Some(8080)), "http://www.example.com:8080/old/x?q=1");
    let full = to(PathRewrite::parse_full("/new").unwrap());
    assert_eq!(location(&full, false, None), "http://shop.example.com/new?q=1");
    let prefix = to(PathRewrite::parse_prefix("/new/").unwrap());
    assert_eq!(location(&prefix, false, None), "http://shop.example.com/new/x?q=1");
    let template = to(PathRewrite::parse_template("/v2/:id", &["id"]).unwrap());
    let (reply, _) =
        with_request("Template /old/:id", "/old/42", None, |parts, matched| template.reply(parts, matched));
    assert_eq!(reply.headers[0].1, "http://shop.example.com:8080/v2/42");
    let (reply, _) = with_request("Prefix /old", "/old", None, |parts, matched| {
        parts.host = "";
        redirect().reply(parts, matched)
    });
    assert_eq!(reply.headers[0].1, "/old");
    let broken = to(PathRewrite::Prefix("/..;".into()));
    let (reply, _) = with_request("Prefix /old", "/old", None, |parts, matched| broken.reply(parts, matched));
    assert_eq!((reply.status, reply.reason), (StatusCode::BAD_REQUEST, ReplyReason::BadPath));
}

#[test]
fn only_statuses_that_clients_follow_are_redirects() {
    let known: Vec<u16> = (0..1000).filter(|code| Redirect::status(*code).is_some()).collect();
    assert_eq!(known, [301, 302, 303, 307, 308]);
}

#[test]
fn a_fixed_response_shares_its_body() {
    let response = DirectResponse {
        status: StatusCode::SERVICE_UNAVAILABLE,
        content_type: Some(HeaderValue::from_static("text/plain")),
        body: Bytes::from_static(b"Back soon"),
    };
    let filter = Filter::Respond(response.clone());
    let (flow, _) = with_request("Prefix /", "/", None, |parts, matched| filter.on_request(parts, matched));
    let Flow::Respond(reply) = flow else { panic!("{flow:?}") };
    assert_eq!((reply.status, reply.reason), (StatusCode::SERVICE_UNAVAILABLE, ReplyReason::DirectResponse));
    assert_eq!(reply.headers, [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
    assert_eq!(reply.body.as_ptr(), response.body.as_ptr());
    assert_eq!(filter.to_string(), "DirectResponse: 503 text/plain, 9 bytes");
}

#[test]
fn a_refused_rule_answers_for_itself() {
    let filter = Filter::Refuse(StatusCode::INTERNAL_SERVER_ERROR);
    let (flow, _) = with_request("Prefix /", "/", None, |parts, matched| filter.on_request(parts, matched));
    let Flow::Respond(reply) = flow else { panic!("{flow:?}") };
    assert_eq!((reply.status, reply.reason), (StatusCode::INTERNAL_SERVER_ERROR, ReplyReason::Refused));
    assert!(reply.headers.is_empty() && reply.body.is_empty());
}

#[test]
fn redirects_are_described_by_what_they_change() {
    assert_eq!(redirect().to_string(), "302");
    let all = Redirect {
        scheme: Some(Scheme::HTTPS),
        hostname: Some("www.example.com".into()),
        path: Some(PathRewrite::parse_prefix("").unwrap()),
        port: Some(8443),
        status: StatusCode::MOVED_PERMANENTLY,
    };
    assert_eq!(
        Filter::Redirect(all).to_string(),
        "RequestRedirect: 301 with scheme to https; host to www.example.com; port to 8443; path without its prefix"
    );
}
