//! Cookies as they stand in a request.

use http::header::{self, HeaderMap};

/// The first cookie of that name (RFC 6265 4.2.1).
pub fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
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
        assert_eq!(first(&headers, "a"), Some(b"2".as_slice()));
        assert_eq!(first(&headers, "c"), Some(b"3".as_slice()));
        assert_eq!(first(&headers, "b"), None);
    }
}
