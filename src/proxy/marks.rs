//! What every answer to a request carries, whoever makes it: an endpoint, a filter, or an error of ours.

use http::{HeaderMap, HeaderValue};

use super::Worker;
use super::external_auth::Cookies;
use super::limits;
use crate::filter::Cors;
use crate::table::ErrorPages;

/// Headers that are prepared before it is known who answers.
#[derive(Default)]
pub(super) struct Marks<'t> {
    /// What the request's origin is told.
    pub(super) cors: Option<(&'t Cors, Option<HeaderValue>)>,
    /// What the client is told of its quotas.
    pub(super) limits: limits::Mark<'t>,
    /// What it is to keep for the service that has let it pass.
    pub(super) cookies: Cookies,
    /// Who makes a page in place of the answer, if it is one of those.
    pub(super) pages: Option<&'t ErrorPages>,
}

impl Marks<'_> {
    /// Puts them into the answer.
    pub(super) fn put(self, worker: &Worker, headers: &mut HeaderMap) {
        let Self { cors, limits, cookies, pages: _ } = self;
        limits.put(headers, &worker.desk, worker.clock.wall());
        if let Some((cors, allowed)) = cors {
            cors.apply(allowed, headers);
        }
        cookies.put(headers);
    }
}
