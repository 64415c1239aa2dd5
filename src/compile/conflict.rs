//! Several objects with one host: who has which match, and who is told.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use super::code::Code;
use super::lowered::Claim;
use super::objects::Placed;
use super::report::Problem;
use crate::source::{Kind, ObjectKey};
use crate::table::{Entry, HostKey, Listeners, Precedence, Route};

/// What became of the claims on one host.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The claims that stand.
    pub(super) entries: Vec<Entry>,
    /// What those are told whose claims do not.
    pub(super) losses: BTreeMap<ObjectKey, Vec<Problem>>,
}

/// A claim that stands.
struct Holder<'a> {
    placed: &'a Placed,
    claim: &'a Claim,
    route: &'a Arc<Route>,
}

/// A claim that does not, and who has what it claims.
struct Loss<'a> {
    claim: &'a Claim,
    route: &'a Arc<Route>,
    to: Holder<'a>,
    /// Whether it still stands on the other listener.
    partly: bool,
}

/// Settles the claims on a host. Of two claims to the same match on the same listener the older object's stands, then
/// the one that comes first by namespace and name, and within an object the earlier rule's.
pub(super) fn settle(host: &HostKey, claimants: &[&Placed]) -> Settled {
    #[cfg(test)]
    assert!(!super::tests::PANICS.with_borrow(|name| **name == host.to_string()), "for a test");
    let mut claimants = claimants.to_vec();
    claimants.sort_by(|a, b| a.lowered.rank.cmp(&b.lowered.rank));
    let mut held: HashMap<&str, Vec<Holder<'_>>> = HashMap::new();
    let mut settled = Settled::default();
    for placed in claimants {
        let claims = placed.lowered.claims.get(host).map(|claims| &**claims).unwrap_or_default();
        let mut lost = Vec::new();
        for claim in claims {
            let Some(route) = placed.routes.get(claim.draft) else { continue };
            let holders = held.entry(&claim.identity).or_default();
            let mut left = route.listeners;
            let mut to = None;
            for holder in holders.iter() {
                let theirs = holder.route.listeners;
                if (theirs.http && left.http) || (theirs.https && left.https) {
                    to.get_or_insert(Holder { ..*holder });
                }
                left = Listeners { http: left.http && !theirs.http, https: left.https && !theirs.https };
            }
            // The same match twice in one rule means the same once.
            if let Some(to) = to
                && !Arc::ptr_eq(to.route, route)
            {
                lost.push(Loss { claim, route, to, partly: left.http || left.https });
            }
            if left.http || left.https {
                settled.entries.push(entry(&placed.lowered.rank, claim, route));
                holders.push(Holder { placed, claim, route });
            }
        }
        if !lost.is_empty() {
            let all = lost.len() == claims.len() && lost.iter().all(|loss| !loss.partly);
            settled.losses.insert(placed.lowered.object.clone(), tell(host, placed, &lost, all));
        }
    }
    settled
}

/// What those are told who claim a host over which settling has panicked.
pub(super) fn unsettled<'c>(
    host: &HostKey,
    claimants: impl Iterator<Item = &'c ObjectKey>,
) -> BTreeMap<ObjectKey, Vec<Problem>> {
    let what = format!("putting together what is declared for {} panics, which is a mistake in Headgate", Place(host));
    let remedy = "report it with the log and the objects of the host; what was served of it before still is";
    claimants.map(|object| (object.clone(), vec![Problem::new(Code::Internal, "", what.clone(), remedy)])).collect()
}

fn entry(rank: &Precedence, claim: &Claim, route: &Arc<Route>) -> Entry {
    Entry {
        path: claim.path.clone(),
        matcher: claim.matcher.clone(),
        precedence: Precedence {
            rule: u32::try_from(claim.draft).unwrap_or(u32::MAX),
            index: claim.index,
            ..rank.clone()
        },
        route: route.clone(),
    }
}

/// One problem for a host that is lost as a whole, otherwise one for each rule that has lost something.
fn tell(host: &HostKey, loser: &Placed, lost: &[Loss<'_>], all: bool) -> Vec<Problem> {
    let remedy = "change the host or the match of one of them";
    let from_others = lost.iter().all(|loss| loss.to.placed.lowered.object != loser.lowered.object);
    if all
        && from_others
        && let [first, ..] = lost
    {
        let field = match loser.lowered.object.kind {
            Kind::GatewayRoute => "spec.hostnames",
            _ => "spec.rules",
        };
        let what = format!("all that it matches on {} belongs to {}", Place(host), owner(loser, &first.to));
        return vec![Problem::new(Code::HostTaken, field, what, remedy)];
    }
    let mut problems: Vec<Problem> = Vec::new();
    let mut told: Option<&Arc<Route>> = None;
    for Loss { claim, route, to, partly } in lost {
        if told.is_some_and(|told| Arc::ptr_eq(told, route)) {
            continue;
        }
        told = Some(route);
        let matcher = claim.matcher.to_string();
        let separator = if matcher.is_empty() { "" } else { ", " };
        let listener = match (partly, to.route.listeners.http) {
            (false, _) => "",
            (true, true) => ", on the http listener,",
            (true, false) => ", on the https listener,",
        };
        let (path, place, owner) = (&claim.path, Place(host), owner(loser, to));
        let what = format!("{path}{separator}{matcher} on {place}{listener} belongs to {owner}");
        problems.push(Problem::new(Code::PathTaken, &*claim.field, what, remedy).in_rule(&route.id.rule));
    }
    problems
}

/// A host in a sentence.
struct Place<'a>(&'a HostKey);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            HostKey::Any => f.write_str("hosts that nothing else claims"),
            host => host.fmt(f),
        }
    }
}

fn owner(loser: &Placed, winner: &Holder<'_>) -> String {
    let (ours, theirs) = (&loser.lowered, &winner.placed.lowered);
    if ours.object == theirs.object {
        return format!("the earlier rule \"{}\" ({})", winner.route.id.rule, winner.claim.field);
    }
    let why = if theirs.rank.created < ours.rank.created { "is older" } else { "comes first by namespace and name" };
    format!("{}, which {why}", theirs.object)
}
