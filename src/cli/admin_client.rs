//! Asking a running Headgate.
use http::{HeaderName, HeaderValue, Method, Uri};
use crate::table::Explanation;
pub(super) fn explain(_admin: &Uri, _url: &Uri, _m: &Method, _h: &[(HeaderName, HeaderValue)]) -> anyhow::Result<Explanation> { anyhow::bail!("x") }
