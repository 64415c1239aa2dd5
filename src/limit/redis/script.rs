//! The scripts, what they are asked, and what they answer.

use std::fmt::Write;
use std::time::Duration;

use redis::{Cmd, RedisResult, Value};
use rustls::crypto::hash::Hash;

use super::slots::slot_of;
use crate::limit::{Algorithm, Ask, Decision, Outcome, Precision};

/// A script that every server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Decides about the limits of a request, or a lease.
    Decide,
    /// Takes back what was counted.
    GiveBack,
    /// Says that a replica lives.
    Replicas,
}

impl Script {
    /// All, by their number.
    pub(super) const ALL: [Self; 3] = [Self::Decide, Self::GiveBack, Self::Replicas];

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Decide => include_str!("decide.lua"),
            Self::GiveBack => include_str!("give_back.lua"),
            Self::Replicas => include_str!("replicas.lua"),
        }
    }
}

/// A script with its keys and arguments, on its way to the server of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) script: Script,
    pub(super) keys: Vec<String>,
    arguments: Vec<String>,
}

impl Call {
    pub(super) fn new(script: Script, keys: Vec<String>, arguments: Vec<String>) -> Self {
        Self { script, keys, arguments }
    }

    /// Asks for decisions about `asks`, all of one policy, so many times over; at this time in microseconds, or by the
    /// server's own clock.
    pub(super) fn decide(prefix: &str, asks: &[Ask<'_>], times: u32, now: Option<u64>) -> Self {
        let mut arguments = Vec::with_capacity(2 + asks.len() * 6);
        arguments.push(now.map(|now| now.to_string()).unwrap_or_default());
        arguments.push(times.to_string());
        describe(asks, &mut arguments);
        Self::new(Script::Decide, asks.iter().map(|ask| Self::key(prefix, ask)).collect(), arguments)
    }

    /// Takes back what a decision about `asks`, all of one policy, has counted.
    pub(super) fn give_back(prefix: &str, asks: &[Ask<'_>]) -> Self {
        let mut arguments = vec![String::new()];
        describe(asks, &mut arguments);
        Self::new(Script::GiveBack, asks.iter().map(|ask| Self::key(prefix, ask)).collect(), arguments)
    }

    /// The key of the count that a question is about: `headgate:{shop/limits}:per-user:5d9c…:7f83…`.
    ///
    /// What is in braces decides the slot, so that all limits of a policy are in one and can be decided about in one
    /// call. The first number changes with the limit's quota and key. The second is made from what the client has shown:
    /// by a cryptographic hash, since a client must not find what gives another's, and half of it, since there may be
    /// many.
    pub(super) fn key(prefix: &str, ask: &Ask<'_>) -> String {
        let limit = ask.limit;
        let mut key = String::with_capacity(prefix.len() + limit.policy.len() + limit.name.len() + 55);
        // Writing to a string does not fail.
        let _ = write!(key, "{prefix}:{{{}}}:{}:{:016x}:", limit.policy, limit.name, limit.fingerprint());
        for byte in sha256(ask.key).iter().take(16) {
            let _ = write!(key, "{byte:02x}");
        }
        key
    }

    /// The slot of its keys.
    pub(super) fn slot(&self) -> u16 {
        self.keys.first().map_or(0, |key| slot_of(key))
    }

    /// The command, with the script by its name (`EVALSHA`) or as a whole (`EVAL`).
    pub(super) fn command(&self, verb: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(script).arg(self.keys.len());
        for text in self.keys.iter().chain(&self.arguments) {
            command.arg(text);
        }
        command
    }
}

/// What has been decided about the limits of a request, as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How many such requests have been counted.
    pub(super) counted: u32,
    /// What each limit says, in its order.
    pub(super) decisions: Vec<Decision>,
}

impl Verdict {
    /// Reads the answer about these limits.
    pub(super) fn read(answer: Value, asks: &[Ask<'_>]) -> RedisResult<Self> {
        let numbers: Vec<i64> = redis::from_redis_value(answer)?;
        let wrong = || redis::RedisError::from((redis::ErrorKind::UnexpectedReturnType, "not what the script returns"));
        let (counted, numbers) = numbers.split_first().ok_or_else(wrong)?;
        let (rows, rest) = numbers.as_chunks::<5>();
        if rows.len() != asks.len() || !rest.is_empty() {
            return Err(wrong());
        }
        let decisions = rows.iter().zip(asks).map(|(row, ask)| decision(row, ask)).collect();
        Ok(Self { counted: amount(*counted), decisions })
    }
}

fn decision(&[fits, remaining, wait, retry, reset]: &[i64; 5], ask: &Ask<'_>) -> Decision {
    let waits = match ask.limit.quota.algorithm {
        Algorithm::LeakyBucket { max_delay, .. } => !max_delay.is_zero(),
        Algorithm::TokenBucket { .. } | Algorithm::SlidingWindow(_) | Algorithm::Concurrency => false,
    };
    let outcome = match (fits, wait) {
        (..=0, _) => Outcome::Refused { retry_after: time(retry) },
        (_, 1..) if waits => Outcome::Delayed(time(wait)),
        _ => Outcome::Allowed,
    };
    Decision { outcome, remaining: amount(remaining), reset_after: time(reset) }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash: Option<&dyn Hash> = suite.tls13().map(|suite| suite.common.hash_provider);
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(hash.map(|hash| hash.hash(bytes)).iter().flat_map(AsRef::as_ref)) {
        *to = *from;
    }
    digest
}

/// What the scripts know of a limit: algorithm, requests, period, capacity, patience, cost.
fn describe(asks: &[Ask<'_>], arguments: &mut Vec<String>) {
    for Ask { limit, cost, .. } in asks {
        let quota = limit.quota;
        let requests = quota.requests.get();
        let (algorithm, capacity, patience) = match quota.algorithm {
            Algorithm::TokenBucket { burst } => ("b", u64::from(burst.get()), None),
            // One has its turn, and `burst` more are ahead of theirs.
            Algorithm::LeakyBucket { burst, max_delay } => {
                ("b", u64::from(burst.get()) + 1, (!max_delay.is_zero()).then_some(max_delay))
            }
            // The latter is never asked for here.
            Algorithm::SlidingWindow(Precision::Exact) | Algorithm::Concurrency => ("e", u64::from(requests), None),
            Algorithm::SlidingWindow(Precision::Approximate) => ("a", u64::from(requests), None),
        };
        arguments.push(algorithm.to_owned());
        arguments.push(requests.to_string());
        arguments.push(quota.period.as_micros().max(1).to_string());
        arguments.push(capacity.to_string());
        arguments.push(patience.map(|patience| patience.as_micros().to_string()).unwrap_or_default());
        arguments.push(cost.get().to_string());
    }
}

fn amount(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

fn time(microseconds: i64) -> Duration {
    Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
}
