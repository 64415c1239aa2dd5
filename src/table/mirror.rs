//! Backends that get copies of requests.

use std::fmt;
use std::sync::Arc;

use super::Target;

/// A backend that gets copies of a route's requests. Its answers go to nobody.
#[derive(Debug)]
pub struct Mirror {
    /// How many requests of a hundred are copied.
    pub percent: u32,
    /// `namespace/service:port`.
    pub name: Arc<str>,
    /// What stands behind it.
    pub target: Target,
}

impl fmt::Display for Mirror {
    /// `RequestMirror: 5 of 100 to shop/shadow:80`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { percent, name, target: _ } = self;
        write!(f, "RequestMirror: {percent} of 100 to {name}")
    }
}
