//! Pages in place of answers that say that something is wrong.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

use super::Target;

/// Who makes the page in place of an answer, and of which.
#[derive(Debug)]
pub struct ErrorPages {
    /// The statuses of the answers.
    pub statuses: Box<[StatusCode]>,
    /// `namespace/service:port`.
    pub name: Arc<str>,
    /// What stands behind it.
    pub target: Target,
    /// What it is told of the route.
    pub told: Box<[(HeaderName, HeaderValue)]>,
}

impl ErrorPages {
    /// Whether there is a page in place of an answer of this status.
    pub fn are_for(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status)
    }
}

impl fmt::Display for ErrorPages {
    /// `answers of 404, 503 are pages of shop/errors:80`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { statuses, name, target: _, told: _ } = self;
        let statuses: Vec<_> = statuses.iter().map(StatusCode::as_str).collect();
        write!(f, "answers of {} are pages of {name}", statuses.join(", "))
    }
}
