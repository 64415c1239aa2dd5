//! The request that somebody asks about, read from a query.

use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::path::{PathError, normalise};
use crate::table::{Explanation, RequestHead, Table, query};

/// Why a request cannot be asked about.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error("say which URL: /api/v1/explain?url=https://shop.example.com/orders&method=GET&header=Accept:%20text/html")]
    NoUrl,
    #[error("`{0}` is no http or https URL with a host")]
    Url(String),
    #[error("`{0}` is no method")]
    Method(String),
    #[error("`{0}` is no header; write `Name: value`")]
    Header(String),
    #[error("the request would be refused with 400: {0}")]
    Path(PathError),
    #[error("`{0}` is no parameter; there are url, method and header")]
    Parameter(String),
}

/// Says which rule takes the request of `?url=…&method=…&header=…`, and why every other does not.
pub(super) fn explain(table: &Table, asked: Option<&str>) -> Result<Explanation, Wrong> {
    let Asked { url, method, headers } = Asked::read(asked.unwrap_or_default())?;
    let no_url = || Wrong::Url(url.to_string());
    let secure = match url.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(_) | None => return Err(no_url()),
    };
    let host = url.host().ok_or_else(no_url)?.trim_end_matches('.').to_ascii_lowercase();
    let path = normalise(url.path(), false).map_err(Wrong::Path)?;
    Ok(table
        .explain(&host, &RequestHead { method: &method, path: &path, query: url.query(), headers: &headers, secure }))
}

struct Asked {
    url: Uri,
    method: Method,
    headers: HeaderMap,
}

impl Asked {
    fn read(asked: &str) -> Result<Self, Wrong> {
        let (mut url, mut method, mut headers) = (None, Method::GET, HeaderMap::new());
        for pair in asked.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = query::decode(value);
            match &*query::decode(name) {
                "url" => url = Some(value.parse().map_err(|_| Wrong::Url(value.into_owned()))?),
                "method" => method = value.parse().map_err(|_| Wrong::Method(value.into_owned()))?,
                "header" => {
                    let (name, value) = header(&value).ok_or_else(|| Wrong::Header(value.to_string()))?;
                    // The only way to fail is a map that holds 32,768 names, more than a head has room for.
                    let _ = headers.try_append(name, value);
                }
                other => return Err(Wrong::Parameter(other.to_owned())),
            }
        }
        Ok(Self { url: url.ok_or(Wrong::NoUrl)?, method, headers })
    }
}

fn header(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}
