//! The key of a request that a consistent hash balances by.

use std::net::IpAddr;

use http::header::{self, HeaderMap};
use xxhash_rust::xxh3::xxh3_64;

use crate::path::Params;
use crate::table::{HashOn, query};

/// The hash of the request's key, the same on every replica; `None` when the request has no such thing, and then any
/// endpoint will do.
pub(super) fn key(
    on: &HashOn,
    ip: IpAddr,
    headers: &HeaderMap,
    query_string: Option<&str>,
    params: &Params<'_>,
) -> Option<u64> {
    match on {
        HashOn::ClientIp => Some(match ip.to_canonical() {
            IpAddr::V4(ip) => xxh3_64(&ip.octets()),
            IpAddr::V6(ip) => xxh3_64(&ip.octets()),
        }),
        HashOn::Header(name) => headers.get(name).map(|value| xxh3_64(value.as_bytes())),
        HashOn::Cookie(name) => cookie(headers, name).map(xxh3_64),
        HashOn::QueryParam(name) => query::first(query_string, name).map(|value| xxh3_64(value.as_bytes())),
        HashOn::PathParam(name) => params.get(name).map(|value| xxh3_64(value.as_bytes())),
    }
}

/// The first cookie of that name (RFC 6265 4.2.1).
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .find_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "ab=1; a=2".parse().unwrap());
        headers.append(header::COOKIE, "c=3".parse().unwrap());
        assert_eq!(cookie(&headers, "a"), Some(b"2".as_slice()));
        assert_eq!(cookie(&headers, "c"), Some(b"3".as_slice()));
        assert_eq!(cookie(&headers, "b"), None);
    }
}
