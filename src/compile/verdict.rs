//! What is said about each object, from everything that is known of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Compiled;
use super::class::Owner;
use super::findings::Findings;
use super::objects::{self, Placed};
use super::report::{self, Ancestor, Condition, ObjectReport, Problem};
use crate::source::{Kind, Metadata, ObjectKey};
use crate::store::{Entry, Store};
use crate::table::HostKey;

impl Compiled {
    /// Brings the report up to date on these objects, and on what concerns none.
    pub(super) fn tell(&mut self, store: &Store, about: BTreeSet<ObjectKey>) {
        let verdicts: Vec<_> = about.into_iter().map(|key| (self.verdict(store, &key), key)).collect();
        let unchanged = verdicts
            .iter()
            .all(|(verdict, key)| self.report.objects.get(key).map(|known| &**known) == verdict.as_ref());
        if unchanged && self.report.watches == *store.watches() && self.report.places == *store.places() {
            return;
        }
        let report = Arc::make_mut(&mut self.report);
        report.watches = store.watches().clone();
        report.places = store.places().clone();
        for (verdict, key) in verdicts {
            report.put(key, verdict);
        }
    }

    /// The verdict on one object; none when there is nothing to say, or nobody to say it of.
    fn verdict(&self, store: &Store, key: &ObjectKey) -> Option<ObjectReport> {
        let entry = store.get(key);
        let findings = Findings(entry.map(|entry| entry.findings.as_slice()).unwrap_or_default());
        if let Some(placed) = self.objects.get(key) {
            return self.of_placed(placed, findings);
        }
        let entry = entry?;
        let mut problems = findings.problems(|_| true);
        problems.extend(findings.withheld());
        if key.kind == Kind::EndpointSlice {
            let noticed = self.clusters.problems_of(key).iter();
            problems.extend(noticed.filter(|problem| !findings.tell(problem, "")).cloned());
        }
        if problems.is_empty() {
            return None;
        }
        Some(of_unread(self.standalone, key, entry, problems))
    }

    fn of_placed(&self, placed: &Placed, findings: Findings<'_>) -> Option<ObjectReport> {
        let lowered = &placed.lowered;
        let mut problems = lowered.problems.clone();
        problems.extend(findings.withheld());
        problems.extend(lowered.claims.keys().flat_map(|host| self.losses_on(host, &lowered.object)).cloned());
        problems.extend(lowered.tls.keys().flat_map(|host| self.tls_hosts.losses(host, &lowered.object)).cloned());
        problems.extend(self.objects.losses_of_policy(lowered));
        problems.extend(self.objects.losses_of_canary(lowered));
        let ours = lowered.owner == Owner::Us;
        if !ours && problems.is_empty() {
            return None;
        }
        let away = self.store_is_away && lowered.counts_globally();
        if ours && away {
            problems.push(report::store_is_away());
        }
        let problems = report::ordered(problems);
        let conditions = if ours { conditions(placed, &problems, away) } else { Vec::new() };
        let at = |(target, name): &(usize, String)| Ancestor {
            target: *target,
            name: name.clone(),
            conditions: report::policy_conditions(&problems, Some(*target), away),
        };
        let ancestors = lowered.ancestors.iter().map(at).collect();
        let (generation, uid) = (lowered.generation, lowered.uid.clone());
        Some(ObjectReport { ours, generation, uid, problems, conditions, ancestors })
    }

    /// What an object is told about a host. One that has lost hosts with one label before a suffix is not told of those
    /// with more: its `*.` stands for both.
    fn losses_on(&self, host: &HostKey, object: &ObjectKey) -> &[Problem] {
        let of = |host: &HostKey| self.losses.get(host).and_then(|losses| losses.get(object));
        if let HostKey::Subdomains(suffix) = host
            && of(&HostKey::Wildcard(suffix.clone())).is_some()
        {
            return &[];
        }
        of(host).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The verdict on an object that comes to nothing of its own, or that could not be decoded. Without a cluster everything
/// is ours; in one, who could tell what class an unreadable object has?
fn of_unread(standalone: bool, key: &ObjectKey, entry: &Entry, problems: Vec<Problem>) -> ObjectReport {
    let ours = standalone && objects::is_compiled(key.kind);
    let metadata = entry.metadata();
    ObjectReport {
        ours,
        generation: metadata.and_then(Metadata::generation),
        uid: metadata.and_then(Metadata::uid).map(str::to_owned),
        conditions: match key.kind {
            Kind::GatewayRoute if ours => report::route_conditions(&problems, 0, &[], &BTreeSet::new()),
            Kind::RateLimitPolicy if ours => report::policy_conditions(&problems, None, false),
            _ => Vec::new(),
        },
        problems,
        ancestors: Vec::new(),
    }
}

fn conditions(placed: &Placed, problems: &[Problem], away: bool) -> Vec<Condition> {
    match placed.lowered.object.kind {
        Kind::GatewayRoute => {
            let affected = &placed.lowered.affected;
            report::route_conditions(problems, placed.routes.len(), &placed.refused, affected)
        }
        Kind::RateLimitPolicy => report::policy_conditions(problems, None, away),
        // The status of an Ingress has no conditions: its problems become Events.
        Kind::Ingress
        | Kind::IngressClass
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::ReferenceGrant => Vec::new(),
    }
}
