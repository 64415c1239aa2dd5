//! Annotations of ingress-nginx on an Ingress that is served here → what its rules do.
//!
//! Each value is read as ingress-nginx reads it (`internal/ingress/annotations` there) and comes to what a field of a
//! GatewayRoute comes to. One that is not read here, or that makes no sense, is told with what takes its place, and is as if
//! it were not there; unless it keeps somebody out: then all rules of the Ingress are closed, since without it everybody
//! would get in.

mod access;
mod annotations;
mod answer;
mod backend;
mod canary;
mod error_pages;
mod external_auth;
mod fallback;
mod headers;
mod instead;
mod limit;
mod mirror;
mod name;
mod path;
mod places;
mod service;
mod settings;
mod unread;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use self::access::Guards;
use self::annotations::Annotations;
use self::answer::Answers;
use self::backend::Backends;
pub(super) use self::canary::Canary;
use self::headers::Headers;
pub(super) use self::path::{Located, Paths};
pub use self::settings::problems as setting_problems;
use super::backend::{Balancing, Speak};
use super::code::Code;
use super::gateway_route::Scope;
use super::lowered::{Draft, DraftAuthService, DraftBackend, DraftErrorPages, DraftMirror};
use super::report::Problem;
use crate::filter::{Filter, HeaderRules, HeaderTemplate, PathRewrite, Places, Redirect, Rewrite};
use crate::table::{Access, ClientValidation, HostKey, Observe, RateLimits};

/// What the annotations of one Ingress ask for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// What is to be told of them.
    pub(super) problems: Vec<Problem>,
    /// Whether all rules answer 500.
    pub(super) closed: bool,
    /// How paths are read.
    pub(super) paths: Paths,
    /// Further hosts, beside the first.
    pub(super) aliases: Vec<HostKey>,
    /// Which requests of others it gets; nothing else counts then.
    pub(super) canary: Option<Canary>,
    /// How often a client may ask.
    pub(super) limits: Option<Arc<RateLimits>>,
    guards: Guards,
    auth_service: Option<DraftAuthService>,
    answers: Answers,
    backends: Backends,
    fallback: Option<DraftBackend>,
    mirror: Option<DraftMirror>,
    error_pages: Option<DraftErrorPages>,
    host: Option<HeaderValue>,
    headers: Headers,
    places: Option<Places>,
    prefix: Option<HeaderRules>,
    observe: Observe,
}

impl Asked {
    /// Reads the annotations of the Ingress that is lowered; `has_tls` says whether it has a section of that name, and
    /// `former` are the limits that it had before.
    pub(super) fn read(
        scope: &mut Scope<'_, '_>,
        annotations: &BTreeMap<String, String>,
        has_tls: bool,
        former: Option<&RateLimits>,
    ) -> Self {
        let mut annotations = Annotations::of(annotations);
        if annotations.is_empty() {
            return Self::default();
        }
        if let Some(canary) = Canary::read(&mut annotations) {
            // All else is as whoever's requests it shares has it.
            return Self { canary: Some(canary), problems: annotations.into_problems(), ..Self::default() };
        }
        let answers = Answers::read(&mut annotations, has_tls);
        let fallback = fallback::read(scope, &mut annotations);
        let mut asked = Self {
            guards: Guards::read(scope, &mut annotations, answers.https_only),
            auth_service: external_auth::read(scope, &mut annotations),
            answers,
            limits: limit::read(&mut annotations, &scope.lowered.object, former).map(Arc::new),
            backends: Backends::read(scope, &mut annotations),
            error_pages: error_pages::read(&mut annotations, &scope.lowered.object, fallback.as_ref()),
            fallback,
            mirror: mirror::read(scope, &mut annotations),
            paths: Paths::read(&mut annotations),
            aliases: aliases(&mut annotations),
            host: host(&mut annotations),
            headers: Headers::read(scope, &mut annotations),
            places: places::read(&mut annotations),
            prefix: forwarded_prefix(&mut annotations),
            observe: Observe {
                access_log: annotations.flag("enable-access-log").filter(|wanted| !wanted),
                ..Observe::default()
            },
            ..Self::default()
        };
        (asked.problems, asked.closed) = annotations.finish();
        asked
    }

    /// How the backends of all rules are spoken to, and whether that is gRPC, if it is not as their Services say.
    pub(super) fn speak(&self) -> Option<&(Speak, bool)> {
        self.backends.speak.as_ref()
    }

    /// What its hosts ask of clients' certificates.
    pub(super) fn client_validation(&self) -> Option<&Arc<ClientValidation>> {
        self.guards.validation.as_ref()
    }

    /// How endpoints are chosen.
    pub(super) fn balancing(&self) -> Balancing {
        Balancing { sessions: self.backends.session.is_some(), ..self.backends.balancing.clone() }
    }

    /// The rule that sends requests to backends.
    pub(super) fn draft(&self, rule: Arc<str>, rewrite: Option<PathRewrite>, backends: Vec<DraftBackend>) -> Draft {
        if let Some(redirect) = &self.answers.redirect {
            return self.redirect(rule, redirect.clone());
        }
        // Headers that are set stay as they are set.
        let places = self.places.clone().map(|places| Filter::ResponsePlaces(Box::new(places)));
        let mut filters: Vec<_> = places.into_iter().chain(self.headers.filters()).collect();
        filters.extend(self.prefix.clone().filter(|_| rewrite.is_some()).map(Filter::RequestHeaders));
        if rewrite.is_some() || self.host.is_some() {
            filters.push(Filter::Rewrite(Rewrite { hostname: self.host.clone(), path: rewrite }));
        }
        let Backends { speak: _, balancing: _, hash_on, session, timeouts, retry } = &self.backends;
        let error_pages = self.error_pages.as_ref();
        self.guarded(Draft {
            filters,
            error_pages: error_pages.map(|pages| error_pages::of(pages, backends.first().map(|it| &it.name))),
            backends: backends.into_iter().chain(self.fallback.clone()).collect(),
            mirrors: self.mirror.iter().cloned().collect(),
            hash_on: hash_on.clone(),
            timeouts: *timeouts,
            retry: retry.clone(),
            session: session.clone(),
            ..Draft::new(rule)
        })
    }

    /// The rule that sends clients who ask for the root to where the application begins.
    pub(super) fn app_root(&self, rule: Arc<str>) -> Option<Draft> {
        let root = self.answers.app_root.clone().filter(|_| self.answers.redirect.is_none())?;
        Some(self.redirect(rule, root))
    }

    /// The host that a host's clients may ask for as well, with and without `www.`, and the rule that sends them on.
    pub(super) fn twin(&self, host: &HostKey) -> Option<(HostKey, Draft)> {
        let HostKey::Exact(name) = host else { return None };
        if !self.answers.www {
            return None;
        }
        let twin = name.strip_prefix("www.").map_or_else(|| format!("www.{name}"), str::to_owned);
        let twin = HostKey::parse_ingress(&twin).ok()?;
        Some((twin, self.redirect(format!("www/{name}").into(), answer::to_host(name))))
    }

    fn redirect(&self, rule: Arc<str>, redirect: Redirect) -> Draft {
        self.guarded(Draft { filters: vec![Filter::Redirect(redirect)], ..Draft::new(rule) })
    }

    /// A rule that keeps out who is not to come in, whatever it does with the others; all if nobody can tell them apart.
    fn guarded(&self, draft: Draft) -> Draft {
        let Guards { ip, any, cors, body, requirement, validation, vouched, certificate } = &self.guards;
        let asks = requirement.is_some() || self.auth_service.is_some();
        let access = Access {
            ip: ip.clone(),
            either: *any && ip.is_some() && asks,
            cors: cors.clone(),
            body: *body,
            client_validation: validation.clone(),
            vouched: vouched.clone(),
            certificate: *certificate,
            external_auth: None,
        };
        let mut draft = Draft {
            https_redirect: self.answers.https_redirect,
            access,
            requirement: requirement.clone(),
            limits: self.limits.clone(),
            auth_service: self.auth_service.clone(),
            observe: self.observe,
            ..draft
        };
        if self.closed {
            draft.refuse();
        }
        draft
    }
}

/// What is to be told of an Ingress with a section `tls` that moves here and says nothing of requests in clear.
pub(super) fn unsaid(annotations: Option<&BTreeMap<String, String>>) -> Option<Problem> {
    const SAYS: [&str; 3] = ["ssl-redirect", "force-ssl-redirect", "canary"];
    let says = |name: &String| name.strip_prefix(name::PREFIX).is_some_and(|name| SAYS.contains(&name));
    if annotations.is_some_and(|annotations| annotations.keys().any(says)) {
        return None;
    }
    let what = "nothing says it, so ingress-nginx sends requests in clear to TLS, and here they are served";
    let remedy = "write ssl-redirect: \"true\", or \"false\" if that is meant";
    Some(Problem::new(Code::IngressNginx, name::field("ssl-redirect"), what, remedy))
}

/// What a canary is told that gets none.
pub(super) fn lonely() -> Problem {
    let what = "no other Ingress of the namespace has one of its hosts and paths, so it gets no requests";
    let remedy = "give it host, path and pathType of the Ingress whose requests it is to share";
    Problem::new(Code::IngressNginx, name::field("canary"), what, remedy)
}

/// Which requests of others an Ingress with these annotations gets, if it is there for those.
pub(super) fn canary(annotations: &BTreeMap<String, String>) -> Option<Canary> {
    Canary::read(&mut Annotations::of(annotations))
}

fn aliases(annotations: &mut Annotations<'_>) -> Vec<HostKey> {
    const NAME: &str = "server-alias";
    let mut hosts = Vec::new();
    for alias in annotations.list(NAME) {
        match HostKey::parse_ingress(alias) {
            Ok(HostKey::Any) => {}
            Ok(host) => hosts.push(host),
            Err(error) => annotations.unusable(NAME, error.to_string(), error.remedy()),
        }
    }
    hosts
}

fn host(annotations: &mut Annotations<'_>) -> Option<HeaderValue> {
    const NAME: &str = "upstream-vhost";
    let host = annotations.take(NAME)?;
    match HostKey::parse_ingress(host) {
        Ok(HostKey::Exact(_)) => HeaderValue::try_from(host).ok(),
        _ => {
            annotations.unusable(NAME, format!("\"{}\" is not one host", host.escape_debug()), "write the whole host");
            None
        }
    }
}

/// What `x-forwarded-prefix` asks for; as there, it counts only where a path is rewritten.
fn forwarded_prefix(annotations: &mut Annotations<'_>) -> Option<HeaderRules> {
    const NAME: &str = "x-forwarded-prefix";
    let prefix = annotations.take(NAME)?;
    match HeaderTemplate::literal(prefix) {
        Ok(value) => {
            let set = Box::new([(HeaderName::from_static("x-forwarded-prefix"), value)]);
            Some(HeaderRules { set, ..HeaderRules::default() })
        }
        Err(error) => {
            annotations.unusable(NAME, error.to_string(), error.remedy());
            None
        }
    }
}
