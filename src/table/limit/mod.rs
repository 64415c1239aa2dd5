//! Rate limits as they are attached to routes: whose requests they count, and what those are told who come too often.

mod key;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::matcher::HeaderMatch;
use super::{PathMatch, RequestHead};
use crate::address::Networks;
use crate::filter::Title;
use crate::limit::{Ask, Limit, SharedStore, Tally};

pub use key::{KeyPart, KeySource, OnMissing};

/// The limits of one policy.
#[derive(Debug)]
pub struct RateLimits {
    /// The policy, `namespace/name`.
    pub policy: Arc<str>,
    /// Its limits, in their declared order.
    pub list: Box<[RateLimit]>,
    /// How a request over one of them is answered.
    pub answer: LimitAnswer,
}

/// One limit.
#[derive(Debug)]
pub struct RateLimit {
    /// What is counted, and against what.
    pub limit: Limit,
    /// What requests are told apart by.
    pub key: Box<[KeyPart]>,
    /// How many requests one request counts for.
    pub cost: NonZeroU32,
    /// Where counts are kept.
    pub scope: Scope,
    /// Whether it only looks on.
    pub shadow: bool,
    /// Which requests it applies to.
    pub when: When,
    /// What it has decided.
    pub tally: Arc<Tally>,
}

/// Where counts are kept.
#[derive(Clone, Debug)]
pub enum Scope {
    /// In this process.
    Local,
    /// In a store that all replicas share.
    Global {
        /// The store.
        store: Arc<dyn SharedStore>,
        /// What happens while it is away.
        failure: FailureMode,
    },
}

/// What happens while the shared store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureMode {
    /// Requests pass.
    Open,
    /// Requests are refused.
    Closed,
    /// Each replica counts for itself against its part of the quota.
    Local,
}

/// Conditions on a request, all of which must hold.
#[derive(Clone, Debug, Default)]
pub struct When {
    /// Methods; every one when there is none.
    pub methods: Box<[Method]>,
    /// A condition on the path.
    pub path: Option<PathMatch>,
    /// Conditions on headers.
    pub headers: Box<[HeaderMatch]>,
    /// Networks of which one must have the client's address; every one when there is none.
    pub sources: Networks,
    /// Networks that must not have it.
    pub exceptions: Networks,
}

/// How a request over a limit is answered.
#[derive(Clone, Debug)]
pub struct LimitAnswer {
    /// The status.
    pub status: StatusCode,
    /// Which headers tell clients their quota.
    pub headers: HeaderStyle,
    /// The declared body and its type; problem details when there is none.
    pub body: Option<(HeaderValue, Bytes)>,
    /// `RateLimit-Policy`, the same on every answer; none when no limit of the policy is to be told of.
    pub policy: Option<HeaderValue>,
}

/// Which headers tell clients their quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderStyle {
    /// `RateLimit-Policy` and `RateLimit`.
    Ietf,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`.
    XRateLimit,
    /// Both.
    Both,
    /// None of them.
    None,
}

// === impl RateLimits ===

impl RateLimits {
    /// Whether some limit needs to know who is asking.
    pub fn needs_identity(&self) -> bool {
        self.list.iter().any(RateLimit::needs_identity)
    }

    /// The limits that apply to a request, with its key in words: for explaining. Either those that need to know who
    /// asks, or the others.
    pub(super) fn explain(&self, head: &RequestHead<'_, '_>, source: &KeySource<'_>, identified: bool) -> Vec<String> {
        let describe = |rate: &RateLimit| {
            let Self { policy, .. } = self;
            let key = match rate.when.rejects(head, source) {
                Some(why) => format!("does not apply: {why}"),
                None => rate.explain_key(source),
            };
            format!("limit {policy}/{rate}: {key}")
        };
        self.list.iter().filter(|rate| rate.needs_identity() == identified).map(describe).collect()
    }
}

impl fmt::Display for RateLimits {
    /// `shop/limits: per-ip 5 in 10s by TokenBucket, burst 5; ...`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.policy)?;
        for (number, rate) in self.list.iter().enumerate() {
            write!(f, "{} {rate}", if number > 0 { ";" } else { "" })?;
        }
        Ok(())
    }
}

// === impl RateLimit ===

impl RateLimit {
    /// Whether it needs to know who is asking, and so comes after authentication.
    pub fn needs_identity(&self) -> bool {
        self.key.iter().any(|part| matches!(part, KeyPart::JwtClaim { .. }))
    }

    /// The question to a store about a request of this key.
    pub fn ask<'a>(&'a self, key: &'a [u8]) -> Ask<'a> {
        Ask { limit: &self.limit, key, cost: self.cost }
    }

    fn explain_key(&self, source: &KeySource<'_>) -> String {
        let mut words = Vec::new();
        for part in &self.key {
            if let (KeyPart::JwtClaim(..), None) = (part, source.claims) {
                words.push(format!("{part} of the caller's token"));
                continue;
            }
            match (part.read(source), part.on_missing()) {
                (Some(value), _) => words.push(format!("{part} = {:?}", String::from_utf8_lossy(&value))),
                (None, OnMissing::Shared) => words.push(format!("{part} is missing, shared by all such requests")),
                (None, OnMissing::Skip) => return format!("does not apply: {part} is missing"),
                (None, OnMissing::Reject) => return format!("refuses: {part} is missing"),
            }
        }
        match words.is_empty() {
            true => "one count for all requests".to_owned(),
            false => format!("counted by {}", words.join(", ")),
        }
    }
}

impl fmt::Display for RateLimit {
    /// `per-ip 5 in 10s by TokenBucket, burst 5, Local, by ClientIP`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, key, cost, scope, shadow, when, tally: _ } = self;
        write!(f, "{} {}", limit.name, limit.quota)?;
        match scope {
            Scope::Local => f.write_str(", Local")?,
            Scope::Global { store: _, failure } => {
                write!(f, ", Global {:?}, {failure:?} while the store is away", limit.sync)?;
            }
        }
        if cost.get() > 1 {
            write!(f, ", each counts for {cost}")?;
        }
        for (number, part) in key.iter().enumerate() {
            write!(f, "{}{part}", if number > 0 { " and " } else { ", by " })?;
            match part.on_missing() {
                OnMissing::Shared => {}
                OnMissing::Skip => f.write_str(" if present")?,
                OnMissing::Reject => f.write_str(", which must be present")?,
            }
        }
        if !when.is_empty() {
            write!(f, ", when {when}")?;
        }
        f.write_str(if *shadow { ", shadow" } else { "" })
    }
}

// === impl When ===

impl When {
    /// Whether there is no condition.
    pub fn is_empty(&self) -> bool {
        let Self { methods, path, headers, sources, exceptions } = self;
        methods.is_empty() && path.is_none() && headers.is_empty() && sources.is_empty() && exceptions.is_empty()
    }

    /// Whether every condition holds.
    pub fn accepts(&self, head: &RequestHead<'_, '_>, source: &KeySource<'_>) -> bool {
        self.is_empty() || self.rejects(head, source).is_none()
    }

    /// The condition that does not hold.
    fn rejects(&self, head: &RequestHead<'_, '_>, source: &KeySource<'_>) -> Option<&'static str> {
        let Self { methods, path, headers, sources, exceptions } = self;
        if !methods.is_empty() && !methods.contains(head.method) {
            return Some("the method is another");
        }
        if path.as_ref().is_some_and(|path| !path.accepts(head.path)) {
            return Some("the path is another");
        }
        if !headers.iter().all(|wanted| wanted.accepts(head.headers)) {
            return Some("a header is another");
        }
        if !sources.is_empty() && !sources.contains(source.ip) {
            return Some("the client's address is in none of sourceCIDRs");
        }
        exceptions.contains(source.ip).then_some("the client's address is in exceptCIDRs")
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { methods, path, headers, sources, exceptions } = self;
        let mut words = Vec::new();
        if !methods.is_empty() {
            words.push(methods.iter().map(Method::as_str).collect::<Vec<_>>().join(" or "));
        }
        words.extend(path.iter().map(ToString::to_string));
        words.extend(headers.iter().map(|HeaderMatch { name, value }| format!("header {}: {value}", Title(name))));
        if !sources.is_empty() {
            words.push(format!("from {sources}"));
        }
        if !exceptions.is_empty() {
            words.push(format!("not from {exceptions}"));
        }
        f.write_str(&words.join(", "))
    }
}

// === impl HeaderStyle ===

impl HeaderStyle {
    /// Whether the headers of the IETF's draft are among them.
    pub fn is_ietf(self) -> bool {
        matches!(self, Self::Ietf | Self::Both)
    }

    /// Whether the old ones are among them.
    pub fn is_x(self) -> bool {
        matches!(self, Self::XRateLimit | Self::Both)
    }
}
