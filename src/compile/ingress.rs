//! Ingress → rules, claims and certificates. The meaning of each field is that of `networking/v1/types.go` in
//! kubernetes/api; what it leaves open is decided here and said at the place.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressSpec, IngressTLS,
};

use super::Settings;
use super::backend::{self, BackendRef, PortRef, Speak};
use super::canaries::Canaries;
use super::class::Owner;
use super::code::Code;
use super::findings::Findings;
use super::gateway_route::Scope;
use super::ingress_nginx::{self, Asked, Canary, Located};
use super::keyring::{self, Keyring};
use super::lookup::Lookup;
use super::lowered::{Claim, Draft, DraftBackend, Lowered, TlsClaim};
use super::reference::{self, Reference};
use super::report::Problem;
use crate::source::{Kind, Object, ObjectKey};
use crate::table::{HeaderMatch, HostKey, HostKeyError, Matcher, PathMatch, RateLimits};

/// Annotations under our own name; a mistyped one must not pass in silence.
const OWN_ANNOTATIONS: &str = "headgate.dev/";

/// What an Ingress is lowered beside.
pub(super) struct Beside<'a> {
    /// The limits that it had before, of which the counts live on.
    pub(super) former: Option<&'a RateLimits>,
    pub(super) canaries: &'a Canaries,
}

/// An Ingress that gets requests of the one that is lowered, on the same paths.
struct Sharer<'s> {
    key: ObjectKey,
    spec: &'s IngressSpec,
    canary: Canary,
}

/// What the lowering of one Ingress has at hand.
struct Lowering<'l, 's> {
    lookup: &'l mut Lookup<'s>,
    key: &'l ObjectKey,
    findings: Findings<'l>,
    lowered: Lowered,
    claims: BTreeMap<HostKey, Vec<Claim>>,
    /// What its annotations ask of its rules.
    asked: Asked,
    sharers: Vec<Sharer<'s>>,
}

/// Lowers an Ingress.
pub(super) fn lower(
    settings: &Settings,
    keyring: &mut Keyring,
    mut lookup: Lookup<'_>,
    key: &ObjectKey,
    ingress: &Ingress,
    findings: Findings<'_>,
    beside: &Beside<'_>,
) -> Lowered {
    let none = IngressSpec::default();
    let spec = ingress.spec.as_ref().unwrap_or(&none);
    let annotations = ingress.metadata.annotations.as_ref();
    let owner = settings.class.of_ingress(&mut lookup, spec.ingress_class_name.as_deref(), annotations);
    if owner == Owner::Other {
        let mut foreign = Lowered::foreign(key, &ingress.metadata, lookup.into_read());
        foreign.problems.extend(settings.class.unserved(spec.ingress_class_name.as_deref(), "spec.ingressClassName"));
        return foreign;
    }
    let mut lowered = Lowered::ours(key, &ingress.metadata);
    let has_tls = spec.tls.as_ref().is_some_and(|entries| !entries.is_empty());
    if has_tls && settings.class.moves_from_ingress_nginx() {
        lowered.problems.extend(ingress_nginx::unsaid(annotations));
    }
    let asked = annotations.map(|annotations| {
        let mut scope = Scope { settings, keyring, lookup: &mut lookup, lowered: &mut lowered };
        Asked::read(&mut scope, annotations, has_tls, beside.former)
    });
    let mut asked = asked.unwrap_or_default();
    lowered.problems.append(&mut asked.problems);
    lowered.limits = asked.limits.clone().filter(|_| !asked.closed);
    for name in annotations.into_iter().flat_map(BTreeMap::keys).filter(|name| name.starts_with(OWN_ANNOTATIONS)) {
        lowered.problems.push(Problem::new(
            Code::UnknownField,
            format!("metadata.annotations[{name}]"),
            "there is no such annotation",
            "remove it",
        ));
    }
    let hosts: Vec<_> = spec.rules.iter().flatten().filter_map(|rule| host(rule).ok()).collect();
    let sharers = sharers(settings, &mut lookup, key, beside.canaries.at(&key.namespace, &hosts));
    let mut lowering =
        Lowering { lookup: &mut lookup, key, findings, lowered, claims: BTreeMap::new(), asked, sharers };
    if lowering.asked.canary.is_some() {
        lowering.canary(spec);
    } else {
        lowering.spec(keyring, spec);
    }
    let Lowering { mut lowered, claims, .. } = lowering;
    lowered.problems.retain(|problem| !findings.tell(problem, ""));
    lowered.problems.splice(..0, findings.problems(|_| true));
    lowered.claims = claims.into_iter().map(|(host, claims)| (host, claims.into())).collect();
    lowered.read = lookup.into_read();
    lowered
}

impl Lowering<'_, '_> {
    fn spec(&mut self, keyring: &mut Keyring, spec: &IngressSpec) {
        let IngressSpec { default_backend, ingress_class_name: _, rules, tls } = spec;
        let rules = rules.as_deref().unwrap_or_default();
        let default = default_backend.as_ref().map(|backend| {
            let target = self.backend("default", backend, "spec.defaultBackend");
            self.draft(self.asked.draft("default".into(), None, vec![target]))
        });
        if default.is_some() && rules.is_empty() {
            self.claims.entry(HostKey::Any).or_default();
        }
        let named = rules.iter().filter_map(|rule| host(rule).ok());
        let named: Vec<_> = named.filter(|host| *host != HostKey::Any).collect();
        self.asked.aliases.retain(|alias| !named.contains(alias));
        for (index, rule) in rules.iter().enumerate() {
            self.rule(index, rule, named.first(), default);
        }
        if let Some(draft) = default {
            // Whatever none of its paths match goes to the default backend: `types.go` has it handle requests that do
            // not match any rule, and a host does not fall through to a less specific one.
            for host in self.claims.keys().cloned().collect::<Vec<_>>() {
                self.claim(&[host], draft, &PathMatch::fallback(), &Matcher::default(), "spec.defaultBackend");
            }
        }
        for (twin, draft) in self.claims.keys().filter_map(|host| self.asked.twin(host)).collect::<Vec<_>>() {
            if !self.claims.contains_key(&twin) {
                let draft = self.draft(draft);
                self.claim(&[twin], draft, &PathMatch::fallback(), &Matcher::default(), "spec.rules");
            }
        }
        self.tls(keyring, tls.as_deref().unwrap_or_default());
        self.validate_clients();
    }

    fn rule(&mut self, index: usize, rule: &IngressRule, first: Option<&HostKey>, default: Option<usize>) {
        let IngressRule { host: _, http } = rule;
        let field = format!("spec.rules[{index}]");
        let host = match host(rule) {
            Ok(host) => host,
            Err(error) => {
                let field = format!("{field}.host");
                let problem = Problem::new(Code::InvalidHost, field, error.to_string(), error.remedy());
                self.lowered.problems.push(problem);
                return;
            }
        };
        // One host can have but one meaning, so the further ones mean what the first does.
        let aliases = self.asked.aliases.iter().filter(|_| Some(&host) == first).cloned();
        let hosts: Vec<_> = [host.clone()].into_iter().chain(aliases).collect();
        for host in &hosts {
            self.claims.entry(host.clone()).or_default();
        }
        let Some(http) = http else {
            // All traffic of such a host goes to the default backend, whose claims come last.
            if default.is_none() {
                let name: Arc<str> = index.to_string().into();
                self.lowered.problems.push(
                    Problem::new(
                        Code::NoDefaultBackend,
                        field.as_str(),
                        "the rule has no paths and the Ingress has no default backend",
                        "add spec.rules[].http.paths or spec.defaultBackend",
                    )
                    .in_rule(&name),
                );
                let backend = nowhere("none".into());
                let draft = self.draft(self.asked.draft(name, None, vec![backend]));
                self.claim(&hosts, draft, &PathMatch::fallback(), &Matcher::default(), &field);
            }
            return;
        };
        for (number, path) in http.paths.iter().enumerate() {
            let name: Arc<str> = format!("{index}/{number}").into();
            self.path(&hosts, name, path, &format!("{field}.http.paths[{number}]"));
        }
    }

    fn path(&mut self, hosts: &[HostKey], name: Arc<str>, path: &HTTPIngressPath, field: &str) {
        let HTTPIngressPath { backend, path: _, path_type } = path;
        let text = text(path);
        let mut target = self.backend(&name, backend, &format!("{field}.backend"));
        let Located { path, expression, rewrite } = match self.located(text, path_type) {
            Ok(located) => located,
            Err((part, what, remedy)) => {
                let problem = Problem::new(Code::InvalidPath, format!("{field}.{part}"), what, remedy);
                self.lowered.problems.push(problem.in_rule(&name));
                return;
            }
        };
        let root = self.asked.app_root(format!("{name}/app-root").into()).filter(|_| text == "/");
        if let (Some(root), Ok(path)) = (root, PathMatch::parse_exact("/")) {
            let root = self.draft(root);
            self.claim(hosts, root, &path, &Matcher::default(), field);
        }
        let found = |headers: &[HeaderMatch]| Matcher {
            path: expression.clone(),
            headers: headers.into(),
            ..Matcher::default()
        };
        let Some((canary, mut other)) = self.sharer(hosts, (text, path_type), &name, field) else {
            let draft = self.draft(self.asked.draft(name, rewrite, vec![target]));
            self.claim(hosts, draft, &path, &found(&[]), field);
            return;
        };
        for condition in canary.conditions() {
            let backend = if condition.to_canary { other.clone() } else { target.clone() };
            let rule = format!("{name}/{}", condition.name).into();
            let draft = self.draft(self.asked.draft(rule, rewrite.clone(), vec![backend]));
            self.claim(hosts, draft, &path, &found(std::slice::from_ref(&condition.header)), field);
        }
        (target.weight, other.weight) = canary.weights();
        let backends = [target, other].into_iter().filter(|backend| backend.weight > 0).collect();
        let draft = self.draft(self.asked.draft(name, rewrite, backends));
        self.claim(hosts, draft, &path, &found(&[]), field);
    }

    /// Who gets some of a path's requests, and the backend that they go to then. One that cannot be asked gets none.
    fn sharer(
        &mut self,
        hosts: &[HostKey],
        (text, path_type): (&str, &str),
        name: &str,
        field: &str,
    ) -> Option<(Canary, DraftBackend)> {
        let host = hosts.first()?;
        let found = self.sharers.iter().find_map(|Sharer { key, spec, canary }| {
            let of_host = |rule: &&IngressRule| self::host(rule).is_ok_and(|named| named == *host);
            let rules = spec.rules.iter().flatten().filter(of_host).filter_map(|rule| rule.http.as_ref());
            let same = |path: &&HTTPIngressPath| self::text(path) == text && path.path_type == path_type;
            Some((key.clone(), canary.clone(), &rules.flat_map(|http| &http.paths).find(same)?.backend))
        });
        let (key, canary, backend) = found?;
        if !self.lowered.canaries.contains(&key) {
            self.lowered.canaries = self.lowered.canaries.iter().cloned().chain([key]).collect();
        }
        // What is wrong with it is told of the canary.
        let told = self.lowered.problems.len();
        let backend = self.backend(name, backend, &format!("{field}.backend"));
        self.lowered.problems.truncate(told);
        backend.target.is_ok().then_some((canary, backend))
    }

    /// An Ingress that only gets requests of others claims nothing; what is wrong with its backends is told.
    fn canary(&mut self, spec: &IngressSpec) {
        self.lowered.is_canary = true;
        for (index, rule) in spec.rules.iter().flatten().enumerate() {
            for (number, path) in rule.http.iter().flat_map(|http| &http.paths).enumerate() {
                let field = format!("spec.rules[{index}].http.paths[{number}].backend");
                self.backend(&format!("{index}/{number}"), &path.backend, &field);
            }
        }
    }

    /// What a path matches, or the part of it that is wrong, why, and what would be right.
    fn located(&self, text: &str, path_type: &str) -> Result<Located, (&'static str, String, String)> {
        // The API leaves ImplementationSpecific to us and an unknown type to nobody.
        let plain = match path_type {
            "Exact" => PathMatch::parse_exact(text),
            "Prefix" | "ImplementationSpecific" => PathMatch::parse_prefix(text),
            other => {
                let remedy = "use Exact, Prefix or ImplementationSpecific".to_owned();
                return Err(("pathType", format!("\"{other}\" is no type of path"), remedy));
            }
        };
        let asked = self.asked.paths.locate(text, path_type);
        let located = asked.unwrap_or_else(|| plain.map(|path| Located { path, expression: None, rewrite: None }));
        located.map_err(|error| ("path", error.to_string(), error.remedy()))
    }

    fn claim(&mut self, hosts: &[HostKey], draft: usize, path: &PathMatch, matcher: &Matcher, field: &str) {
        for host in hosts {
            let claim = Claim::new(draft, 0, path.clone(), matcher.clone(), field);
            self.claims.entry(host.clone()).or_default().push(claim);
        }
    }

    fn draft(&mut self, draft: Draft) -> usize {
        self.lowered.drafts.push(draft);
        self.lowered.drafts.len() - 1
    }

    fn backend(&mut self, rule: &str, backend: &IngressBackend, field: &str) -> DraftBackend {
        let IngressBackend { resource, service } = backend;
        if self.findings.spoil(field) {
            return nowhere(service.as_ref().map_or("none", |service| service.name.as_str()).into());
        }
        let Some(service) = service else {
            let what = match resource {
                Some(resource) => format!("{} {} cannot be a backend", resource.kind, resource.name),
                None => "the backend names nothing".to_owned(),
            };
            let field = if resource.is_some() { format!("{field}.resource") } else { field.to_owned() };
            let problem = Problem::new(Code::InvalidKind, field, what, "name a Service in service");
            self.lowered.problems.push(problem.in_rule(&rule.into()));
            let name = resource.as_ref().map_or("none", |resource| resource.name.as_str()).into();
            return nowhere(name);
        };
        let port = service.port.as_ref();
        let port = match port.and_then(|port| port.name.as_deref()) {
            Some(name) => PortRef::Name(name),
            None => PortRef::Number(port.and_then(|port| port.number).unwrap_or_default()),
        };
        let port_field = match port {
            PortRef::Name(_) => format!("{field}.service.port.name"),
            PortRef::Number(_) => format!("{field}.service.port.number"),
        };
        let (speak, is_grpc) = match self.asked.speak() {
            Some((speak, is_grpc)) => (speak.clone(), Some(*is_grpc)),
            None => (Speak::AsDeclared, None),
        };
        let mut problems = Vec::new();
        let resolved = backend::resolve(
            self.lookup,
            BackendRef {
                service: ObjectKey::new(Kind::Service, &self.key.namespace, &service.name),
                port,
                name_field: &format!("{field}.service.name"),
                port_field: &port_field,
                speak,
                announces: None,
                balancing: self.asked.balancing(),
                missing: StatusCode::SERVICE_UNAVAILABLE,
            },
            &mut problems,
        );
        let rule = rule.into();
        self.lowered.problems.extend(problems.into_iter().map(|problem| problem.in_rule(&rule)));
        DraftBackend {
            name: resolved.name,
            weight: 1,
            fallback: false,
            grpc: is_grpc.unwrap_or(resolved.grpc),
            limits: None,
            filters: Vec::new(),
            target: resolved.target,
        }
    }

    fn tls(&mut self, keyring: &mut Keyring, entries: &[IngressTLS]) {
        for (index, entry) in entries.iter().enumerate() {
            let IngressTLS { hosts, secret_name } = entry;
            let field = format!("spec.tls[{index}]");
            if self.findings.spoil(&field) {
                continue;
            }
            let Some(secret) = secret_name.as_deref().filter(|name| !name.is_empty()) else {
                self.lowered.problems.push(Problem::new(
                    Code::NoSecret,
                    format!("{field}.secretName"),
                    "the entry names no Secret, and there is no default certificate",
                    "name a Secret of type kubernetes.io/tls",
                ));
                continue;
            };
            self.tls_entry(keyring, &field, hosts.as_deref().unwrap_or_default(), secret);
        }
    }

    fn tls_entry(&mut self, keyring: &mut Keyring, field: &str, hosts: &[String], secret: &str) {
        let secret_field = format!("{field}.secretName");
        let reference =
            Reference { from: self.key, field: &secret_field, kind: Kind::Secret, namespace: None, name: secret };
        let secret = match reference::resolve(self.lookup, reference) {
            Ok(secret) => secret,
            Err(problem) => return self.lowered.problems.push(problem),
        };
        self.lookup.entry(secret.clone());
        self.lowered.secrets.insert(secret.clone());
        let held = keyring.get(self.lookup.store(), &secret).clone();
        self.lowered.problems.extend(held.fault.iter().map(|fault| fault.at(&secret_field)));
        let mut keys = Vec::new();
        for (index, host) in hosts.iter().enumerate() {
            match HostKey::parse_ingress(host) {
                Ok(HostKey::Any) => {}
                Ok(host) => keys.push(host),
                Err(error) => {
                    let field = format!("{field}.hosts[{index}]");
                    let problem = Problem::new(Code::InvalidHost, field, error.to_string(), error.remedy());
                    self.lowered.problems.push(problem);
                }
            }
        }
        if hosts.is_empty() {
            keys = self.hosts_for(held.certificate.as_deref().map(|certificate| &*certificate.names));
        }
        for host in keys {
            if let Some(certificate) = &held.certificate {
                self.lowered.problems.extend(keyring::uncovered(certificate, &host, &secret, &secret_field));
            }
            let claim = TlsClaim {
                validation: self.asked.client_validation().cloned(),
                certificate: held.certificate.clone().map(|certificate| (secret.clone(), certificate)),
                min_version: None,
                field: secret_field.as_str().into(),
            };
            // Of several entries for one host the first counts whose Secret can be used.
            if self.lowered.tls.get(&host).is_none_or(|known| known.certificate.is_none()) {
                self.lowered.tls.insert(host, claim);
            }
        }
    }

    /// Asks for certificates of clients on hosts of which no entry says anything, too: somebody else's may.
    fn validate_clients(&mut self) {
        let Some(validation) = self.asked.client_validation() else { return };
        for host in self.claims.keys().filter(|host| matches!(host, HostKey::Exact(_) | HostKey::Wildcard(_))) {
            if self.lowered.tls.get(host).is_none() {
                let (validation, field) = (Some(validation.clone()), "metadata.annotations".into());
                let claim = TlsClaim { certificate: None, min_version: None, validation, field };
                self.lowered.tls.insert(host.clone(), claim);
            }
        }
    }

    /// An entry without hosts is for the hosts of the Ingress, or, when it has none, for those of the certificate.
    fn hosts_for(&self, names: Option<&[Box<str>]>) -> Vec<HostKey> {
        let own: Vec<_> = self.claims.keys().filter(|host| **host != HostKey::Any).cloned().collect();
        if !own.is_empty() {
            return own;
        }
        names.unwrap_or_default().iter().filter_map(|name| HostKey::parse_ingress(name).ok()).collect()
    }
}

/// The host of a rule.
pub(super) fn host(rule: &IngressRule) -> Result<HostKey, HostKeyError> {
    HostKey::parse_ingress(rule.host.as_deref().unwrap_or_default())
}

/// The path of a rule as it is written.
fn text(path: &HTTPIngressPath) -> &str {
    path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/")
}

/// Those of the canaries that are ours, the oldest first.
fn sharers<'s, 'c>(
    settings: &Settings,
    lookup: &mut Lookup<'s>,
    key: &ObjectKey,
    canaries: impl Iterator<Item = &'c ObjectKey>,
) -> Vec<Sharer<'s>> {
    let mut sharers = Vec::new();
    for other in canaries.filter(|other| *other != key) {
        let entry = lookup.store().get(other);
        let Some(Object::Ingress(ingress)) = entry.and_then(|entry| entry.object.as_ref()) else { continue };
        let (Some(spec), Some(annotations)) = (&ingress.spec, &ingress.metadata.annotations) else { continue };
        let owner = settings.class.of_ingress(lookup, spec.ingress_class_name.as_deref(), Some(annotations));
        if let (Owner::Us, Some(canary)) = (owner, ingress_nginx::canary(annotations)) {
            let created = ingress.metadata.creation_timestamp.clone();
            sharers.push((created, Sharer { key: other.clone(), spec, canary }));
        }
    }
    sharers.sort_by(|(a, _), (b, _)| a.cmp(b));
    sharers.into_iter().map(|(_, sharer)| sharer).collect()
}

/// A backend of which nothing can be asked.
fn nowhere(name: Arc<str>) -> DraftBackend {
    DraftBackend {
        name,
        weight: 1,
        fallback: false,
        grpc: false,
        limits: None,
        filters: Vec::new(),
        target: Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}
