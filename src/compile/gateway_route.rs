//! GatewayRoute → rules, claims and certificates. Where HTTPRoute has the same field, its meaning is HTTPRoute's.

mod access;
mod backends;
mod compression;
mod filters;
mod identity;
pub(super) mod matches;
mod mirrors;
mod parameters;
mod resilience;
mod rule;
mod scope;
mod session;
mod tls;
mod trust;
mod unsupported;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Settings;
use super::class::Owner;
use super::code::{Code, Severity};
use super::findings::Findings;
use super::keyring::Keyring;
use super::lookup::Lookup;
use super::lowered::{Claim, Lowered};
use super::report::Problem;
use crate::api::GatewayRoute;
use crate::api::gateway_route::{GatewayRouteSpec, Tls};
use crate::source::ObjectKey;
use crate::table::{CertificateHeaders, ClientValidation, HostKey, Listeners};

pub(super) use self::backends::{of_filter as backend_of_filter, terms as backend_terms};
use self::identity::Providers;
pub(super) use self::identity::{basic as basic_auth, certificate_headers};
use self::matches::RuleMatch;
pub(super) use self::parameters::Parameters;
pub(super) use self::resilience::usual_budget;
pub(super) use self::scope::{Scope, ValuesRef};
pub(super) use self::tls::validation as client_validation;

/// What holds for every rule of a route.
#[derive(Clone, Copy, Debug)]
struct Common {
    listeners: Listeners,
    https_redirect: bool,
}

/// Lowers a GatewayRoute; `findings` are what its source found wrong with it.
pub(super) fn lower(
    settings: &Settings,
    keyring: &mut Keyring,
    mut lookup: Lookup<'_>,
    key: &ObjectKey,
    route: &GatewayRoute,
    findings: Findings<'_>,
) -> Lowered {
    let GatewayRouteSpec { ingress_class_name, listeners, hostnames, tls, jwt_providers, rules } = &route.spec;
    if settings.class.of_gateway_route(&mut lookup, ingress_class_name.as_deref()) == Owner::Other {
        let mut foreign = Lowered::foreign(key, &route.metadata, lookup.into_read());
        foreign.problems.extend(settings.class.unserved(ingress_class_name.as_deref(), "spec.ingressClassName"));
        return foreign;
    }
    let mut lowered = Lowered::ours(key, &route.metadata);
    lowered.problems = findings.problems(|field| rule_of(field).is_none_or(|rule| rule >= rules.len()));
    let https_redirect = tls.as_ref().is_some_and(|tls| tls.http_redirect);
    let common =
        Common { listeners: self::listeners(listeners, https_redirect, &mut lowered.problems), https_redirect };
    let hosts = hosts(hostnames, &mut lowered.problems);
    let mut validation = Ok(None);
    if let Some(Tls { certificate_refs, min_version, http_redirect: _, client_validation }) = tls {
        let mut scope = Scope { settings, keyring, lookup: &mut lookup, lowered: &mut lowered };
        let mut problems = Vec::new();
        let declared = client_validation.as_ref().map(|it| tls::validation(&mut scope, it, &mut problems));
        validation = declared.transpose();
        scope.lowered.problems.append(&mut problems);
        let asked = validation.clone().unwrap_or_else(|()| Some(Arc::new(ClientValidation::closed())));
        scope.lowered.problems.extend(asked.as_ref().and_then(|asked| tls::unreachable(asked, common.listeners)));
        tls::claim(&mut scope, &hosts, certificate_refs, *min_version, asked.as_ref());
    }

    // What is wrong with the object as a whole spoils every rule: none of it may be served as if it said less.
    let spoilt = validation.is_err() || lowered.problems.iter().any(spoils);
    let validation = validation.unwrap_or_default();
    let asked = tls.as_ref().and_then(|tls| tls.client_validation.as_ref());
    let forwarded = asked.filter(|asked| asked.forward_certificate).map(|_| CertificateHeaders::ClientCert);
    let mut scope = Scope { settings, keyring, lookup: &mut lookup, lowered: &mut lowered };
    let mut providers = Providers::lower(&mut scope, jwt_providers, rules);
    // A rule that uses none of them is served whatever is wrong with them.
    if validation.is_some() {
        providers.reserve_certificate_headers();
    }
    let untold = providers.problems.drain(..).filter(|problem| !findings.tell(problem, "spec.jwtProviders"));
    lowered.problems.extend(untold);
    let mut names = BTreeSet::new();
    let mut claims: Vec<Claim> = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let mut scope = Scope { settings, keyring, lookup: &mut lookup, lowered: &mut lowered };
        let mut of_rule = rule::lower(&mut scope, key, index, rule, common);
        of_rule.draft.access.client_validation.clone_from(&validation);
        of_rule.draft.access.certificate = forwarded;
        let field = format!("spec.rules[{index}]");
        let (jwt, basic) = (rule.jwt.as_deref(), rule.basic_auth.as_ref());
        let requirement = providers.requirement(&mut scope, &field, jwt, basic, &mut of_rule.problems);
        of_rule.problems.extend(identity::unreachable(&field, jwt, basic, common.listeners));
        let unidentified = requirement.is_err();
        of_rule.draft.requirement = requirement.unwrap_or_default();
        of_rule.draft.access.vouched = providers.reserved.clone();
        of_rule.problems.retain(|problem| !findings.tell(problem, &field));
        of_rule.problems.splice(..0, findings.problems(|field| rule_of(field) == Some(index)));
        // What a source could not read of a match is only there to keep its place.
        let all = format!("{field}.matches");
        let readable = |found: &RuleMatch| match found.implied {
            true => !findings.are_about(&all),
            false => !findings.are_about(&all) && !findings.spoil(&found.field),
        };
        of_rule.matches.retain(readable);
        if let Some(name) = &rule.name
            && !names.insert(name)
        {
            let what = format!("another rule is named \"{name}\" too");
            of_rule.problems.push(Problem::new(
                Code::DuplicateRule,
                format!("{field}.name"),
                what,
                "give it a name of its own",
            ));
        }
        if spoilt || unidentified || of_rule.problems.iter().any(spoils) {
            of_rule.draft.refuse();
        }
        let name = of_rule.draft.rule.clone();
        lowered.problems.extend(of_rule.problems.into_iter().map(|problem| problem.in_rule(&name)));
        let draft = lowered.drafts.len();
        claims.extend(
            of_rule
                .matches
                .into_iter()
                .map(|found| Claim::new(draft, found.index, found.path, found.matcher, &found.field)),
        );
        lowered.drafts.push(of_rule.draft);
    }
    let claims: Arc<[Claim]> = claims.into();
    lowered.claims = hosts.into_iter().map(|host| (host, claims.clone())).collect();
    lowered.read = lookup.into_read();
    lowered
}

/// Whether a problem keeps the rule it is about from being served. One of a reference does not: the rest of the rule is
/// served, and the share of the backend that does not resolve is answered with its status.
fn spoils(problem: &Problem) -> bool {
    problem.severity() == Severity::Error && problem.code.reason().concerns_acceptance()
}

/// The number in `spec.rules[7].filters[0]`.
fn rule_of(field: &str) -> Option<usize> {
    field.strip_prefix("spec.rules[")?.split_once(']')?.0.parse().ok()
}

fn hosts(hostnames: &[String], problems: &mut Vec<Problem>) -> BTreeSet<HostKey> {
    if hostnames.is_empty() {
        return [HostKey::Any].into();
    }
    let mut hosts = BTreeSet::new();
    for (index, hostname) in hostnames.iter().enumerate() {
        match HostKey::parse_hostname(hostname) {
            Ok(keys) => hosts.extend(keys),
            Err(error) => {
                let field = format!("spec.hostnames[{index}]");
                problems.push(Problem::new(Code::InvalidHost, field, error.to_string(), error.remedy()));
            }
        }
    }
    hosts
}

fn listeners(names: &[String], https_redirect: bool, problems: &mut Vec<Problem>) -> Listeners {
    if names.is_empty() {
        return Listeners::ALL;
    }
    let mut listeners = Listeners { http: false, https: false };
    for (index, name) in names.iter().enumerate() {
        match name.as_str() {
            "http" => listeners.http = true,
            "https" => listeners.https = true,
            other => problems.push(Problem::new(
                Code::UnknownListener,
                format!("spec.listeners[{index}]"),
                format!("there is no listener named \"{other}\""),
                "use http or https",
            )),
        }
    }
    // The redirect is an answer of the http listener, so a route that asks for it is there too.
    listeners.http |= https_redirect;
    listeners
}
