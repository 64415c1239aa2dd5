use http::StatusCode;

use super::*;
use crate::filter::sample::with_request;
use crate::filter::{Filter, ReplyReason, Rewritten};

fn rewritten(path: PathRewrite, declared: &str, request: &str) -> Option<String> {
    let filter = Filter::Rewrite(Rewrite { hostname: None, path: Some(path) });
    let (flow, rewritten) =
        with_request(declared, request, Some("q=1"), |parts, matched| filter.on_request(parts, matched));
    match flow {
        Flow::Continue => Some(rewritten.path.unwrap()),
        Flow::Respond(reply) => {
            assert_eq!((reply.status, reply.reason), (StatusCode::BAD_REQUEST, ReplyReason::BadPath));
            assert_eq!(rewritten, Rewritten::default());
            None
        }
    }
}

/// The table of `HTTPPathModifier.replacePrefixMatch` in the Gateway API reference, and what it leaves open.
#[test]
fn prefixes_are_replaced_as_httproute_says() {
    for (request, prefix, replacement, expected) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo", "/foo/", "/xyz/", "/xyz"),
        ("/bar", "/", "/xyz", "/xyz/bar"),
        ("/", "/", "/xyz", "/xyz/"),
        ("/bar/", "/", "/", "/bar/"),
        ("/caf%C3%A9/x", "/caf%c3%a9", "/th%c3%a9", "/th%C3%A9/x"),
    ] {
        let rewrite = PathRewrite::parse_prefix(replacement).unwrap();
        let made = rewritten(rewrite, &format!("Prefix {prefix}"), request);
        assert_eq!(made.as_deref(), Some(expected), "{request}: {prefix} by {replacement}");
    }
}

#[test]
fn paths_are_replaced_in_full_or_by_template() {
    let full = PathRewrite::parse_full("/a%7e/").unwrap();
    assert_eq!(rewritten(full, "Prefix /", "/x/y").as_deref(), Some("/a~/"));
    let template = PathRewrite::parse_template("/v2/:id/*rest", &["id", "rest"]).unwrap();
    assert_eq!(rewritten(template, "Template /orders/:id/*rest", "/orders/42/").as_deref(), Some("/v2/42/"));
}

/// No declared path makes one, since parameters hold no dot segments; whatever would is refused.
#[test]
fn a_result_that_is_not_a_path_is_refused() {
    let outside = PathRewrite::Prefix("/a/..;".into());
    assert_eq!(rewritten(outside, "Prefix /x", "/x/y"), None);
    let climbing = PathRewrite::Prefix("/a/..".into());
    assert_eq!(rewritten(climbing, "Prefix /x", "/x/y").as_deref(), Some("/y"), "normalised again");
}

#[test]
fn the_host_is_replaced_beside_the_path() {
    let filter = Filter::Rewrite(Rewrite {
        hostname: Some(HeaderValue::from_static("orders.internal")),
        path: Some(PathRewrite::parse_full("/new").unwrap()),
    });
    let (_, rewritten) = with_request("Prefix /", "/old", None, |parts, matched| {
        assert!(matches!(filter.on_request(parts, matched), Flow::Continue));
    });
    let host = Some(HeaderValue::from_static("orders.internal"));
    assert_eq!(rewritten, Rewritten { path: Some("/new".into()), host });
    assert_eq!(filter.to_string(), "URLRewrite: host to orders.internal; path to /new");
}

#[test]
fn replacements_are_checked_like_paths() {
    for (declared, wrong) in [
        ("xyz", "`xyz` does not begin with `/`"),
        ("/a?b", "`/a?b` has a `?`"),
        ("/a/../b", "`/a/../b` has a dot segment"),
    ] {
        for error in [
            PathRewrite::parse_full(declared),
            PathRewrite::parse_prefix(declared),
            PathRewrite::parse_template(declared, &[]),
        ] {
            assert_eq!(error.unwrap_err().to_string(), wrong);
        }
    }
}
