//! What another service is asked about a request, and what becomes of its answer.

use std::fmt;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};

use super::{SignIn, Title};

const X_AUTH_REQUEST_REDIRECT: HeaderName = HeaderName::from_static("x-auth-request-redirect");
const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
/// What says where a request came from and which one it is. Clients cannot send these.
const ORIGIN: [HeaderName; 6] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-request-id"),
];
/// What is never shown: what is said of a body, which the question does not have, of a connection, or of an answer that
/// would be none to this question, such as that nothing has changed.
const NEVER_SHOWN: [HeaderName; 15] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// What a client is told of a refusal beside its status and body.
const TOLD: [HeaderName; 7] = [
    header::CACHE_CONTROL,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::LOCATION,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
];

/// How a service is asked whether a request may pass.
#[derive(Clone, Debug)]
pub struct ExternalAuth {
    /// What is asked for; that of the request itself when there is none.
    pub target: Option<PathAndQuery>,
    /// Headers of the request that the service is shown.
    pub shown: Shown,
    /// Headers of its answer that the backend gets, in place of what the client sent.
    pub passed_on: Box<[HeaderName]>,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// Whether requests pass while it is out of order.
    pub fail_open: bool,
    /// Where clients are sent who are not known (401).
    pub sign_in: Option<SignIn>,
}

/// Headers of a request.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Those of these names.
    These(Box<[HeaderName]>),
    /// All but what is about its body, its connection and the form of its answer.
    All,
}

/// What is made of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The request may pass.
    Pass,
    /// It may not, and the client gets the answer.
    Refuse,
    /// The service is out of order.
    Fault,
}

impl ExternalAuth {
    /// The head of the question about a request: where it came from, in the words of Traefik's `forwardAuth`
    /// (`X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri`, `-For`) and of ingress-nginx's `auth-url` (`X-Original-URL`,
    /// `X-Original-Method`, and with all headers `X-Auth-Request-Redirect`), and the headers that are to be shown.
    pub fn question(&self, method: &Method, authority: &HeaderValue, target: &str, headers: &HeaderMap) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("/"));
        let mut question = match &self.shown {
            Shown::All => {
                let mut all = headers.clone();
                for name in &NEVER_SHOWN {
                    all.remove(name);
                }
                all.insert(X_AUTH_REQUEST_REDIRECT, value(target));
                all
            }
            Shown::These(names) => {
                let mut these = HeaderMap::new();
                for name in names.iter().chain(&ORIGIN) {
                    // A name that stands in both lists is not shown twice.
                    these.remove(name);
                    for value in headers.get_all(name) {
                        these.append(name, value.clone());
                    }
                }
                these
            }
        };
        let scheme = headers.get("x-forwarded-proto").and_then(|scheme| scheme.to_str().ok()).unwrap_or("http");
        let host = authority.to_str().unwrap_or_default();
        question.insert(header::HOST, authority.clone());
        question.insert(X_FORWARDED_METHOD, value(method.as_str()));
        question.insert(X_FORWARDED_URI, value(target));
        question.insert(X_ORIGINAL_METHOD, value(method.as_str()));
        question.insert(X_ORIGINAL_URL, value(&format!("{scheme}://{host}{target}")));
        question
    }

    /// Puts into the request what the backend is told of a pass. Of the same names, nothing of the client's stays,
    /// whether the service was there to answer or not.
    pub fn pass_on(&self, answer: Option<&HeaderMap>, headers: &mut HeaderMap) {
        for name in &self.passed_on {
            headers.remove(name);
            for value in answer.iter().flat_map(|answer| answer.get_all(name)) {
                headers.append(name, value.clone());
            }
        }
    }

    /// What the client is told of a refusal, beside its status and body.
    pub fn told(answer: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        let of = |name: &HeaderName| answer.get_all(name).iter().map(|value| (name.clone(), value.clone())).collect();
        TOLD.iter().flat_map(|name| -> Vec<_> { of(name) }).collect()
    }
}

impl Ruling {
    /// What the status of an answer means.
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Pass,
            300..=499 => Self::Refuse,
            _ => Self::Fault,
        }
    }
}

impl fmt::Display for ExternalAuth {
    /// `GET /check; shows Authorization; passes on X-User; within 500ms; passes when out of order`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, shown, passed_on, timeout, fail_open, sign_in } = self;
        match target {
            Some(target) => write!(f, "GET {target}")?,
            None => f.write_str("GET of the request's own path")?,
        }
        let shown: &[_] = match shown {
            Shown::These(names) => names,
            Shown::All => {
                f.write_str("; shows all headers")?;
                &[]
            }
        };
        for (what, names) in [("shows", shown), ("passes on", passed_on)] {
            if !names.is_empty() {
                let names: Vec<_> = names.iter().map(|name| Title(name).to_string()).collect();
                write!(f, "; {what} {}", names.join(", "))?;
            }
        }
        write!(f, "; within {timeout:?}")?;
        if let Some(sign_in) = sign_in {
            write!(f, "; sends who is not known to {sign_in}")?;
        }
        f.write_str(if *fail_open { "; requests pass while it is out of order" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn auth() -> ExternalAuth {
        ExternalAuth {
            target: None,
            shown: Shown::These([header::AUTHORIZATION, HeaderName::from_static("x-forwarded-for")].into()),
            passed_on: [HeaderName::from_static("x-user"), header::AUTHORIZATION].into(),
            timeout: Duration::from_millis(500),
            fail_open: false,
            sign_in: None,
        }
    }

    #[test]
    fn a_question_that_shows_everything_says_nothing_of_body_and_form() {
        let auth = ExternalAuth { shown: Shown::All, ..auth() };
        let request = headers(&[
            ("cookie", "a"),
            ("content-length", "7"),
            ("range", "bytes=0-"),
            ("if-none-match", "*"),
            ("accept-encoding", "gzip"),
            ("x-key", "k"),
            ("x-original-url", "forged"),
            ("x-auth-request-redirect", "forged"),
        ]);
        let question = auth.question(&Method::POST, &HeaderValue::from_static("shop.test"), "/", &request);
        let expected = [
            ("cookie", "a"),
            ("x-key", "k"),
            ("x-auth-request-redirect", "/"),
            ("host", "shop.test"),
            ("x-forwarded-method", "POST"),
            ("x-forwarded-uri", "/"),
            ("x-original-method", "POST"),
            ("x-original-url", "http://shop.test/"),
        ];
        assert_eq!(question, headers(&expected));
    }

    #[test]
    fn a_question_says_what_is_asked_for_and_shows_what_it_may() {
        let request = headers(&[
            ("authorization", "Bearer a"),
            ("cookie", "secret"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "1"),
        ]);
        let host = HeaderValue::from_static("shop.test:8443");
        let question = auth().question(&Method::PUT, &host, "/orders/7?x=1", &request);
        let expected = [
            ("host", "shop.test:8443"),
            ("authorization", "Bearer a"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-method", "PUT"),
            ("x-forwarded-uri", "/orders/7?x=1"),
            ("x-original-method", "PUT"),
            ("x-original-url", "https://shop.test:8443/orders/7?x=1"),
            ("x-request-id", "1"),
        ];
        assert_eq!(question, headers(&expected));
    }

    #[test]
    fn the_backend_gets_the_services_word_or_none() {
        let sent = [("x-user", "forged"), ("x-user", "twice"), ("authorization", "Bearer a"), ("x-other", "1")];
        let mut answered = headers(&sent);
        auth().pass_on(Some(&headers(&[("x-user", "ann"), ("x-unlisted", "1")])), &mut answered);
        assert_eq!(answered, headers(&[("x-user", "ann"), ("x-other", "1")]));
        let mut silent = headers(&sent);
        auth().pass_on(None, &mut silent);
        assert_eq!(silent, headers(&[("x-other", "1")]));
    }

    #[test]
    fn a_status_is_a_pass_a_refusal_or_a_fault() {
        for (status, ruling) in [
            (101, Ruling::Fault),
            (200, Ruling::Pass),
            (204, Ruling::Pass),
            (302, Ruling::Refuse),
            (401, Ruling::Refuse),
            (429, Ruling::Refuse),
            (500, Ruling::Fault),
            (503, Ruling::Fault),
        ] {
            assert_eq!(Ruling::of(StatusCode::from_u16(status).unwrap()), ruling, "{status}");
        }
    }
}
