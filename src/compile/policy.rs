//! RateLimitPolicy → limits, and what they attach to.

mod answer;
mod attachments;
mod limit;

use std::sync::Arc;

use super::Settings;
use super::class::Owner;
use super::code::{Code, Severity};
use super::findings::Findings;
use super::gateway_route::Parameters;
use super::lookup::Lookup;
use super::lowered::Lowered;
use super::report::Problem;
use crate::api::{GROUP, GatewayRoute, PolicyTargetRef, RateLimitPolicy, RateLimitPolicySpec};
use crate::source::{Kind, Object, ObjectKey};
use crate::table::{KeyPart, LimitAnswer, RateLimit, RateLimits};

pub(super) use attachments::Attachments;

/// What a policy attaches to: an object, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) object: ObjectKey,
    /// The name of a rule, or of a Service's port.
    pub(super) section: Option<Arc<str>>,
}

/// A policy that is ours, lowered.
#[derive(Debug)]
pub(super) struct Policy {
    /// What it attaches to, by the number of the reference to it.
    pub(super) targets: Vec<(usize, Target)>,
    /// What it asks for; `Err` is what is wrong with it. Whatever it attaches to is then not served at all: it must not
    /// be served as if it had no limits.
    pub(super) limits: Result<Arc<RateLimits>, Box<Problem>>,
}

/// Whose a target is.
enum Found<'s> {
    Ours(ObjectKey, Option<&'s Object>),
    Others,
    Missing(Problem),
    /// Ours, and it may not be a target of this policy.
    Forbidden(Problem),
}

/// The answer to requests over limits of which nothing is said.
pub(super) fn usual_answer(limits: &[RateLimit]) -> LimitAnswer {
    answer::lower(None, limits, &mut Vec::new())
}

/// Lowers a RateLimitPolicy: ours when one of its targets is. `former` is what it was before, of which the counts live on.
pub(super) fn lower(
    settings: &Settings,
    mut lookup: Lookup<'_>,
    key: &ObjectKey,
    policy: &RateLimitPolicy,
    findings: Findings<'_>,
    former: Option<&RateLimits>,
) -> Lowered {
    let RateLimitPolicySpec { target_refs, limits, response } = &policy.spec;
    let mut lowered = Lowered::ours(key, &policy.metadata);
    let (mut ours, mut others) = (false, 0);
    let mut targets = Vec::new();
    let mut objects = Vec::new();
    for (index, target) in target_refs.iter().enumerate() {
        let found = find(settings, &mut lookup, key, &format!("spec.targetRefs[{index}]"), target);
        ours |= matches!(found, Found::Ours(..) | Found::Forbidden(_));
        match found {
            Found::Ours(object, declared) => {
                let section = target.section_name.as_deref().map(Arc::from);
                lowered.ancestors.push((index, object.to_string()));
                targets.push((index, Target { object, section }));
                objects.push(declared);
            }
            Found::Others => others += 1,
            Found::Missing(problem) | Found::Forbidden(problem) => {
                lowered.problems.push(problem);
                lowered.ancestors.push((index, format!("{} {}", target.kind, target.name)));
            }
        }
    }
    let read = lookup.into_read();
    // A policy on another's objects is the other's to judge; one on nothing at all is ours, or nobody would tell.
    if !ours && (others > 0 || !settings.class.is_default()) {
        return Lowered::foreign(key, &policy.metadata, read);
    }
    let mut problems = Vec::new();
    let list = limit::lower_all(settings, key, limits, former, &mut problems);
    for (number, rate) in &list {
        for (part_number, part) in rate.key.iter().enumerate() {
            let field = format!("spec.limits[{number}].key[{part_number}]");
            for ((_, target), declared) in targets.iter().zip(&objects) {
                problems.extend(not_at(target, *declared, part, &field));
            }
        }
    }
    let list: Box<[_]> = list.into_iter().map(|(_, rate)| rate).collect();
    let answer = answer::lower(response.as_ref(), &list, &mut problems);
    problems.retain(|problem| !findings.tell(problem, ""));
    problems.splice(..0, findings.problems(|_| true));
    let spoilt = problems.iter().find(|problem| problem.severity() == Severity::Error).cloned();
    let limits = RateLimits { policy: format!("{}/{}", key.namespace, key.name).into(), list, answer };
    lowered.policy = Some(Policy {
        targets,
        limits: match spoilt {
            Some(problem) => Err(Box::new(problem)),
            None => Ok(Arc::new(limits)),
        },
    });
    lowered.problems.extend(problems);
    lowered.read = read;
    lowered
}

/// What is wrong with a part of a key at this target: requests there would never have it.
fn not_at(target: &Target, declared: Option<&Object>, part: &KeyPart, field: &str) -> Option<Problem> {
    let (what, name) = match part {
        KeyPart::PathParam(name, _) => ("path parameters", name),
        KeyPart::JwtClaim(name, _) => ("verified tokens", name),
        KeyPart::ClientIp { .. }
        | KeyPart::Header(..)
        | KeyPart::Cookie(..)
        | KeyPart::QueryParam(..)
        | KeyPart::Host
        | KeyPart::Route => return None,
    };
    let Some(Object::GatewayRoute(route)) = declared else {
        let what = format!("requests to {} have no {what}", target.object);
        let remedy = "attach the policy to a GatewayRoute, or use another key";
        return Some(Problem::new(Code::InvalidLimit, format!("{field}.type"), what, remedy));
    };
    let mut rules = route
        .spec
        .rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| target.section.as_deref().is_none_or(|section| rule.name.as_deref() == Some(section)));
    match part {
        KeyPart::JwtClaim(..) if rules.all(|(_, rule)| rule.jwt.is_none()) => {
            let what = format!("no rule of {} verifies tokens, so none has the claim {name}", target.object);
            Some(Problem::new(Code::InvalidLimit, format!("{field}.type"), what, "add jwt to the rule"))
        }
        KeyPart::PathParam(..) => {
            let mut problems = Vec::new();
            for (index, _) in rules {
                parameters(route, index).require(&format!("{field}.name"), name, &mut problems);
            }
            let problem = problems.into_iter().next()?;
            let what = format!("in {}, {}", target.object, problem.what);
            Some(Problem { what, ..problem })
        }
        _ => None,
    }
}

fn parameters(route: &GatewayRoute, index: usize) -> Parameters {
    let matches = route.spec.rules.get(index).map(|rule| rule.matches.as_slice()).unwrap_or_default();
    Parameters::declared(&format!("spec.rules[{index}]"), matches)
}

fn find<'s>(
    settings: &Settings,
    lookup: &mut Lookup<'s>,
    policy: &ObjectKey,
    field: &str,
    target: &PolicyTargetRef,
) -> Found<'s> {
    let PolicyTargetRef { group, kind, name, section_name } = target;
    let (kind, namespace) = match (group.as_str(), kind.as_str()) {
        (GROUP, "GatewayRoute") => (Kind::GatewayRoute, &*policy.namespace),
        ("networking.k8s.io", "Ingress") => (Kind::Ingress, &*policy.namespace),
        ("networking.k8s.io", "IngressClass") => (Kind::IngressClass, ""),
        ("", "Service") => (Kind::Service, &*policy.namespace),
        _ => {
            let what = format!("{kind} of group \"{group}\" cannot be a target");
            let remedy = "name a GatewayRoute, an Ingress, an IngressClass or a Service";
            return Found::Missing(Problem::new(Code::TargetNotFound, field, what, remedy));
        }
    };
    let key = ObjectKey::new(kind, namespace, name);
    let missing = |field: String, what: String| {
        Found::Missing(Problem::new(Code::TargetNotFound, field, what, "create it, or correct the name"))
    };
    let declared = lookup.entry(key.clone()).and_then(|entry| entry.object.as_ref());
    let (owner, section_exists) = match declared {
        Some(Object::GatewayRoute(route)) => (
            settings.class.of_gateway_route(lookup, route.spec.ingress_class_name.as_deref()),
            section_name
                .as_ref()
                .is_none_or(|section| route.spec.rules.iter().any(|rule| rule.name.as_ref() == Some(section))),
        ),
        Some(Object::Ingress(ingress)) => {
            let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
            (settings.class.of_ingress(lookup, class, ingress.metadata.annotations.as_ref()), section_name.is_none())
        }
        Some(Object::IngressClass(_)) => (settings.class.of_class(lookup, name), section_name.is_none()),
        Some(Object::Service(service)) => {
            let ports = &service.spec.ports;
            // A Service has no class, so the default one looks after the policies on it.
            let owner = if settings.class.is_default() { Owner::Us } else { Owner::Other };
            (
                owner,
                section_name
                    .as_ref()
                    .is_none_or(|section| ports.iter().any(|port| port.name.as_deref() == Some(section.as_str()))),
            )
        }
        Some(
            Object::RateLimitPolicy(_)
            | Object::EndpointSlice(_)
            | Object::Secret(_)
            | Object::ConfigMap(_)
            | Object::ReferenceGrant(_),
        ) => (Owner::Other, true),
        // Without a cluster the class needs no object.
        None if kind == Kind::IngressClass && settings.class.standalone => {
            (settings.class.of_class(lookup, name), section_name.is_none())
        }
        None => return missing(format!("{field}.name"), format!("{key} does not exist")),
    };
    match (owner, section_name) {
        (Owner::Other, _) => Found::Others,
        (Owner::Us, Some(section)) if !section_exists => {
            missing(format!("{field}.sectionName"), format!("{key} has no part named \"{section}\""))
        }
        (Owner::Us, _) => match class_not_permitted(settings, policy, &key, field) {
            Some(problem) => Found::Forbidden(problem),
            None => Found::Ours(key, declared),
        },
    }
}

/// Everybody's requests are bounded by a policy on their class, so it takes more than rights in any namespace to make one
/// (GEP-713 leaves to each policy who may attach it to what is cluster-wide).
fn class_not_permitted(settings: &Settings, policy: &ObjectKey, target: &ObjectKey, field: &str) -> Option<Problem> {
    let namespace = &policy.namespace;
    let home = settings.class.home_elsewhere(namespace).filter(|_| target.kind == Kind::IngressClass)?;
    let what = format!("a policy on {target} bounds the requests of every namespace, and {namespace} may not do that");
    let remedy = format!(
        "target a GatewayRoute, an Ingress or a Service of {namespace}, or have the policy made in {home}, the \
         namespace of Headgate"
    );
    Some(Problem::new(Code::ClassNotPermitted, field, what, remedy))
}
