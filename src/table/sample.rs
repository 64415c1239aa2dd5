//! Routes, entries and requests that tests begin with.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::{
    Access, Backends, Entry, Listeners, Matcher, Observe, PathMatch, Precedence, RequestHead, Route, RouteId, Timeouts,
};
use crate::slot::Slots;

/// A route of `GatewayRoute shop/NAME` that answers everywhere and does nothing.
pub(crate) fn route(name: &str) -> Route {
    Route {
        id: RouteId { kind: "GatewayRoute", namespace: "shop".into(), name: name.into(), rule: "0".into() },
        slot: Slots::default().allocate(),
        listeners: Listeners::ALL,
        https_redirect: false,
        access: Access::default(),
        limits: None,
        requirement: None,
        filters: Box::default(),
        mirrors: Box::default(),
        error_pages: None,
        backends: Backends::default(),
        hash_on: None,
        timeouts: Timeouts::default(),
        retry: None,
        compression: None,
        observe: Observe::default(),
        session: None,
    }
}

/// The first match of the first rule of an object of the year 1970.
pub(crate) fn precedence(created: i64, name: &str) -> Precedence {
    Precedence { created, kind: 0, namespace: "shop".into(), name: name.into(), rule: 0, index: 0 }
}

/// A match without conditions, with the path's declaration as the route's name.
pub(crate) fn entry(path: PathMatch) -> Entry {
    let name = path.to_string();
    Entry { path, matcher: Matcher::default(), precedence: precedence(0, &name), route: Arc::new(route(&name)) }
}

/// A path condition from `Prefix /a`, `Exact /a`, `Template /:id`, `RegularExpression ^/a` or `Fallback`.
pub(crate) fn path(declared: &str) -> PathMatch {
    match declared.split_once(' ').unwrap_or((declared, "")) {
        ("Exact", text) => PathMatch::parse_exact(text).unwrap(),
        ("Prefix", text) => PathMatch::parse_prefix(text).unwrap(),
        ("Template", text) => PathMatch::parse_template(text).unwrap(),
        ("RegularExpression", text) => PathMatch::parse_regular_expression(text).unwrap(),
        ("Fallback", "") => PathMatch::fallback(),
        _ => panic!("{declared}"),
    }
}

/// A clear GET.
pub(crate) fn get<'p, 'h>(path: &'p str, headers: &'h HeaderMap) -> RequestHead<'p, 'h> {
    RequestHead { method: &Method::GET, path, query: None, headers, secure: false }
}
