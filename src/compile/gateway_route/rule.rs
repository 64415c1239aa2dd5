//! One rule.

use std::time::Duration;

use super::super::backend::Balancing;
use super::super::code::Code;
use super::super::lowered::Draft;
use super::super::report::Problem;
use super::matches::{self, RuleMatch};
use super::parameters::Parameters;
use super::resilience::{self, Resilience};
use super::scope::Scope;
use super::session;
use super::{Common, access, backends, compression, filters, mirrors};
use crate::api;
use crate::api::gateway_route::{
    ConsistentHash, HashKeyType, LoadBalancer, LoadBalancerType, Observability, RouteRule,
};
use crate::source::ObjectKey;
use crate::table::{HashOn, Observe, Timeouts};
use crate::upstream::Balancer;

/// "Without limit" where the table wants a length of time: longer than any exchange, and safe to add to any instant.
const UNLIMITED: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A rule on its own.
pub(super) struct LoweredRule {
    pub(super) draft: Draft,
    pub(super) matches: Vec<RuleMatch>,
    pub(super) problems: Vec<Problem>,
}

/// Lowers one rule.
pub(super) fn lower(
    scope: &mut Scope<'_, '_>,
    key: &ObjectKey,
    index: usize,
    rule: &RouteRule,
    common: Common,
) -> LoweredRule {
    let RouteRule {
        name,
        matches,
        jwt,
        basic_auth: _,
        filters,
        backend_refs,
        load_balancer,
        session_persistence,
        timeouts,
        // `resilience` takes these.
        retry: _,
        circuit_breaker: _,
        outlier_detection: _,
        health_check: _,
        request,
        compression: compressed,
        observability,
    } = rule;
    let field = format!("spec.rules[{index}]");
    let mut problems = Vec::new();

    let mut observe = Observe::default();
    if let Some(Observability { access_log, trace_sample_percent }) = observability {
        observe.access_log = *access_log;
        observe.trace_percent = trace_sample_percent.and_then(|percent| {
            let valid = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
            if valid.is_none() {
                problems.push(Problem::new(
                    Code::Invalid,
                    format!("{field}.observability.traceSamplePercent"),
                    format!("{percent} is no percentage"),
                    "write a number from 0 to 100",
                ));
            }
            valid
        });
    }

    let matches = matches::lower(&field, matches, &mut problems);
    let parameters = Parameters::of(&matches);
    let (balancer, hash_on) = balancer(&field, load_balancer.as_deref(), &parameters, jwt.is_some(), &mut problems);
    let mut draft = Draft::new(match name {
        Some(name) => name.as_str().into(),
        None => index.to_string().into(),
    });
    draft.named = name.is_some();
    draft.listeners = common.listeners;
    draft.https_redirect = common.https_redirect;
    draft.filters = filters::of_rule(&field, filters, &parameters, &mut problems);
    access::of_rule(scope.lookup, key, &field, filters, &mut draft, &mut problems);
    draft.access.body = access::body(request.as_ref());
    draft.mirrors = mirrors::lower(scope.lookup, key, &field, filters, &mut problems);
    draft.compression = compressed.as_ref().map(|declared| compression::lower(&field, declared, &mut problems));
    draft.observe = observe;
    draft.timeouts = self::timeouts(&field, timeouts.as_ref(), &mut problems);
    let Resilience { policy, retry } = resilience::lower(&field, rule, &draft.timeouts, &mut problems);
    draft.session = session_persistence
        .as_ref()
        .and_then(|declared| session::lower(&field, key, &draft.rule, declared, &mut problems));
    let balancing = Balancing { balancer, policy, sessions: draft.session.is_some() };
    draft.backends = backends::lower(scope, &field, backend_refs, &balancing, &parameters, &mut problems);
    draft.hash_on = hash_on;
    draft.retry = retry;
    if draft.backends.is_empty() && !filters::answer(&draft.filters) && problems.is_empty() {
        problems.push(Problem::new(
            Code::Invalid,
            field.as_str(),
            "the rule has no backendRefs and no filter that answers",
            "add backendRefs, or a RequestRedirect or DirectResponse filter",
        ));
    }
    LoweredRule { draft, matches, problems }
}

fn balancer(
    field: &str,
    declared: Option<&LoadBalancer>,
    parameters: &Parameters,
    has_token: bool,
    problems: &mut Vec<Problem>,
) -> (Balancer, Option<HashOn>) {
    let Some(LoadBalancer { balancer_type, consistent_hash, slow_start: _ }) = declared else {
        return (Balancer::LeastRequest, None);
    };
    let field = format!("{field}.loadBalancer");
    let plain = match balancer_type {
        LoadBalancerType::RoundRobin => Balancer::RoundRobin,
        LoadBalancerType::LeastRequest => Balancer::LeastRequest,
        LoadBalancerType::Random => Balancer::Random,
        LoadBalancerType::PeakEwma => Balancer::PeakEwma,
        LoadBalancerType::ConsistentHash => {
            let Some(hash) = consistent_hash else {
                let remedy = "say what to hash, as in consistentHash: {type: ClientIP}";
                let what = "type ConsistentHash needs consistentHash";
                problems.push(Problem::new(Code::InvalidLoadBalancer, field, what, remedy));
                return (Balancer::LeastRequest, None);
            };
            return self::hash(&format!("{field}.consistentHash"), hash, parameters, has_token, problems);
        }
    };
    if consistent_hash.is_some() {
        let field = format!("{field}.consistentHash");
        let what = format!("it is only for type ConsistentHash, and type is {balancer_type:?}");
        problems.push(Problem::new(Code::InvalidLoadBalancer, field, what, "set type: ConsistentHash, or remove it"));
    }
    (plain, None)
}

fn hash(
    field: &str,
    declared: &ConsistentHash,
    parameters: &Parameters,
    has_token: bool,
    problems: &mut Vec<Problem>,
) -> (Balancer, Option<HashOn>) {
    let ConsistentHash { key_type, name, balance_factor_percent } = declared;
    let mut invalid = |field: String, what: String, remedy: &str| {
        problems.push(Problem::new(Code::InvalidLoadBalancer, field, what, remedy));
    };
    let factor = u32::try_from(*balance_factor_percent).ok().filter(|percent| *percent > 100);
    if factor.is_none() {
        let what = format!("{balance_factor_percent} percent of the mean leaves no room");
        invalid(format!("{field}.balanceFactorPercent"), what, "use 101 or more");
    }
    let balancer = Balancer::ConsistentHash { balance_factor_percent: factor };
    let name = name.as_deref().filter(|name| !name.is_empty());
    let name_field = format!("{field}.name");
    let on = match (key_type, name) {
        (HashKeyType::ClientIp, None) => HashOn::ClientIp,
        (HashKeyType::ClientIp, Some(_)) => {
            invalid(name_field, "type ClientIP takes no name".to_owned(), "remove it");
            return (balancer, None);
        }
        (_, None) => {
            invalid(name_field, format!("type {key_type:?} needs a name"), "name what to hash");
            return (balancer, None);
        }
        (HashKeyType::JwtClaim, Some(_)) if !has_token => {
            let what = "the rule looks at no token".to_owned();
            invalid(format!("{field}.type"), what, "give the rule a jwt");
            return (balancer, None);
        }
        (HashKeyType::JwtClaim, Some(name)) => HashOn::JwtClaim(name.into()),
        (HashKeyType::Header, Some(name)) => match name.parse() {
            Ok(name) => HashOn::Header(name),
            Err(_) => {
                invalid(name_field, format!("\"{}\" is no header name", name.escape_debug()), "use a token");
                return (balancer, None);
            }
        },
        (HashKeyType::Cookie, Some(name)) => HashOn::Cookie(name.into()),
        (HashKeyType::QueryParam, Some(name)) => HashOn::QueryParam(name.into()),
        (HashKeyType::PathParam, Some(name)) => {
            parameters.require(&name_field, name, problems);
            HashOn::PathParam(name.into())
        }
    };
    (balancer, Some(on))
}

fn timeouts(field: &str, declared: Option<&api::gateway_route::Timeouts>, problems: &mut Vec<Problem>) -> Timeouts {
    let default = Timeouts::default();
    let Some(api::gateway_route::Timeouts { request, backend_request, connect, idle }) = declared else {
        return default;
    };
    let optional = |declared: &Option<api::Duration>, default: Option<Duration>| match declared {
        Some(declared) if declared.is_zero() => None,
        Some(declared) => Some(declared.as_std()),
        None => default,
    };
    let timeouts = Timeouts {
        request: optional(request, default.request),
        backend_request: optional(backend_request, default.backend_request),
        connect: optional(connect, Some(default.connect)).unwrap_or(UNLIMITED),
        idle: optional(idle, Some(default.idle)).unwrap_or(UNLIMITED),
    };
    if let (Some(request), Some(attempt)) = (timeouts.request, backend_request)
        && attempt.as_std() > request
    {
        problems.push(Problem::new(
            Code::InvalidTimeout,
            format!("{field}.timeouts.backendRequest"),
            format!("one attempt may take {attempt}, longer than the whole request"),
            "make it shorter, or request longer",
        ));
    }
    timeouts
}
