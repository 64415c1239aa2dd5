//! Which policy applies where. The one on the most specific target counts as a whole; of two on the same target the
//! older one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::Settings;
use super::super::code::Code;
use super::super::lookup::Dependency;
use super::super::lowered::{Draft, Lowered};
use super::super::report::Problem;
use super::{Policy, Target};
use crate::source::{Kind, ObjectKey};
use crate::table::{KeyPart, Precedence, RateLimits};

/// What policies attach to.
#[derive(Debug, Default)]
pub(in super::super) struct Attachments(BTreeMap<Target, BTreeMap<Precedence, Attached>>);

/// A policy at a target.
#[derive(Clone, Debug)]
struct Attached {
    policy: ObjectKey,
    limits: Result<Arc<RateLimits>, Arc<str>>,
}

impl Attachments {
    /// Attaches a policy to its targets.
    pub(in super::super) fn attach(&mut self, lowered: &Lowered) {
        let Some(Policy { targets, limits }) = &lowered.policy else { return };
        let limits = match limits {
            Ok(limits) => Ok(limits.clone()),
            Err(problem) => Err(Arc::from(format!("{}: {}", problem.field, problem.what))),
        };
        for (_, target) in targets {
            let attached = Attached { policy: lowered.object.clone(), limits: limits.clone() };
            self.0.entry(target.clone()).or_default().insert(lowered.rank.clone(), attached);
        }
    }

    /// Takes a policy off its targets.
    pub(in super::super) fn detach(&mut self, lowered: &Lowered) {
        let Some(Policy { targets, .. }) = &lowered.policy else { return };
        for (_, target) in targets {
            if let Some(attached) = self.0.get_mut(target) {
                attached.remove(&lowered.rank);
                if attached.is_empty() {
                    self.0.remove(target);
                }
            }
        }
    }

    /// The policies that attach to a target.
    pub(in super::super) fn at(&self, target: &Target) -> impl Iterator<Item = &ObjectKey> {
        self.0.get(target).into_iter().flatten().map(|(_, attached)| &attached.policy)
    }

    /// What a policy is told of targets that have another one.
    pub(in super::super) fn losses(&self, lowered: &Lowered) -> Vec<Problem> {
        let targets = lowered.policy.iter().flat_map(|policy| &policy.targets);
        let lost = |(index, target): &(usize, Target)| {
            let (rank, winner) = self.0.get(target)?.first_key_value()?;
            if winner.policy == lowered.object {
                // It may name the same target twice; that means the same once.
                return None;
            }
            let why = if rank.created < lowered.rank.created { "is older" } else { "comes first by name" };
            let what = format!("{} has {}, which {why}", target.object, winner.policy);
            let remedy = "put the limits into one policy, or remove one of the two";
            Some(Problem::new(Code::TargetTaken, format!("spec.targetRefs[{index}]"), what, remedy))
        };
        targets.filter_map(lost).collect()
    }

    /// Gives the rules of an object their limits. A rule whose policy cannot be enforced is refused.
    pub(in super::super) fn apply(&self, settings: &Settings, lowered: &mut Lowered) {
        let object = lowered.object.clone();
        if !matches!(object.kind, Kind::GatewayRoute | Kind::Ingress) || lowered.drafts.is_empty() {
            return;
        }
        let class = ObjectKey::new(Kind::IngressClass, "", &settings.class.name);
        lowered.read.extend([Dependency::Policies(object.clone()), Dependency::Policies(class.clone())]);
        let of_object = self.winner(&object, None);
        let of_class = self.winner(&class, None);
        let mut drafts = std::mem::take(&mut lowered.drafts);
        let mut replaced = false;
        for (number, draft) in drafts.iter_mut().enumerate() {
            let section = draft.named.then(|| draft.rule.clone());
            let own = section.and_then(|section| self.winner(&object, Some(section))).or(of_object);
            let mut applied = BTreeSet::new();
            let result = match own {
                Some(own) => {
                    replaced |= draft.limits.is_some();
                    one_for_all(own, draft, &mut applied)
                }
                // Its own annotations are nearer to it than a Service or the class.
                None if draft.limits.is_some() => Ok(()),
                None => self.by_backend(of_class, lowered, draft, &mut applied),
            };
            let result = result.and_then(|()| parameters(lowered, number, draft));
            match result {
                Ok(()) => lowered.affected.extend(applied),
                Err((field, problem)) => {
                    let remedy = "mend the policy, or remove it";
                    draft.refuse();
                    let problem = Problem::new(Code::PolicyRefused, field, problem, remedy);
                    lowered.problems.push(problem.in_rule(&draft.rule));
                }
            }
        }
        lowered.drafts = drafts;
        if replaced && let Some(own) = of_object {
            lowered.limits = None;
            let what = format!("{} targets the Ingress, and counts in place of limit-rps and limit-rpm", own.policy);
            lowered.problems.push(Problem::new(
                Code::NoEffect,
                "metadata.annotations",
                what,
                "remove them, or the policy",
            ));
        }
    }

    /// Limits for each backend: those on its Service, or else those of the class.
    fn by_backend(
        &self,
        of_class: Option<&Attached>,
        lowered: &mut Lowered,
        draft: &mut Draft,
        applied: &mut BTreeSet<ObjectKey>,
    ) -> Result<(), Refusal> {
        let mut found = Vec::with_capacity(draft.backends.len());
        for backend in &draft.backends {
            let of_service = backend.target.as_ref().ok().and_then(|cluster| {
                let service = &cluster.group.service;
                let service = ObjectKey::new(Kind::Service, &service.namespace, &service.name);
                lowered.read.push(Dependency::Policies(service.clone()));
                let port = Some(cluster.group.port_name.clone()).filter(|port| !port.is_empty());
                port.and_then(|port| self.winner(&service, Some(port))).or_else(|| self.winner(&service, None))
            });
            found.push(of_service.or(of_class));
        }
        let first = found.first().copied().unwrap_or(of_class);
        let same = |other: &Option<&Attached>| other.map(|it| &it.policy) == first.map(|it| &it.policy);
        if found.iter().all(same) {
            return first.map_or(Ok(()), |only| one_for_all(only, draft, applied));
        }
        for (backend, attached) in draft.backends.iter_mut().zip(found) {
            backend.limits = attached.map(|attached| attached.limits(applied)).transpose()?;
        }
        Ok(())
    }

    fn winner(&self, object: &ObjectKey, section: Option<Arc<str>>) -> Option<&Attached> {
        let target = Target { object: object.clone(), section };
        self.0.get(&target)?.first_key_value().map(|(_, attached)| attached)
    }
}

/// The field that a rule is refused for, empty for the rule as a whole, and why.
type Refusal = (String, String);

fn one_for_all(attached: &Attached, draft: &mut Draft, applied: &mut BTreeSet<ObjectKey>) -> Result<(), Refusal> {
    draft.limits = Some(attached.limits(applied)?);
    Ok(())
}

impl Attached {
    fn limits(&self, applied: &mut BTreeSet<ObjectKey>) -> Result<Arc<RateLimits>, Refusal> {
        let refused = |why: &Arc<str>| (String::new(), format!("{} cannot be enforced: {why}", self.policy));
        let limits = self.limits.clone().map_err(|why| refused(&why))?;
        applied.insert(self.policy.clone());
        Ok(limits)
    }
}

/// Every path of a rule must have the parameters that its limits count by.
fn parameters(lowered: &Lowered, number: usize, draft: &Draft) -> Result<(), Refusal> {
    let Some(limits) = &draft.limits else { return Ok(()) };
    for part in limits.list.iter().flat_map(|rate| &rate.key) {
        let KeyPart::PathParam(name, _) = part else { continue };
        let mut claims = lowered.claims.values().flat_map(|claims| claims.iter());
        let lacks = claims.find(|claim| claim.draft == number && !claim.path.params().contains(name));
        if let Some(claim) = lacks {
            let (policy, path) = (&limits.policy, &claim.path);
            let why = format!("RateLimitPolicy {policy} counts by {part}, and {path} has no such parameter");
            return Err((claim.field.to_string(), why));
        }
    }
    Ok(())
}
