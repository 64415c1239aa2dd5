//! Limits that are counted in the store that all replicas share.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};

use super::{Counted, Look, Mark, Refused};
use crate::limit::{Answer, Ask, SharedStore, Verdict};
use crate::table::{FailureMode, RateLimit, Scope};

/// After so long a client may try again to get past a limit that cannot be checked.
const RETRY_UNCHECKED: Duration = Duration::from_secs(1);

/// Asks the store about all its limits of the look; how long the longest wants the request to wait. Those that only look
/// on are asked on their own, so that what they refuse is still counted by the others.
pub(super) async fn ask<'t>(counted: &mut Counted<'_, 't>, mark: &mut Mark<'t>) -> Result<Duration, Refused> {
    let look = counted.look;
    let mut store = None;
    let (mut binding, mut shadows) = (Vec::new(), Vec::new());
    for (number, rate) in look.limits() {
        let Scope::Global { store: its, failure: _ } = &rate.scope else { continue };
        let mut key = Vec::new();
        match rate.write_key(&look.source, &mut key) {
            Ok(()) if rate.shadow => shadows.push((number, rate, key)),
            Ok(()) => binding.push((number, rate, key)),
            Err(missing) => {
                look.take_missing(rate, missing, mark)?;
            }
        }
        store = Some(its);
    }
    let Some(store) = store else { return Ok(Duration::ZERO) };
    // Each on its own: what one of them refuses, the others count all the same.
    let looking_on = join_all(shadows.iter().map(|shadow| check(store, std::slice::from_ref(shadow))));
    let (shadow_answers, answers) = join(looking_on, check(store, &binding)).await;
    for ((_, rate, _), answer) in shadows.iter().zip(shadow_answers.into_iter().flatten()) {
        match answer {
            Ok(decision) => look.take(rate, decision, mark)?,
            Err(_) => {
                rate.tally.count(look.worker.desk.index, Verdict::Error);
                Duration::ZERO
            }
        };
    }
    let mut delay = Duration::ZERO;
    let mut refused = None;
    let mut by_store = false;
    let mut passed = Vec::new();
    for ((number, rate, key), answer) in binding.into_iter().zip(answers) {
        let taken = match answer {
            Ok(decision) => {
                by_store |= !decision.passes();
                passed.push((number, key));
                look.take(rate, decision, mark)
            }
            Err(_) => without_store(look, rate, &key, store.replicas(), mark),
        };
        match taken {
            Ok(wait) => delay = delay.max(wait),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    // Where the store itself has refused a part, it has counted nothing.
    if !by_store {
        counted.shared = passed;
    }
    refused.map_or(Ok(delay), Err)
}

/// Gives back what the store has counted.
pub(super) fn give_back(counted: &Counted<'_, '_>) {
    let limits = &counted.look.limits.list;
    let asked = counted.shared.iter().filter_map(|(number, key)| Some((limits.get(*number)?, key)));
    let (rates, asks): (Vec<_>, Vec<_>) = asked.map(|(rate, key)| (rate, rate.ask(key))).unzip();
    if let Some(RateLimit { scope: Scope::Global { store, .. }, .. }) = rates.first() {
        store.give_back(&asks);
    }
}

async fn check(store: &Arc<dyn SharedStore>, limits: &[(usize, &RateLimit, Vec<u8>)]) -> Vec<Answer> {
    if limits.is_empty() {
        return Vec::new();
    }
    let asks: Vec<Ask<'_>> = limits.iter().map(|(_, rate, key)| rate.ask(key)).collect();
    store.check(&asks).await
}

/// The store is away: what the limit says for that case.
fn without_store<'t>(
    look: Look<'_, 't>,
    rate: &'t RateLimit,
    key: &[u8],
    replicas: NonZeroU32,
    mark: &mut Mark<'t>,
) -> Result<Duration, Refused> {
    let Scope::Global { store: _, failure } = &rate.scope else { return Ok(Duration::ZERO) };
    rate.tally.count(look.worker.desk.index, Verdict::Error);
    match failure {
        FailureMode::Open => Ok(Duration::ZERO),
        FailureMode::Closed => {
            mark.retry_after(RETRY_UNCHECKED);
            Err(Refused::Unchecked)
        }
        FailureMode::Local => {
            let quota = rate.limit.quota.shared_among(replicas);
            let ask = rate.ask(key);
            // A part of the quota may be less than what one request counts for; it counts for all there is.
            let cost = ask.cost.min(NonZeroU32::new(quota.capacity()).unwrap_or(NonZeroU32::MIN));
            look.take(rate, look.worker.desk.local.check(&Ask { cost, ..ask }, quota, look.at), mark)
        }
    }
}
