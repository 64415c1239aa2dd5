//! What a head says, as the rest of the proxy reads it.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Uri, Version};

use crate::proxy::framing::{Head, Received, Refusal, UNKNOWN_TARGET};

/// So many fields are added on the way to an endpoint; a map that is too small for them would be made anew.
const ADDED: usize = 8;

/// A request without its body.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) parts: Box<Parts>,
    /// There is a body.
    pub(super) has_body: bool,
    /// What else its head has shown.
    pub(super) received: Received,
    /// The connection may be used for another one.
    pub(super) persistent: bool,
    /// Trailers may come after the answer.
    pub(super) takes_trailers: bool,
}

impl Request {
    /// What stands in for one that is refused, in parts that say nothing.
    pub(super) fn refused(mut parts: Box<Parts>, refusal: Refusal) -> Self {
        parts.uri = Uri::from_static(UNKNOWN_TARGET);
        let received = Received { refusal: Some(refusal), ..Received::default() };
        Self { parts, has_body: false, received, persistent: false, takes_trailers: false }
    }
}

/// Makes the parts of a head that has been found sound, in cleared ones; they share its bytes. Where they are, they stay:
/// they are large, and every hand they went through would copy them.
pub(super) fn fill(parts: &mut Parts, bytes: &Bytes, head: &Head) -> Result<(), Refusal> {
    let headers = &mut parts.headers;
    headers.reserve(head.fields().len() + ADDED);
    for (name, value) in head.fields() {
        let name = bytes.get(name.range()).and_then(name_of).ok_or(Refusal::Field)?;
        let value = value.range();
        let value = if value.is_empty() { Bytes::new() } else { part(bytes, value).ok_or(Refusal::Field)? };
        headers.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| Refusal::Field)?);
    }
    let method = bytes.get(head.method().range()).and_then(|method| Method::from_bytes(method).ok());
    let target = part(bytes, head.target().range());
    parts.method = method.ok_or(Refusal::RequestLine)?;
    parts.uri = target.and_then(|target| Uri::from_maybe_shared(target).ok()).ok_or(Refusal::Target)?;
    parts.version = if head.is_http10() { Version::HTTP_10 } else { Version::HTTP_11 };
    Ok(())
}

fn part(bytes: &Bytes, range: std::ops::Range<usize>) -> Option<Bytes> {
    (range.end <= bytes.len() && range.start <= range.end).then(|| bytes.slice(range))
}

/// The name that is written so. Those that most requests are made of are compared, which is cheaper than parsing, and
/// those of them that `http` does not know would be copied.
pub(in crate::proxy) fn name_of(name: &[u8]) -> Option<HeaderName> {
    const PRIORITY: HeaderName = HeaderName::from_static("priority");
    const SEC_CH_UA: HeaderName = HeaderName::from_static("sec-ch-ua");
    const SEC_CH_UA_MOBILE: HeaderName = HeaderName::from_static("sec-ch-ua-mobile");
    const SEC_CH_UA_PLATFORM: HeaderName = HeaderName::from_static("sec-ch-ua-platform");
    const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
    const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
    const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    const SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");
    const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
    const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
    const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
    const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
    const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    // The length first, so that a name is compared with a few others and not with all.
    Some(match (name.len(), name) {
        (4, b"Host" | b"host") => header::HOST,
        (6, b"Accept" | b"accept") => header::ACCEPT,
        (6, b"Cookie" | b"cookie") => header::COOKIE,
        (6, b"Origin" | b"origin") => header::ORIGIN,
        (7, b"Referer" | b"referer") => header::REFERER,
        (8, b"Priority" | b"priority") => PRIORITY,
        (9, b"Sec-CH-UA" | b"sec-ch-ua") => SEC_CH_UA,
        (9, b"X-Real-IP" | b"X-Real-Ip" | b"x-real-ip") => X_REAL_IP,
        (10, b"Connection" | b"connection") => header::CONNECTION,
        (10, b"User-Agent" | b"user-agent") => header::USER_AGENT,
        (10, b"Tracestate" | b"tracestate") => TRACESTATE,
        (11, b"Traceparent" | b"traceparent") => TRACEPARENT,
        (12, b"Content-Type" | b"content-type") => header::CONTENT_TYPE,
        (12, b"X-Request-ID" | b"X-Request-Id" | b"x-request-id") => X_REQUEST_ID,
        (13, b"Authorization" | b"authorization") => header::AUTHORIZATION,
        (13, b"Cache-Control" | b"cache-control") => header::CACHE_CONTROL,
        (14, b"Content-Length" | b"content-length") => header::CONTENT_LENGTH,
        (14, b"Sec-Fetch-Dest" | b"sec-fetch-dest") => SEC_FETCH_DEST,
        (14, b"Sec-Fetch-Mode" | b"sec-fetch-mode") => SEC_FETCH_MODE,
        (14, b"Sec-Fetch-Site" | b"sec-fetch-site") => SEC_FETCH_SITE,
        (14, b"Sec-Fetch-User" | b"sec-fetch-user") => SEC_FETCH_USER,
        (15, b"Accept-Encoding" | b"accept-encoding") => header::ACCEPT_ENCODING,
        (15, b"Accept-Language" | b"accept-language") => header::ACCEPT_LANGUAGE,
        (15, b"X-Forwarded-For" | b"x-forwarded-for") => X_FORWARDED_FOR,
        (16, b"Sec-CH-UA-Mobile" | b"sec-ch-ua-mobile") => SEC_CH_UA_MOBILE,
        (16, b"X-Forwarded-Host" | b"x-forwarded-host") => X_FORWARDED_HOST,
        (16, b"X-Forwarded-Port" | b"x-forwarded-port") => X_FORWARDED_PORT,
        (17, b"Transfer-Encoding" | b"transfer-encoding") => header::TRANSFER_ENCODING,
        (17, b"X-Forwarded-Proto" | b"x-forwarded-proto") => X_FORWARDED_PROTO,
        (18, b"Sec-CH-UA-Platform" | b"sec-ch-ua-platform") => SEC_CH_UA_PLATFORM,
        (25, b"Upgrade-Insecure-Requests" | b"upgrade-insecure-requests") => header::UPGRADE_INSECURE_REQUESTS,
        _ => return HeaderName::from_bytes(name).ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_what_parsing_makes_of_them() {
        let names = "Host Accept Cookie Origin Referer Connection User-Agent Content-Type Authorization Cache-Control \
                     Content-Length Accept-Encoding Accept-Language Transfer-Encoding Upgrade-Insecure-Requests \
                     Priority Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode \
                     Sec-Fetch-Site Sec-Fetch-User Tracestate Traceparent X-Real-IP X-Real-Ip X-Request-ID X-Request-Id \
                     X-Forwarded-For X-Forwarded-Host X-Forwarded-Port X-Forwarded-Proto X-Other DNT";
        for name in names.split(' ') {
            for name in [name, &name.to_ascii_lowercase()] {
                assert_eq!(name_of(name.as_bytes()), HeaderName::from_bytes(name.as_bytes()).ok(), "{name}");
            }
        }
        assert_eq!(name_of(b"no name"), None);
    }
}
