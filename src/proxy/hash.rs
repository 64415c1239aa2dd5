//! The key of a request that a consistent hash balances by.

use std::net::IpAddr;

use http::header::HeaderMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::auth::Claims;
use crate::path::Params;
use crate::table::{HashOn, cookie, query};

/// The hash of the request's key, the same on every replica; `None` when the request has no such thing, and then any
/// endpoint will do.
pub(super) fn key(
    on: &HashOn,
    ip: IpAddr,
    headers: &HeaderMap,
    query_string: Option<&str>,
    params: &Params<'_>,
    claims: Option<&Claims>,
) -> Option<u64> {
    match on {
        HashOn::ClientIp => Some(match ip.to_canonical() {
            IpAddr::V4(ip) => xxh3_64(&ip.octets()),
            IpAddr::V6(ip) => xxh3_64(&ip.octets()),
        }),
        HashOn::Header(name) => headers.get(name).map(|value| xxh3_64(value.as_bytes())),
        HashOn::Cookie(name) => cookie::first(headers, name).map(xxh3_64),
        HashOn::QueryParam(name) => query::first(query_string, name).map(|value| xxh3_64(value.as_bytes())),
        HashOn::PathParam(name) => params.get(name).map(|value| xxh3_64(value.as_bytes())),
        HashOn::JwtClaim(name) => claims.and_then(|claims| claims.get(name)).map(|value| xxh3_64(value.as_bytes())),
    }
}
