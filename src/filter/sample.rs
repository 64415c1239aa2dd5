//! Requests that tests begin with.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::{Matched, RequestParts, Rewritten};
use crate::table::{HostRouter, RequestHead, sample};

/// Lets `act` see `http://shop.example.com:8080PATH?QUERY`, matched by a declaration such as `Prefix /a`, as a filter
/// does; gives back what it says and what was rewritten.
pub(super) fn with_request<T>(
    declared: &str,
    path: &str,
    query: Option<&str>,
    act: impl FnOnce(&mut RequestParts<'_>, &Matched<'_>) -> T,
) -> (T, Rewritten) {
    let router = Arc::new(HostRouter::new(vec![sample::entry(sample::path(declared))]));
    let mut headers = HeaderMap::new();
    let empty = HeaderMap::new();
    let head = RequestHead { method: &Method::GET, path, query, headers: &empty, secure: false };
    let found = router.find(&head).unwrap();
    let mut rewritten = Rewritten::default();
    let mut parts = RequestParts {
        headers: &mut headers,
        secure: false,
        host: "shop.example.com",
        port: Some(8080),
        path,
        query,
        rewritten: &mut rewritten,
    };
    let said = act(&mut parts, &Matched { params: found.params, prefix: found.prefix });
    (said, rewritten)
}
