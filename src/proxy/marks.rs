//! What every answer to a request carries, whoever makes it: an endpoint, a filter, or an error of ours.

use http::{HeaderMap, HeaderValue};

use crate::filter::Cors;

/// Headers that are prepared before it is known who answers.
#[derive(Default)]
pub(super) struct Marks<'t> {
    /// What the request's origin is told.
    pub(super) cors: Option<(&'t Cors, Option<HeaderValue>)>,
}

impl Marks<'_> {
    /// Puts them into the answer.
    pub(super) fn put(self, headers: &mut HeaderMap) {
        let Self { cors } = self;
        if let Some((cors, allowed)) = cors {
            cors.apply(allowed, headers);
        }
    }
}
