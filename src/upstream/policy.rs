//! What a cluster does about endpoints in trouble.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::breaker::Limits;
use super::budget::BudgetLimits;
use super::health::Outlier;
use super::session::Secret;

/// What is asked of a cluster beyond reaching its endpoints. Clusters that differ in it share their endpoints, and with
/// them what is known of their health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Policy {
    /// How many repetitions it may get.
    pub budget: Option<BudgetLimits>,
    /// When an endpoint that fails is left out.
    pub outlier: Option<Outlier>,
    /// How much may be under way.
    pub limits: Option<Limits>,
    /// How its endpoints are asked whether they are well.
    pub check: Option<super::check::Check>,
    /// How long a new endpoint takes to get its full share.
    pub slow_start: Option<Duration>,
    /// What tickets are signed with, when clients stay with their endpoint.
    pub session_secret: Option<Secret>,
}

impl Policy {
    /// The policy, to be held by many: that which asks for nothing is in memory once.
    pub fn shared(self) -> Arc<Self> {
        static NOTHING: LazyLock<Arc<Policy>> = LazyLock::new(Arc::default);
        if self.is_empty() { NOTHING.clone() } else { Arc::new(self) }
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Policy {
    /// One phrase per part, in the order of the fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, outlier, limits, check, slow_start, session_secret } = self;
        let parts = [
            budget.as_ref().map(ToString::to_string),
            outlier.as_ref().map(ToString::to_string),
            limits.as_ref().map(ToString::to_string),
            check.as_ref().map(ToString::to_string),
            slow_start.map(|window| format!("slow start over {window:?}")),
            session_secret.as_ref().map(|_| "keeps clients".to_owned()),
        ];
        for (number, part) in parts.iter().flatten().enumerate() {
            write!(f, "{}{part}", if number == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
