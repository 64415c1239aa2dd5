//! How a request over a limit is answered.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::super::code::Code;
use super::super::report::Problem;
use crate::api::rate_limit_policy as api;
use crate::filter::rate_limit;
use crate::limit::Algorithm;
use crate::table::{HeaderStyle, LimitAnswer, RateLimit};

/// The answer; what is wrong with it is told.
pub(super) fn lower(
    declared: Option<&api::LimitResponse>,
    limits: &[RateLimit],
    problems: &mut Vec<Problem>,
) -> LimitAnswer {
    let default = api::LimitResponse {
        status_code: i32::from(StatusCode::TOO_MANY_REQUESTS.as_u16()),
        headers: api::HeaderStyle::Ietf,
        content_type: None,
        body: None,
    };
    let api::LimitResponse { status_code, headers, content_type, body } = declared.unwrap_or(&default);
    let status = u16::try_from(*status_code)
        .ok()
        .filter(|status| (400..600).contains(status))
        .and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.unwrap_or_else(|| {
        let what = format!("{status_code} is no status of a refusal");
        problems.push(Problem::new(Code::InvalidLimit, "spec.response.statusCode", what, "use 400 to 599"));
        StatusCode::TOO_MANY_REQUESTS
    });
    let content_type_value = match content_type.as_deref().map(HeaderValue::from_str) {
        None => HeaderValue::from_static("text/plain"),
        Some(Ok(value)) => value,
        Some(Err(_)) => {
            let what = "it cannot be sent in a header";
            problems.push(Problem::new(Code::InvalidLimit, "spec.response.contentType", what, "use a media type"));
            HeaderValue::from_static("text/plain")
        }
    };
    if body.is_none() && content_type.is_some() {
        let what = "there is no body that it would be the type of";
        problems.push(Problem::new(Code::UnknownField, "spec.response.contentType", what, "add body, or remove it"));
    }
    let headers = match headers {
        api::HeaderStyle::Ietf => HeaderStyle::Ietf,
        api::HeaderStyle::XRateLimit => HeaderStyle::XRateLimit,
        api::HeaderStyle::Both => HeaderStyle::Both,
        api::HeaderStyle::None => HeaderStyle::None,
    };
    // What is told of a quota is told of a period.
    let told = limits.iter().filter(|rate| !rate.shadow).map(|rate| &rate.limit);
    let told: Vec<_> = told.filter(|limit| limit.quota.algorithm != Algorithm::Concurrency).collect();
    LimitAnswer {
        status,
        headers,
        body: body.as_ref().map(|body| (content_type_value, Bytes::from(body.clone()))),
        policy: headers.is_ietf().then(|| rate_limit::policy(&told)).flatten(),
    }
}
