//! How often a client may ask.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::super::policy;
use super::annotations::Annotations;
use crate::address::{Network, Networks};
use crate::limit::{Algorithm, Limit, Quota, SyncMode};
use crate::source::ObjectKey;
use crate::table::{KeyPart, RateLimit, RateLimits, Scope, When};

/// By how much more than in its period a client may ask at once, when nothing is said.
const MULTIPLIER: u32 = 5;

/// The limits of an Ingress, shared by its rules as ingress-nginx has it; `former` are those that it had before, whose
/// counts live on.
pub(super) fn read(
    annotations: &mut Annotations<'_>,
    ingress: &ObjectKey,
    former: Option<&RateLimits>,
) -> Option<RateLimits> {
    let multiplier = annotations.number("limit-burst-multiplier").filter(|number| *number > 0).unwrap_or(MULTIPLIER);
    let mut exceptions = exceptions(annotations, "limit-allowlist");
    exceptions.extend(self::exceptions(annotations, "limit-whitelist"));
    let exceptions: Networks = exceptions.into_iter().collect();
    // No policy has a name with a space in it.
    let policy: Arc<str> = ingress.to_string().into();
    let mut list = Vec::new();
    for (name, seconds) in [("limit-rps", Some(1)), ("limit-rpm", Some(60)), ("limit-connections", None)] {
        let Some(value) = annotations.take(name) else { continue };
        let Ok(number) = value.parse::<u32>() else {
            annotations.close(name, format!("\"{}\" is no number", value.escape_debug()), "write digits alone");
            continue;
        };
        // None at all is no limit there.
        let Some(requests) = NonZeroU32::new(number) else { continue };
        // One passes in its turn, and so many more may come before theirs.
        let burst = requests.saturating_mul(NonZeroU32::new(multiplier).unwrap_or(requests)).saturating_add(1);
        let (algorithm, seconds) = match seconds {
            Some(seconds) => (Algorithm::TokenBucket { burst }, seconds),
            // There, too, requests are counted and not connections: one that waits for the next is none.
            None => (Algorithm::Concurrency, 1),
        };
        let quota = Quota { algorithm, requests, period: Duration::from_secs(seconds) };
        let key = KeyPart::ClientIp { v4: 32, v6: 64 };
        let known = former.and_then(|former| former.list.iter().find(|known| *known.limit.name == *name));
        list.push(RateLimit {
            limit: Limit::new(policy.clone(), name.into(), quota, SyncMode::Strict, &key.to_string()),
            key: Box::new([key]),
            cost: NonZeroU32::MIN,
            scope: Scope::Local,
            shadow: false,
            when: When { exceptions: exceptions.clone(), ..When::default() },
            tally: known.map(|known| known.tally.clone()).unwrap_or_default(),
        });
    }
    if list.is_empty() {
        return None;
    }
    let answer = policy::usual_answer(&list);
    Some(RateLimits { policy, list: list.into(), answer })
}

/// Networks whose clients may ask as often as they like.
fn exceptions(annotations: &mut Annotations<'_>, name: &str) -> Vec<Network> {
    let (networks, wrong) = annotations.networks(name);
    for error in wrong {
        annotations.unusable(name, error.to_string(), error.remedy());
    }
    networks
}
