//! Whether an endpoint is fit to take requests: one [`Health`] per endpoint, which every cluster, route and worker shares.
//!
//! ```text
//!           too many failures in a row              its time is over
//!   closed ────────────────────────────> open ────────────────────────> half-open
//!     ^                                    ^                              │    │
//!     └────────────────────────────────────┼───── the one request is well ┘    │
//!                                          └──────────────────────── it is not ┘
//! ```
//!
//! An endpoint that is open gets nothing. One that is half-open gets one request, and everybody else waits for what
//! becomes of it. Checks that fail take an endpoint out as well, and only checks that pass bring it back.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

/// When an endpoint that fails is left out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outlier {
    /// After so many failures in a row.
    pub consecutive_failures: u32,
    /// After so many in a row with [`Outcome::GatewayFailed`] or worse, if that is another number.
    pub consecutive_gateway_failures: Option<u32>,
    /// After so many in a row with [`Outcome::Unreachable`], if that is another number.
    pub consecutive_connect_failures: Option<u32>,
    /// When too large a share of what it was asked within the interval has failed.
    pub failure_rate: Option<FailureRate>,
    /// Times at which endpoints that were left out are looked at are a multiple of this.
    pub interval: Duration,
    /// How long it is left out the first time; each further time adds as much again.
    pub base_ejection_time: Duration,
    /// The most endpoints of the cluster that are left out, in percent; one may always be.
    pub max_ejection_percent: u32,
}

/// A share of failures that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FailureRate {
    /// In percent.
    pub percent: u32,
    /// Of fewer requests nothing can be said.
    pub min_requests: u32,
}

/// How an exchange with an endpoint went, from well to worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It has answered, and no 5xx.
    Well,
    /// It has answered 5xx.
    Failed,
    /// It has answered 502, 503 or 504, as gateways do whose own backend is away; or not in time, or not to the end.
    GatewayFailed,
    /// No connection could be made.
    Unreachable,
}

/// However often an endpoint has failed, it is not left out longer, unless its base is longer than that.
const LONGEST_EJECTION: u64 = 300_000;
/// When more of the endpoints than this are out, in percent, all are used: so many do not fail on their own, and those
/// that are left could not carry the load. Who declares that more may be left out wants no such thing.
const PANIC_PERCENT: u32 = 50;

const EJECTED: u8 = 1;
const FAILING: u8 = 2;
const TRIAL: u8 = 4;
const GONE: u8 = 8;
const OUT: u8 = EJECTED | FAILING;

const NEVER: u64 = u64::MAX;

/// What the healths of all endpoints of a Service's port have in common.
#[derive(Debug)]
pub struct GroupHealth {
    /// How many are out. A choice looks at this first, and at nothing else while it is 0.
    out: AtomicU32,
    /// When the first of those that were ejected may be tried.
    due: AtomicU64,
}

/// What is known of one endpoint. Times are in milliseconds of a clock that all workers share.
#[derive(Debug)]
pub struct Health {
    group: Arc<GroupHealth>,
    flags: AtomicU8,
    /// Failures in a row: all, those that count for gateways, and those to connect.
    failures: [AtomicU32; 3],
    /// When the interval began for which requests and failures are counted, and both.
    since: AtomicU64,
    asked: AtomicU32,
    failed: AtomicU32,
    /// When it may be tried again, while it is ejected.
    until: AtomicU64,
    /// How often it has been ejected lately.
    times: AtomicU32,
    /// The times by which it was ejected last: its base and the interval.
    base: AtomicU64,
    interval: AtomicU64,
    /// When it came back last.
    returned: AtomicU64,
    /// How many checks fail on it.
    failing: AtomicU32,
    /// When it was first seen by a cluster that starts endpoints slowly; 0 is not yet.
    seen: AtomicU64,
}

/// The state of an endpoint's circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// It takes requests.
    Closed,
    /// It takes none.
    Open,
    /// It takes one, on which all depends.
    HalfOpen,
}

/// An endpoint's circuit has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Open, for so many milliseconds.
    Ejected(u64),
    /// Closed again.
    Returned,
}

/// Which endpoints of a set may be chosen.
#[derive(Clone, Copy, Debug)]
pub enum Fit<'s> {
    /// All.
    All,
    /// Those that are not out.
    Some(&'s [Arc<Health>]),
    /// This one, by its number, which is to be tried.
    Trial(usize),
    /// None, for so many milliseconds.
    None(u64),
}

// === impl GroupHealth ===

impl Default for GroupHealth {
    fn default() -> Self {
        Self { out: AtomicU32::new(0), due: AtomicU64::new(NEVER) }
    }
}

impl GroupHealth {
    /// How many endpoints are out.
    pub fn out(&self) -> u32 {
        self.out.load(Ordering::Relaxed)
    }

    /// Which of these may be chosen. `outlier` is what the cluster declares of it; `may_try` whether a number may take a
    /// request on trial.
    pub fn fit<'s>(
        &self,
        endpoints: &'s [Arc<Health>],
        outlier: Option<&Outlier>,
        now: u64,
        may_try: impl Fn(usize) -> bool,
    ) -> Fit<'s> {
        let out = self.out();
        if out == 0 {
            return Fit::All;
        }
        if self.due.load(Ordering::Relaxed) <= now {
            let due = |number: &usize| {
                may_try(*number) && endpoints.get(*number).is_some_and(|health| health.begin_trial(now))
            };
            let trial = (0..endpoints.len()).find(due);
            let next = endpoints.iter().filter_map(|health| health.due()).min();
            self.due.store(next.unwrap_or(NEVER), Ordering::Relaxed);
            if let Some(trial) = trial {
                return Fit::Trial(trial);
            }
        }
        if is_panic(out, endpoints.len(), outlier) {
            return Fit::All;
        }
        if endpoints.iter().all(|health| health.is_out()) {
            let first = endpoints.iter().filter_map(|health| health.due()).min();
            return Fit::None(first.map_or(1_000, |due| due.saturating_sub(now)));
        }
        Fit::Some(endpoints)
    }

    /// Whether one of these takes requests, be it on trial.
    pub fn takes_requests(&self, endpoints: &[Arc<Health>], now: u64) -> bool {
        let may_be_tried = || self.due.load(Ordering::Relaxed) <= now;
        !endpoints.is_empty() && (self.out() == 0 || may_be_tried() || endpoints.iter().any(|health| !health.is_out()))
    }

    /// The state of the circuit of a cluster with these endpoints.
    pub fn circuit(&self, endpoints: &[Arc<Health>], outlier: &Outlier) -> Circuit {
        let all_out = !endpoints.is_empty() && endpoints.iter().all(|health| health.is_out());
        if !all_out || is_panic(self.out(), endpoints.len(), Some(outlier)) {
            return Circuit::Closed;
        }
        let tried = endpoints.iter().any(|health| health.circuit() == Circuit::HalfOpen);
        if tried { Circuit::HalfOpen } else { Circuit::Open }
    }

    /// Counts one more that is out, if `most` allows it.
    fn reserve(&self, most: u32) -> bool {
        let taken = self.out.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |out| (out < most).then_some(out + 1));
        taken.is_ok()
    }

    fn release(&self) {
        let _ = self.out.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |out| Some(out.saturating_sub(1)));
    }
}

// === impl Health ===

impl Health {
    /// An endpoint of which nothing bad is known.
    pub fn new(group: Arc<GroupHealth>) -> Self {
        Self {
            group,
            flags: AtomicU8::new(0),
            failures: Default::default(),
            since: AtomicU64::new(0),
            asked: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            until: AtomicU64::new(0),
            times: AtomicU32::new(0),
            base: AtomicU64::new(1_000),
            interval: AtomicU64::new(1),
            returned: AtomicU64::new(0),
            failing: AtomicU32::new(0),
            seen: AtomicU64::new(0),
        }
    }

    /// Whether it takes no requests.
    pub fn is_out(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & OUT != 0
    }

    /// Whether checks say that it is not well.
    pub fn is_failing(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & FAILING != 0
    }

    /// The state of its circuit.
    pub fn circuit(&self) -> Circuit {
        match self.flags.load(Ordering::Relaxed) {
            flags if flags & EJECTED == 0 => Circuit::Closed,
            flags if flags & TRIAL == 0 => Circuit::Open,
            _ => Circuit::HalfOpen,
        }
    }

    /// An exchange with it went well.
    pub fn succeeded(&self, outlier: Option<&Outlier>, now: u64) -> Option<Change> {
        self.failures.iter().for_each(forget);
        if let Some(outlier) = outlier {
            self.fails_too_much(outlier, false, now);
        }
        // Requests that were under way when it was ejected prove nothing; the one on trial does.
        if self.flags.load(Ordering::Relaxed) & (EJECTED | TRIAL) != EJECTED | TRIAL {
            return None;
        }
        let before = self.flags.fetch_and(!(EJECTED | TRIAL), Ordering::Relaxed);
        if before & EJECTED == 0 {
            return None;
        }
        self.returned.store(now, Ordering::Relaxed);
        if before & (GONE | FAILING) == 0 {
            self.group.release();
        }
        Some(Change::Returned)
    }

    /// An exchange with it, one of `total` endpoints, failed in this way.
    pub fn failed(&self, outlier: &Outlier, outcome: Outcome, total: usize, now: u64) -> Option<Change> {
        let flags = self.flags.load(Ordering::Relaxed);
        if flags & GONE != 0 {
            return None;
        }
        if flags & EJECTED != 0 {
            // Of several that fail at once one speaks for the trial.
            let tried = flags & TRIAL != 0 && self.flags.fetch_and(!TRIAL, Ordering::Relaxed) & TRIAL != 0;
            return tried.then(|| self.leave_out(outlier, now));
        }
        let too_many = [
            self.fails_again(0, true, Some(outlier.consecutive_failures)),
            self.fails_again(1, outcome >= Outcome::GatewayFailed, outlier.consecutive_gateway_failures),
            self.fails_again(2, outcome == Outcome::Unreachable, outlier.consecutive_connect_failures),
            self.fails_too_much(outlier, true, now),
        ];
        if !too_many.contains(&true) {
            return None;
        }
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        let most = u32::try_from(total.saturating_mul(outlier.max_ejection_percent.into()) / 100).unwrap_or(u32::MAX);
        // One that checks have taken out is counted already.
        let counted = flags & FAILING == 0;
        if counted && !self.group.reserve(most.max(1)) {
            return None;
        }
        let before = self.flags.fetch_or(EJECTED, Ordering::Relaxed);
        if before & EJECTED != 0 || before & GONE != 0 {
            if counted {
                self.group.release();
            }
            return None;
        }
        // Time heals: for every interval that it was well one time is forgotten.
        let well = now.saturating_sub(self.returned.load(Ordering::Relaxed));
        let forgotten = u32::try_from(well / milliseconds(outlier.interval).max(1)).unwrap_or(u32::MAX);
        self.times.store(self.times.load(Ordering::Relaxed).saturating_sub(forgotten), Ordering::Relaxed);
        Some(self.leave_out(outlier, now))
    }

    /// The settings by which it was left out last, for a cluster that has none of its own and makes the trial.
    pub fn left_out_by(&self) -> Outlier {
        Outlier {
            consecutive_failures: 1,
            consecutive_gateway_failures: None,
            consecutive_connect_failures: None,
            failure_rate: None,
            interval: Duration::from_millis(self.interval.load(Ordering::Relaxed)),
            base_ejection_time: Duration::from_millis(self.base.load(Ordering::Relaxed)),
            max_ejection_percent: 0,
        }
    }

    /// What was to be learnt by a trial will not be: whoever comes next may try.
    pub fn abandon_trial(&self, now: u64) {
        if self.flags.fetch_and(!TRIAL, Ordering::Relaxed) & TRIAL != 0 {
            self.until.store(now, Ordering::Relaxed);
            self.group.due.fetch_min(now, Ordering::Relaxed);
        }
    }

    /// One more of a row of failures, or what ends the row; whether there are as many as that.
    fn fails_again(&self, row: usize, counts: bool, most: Option<u32>) -> bool {
        let Some(row) = self.failures.get(row) else { return false };
        if !counts {
            forget(row);
            return false;
        }
        let failures = row.fetch_add(1, Ordering::Relaxed) + 1;
        most.is_some_and(|most| failures >= most)
    }

    /// One more of the interval's requests; whether it is a failure by which their share becomes too large.
    fn fails_too_much(&self, outlier: &Outlier, failed: bool, now: u64) -> bool {
        let Some(FailureRate { percent, min_requests }) = outlier.failure_rate else { return false };
        let since = self.since.load(Ordering::Relaxed);
        if now.saturating_sub(since) >= milliseconds(outlier.interval)
            && self.since.compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.asked.store(0, Ordering::Relaxed);
            self.failed.store(0, Ordering::Relaxed);
        }
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if !failed {
            return false;
        }
        let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        asked >= min_requests && u64::from(failed) * 100 >= u64::from(asked) * u64::from(percent)
    }

    fn leave_out(&self, outlier: &Outlier, now: u64) -> Change {
        self.failures.iter().chain([&self.asked, &self.failed]).for_each(forget);
        let base = milliseconds(outlier.base_ejection_time);
        self.base.store(base, Ordering::Relaxed);
        self.interval.store(milliseconds(outlier.interval), Ordering::Relaxed);
        let times = u64::from(self.times.fetch_add(1, Ordering::Relaxed)) + 1;
        let length = base.saturating_mul(times).min(LONGEST_EJECTION.max(base));
        let until = now.saturating_add(length).next_multiple_of(milliseconds(outlier.interval).max(1));
        self.until.store(until, Ordering::Relaxed);
        self.group.due.fetch_min(until, Ordering::Relaxed);
        Change::Ejected(until - now)
    }

    /// When it may be tried.
    fn due(&self) -> Option<u64> {
        let flags = self.flags.load(Ordering::Relaxed);
        (flags & EJECTED != 0 && flags & (FAILING | GONE) == 0).then(|| self.until.load(Ordering::Relaxed))
    }

    /// Takes the trial, unless it is too early or somebody else has it. A trial whose outcome nobody tells is over after
    /// as long as the first ejection.
    fn begin_trial(&self, now: u64) -> bool {
        let Some(until) = self.due().filter(|until| *until <= now) else { return false };
        let next = now.saturating_add(self.base.load(Ordering::Relaxed).max(1));
        let took = self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if took {
            self.flags.fetch_or(TRIAL, Ordering::Relaxed);
        }
        took
    }

    /// One of the checks on it has begun to fail; whether it is out by that.
    pub fn check_fails(&self) -> bool {
        if self.failing.fetch_add(1, Ordering::Relaxed) > 0 {
            return false;
        }
        let before = self.flags.fetch_or(FAILING, Ordering::Relaxed);
        if before & (OUT | GONE) == 0 {
            self.group.out.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// One of the checks on it does not fail any more, or is not made any more; whether it is well by that.
    pub fn check_passes(&self) -> bool {
        if self.failing.fetch_sub(1, Ordering::Relaxed) > 1 {
            return false;
        }
        let before = self.flags.fetch_and(!FAILING, Ordering::Relaxed);
        if before & GONE == 0 && before & OUT == FAILING {
            self.group.release();
        }
        if before & EJECTED != 0 {
            self.group.due.fetch_min(self.until.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        true
    }

    /// The endpoint has left. What is still told of it counts for nothing.
    pub fn leave(&self) {
        let before = self.flags.fetch_or(GONE, Ordering::Relaxed);
        if before & GONE == 0 && before & OUT != 0 {
            self.group.release();
        }
    }

    /// The part of its full share that it gets, in 1/256, when that grows over `window` from the moment it was first
    /// asked for.
    pub fn share(&self, window: Duration, now: u64) -> u32 {
        /// A tenth, so that it gets something to warm up with.
        const LEAST: u64 = 26;
        let mut seen = self.seen.load(Ordering::Relaxed);
        if seen == 0 {
            let first = now.max(1);
            seen = self
                .seen
                .compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|other| other, |_| first);
        }
        let age = now.saturating_sub(seen);
        let share = age.saturating_mul(256) / milliseconds(window).max(1);
        u32::try_from(share.clamp(LEAST, 256)).unwrap_or(256)
    }
}

impl fmt::Display for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}

impl fmt::Display for Outlier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            consecutive_failures,
            consecutive_gateway_failures,
            consecutive_connect_failures,
            failure_rate,
            interval,
            base_ejection_time,
            max_ejection_percent,
        } = self;
        write!(f, "leaves out after {consecutive_failures} failures")?;
        if let Some(failures) = consecutive_gateway_failures {
            write!(f, ", {failures} as of gateways")?;
        }
        if let Some(failures) = consecutive_connect_failures {
            write!(f, ", {failures} to connect")?;
        }
        if let Some(FailureRate { percent, min_requests }) = failure_rate {
            write!(f, ", {percent}% of {min_requests} or more within {interval:?}")?;
        }
        write!(f, " for {base_ejection_time:?} and longer, looking every {interval:?}, at most {max_ejection_percent}%")
    }
}

/// Whether so many are out that all are used.
fn is_panic(out: u32, total: usize, outlier: Option<&Outlier>) -> bool {
    let most = outlier.map_or(0, |outlier| outlier.max_ejection_percent).max(PANIC_PERCENT);
    u64::from(out) * 100 > u64::try_from(total).unwrap_or(u64::MAX).saturating_mul(most.into())
}

/// Begins to count anew; looks first, since that is usual and to write would take the line from all other workers.
fn forget(count: &AtomicU32) {
    if count.load(Ordering::Relaxed) > 0 {
        count.store(0, Ordering::Relaxed);
    }
}

impl From<StatusCode> for Outcome {
    fn from(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Self::GatewayFailed
            }
            status if status.is_server_error() => Self::Failed,
            _ => Self::Well,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
