//! A page in place of an answer that says that something is wrong.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Response, request};

use super::answer::{Answer, Given};
use super::body::ResponseBody;
use super::question;
use super::record::Record;
use super::{Worker, forward};
use crate::field_kinds::FieldKinds;
use crate::table::{ErrorPages, Target};
use crate::upstream::Head;

/// How long whoever makes pages may take; then the answer goes out as it is.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most of a page. One that is longer is none.
const MOST: usize = 1024 * 1024;

const X_CODE: HeaderName = HeaderName::from_static("x-code");
const X_FORMAT: HeaderName = HeaderName::from_static("x-format");
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");

/// What of the request is shown, beside what is asked about it.
const SHOWN: [HeaderName; 10] = [
    header::HOST,
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::USER_AGENT,
    forward::X_FORWARDED_FOR,
    forward::X_FORWARDED_HOST,
    forward::X_FORWARDED_PORT,
    forward::X_FORWARDED_PROTO,
    forward::X_REAL_IP,
    forward::X_REQUEST_ID,
];
/// What stays of the answer: without these a client does not know what to do about it.
const KEPT: [HeaderName; 3] = [header::WWW_AUTHENTICATE, header::RETRY_AFTER, header::ALLOW];

/// Puts a page in place of an answer, if there is to be one for its status and somebody makes it. The question is that of
/// ingress-nginx: `GET /` with the status in `X-Code`.
pub(super) async fn put(
    worker: &Worker,
    pages: &ErrorPages,
    parts: &request::Parts,
    record: &mut Record,
    answer: &Answer,
    given: &Given,
) {
    let code = answer.status(given).filter(|status| pages.are_for(*status));
    let (Some(code), Target::Cluster(cluster)) = (code, &pages.target) else { return };
    let mut asked = HeaderMap::new();
    for name in SHOWN {
        if let Some(value) = parts.headers.get(&name) {
            asked.insert(name, value.clone());
        }
    }
    if let Some(format) = parts.headers.get(header::ACCEPT) {
        asked.insert(X_FORMAT, format.clone());
    }
    asked.insert(X_CODE, HeaderValue::from(code.as_u16()));
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    asked.insert(X_ORIGINAL_URI, HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/")));
    asked.extend(pages.told.iter().cloned());
    let head = Head { method: &Method::GET, target: &PathAndQuery::from_static("/"), headers: &asked };
    let page = question::ask(worker, cluster, &head, TIMEOUT, MOST).await;
    let Some(page) = page.filter(|page| page.is_whole && !page.status.is_informational()) else { return };
    let question::Answer { status, mut headers, body, is_whole: _ } = page;
    let kinds = FieldKinds::of_all(&headers);
    forward::clean_response(&mut headers, kinds);
    headers.remove(header::TRAILER);
    // The answer is told how long it is when it is written.
    headers.remove(header::CONTENT_LENGTH);
    record.paged(status);
    answer.replace(given, |wrong| {
        for name in KEPT {
            if let Some(value) = wrong.headers().get(&name)
                && !headers.contains_key(&name)
            {
                headers.insert(name, value.clone());
            }
        }
        wrong.into_body().discard();
        let mut response = Response::new(ResponseBody::full(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    });
}
