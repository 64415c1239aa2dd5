//! What a rule asks for when its backends are in trouble.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::super::code::Code;
use super::super::report::Problem;
use crate::api;
use crate::api::gateway_route::{
    CircuitBreaker, HealthCheck, HealthCheckType, LoadBalancer, LoadBalancerType, OutlierDetection,
    Retry as DeclaredRetry, RetryBudget, RetryOn, RouteRule, StatusRange,
};
use crate::table::{GrpcStatus, Retry, Timeouts};
use crate::upstream::Policy;
use crate::upstream::breaker::Limits;
use crate::upstream::budget::BudgetLimits;
use crate::upstream::check::{Check, DEFAULT_EXPECTED, Question};
use crate::upstream::health::{FailureRate, Outlier};

/// The shortest time from one question to an endpoint to the next.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// What a rule asks of its clusters and of its own exchanges.
pub(super) struct Resilience {
    pub(super) policy: Arc<Policy>,
    pub(super) retry: Option<Retry>,
}

/// Complains about one field after the other.
struct Complaints<'p> {
    rule: &'p str,
    problems: &'p mut Vec<Problem>,
}

impl Complaints<'_> {
    fn about(&mut self, code: Code, field: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::new(code, format!("{}.{field}", self.rule), what, remedy));
    }

    /// A length of time that must not be nothing.
    fn positive(&mut self, code: Code, field: &str, declared: &api::Duration) -> Duration {
        if declared.is_zero() {
            self.about(code, field, "0s is no time", "use a length of time above 0s");
        }
        declared.as_std()
    }
}

/// Lowers what `rule`, found at `field`, declares.
pub(super) fn lower(field: &str, rule: &RouteRule, timeouts: &Timeouts, problems: &mut Vec<Problem>) -> Resilience {
    let mut complaints = Complaints { rule: field, problems };
    let retry = rule.retry.as_ref().map(|declared| retry(declared, timeouts, &mut complaints));
    let (retry, budget) = retry.unzip();
    let limits = rule.circuit_breaker.as_ref().map(|declared| limits(declared, retry.as_ref(), &mut complaints));
    let policy = Policy {
        budget,
        outlier: rule.outlier_detection.as_ref().map(|declared| outlier(declared, &mut complaints)),
        limits,
        check: rule.health_check.as_ref().map(|declared| check(declared, &mut complaints)),
        slow_start: rule.load_balancer.as_ref().and_then(|declared| slow_start(declared, &mut complaints)),
        // The Services give it.
        session_secret: None,
    };
    // Without an attempt there is nothing to keep a body for.
    Resilience { policy: policy.shared(), retry: retry.filter(|retry| retry.attempts > 0) }
}

fn retry(declared: &DeclaredRetry, timeouts: &Timeouts, complaints: &mut Complaints<'_>) -> (Retry, BudgetLimits) {
    let DeclaredRetry { attempts, codes, retry_on, backoff, max_backoff, methods, budget } = declared;
    let attempts = u32::try_from(*attempts).unwrap_or_default();
    if attempts == 0 {
        let remedy = "use 1 or more, or remove retry";
        complaints.about(Code::NoEffect, "retry.attempts", "0 attempts repeat nothing", remedy);
    }
    let mut statuses = Vec::new();
    for (index, code) in codes.iter().enumerate() {
        let status = u16::try_from(*code).ok().filter(|code| (400..=599).contains(code));
        match status.and_then(|code| StatusCode::from_u16(code).ok()) {
            Some(status) => statuses.push(status),
            None => complaints.about(
                Code::InvalidRetry,
                &format!("retry.codes[{index}]"),
                format!("{code} is no status of a failure"),
                "use a status from 400 to 599",
            ),
        }
    }
    let mut grpc: Vec<_> = retry_on.iter().filter_map(|on| grpc_status(*on)).collect();
    grpc.sort_unstable();
    grpc.dedup();
    let omitted = retry_on.is_empty();
    let mut known = Vec::new();
    for method in methods {
        match method {
            api::Method::Connect | api::Method::Trace => complaints.about(
                Code::InvalidRetry,
                "retry.methods",
                format!("requests of method {} never reach a backend", super::matches::method(*method)),
                "remove it",
            ),
            _ => known.push(super::matches::method(*method)),
        }
    }
    if methods.is_empty() {
        known = vec![http::Method::GET, http::Method::HEAD, http::Method::OPTIONS];
    }
    if max_backoff.as_std() < backoff.as_std() {
        complaints.about(
            Code::InvalidRetry,
            "retry.maxBackoff",
            format!("the longest pause is {max_backoff}, shorter than the first of {backoff}"),
            "make it longer, or backoff shorter",
        );
    }
    if timeouts.request.is_some_and(|request| backoff.as_std() >= request) {
        complaints.about(
            Code::NoEffect,
            "retry.backoff",
            format!("after a pause of {backoff} the whole request is over, so nothing is repeated"),
            "make it shorter than timeouts.request",
        );
    }
    let limits = self::budget(budget.as_ref(), complaints);
    let retry = Retry {
        attempts,
        statuses,
        grpc,
        on_connect_failure: omitted || retry_on.contains(&RetryOn::ConnectFailure),
        on_refused_stream: omitted || retry_on.contains(&RetryOn::RefusedStream),
        on_reset: retry_on.contains(&RetryOn::Reset),
        methods: known,
        backoff: backoff.as_std(),
        max_backoff: max_backoff.as_std(),
    };
    (retry, limits)
}

fn grpc_status(on: RetryOn) -> Option<GrpcStatus> {
    match on {
        RetryOn::ConnectFailure | RetryOn::RefusedStream | RetryOn::Reset => None,
        RetryOn::Cancelled => Some(GrpcStatus::Cancelled),
        RetryOn::DeadlineExceeded => Some(GrpcStatus::DeadlineExceeded),
        RetryOn::Internal => Some(GrpcStatus::Internal),
        RetryOn::ResourceExhausted => Some(GrpcStatus::ResourceExhausted),
        RetryOn::Unavailable => Some(GrpcStatus::Unavailable),
    }
}

/// How many repetitions there may be when nothing is said of it.
pub(in super::super) fn usual_budget() -> BudgetLimits {
    budget(None, &mut Complaints { rule: "", problems: &mut Vec::new() })
}

fn budget(declared: Option<&RetryBudget>, complaints: &mut Complaints<'_>) -> BudgetLimits {
    let default = RetryBudget::default();
    let RetryBudget { percent, interval, min_retries_per_second } = declared.unwrap_or(&default);
    let interval = complaints.positive(Code::InvalidRetry, "retry.budget.interval", interval);
    let percent = u32::try_from(*percent).unwrap_or_default();
    let min_per_second = u32::try_from(*min_retries_per_second).unwrap_or_default();
    if percent == 0 && min_per_second == 0 {
        let what = "0 percent and 0 a second repeat nothing";
        complaints.about(Code::NoEffect, "retry.budget", what, "raise one of them, or remove retry");
    }
    BudgetLimits { percent, interval, min_per_second }
}

fn limits(declared: &CircuitBreaker, retry: Option<&Retry>, complaints: &mut Complaints<'_>) -> Limits {
    let CircuitBreaker { max_connections, max_pending_requests, max_parallel_requests, max_parallel_retries } =
        declared;
    let limit = |declared: &Option<i32>| declared.map(|limit| u32::try_from(limit).unwrap_or_default());
    let limits = Limits {
        connections: limit(max_connections),
        pending: limit(max_pending_requests),
        requests: limit(max_parallel_requests),
        retries: limit(max_parallel_retries),
    };
    if limits == Limits::default() {
        complaints.about(Code::NoEffect, "circuitBreaker", "it bounds nothing", "set one of its fields, or remove it");
    }
    for (field, limit) in [("maxConnections", limits.connections), ("maxParallelRequests", limits.requests)] {
        if limit == Some(0) {
            let field = format!("circuitBreaker.{field}");
            complaints.about(Code::InvalidBreaker, &field, "0 lets nothing through", "use 1 or more");
        }
    }
    if limits.pending.is_some() && limits.connections.is_none() {
        complaints.about(
            Code::NoEffect,
            "circuitBreaker.maxPendingRequests",
            "without maxConnections no request waits for a connection",
            "set maxConnections as well, or use maxParallelRequests",
        );
    }
    match (limits.retries, retry) {
        (Some(0), Some(retry)) if retry.attempts > 0 => complaints.about(
            Code::InvalidBreaker,
            "circuitBreaker.maxParallelRetries",
            format!("0 lets none of the {} attempts of retry through", retry.attempts),
            "use 1 or more, or remove retry",
        ),
        (Some(retries), _) if limits.requests.is_some_and(|requests| requests < retries) => complaints.about(
            Code::NoEffect,
            "circuitBreaker.maxParallelRetries",
            format!("more than maxParallelRequests are never under way, so {retries} bounds nothing"),
            "use a number that is not above maxParallelRequests",
        ),
        (Some(_), None) => complaints.about(
            Code::NoEffect,
            "circuitBreaker.maxParallelRetries",
            "the rule has no retry",
            "add retry, or remove it",
        ),
        (Some(_), Some(_)) | (None, _) => {}
    }
    limits
}

fn outlier(declared: &OutlierDetection, complaints: &mut Complaints<'_>) -> Outlier {
    let OutlierDetection {
        consecutive_failures,
        consecutive_gateway_failures,
        consecutive_connect_failures,
        failure_rate,
        interval,
        base_ejection_time,
        max_ejection_percent,
    } = declared;
    let count = |declared: i32| u32::try_from(declared).unwrap_or(1).max(1);
    let code = Code::InvalidHealth;
    let longer = [
        ("consecutiveGatewayFailures", *consecutive_gateway_failures),
        ("consecutiveConnectFailures", *consecutive_connect_failures),
    ];
    for (field, number) in longer {
        if let Some(number) = number.filter(|number| number >= consecutive_failures) {
            let what =
                format!("{number} in a row are not fewer than the {consecutive_failures} after which it is out anyway");
            let field = format!("outlierDetection.{field}");
            complaints.about(Code::NoEffect, &field, what, "make it smaller, or consecutiveFailures larger");
        }
    }
    if *consecutive_failures < 1 {
        let field = "outlierDetection.consecutiveFailures";
        complaints.about(code, field, format!("{consecutive_failures} failures leave out everybody"), "use 1 or more");
    }
    Outlier {
        consecutive_failures: count(*consecutive_failures),
        consecutive_gateway_failures: consecutive_gateway_failures.map(count),
        consecutive_connect_failures: consecutive_connect_failures.map(count),
        failure_rate: failure_rate
            .map(|rate| FailureRate { percent: count(rate.percent).min(100), min_requests: count(rate.min_requests) }),
        interval: complaints.positive(code, "outlierDetection.interval", interval),
        base_ejection_time: complaints.positive(code, "outlierDetection.baseEjectionTime", base_ejection_time),
        max_ejection_percent: u32::try_from(*max_ejection_percent).unwrap_or_default().min(100),
    }
}

fn check(declared: &HealthCheck, complaints: &mut Complaints<'_>) -> Check {
    let HealthCheck {
        check_type,
        path,
        grpc_service,
        interval,
        timeout,
        healthy_threshold,
        unhealthy_threshold,
        expected_statuses,
    } = declared;
    let code = Code::InvalidHealth;
    if interval.as_std() < SHORTEST_INTERVAL {
        let what = format!("{interval} from one question to the next is a load of its own");
        complaints.about(code, "healthCheck.interval", what, format!("use {SHORTEST_INTERVAL:?} or more"));
    }
    let timeout_length = complaints.positive(code, "healthCheck.timeout", timeout);
    if timeout_length > interval.as_std() {
        let what = format!("an answer may take {timeout}, longer than the {interval} to the next question");
        complaints.about(code, "healthCheck.timeout", what, "make it shorter, or interval longer");
    }
    let question = match check_type {
        HealthCheckType::Http => http_question(path.as_deref().unwrap_or_default(), expected_statuses, complaints),
        HealthCheckType::Grpc => Question::Grpc { service: grpc_service.as_deref().unwrap_or_default().into() },
        HealthCheckType::Tcp => Question::Tcp,
    };
    let threshold = |declared: &i32| u32::try_from(*declared).unwrap_or(1).max(1);
    Check {
        question,
        interval: interval.as_std().max(SHORTEST_INTERVAL),
        timeout: timeout_length,
        healthy_after: threshold(healthy_threshold),
        unhealthy_after: threshold(unhealthy_threshold),
    }
}

fn http_question(path: &str, expected_statuses: &[StatusRange], complaints: &mut Complaints<'_>) -> Question {
    let code = Code::InvalidHealth;
    if !path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err() {
        let what = format!("\"{}\" is no path", path.escape_debug());
        complaints.about(code, "healthCheck.path", what, "use one that begins with / and needs no escaping");
    }
    let mut expected = Vec::new();
    for (index, StatusRange { start, end }) in expected_statuses.iter().enumerate() {
        match (u16::try_from(*start), u16::try_from(*end)) {
            (Ok(start), Ok(end)) if start <= end => expected.push((start, end)),
            _ => {
                let field = format!("healthCheck.expectedStatuses[{index}]");
                complaints.about(code, &field, format!("{start} to {end} is no range"), "start must not be above end");
            }
        }
    }
    if expected_statuses.is_empty() {
        expected.push((*DEFAULT_EXPECTED.start(), *DEFAULT_EXPECTED.end()));
    }
    Question::Http { path: path.into(), expected: expected.into() }
}

fn slow_start(declared: &LoadBalancer, complaints: &mut Complaints<'_>) -> Option<Duration> {
    let slow_start = declared.slow_start.as_ref()?;
    if declared.balancer_type == LoadBalancerType::ConsistentHash {
        complaints.about(
            Code::InvalidLoadBalancer,
            "loadBalancer.slowStart",
            "with ConsistentHash an endpoint's share is given by its keys",
            "remove it, or use another type",
        );
        return None;
    }
    Some(complaints.positive(Code::InvalidLoadBalancer, "loadBalancer.slowStart.window", &slow_start.window))
}
