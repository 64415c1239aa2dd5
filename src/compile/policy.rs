//! RateLimitPolicy → verdicts. Limits are not enforced yet, so every policy of ours is refused and says so.

use super::Settings;
use super::class::Owner;
use super::code::Code;
use super::lookup::Lookup;
use super::lowered::Lowered;
use super::report::Problem;
use crate::api::{GROUP, PolicyTargetRef, RateLimitPolicy, RateLimitPolicySpec};
use crate::source::{Kind, Object, ObjectKey};

/// Whose a target is.
enum Target {
    Ours(ObjectKey),
    Others,
    Missing(Problem),
}

/// Lowers a RateLimitPolicy: ours when one of its targets is.
pub(super) fn lower(settings: &Settings, mut lookup: Lookup<'_>, key: &ObjectKey, policy: &RateLimitPolicy) -> Lowered {
    let RateLimitPolicySpec { target_refs, limits: _, response: _ } = &policy.spec;
    let mut lowered = Lowered::ours(key, &policy.metadata);
    let mut others = 0;
    for (index, target) in target_refs.iter().enumerate() {
        match find(settings, &mut lookup, key, &format!("spec.targetRefs[{index}]"), target) {
            Target::Ours(target) => lowered.ancestors.push(target),
            Target::Others => others += 1,
            Target::Missing(problem) => lowered.problems.push(problem),
        }
    }
    let read = lookup.into_read();
    // A policy on another's objects is the other's to judge; one on nothing at all is ours, or nobody would tell.
    if lowered.ancestors.is_empty() && (others > 0 || !settings.class.is_default()) {
        return Lowered::foreign(key, &policy.metadata, read);
    }
    if !lowered.ancestors.is_empty() {
        let what = "this version does not support rate limits";
        let remedy = "remove the policy, or use a version that does";
        lowered.problems.push(Problem::new(Code::Unsupported, "spec.limits", what, remedy));
    }
    lowered.read = read;
    lowered
}

fn find(
    settings: &Settings,
    lookup: &mut Lookup<'_>,
    policy: &ObjectKey,
    field: &str,
    target: &PolicyTargetRef,
) -> Target {
    let PolicyTargetRef { group, kind, name, section_name } = target;
    let (kind, namespace) = match (group.as_str(), kind.as_str()) {
        (GROUP, "GatewayRoute") => (Kind::GatewayRoute, &*policy.namespace),
        ("networking.k8s.io", "Ingress") => (Kind::Ingress, &*policy.namespace),
        ("networking.k8s.io", "IngressClass") => (Kind::IngressClass, ""),
        ("", "Service") => (Kind::Service, &*policy.namespace),
        _ => {
            let what = format!("{kind} of group \"{group}\" cannot be a target");
            let remedy = "name a GatewayRoute, an Ingress, an IngressClass or a Service";
            return Target::Missing(Problem::new(Code::TargetNotFound, field, what, remedy));
        }
    };
    let key = ObjectKey::new(kind, namespace, name);
    let missing = |field: String, what: String| {
        Target::Missing(Problem::new(Code::TargetNotFound, field, what, "create it, or correct the name"))
    };
    let Some(object) = lookup.entry(key.clone()).and_then(|entry| entry.object.as_ref()) else {
        return missing(format!("{field}.name"), format!("{key} does not exist"));
    };
    let (owner, section_exists) = match object {
        Object::GatewayRoute(route) => (
            settings.class.of_gateway_route(lookup, route.spec.ingress_class_name.as_deref()),
            section_name
                .as_ref()
                .is_none_or(|section| route.spec.rules.iter().any(|rule| rule.name.as_ref() == Some(section))),
        ),
        Object::Ingress(ingress) => {
            let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
            (settings.class.of_ingress(lookup, class, ingress.metadata.annotations.as_ref()), section_name.is_none())
        }
        Object::IngressClass(_) => (settings.class.of_class(lookup, name), section_name.is_none()),
        Object::Service(service) => {
            let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
            // A Service has no class, so the default one looks after the policies on it.
            let owner = if settings.class.is_default() { Owner::Us } else { Owner::Other };
            (
                owner,
                section_name
                    .as_ref()
                    .is_none_or(|section| ports.iter().any(|port| port.name.as_ref() == Some(section))),
            )
        }
        Object::RateLimitPolicy(_) | Object::EndpointSlice(_) | Object::Secret(_) | Object::ReferenceGrant(_) => {
            (Owner::Other, true)
        }
    };
    match (owner, section_name) {
        (Owner::Other, _) => Target::Others,
        (Owner::Us, Some(section)) if !section_exists => {
            missing(format!("{field}.sectionName"), format!("{key} has no part named \"{section}\""))
        }
        (Owner::Us, _) => Target::Ours(key),
    }
}
