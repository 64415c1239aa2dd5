//! The limits of a policy.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::super::Settings;
use super::super::code::Code;
use super::super::gateway_route::matches;
use super::super::report::Problem;
use crate::address::{Network, Networks};
use crate::api::rate_limit_policy::{self as api, KeyType};
use crate::limit::{Algorithm, Limit, Precision, Quota, SyncMode, Tally};
use crate::source::ObjectKey;
use crate::table::{FailureMode, KeyPart, OnMissing, RateLimit, RateLimits, Scope, When};

/// As many requests as the log of one exact window may hold, so that no key takes more than some megabytes.
const LONGEST_LOG: u32 = 100_000;

/// The limits that are valid, with their numbers; the problems of the others.
pub(super) fn lower_all(
    settings: &Settings,
    policy: &ObjectKey,
    declared: &[api::Limit],
    former: Option<&RateLimits>,
    problems: &mut Vec<Problem>,
) -> Vec<(usize, RateLimit)> {
    let policy: Arc<str> = format!("{}/{}", policy.namespace, policy.name).into();
    let mut lowered: Vec<(usize, RateLimit)> = Vec::new();
    for (index, limit) in declared.iter().enumerate() {
        let field = format!("spec.limits[{index}]");
        if lowered.iter().any(|(_, known)| *known.limit.name == *limit.name) {
            let what = format!("another limit is named \"{}\" too", limit.name);
            problems.push(Problem::new(Code::InvalidLimit, format!("{field}.name"), what, "give it a name of its own"));
            continue;
        }
        let tally = former
            .and_then(|former| former.list.iter().find(|known| *known.limit.name == *limit.name))
            .map(|known| known.tally.clone());
        let rate = Lowering { settings, field: &field, problems }.limit(&policy, limit, tally.unwrap_or_default());
        lowered.extend(rate.map(|rate| (index, rate)));
    }
    lowered
}

struct Lowering<'l> {
    settings: &'l Settings,
    field: &'l str,
    problems: &'l mut Vec<Problem>,
}

impl Lowering<'_> {
    fn limit(&mut self, policy: &Arc<str>, declared: &api::Limit, tally: Arc<Tally>) -> Option<RateLimit> {
        let api::Limit {
            name,
            algorithm,
            requests,
            period,
            burst,
            max_delay,
            precision,
            cost,
            key,
            scope,
            sync,
            failure_mode,
            shadow,
            when,
        } = declared;
        let requests = self.positive("requests", *requests)?;
        let cost = self.positive("cost", *cost)?;
        let burst = match burst {
            Some(burst) => Some(self.positive("burst", *burst)?),
            None => None,
        };
        if period.is_zero() {
            return self.invalid("period", "no time at all is no period", "use 1s or another time above 0s");
        }
        let algorithm = self.algorithm(*algorithm, requests, burst, max_delay.as_ref(), *precision)?;
        let quota = Quota { algorithm, requests, period: period.as_std() };
        if cost.get() > quota.capacity() {
            let what =
                format!("one request counts for {cost}, and no more than {} ever pass at once", quota.capacity());
            return self.invalid("cost", &what, "make it less, or burst or requests more");
        }
        if algorithm == Algorithm::SlidingWindow(Precision::Exact) && requests.get() / cost > LONGEST_LOG {
            let what = format!("an exact window remembers every request, and {requests} are too many for that");
            return self.invalid("precision", &what, "use precision: Approximate");
        }
        let key = self.key(key)?;
        let when = self.when(when.as_ref())?;
        let scope = self.scope(*scope, *failure_mode)?;
        let sync = match sync.unwrap_or_default() {
            api::SyncMode::Strict => SyncMode::Strict,
            api::SyncMode::Leased => SyncMode::Leased,
        };
        if sync == SyncMode::Leased && matches!(algorithm, Algorithm::LeakyBucket { .. }) {
            let what = "a leaky bucket gives its turns out one by one, and grants would give out several at once";
            return self.invalid("sync", what, "use sync: Strict, or algorithm: TokenBucket");
        }
        let parts = key.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let limit = Limit::new(policy.clone(), name.as_str().into(), quota, sync, &parts);
        Some(RateLimit { limit, key: key.into(), cost, scope, shadow: *shadow, when, tally })
    }

    fn algorithm(
        &mut self,
        declared: api::Algorithm,
        requests: NonZeroU32,
        burst: Option<NonZeroU32>,
        max_delay: Option<&crate::api::Duration>,
        precision: Option<api::Precision>,
    ) -> Option<Algorithm> {
        let is = |algorithm| declared == algorithm;
        let misplaced = [
            ("burst", burst.is_some() && is(api::Algorithm::SlidingWindow)),
            ("maxDelay", max_delay.is_some() && !is(api::Algorithm::LeakyBucket)),
            ("precision", precision.is_some() && !is(api::Algorithm::SlidingWindow)),
        ];
        if let Some((field, _)) = misplaced.iter().find(|(_, misplaced)| *misplaced) {
            return self.invalid(field, &format!("{declared:?} has no use for it"), "remove it");
        }
        Some(match declared {
            api::Algorithm::TokenBucket => Algorithm::TokenBucket { burst: burst.unwrap_or(requests) },
            api::Algorithm::LeakyBucket => Algorithm::LeakyBucket {
                burst: burst.unwrap_or(NonZeroU32::MIN),
                max_delay: max_delay.map(|delay| delay.as_std()).unwrap_or_default(),
            },
            api::Algorithm::SlidingWindow => Algorithm::SlidingWindow(match precision.unwrap_or_default() {
                api::Precision::Exact => Precision::Exact,
                api::Precision::Approximate => Precision::Approximate,
            }),
        })
    }

    fn scope(&mut self, declared: api::Scope, failure: Option<api::FailureMode>) -> Option<Scope> {
        match (declared, &self.settings.externals.shared_limits) {
            (api::Scope::Local, _) => Some(Scope::Local),
            (api::Scope::Global, Some(store)) => Some(Scope::Global {
                store: store.clone(),
                failure: match failure.unwrap_or_default() {
                    api::FailureMode::Open => FailureMode::Open,
                    api::FailureMode::Closed => FailureMode::Closed,
                    api::FailureMode::Local => FailureMode::Local,
                },
            }),
            (api::Scope::Global, None) => {
                let what = "scope Global counts in Redis, and no Redis is configured";
                let remedy = "start Headgate with --redis-url redis://HOST:6379, or use scope: Local";
                self.problems.push(Problem::new(Code::NoSharedStore, format!("{}.scope", self.field), what, remedy));
                None
            }
        }
    }

    fn key(&mut self, declared: &[api::KeyPart]) -> Option<Vec<KeyPart>> {
        let before = self.problems.len();
        let key = declared.iter().enumerate().filter_map(|(index, part)| self.part(index, part)).collect();
        (self.problems.len() == before).then_some(key)
    }

    fn part(&mut self, index: usize, declared: &api::KeyPart) -> Option<KeyPart> {
        let api::KeyPart { key_type, name, on_missing, ipv4_prefix_length, ipv6_prefix_length } = declared;
        let field = format!("key[{index}]");
        let name_field = format!("{field}.name");
        let name = name.as_deref().filter(|name| !name.is_empty());
        let missing = match on_missing.unwrap_or_default() {
            api::OnMissing::Skip => OnMissing::Skip,
            api::OnMissing::Shared => OnMissing::Shared,
            api::OnMissing::Reject => OnMissing::Reject,
        };
        if *key_type != KeyType::ClientIp && (ipv4_prefix_length.is_some() || ipv6_prefix_length.is_some()) {
            return self.invalid(&field, "only ClientIP has prefix lengths", "remove them");
        }
        if let (KeyType::ClientIp | KeyType::Host | KeyType::Route, Some(_)) = (key_type, name) {
            return self.invalid(&name_field, &format!("type {key_type:?} takes no name"), "remove it");
        }
        let part = match (key_type, name) {
            (KeyType::ClientIp, _) => KeyPart::ClientIp {
                v4: self.prefix(&format!("{field}.ipv4PrefixLength"), *ipv4_prefix_length, 32, 32)?,
                v6: self.prefix(&format!("{field}.ipv6PrefixLength"), *ipv6_prefix_length, 64, 128)?,
            },
            (KeyType::Host, _) => KeyPart::Host,
            (KeyType::Route, _) => KeyPart::Route,
            (_, None) => {
                return self.invalid(&name_field, &format!("type {key_type:?} needs a name"), "say which one");
            }
            (KeyType::Header, Some(name)) => match name.parse() {
                Ok(name) => KeyPart::Header(name, missing),
                Err(_) => {
                    let what = format!("\"{}\" is no header name", name.escape_debug());
                    return self.invalid(&name_field, &what, "use letters, digits and -");
                }
            },
            (KeyType::Cookie, Some(name)) => KeyPart::Cookie(name.into(), missing),
            (KeyType::QueryParam, Some(name)) => KeyPart::QueryParam(name.into(), missing),
            (KeyType::PathParam, Some(name)) => KeyPart::PathParam(name.into(), missing),
            (KeyType::JwtClaim, Some(name)) => KeyPart::JwtClaim(name.into(), missing),
        };
        Some(part)
    }

    fn prefix(&mut self, field: &str, declared: Option<i32>, default: u8, most: u8) -> Option<u8> {
        let Some(declared) = declared else { return Some(default) };
        match u8::try_from(declared) {
            Ok(length) if (1..=most).contains(&length) => Some(length),
            _ => self.invalid(field, &format!("{declared} is no prefix length"), &format!("use 1 to {most}")),
        }
    }

    fn when(&mut self, declared: Option<&api::LimitCondition>) -> Option<When> {
        let Some(api::LimitCondition { methods, path, headers, source_cidrs, except_cidrs }) = declared else {
            return Some(When::default());
        };
        let before = self.problems.len();
        let field = format!("{}.when", self.field);
        let path = path.as_ref().and_then(|path| matches::path(&field, Some(path), self.problems));
        let headers = headers
            .iter()
            .enumerate()
            .filter_map(|(index, header)| matches::header(&format!("{field}.headers[{index}]"), header, self.problems))
            .collect();
        let sources = self.networks("when.sourceCIDRs", source_cidrs);
        let exceptions = self.networks("when.exceptCIDRs", except_cidrs);
        let methods = methods.iter().copied().map(matches::method).collect();
        (self.problems.len() == before).then_some(When { methods, path, headers, sources, exceptions })
    }

    fn networks(&mut self, field: &str, declared: &[String]) -> Networks {
        let mut networks = Vec::new();
        for (index, text) in declared.iter().enumerate() {
            match text.parse::<Network>() {
                Ok(network) => networks.push(network),
                Err(error) => {
                    let _: Option<()> = self.invalid(&format!("{field}[{index}]"), &error.to_string(), &error.remedy());
                }
            }
        }
        networks.into_iter().collect()
    }

    fn positive(&mut self, field: &str, declared: i32) -> Option<NonZeroU32> {
        match u32::try_from(declared).ok().and_then(NonZeroU32::new) {
            Some(number) => Some(number),
            None => self.invalid(field, &format!("{declared} is not above 0"), "use 1 or more"),
        }
    }

    fn invalid<T>(&mut self, field: &str, what: &str, remedy: &str) -> Option<T> {
        self.problems.push(Problem::new(Code::InvalidLimit, format!("{}.{field}", self.field), what, remedy));
        None
    }
}
