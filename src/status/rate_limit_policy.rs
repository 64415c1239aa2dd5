//! The status of a RateLimitPolicy: one entry for each target (GEP-713).

use k8s_openapi::jiff::Timestamp;

use super::condition::{as_shown, renewed};
use crate::api::rate_limit_policy::{AncestorStatus, ParentReference};
use crate::api::{PolicyTargetRef, RateLimitPolicyStatus};
use crate::compile::{CONTROLLER, Condition, ObjectReport};
use crate::source::{Kind, ObjectKey};

/// As many entries as the list may have.
const ENTRIES: usize = 16;

/// What to show of the policy `key`, whose spec names `targets`, unless it is what is shown.
///
/// The list of entries is one value with one owner, so those of other controllers, and those of another class of ours
/// on its own targets, are carried over as they are.
pub(super) fn status(
    key: &ObjectKey,
    report: &ObjectReport,
    targets: &[PolicyTargetRef],
    shown: &RateLimitPolicyStatus,
    now: Timestamp,
) -> Option<RateLimitPolicyStatus> {
    let mut ours: Vec<(ParentReference, &[Condition])> = Vec::new();
    let mut others = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let reference = reference(key, target);
        match conditions(report, number) {
            // The list is keyed by what it names; a target named twice has one entry, and the first says it.
            Some(conditions) if !ours.iter().any(|(known, _)| *known == reference) => {
                ours.push((reference, conditions))
            }
            Some(_) => {}
            None => others.push(reference),
        }
    }

    let mut wanted: Vec<AncestorStatus> = Vec::with_capacity(ours.len());
    for entry in &shown.ancestors {
        let foreign = entry.controller_name != CONTROLLER || others.contains(&entry.ancestor_ref);
        if foreign {
            wanted.push(entry.clone());
        } else if let Some((reference, conditions)) = ours.iter().find(|(ours, _)| *ours == entry.ancestor_ref) {
            wanted.push(entry_for(reference.clone(), conditions, report.generation, Some(entry), now));
        }
    }
    for (target, conditions) in ours {
        if !wanted.iter().any(|entry| entry.controller_name == CONTROLLER && entry.ancestor_ref == target) {
            wanted.push(entry_for(target, conditions, report.generation, None, now));
        }
    }
    wanted.truncate(ENTRIES);
    let wanted = RateLimitPolicyStatus { ancestors: wanted, message: report.message() };
    (!same(&wanted, shown)).then_some(wanted)
}

/// The conditions of the target of this number, if they are ours to write. A policy of ours that attaches to nothing has
/// nowhere else to say so than at what it names.
fn conditions(report: &ObjectReport, target: usize) -> Option<&[Condition]> {
    if report.ancestors.is_empty() {
        return Some(&report.conditions);
    }
    report.ancestors.iter().find(|ancestor| ancestor.target == target).map(|ancestor| ancestor.conditions.as_slice())
}

fn reference(policy: &ObjectKey, target: &PolicyTargetRef) -> ParentReference {
    let PolicyTargetRef { group, kind, name, section_name } = target;
    ParentReference {
        group: group.clone(),
        kind: kind.clone(),
        namespace: (kind != Kind::IngressClass.as_str()).then(|| policy.namespace.to_string()),
        name: name.clone(),
        section_name: section_name.clone(),
    }
}

fn entry_for(
    ancestor_ref: ParentReference,
    conditions: &[Condition],
    generation: Option<i64>,
    shown: Option<&AncestorStatus>,
    now: Timestamp,
) -> AncestorStatus {
    let shown = shown.map(|entry| entry.conditions.as_slice()).unwrap_or_default();
    let conditions = renewed(conditions, generation, shown, now);
    AncestorStatus { ancestor_ref, controller_name: CONTROLLER.to_owned(), conditions }
}

fn same(wanted: &RateLimitPolicyStatus, shown: &RateLimitPolicyStatus) -> bool {
    wanted.message == shown.message
        && wanted.ancestors.len() == shown.ancestors.len()
        && wanted.ancestors.iter().zip(&shown.ancestors).all(|(wanted, shown)| {
            wanted.ancestor_ref == shown.ancestor_ref
                && wanted.controller_name == shown.controller_name
                && as_shown(&wanted.conditions, &shown.conditions)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Ancestor, ConditionType, Reason};

    fn target(kind: &str, name: &str, section: Option<&str>) -> PolicyTargetRef {
        let group = if kind == "GatewayRoute" { "headgate.dev" } else { "networking.k8s.io" };
        PolicyTargetRef {
            group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            section_name: section.map(str::to_owned),
        }
    }

    fn report(ancestors: &[usize], status: bool) -> ObjectReport {
        let (reason, message) = match status {
            true => (Reason::Accepted, "the policy is valid"),
            false => (Reason::TargetNotFound, "GatewayRoute shop/web does not exist"),
        };
        let accepted = Condition { type_: ConditionType::Accepted, status, reason, message: message.to_owned() };
        ObjectReport {
            ours: true,
            generation: Some(1),
            conditions: vec![accepted.clone()],
            ancestors: ancestors
                .iter()
                .map(|target| Ancestor { target: *target, name: String::new(), conditions: vec![accepted.clone()] })
                .collect(),
            ..ObjectReport::default()
        }
    }

    fn refs(status: &RateLimitPolicyStatus) -> Vec<(&str, &str, Option<&str>)> {
        status
            .ancestors
            .iter()
            .map(|entry| {
                let reference = &entry.ancestor_ref;
                (entry.controller_name.as_str(), reference.name.as_str(), reference.section_name.as_deref())
            })
            .collect()
    }

    #[test]
    fn each_target_of_ours_has_an_entry_and_entries_of_others_stay() {
        let key = ObjectKey::new(Kind::RateLimitPolicy, "shop", "limits");
        let targets = [
            target("GatewayRoute", "web", Some("orders")),
            target("GatewayRoute", "internal", None),
            target("IngressClass", "headgate", None),
        ];
        let ours = [0, 2];
        let entry = |controller: &str, target: &PolicyTargetRef| AncestorStatus {
            ancestor_ref: reference(&key, target),
            controller_name: controller.to_owned(),
            conditions: Vec::new(),
        };
        let before = RateLimitPolicyStatus {
            ancestors: vec![
                entry("example.com/other", &target("GatewayRoute", "web", None)),
                entry(CONTROLLER, &target("GatewayRoute", "gone-from-the-spec", None)),
                entry(CONTROLLER, &targets[1]),
            ],
            message: None,
        };
        let written = status(&key, &report(&ours, true), &targets, &before, Timestamp::now()).unwrap();
        assert_eq!(
            refs(&written),
            [
                ("example.com/other", "web", None),
                (CONTROLLER, "internal", None),
                (CONTROLLER, "web", Some("orders")),
                (CONTROLLER, "headgate", None),
            ]
        );
        assert_eq!(written.ancestors[3].ancestor_ref.namespace, None);
        assert_eq!(written.ancestors[1], before.ancestors[2]);
        assert_eq!(status(&key, &report(&ours, true), &targets, &written, Timestamp::now()), None);
    }

    #[test]
    fn a_policy_on_nothing_says_so_at_what_it_names() {
        let key = ObjectKey::new(Kind::RateLimitPolicy, "shop", "limits");
        let targets = [target("GatewayRoute", "web", None)];
        let written = status(&key, &report(&[], false), &targets, &RateLimitPolicyStatus::default(), Timestamp::now());
        let written = written.unwrap();
        assert_eq!(refs(&written), [(CONTROLLER, "web", None)]);
        assert_eq!(written.ancestors[0].conditions[0].reason, "TargetNotFound");
    }
}
