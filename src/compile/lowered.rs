//! What one declared object comes to on its own, before it meets the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::class::Owner;
use super::cluster::ClusterKey;
use super::key_sets::KeySetId;
use super::lookup::Dependency;
use super::policy::Policy;
use super::report::Problem;
use crate::auth::Requirement;
use crate::filter::{Compression, ExternalAuth, Filter};
use crate::source::ObjectKey;
use crate::table::{
    Access, Certificate, ClientValidation, HashOn, HostKey, Listeners, Matcher, Observe, PathMatch, Precedence,
    RateLimits, Retry, Scope, Session, Timeouts, TlsVersion, ValueMatch,
};

/// One object, lowered.
#[derive(Debug)]
pub(super) struct Lowered {
    /// Whose it is; of one that is not ours nothing else is kept but what was read.
    pub(super) owner: Owner,
    pub(super) object: ObjectKey,
    /// Its place among those who claim the same; the lesser wins.
    pub(super) rank: Precedence,
    pub(super) generation: Option<i64>,
    pub(super) uid: Option<String>,
    /// Its rules.
    pub(super) drafts: Vec<Draft>,
    /// What it claims of each host. Several hosts with the same claims share them.
    pub(super) claims: ByHost<Arc<[Claim]>>,
    /// What it asks of TLS for each host.
    pub(super) tls: ByHost<TlsClaim>,
    /// Every Secret it refers to and may.
    pub(super) secrets: BTreeSet<ObjectKey>,
    /// Every ConfigMap of which it wants a value, and every Secret of which it wants something else than a certificate,
    /// and may.
    pub(super) values: BTreeSet<ObjectKey>,
    /// The key sets that are to be fetched for it.
    pub(super) key_sets: Vec<KeySetId>,
    /// What is wrong with it on its own.
    pub(super) problems: Vec<Problem>,
    /// For an Ingress: how often its own annotations let a client ask.
    pub(super) limits: Option<Arc<RateLimits>>,
    /// For an Ingress: the canaries that get requests of its.
    pub(super) canaries: Box<[ObjectKey]>,
    /// Whether it is such a canary itself.
    pub(super) is_canary: bool,
    /// For a policy of ours: what it asks for and where.
    pub(super) policy: Option<Policy>,
    /// For a policy: the numbers and names of those of its targets that are ours to tell of.
    pub(super) ancestors: Vec<(usize, String)>,
    /// The policies that apply to its rules.
    pub(super) affected: BTreeSet<ObjectKey>,
    /// What it was made from.
    pub(super) read: Vec<Dependency>,
}

/// Something for each of a few hosts, in their order: a map begins with room for eleven, and most objects have one host.
#[derive(Debug)]
pub(super) struct ByHost<T>(Vec<(HostKey, T)>);

/// A rule whose backends are not clusters yet.
#[derive(Debug)]
pub(super) struct Draft {
    /// Its name, or its number when it has none.
    pub(super) rule: Arc<str>,
    /// Whether that is a name.
    pub(super) named: bool,
    /// Whether it answers 500 for what is wrong with it.
    pub(super) refused: bool,
    pub(super) listeners: Listeners,
    pub(super) https_redirect: bool,
    /// All of it but the service to ask.
    pub(super) access: Access,
    pub(super) limits: Option<Arc<RateLimits>>,
    pub(super) requirement: Option<Arc<Requirement>>,
    pub(super) auth_service: Option<DraftAuthService>,
    pub(super) mirrors: Vec<DraftMirror>,
    pub(super) error_pages: Option<DraftErrorPages>,
    pub(super) filters: Vec<Filter>,
    pub(super) backends: Vec<DraftBackend>,
    pub(super) hash_on: Option<HashOn>,
    pub(super) timeouts: Timeouts,
    pub(super) retry: Option<Retry>,
    pub(super) compression: Option<Compression>,
    pub(super) observe: Observe,
    pub(super) session: Option<Session>,
}

/// A service that is asked whether requests of a [`Draft`] may pass.
#[derive(Clone, Debug)]
pub(super) struct DraftAuthService {
    pub(super) auth: ExternalAuth,
    pub(super) name: Arc<str>,
    pub(super) target: DraftAuthTarget,
}

/// Who is asked.
#[derive(Clone, Debug)]
pub(super) enum DraftAuthTarget {
    Backend(Result<ClusterKey, StatusCode>),
    /// Whoever serves the path on this host, or else on the request's own.
    Host(Option<Box<str>>),
}

/// A backend that gets copies of a [`Draft`]'s requests.
#[derive(Clone, Debug)]
pub(super) struct DraftMirror {
    pub(super) percent: u32,
    pub(super) name: Arc<str>,
    pub(super) target: Result<ClusterKey, StatusCode>,
}

/// Who makes pages in place of answers of a [`Draft`]'s backends, and what it is told of the rule.
#[derive(Clone, Debug)]
pub(super) struct DraftErrorPages {
    pub(super) statuses: Vec<StatusCode>,
    pub(super) name: Arc<str>,
    pub(super) target: Result<ClusterKey, StatusCode>,
    pub(super) told: Vec<(HeaderName, HeaderValue)>,
}

/// A backend of a [`Draft`].
#[derive(Clone, Debug)]
pub(super) struct DraftBackend {
    pub(super) name: Arc<str>,
    pub(super) weight: u32,
    pub(super) fallback: bool,
    pub(super) grpc: bool,
    pub(super) limits: Option<Arc<RateLimits>>,
    pub(super) filters: Vec<Filter>,
    pub(super) target: Result<ClusterKey, StatusCode>,
}

/// One match of a rule.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) path: PathMatch,
    pub(super) matcher: Matcher,
    /// Equal for two claims that match the very same requests by the same rule of precedence.
    pub(super) identity: Arc<str>,
    /// Which of the object's drafts.
    pub(super) draft: usize,
    /// Which match of it.
    pub(super) index: u32,
    /// The field that claims.
    pub(super) field: Arc<str>,
}

/// What an object asks of TLS for one host.
#[derive(Clone, Debug)]
pub(super) struct TlsClaim {
    /// The certificate and the Secret it comes from, unless the object has none to give for the host.
    pub(super) certificate: Option<(ObjectKey, Arc<Certificate>)>,
    pub(super) min_version: Option<TlsVersion>,
    /// What it asks of the certificates of clients.
    pub(super) validation: Option<Arc<ClientValidation>>,
    /// The field that names the Secret.
    pub(super) field: Arc<str>,
}

impl Lowered {
    /// An object that is not ours.
    pub(super) fn foreign(key: &ObjectKey, metadata: &ObjectMeta, read: Vec<Dependency>) -> Self {
        Self { owner: Owner::Other, read, ..Self::ours(key, metadata) }
    }

    /// An object of ours that comes to nothing so far.
    pub(super) fn ours(key: &ObjectKey, metadata: &ObjectMeta) -> Self {
        Self {
            owner: Owner::Us,
            object: key.clone(),
            rank: rank(key, metadata),
            generation: metadata.generation,
            uid: metadata.uid.clone(),
            drafts: Vec::new(),
            claims: ByHost::default(),
            tls: ByHost::default(),
            secrets: BTreeSet::new(),
            values: BTreeSet::new(),
            key_sets: Vec::new(),
            problems: Vec::new(),
            limits: None,
            canaries: Box::default(),
            is_canary: false,
            policy: None,
            ancestors: Vec::new(),
            affected: BTreeSet::new(),
            read: Vec::new(),
        }
    }
}

impl Lowered {
    /// Whether it is a policy that counts in the store of shared limits.
    pub(super) fn counts_globally(&self) -> bool {
        let limits = self.policy.as_ref().and_then(|policy| policy.limits.as_ref().ok());
        limits.is_some_and(|limits| limits.list.iter().any(|rate| matches!(rate.scope, Scope::Global { .. })))
    }
}

impl<T> ByHost<T> {
    /// The hosts.
    pub(super) fn keys(&self) -> impl Iterator<Item = &HostKey> {
        self.0.iter().map(|(host, _)| host)
    }

    /// What each host has.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// What a host has.
    pub(super) fn get(&self, host: &HostKey) -> Option<&T> {
        let place = self.0.binary_search_by(|(known, _)| known.cmp(host)).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// Gives a host something in place of what it had.
    pub(super) fn insert(&mut self, host: HostKey, value: T) {
        match self.0.binary_search_by(|(known, _)| known.cmp(&host)) {
            Ok(place) => self.0.splice(place..=place, [(host, value)]).for_each(drop),
            Err(place) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(place, (host, value));
            }
        }
    }
}

impl<T> Default for ByHost<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> FromIterator<(HostKey, T)> for ByHost<T> {
    /// Of a host that comes several times the last is kept.
    fn from_iter<I: IntoIterator<Item = (HostKey, T)>>(entries: I) -> Self {
        Self(entries.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
    }
}

impl Claim {
    /// The claim that the match of this number makes for a draft.
    pub(super) fn new(draft: usize, index: u32, path: PathMatch, matcher: Matcher, field: &str) -> Self {
        let identity = identity(&path, &matcher).into();
        Self { path, matcher, identity, draft, index, field: field.into() }
    }
}

impl Draft {
    /// A rule with everything at its default.
    pub(super) fn new(rule: Arc<str>) -> Self {
        Self {
            rule,
            named: false,
            refused: false,
            listeners: Listeners::ALL,
            https_redirect: false,
            access: Access::default(),
            limits: None,
            requirement: None,
            auth_service: None,
            mirrors: Vec::new(),
            error_pages: None,
            filters: Vec::new(),
            backends: Vec::new(),
            hash_on: None,
            timeouts: Timeouts::default(),
            retry: None,
            compression: None,
            observe: Observe::default(),
            session: None,
        }
    }

    /// The same rule answering 500 to all that it matches, on every listener: what it declares is not served as if it
    /// said something else, and nothing less specific gets its requests.
    pub(super) fn refuse(&mut self) {
        *self = Self {
            refused: true,
            filters: vec![Filter::Refuse(StatusCode::INTERNAL_SERVER_ERROR)],
            named: self.named,
            ..Self::new(self.rule.clone())
        };
    }
}

/// The older object comes first, then namespace and name. The kind decides nothing, and objects from files, which have no
/// age, come after those that have one.
fn rank(key: &ObjectKey, metadata: &ObjectMeta) -> Precedence {
    Precedence {
        created: metadata.creation_timestamp.as_ref().map_or(i64::MAX, |Time(at)| at.as_second()),
        kind: 0,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        rule: 0,
        index: 0,
    }
}

/// A text that is equal for two matches that accept the very same requests, whatever their parameters are called and in
/// whatever order their conditions stand.
fn identity(path: &PathMatch, matcher: &Matcher) -> String {
    let Matcher { path: expression, method, headers, queries } = matcher;
    let mut path = path.to_string();
    if path.starts_with("Template ") {
        path = path
            .split('/')
            .map(|segment| if segment.starts_with([':', '*']) { segment.get(..1).unwrap_or_default() } else { segment })
            .collect::<Vec<_>>()
            .join("/");
    }
    let mut conditions: Vec<_> = headers
        .iter()
        .map(|header| format!("header {}{}", header.name, value(&header.value)))
        .chain(expression.iter().map(|expression| format!("path ~ {:?}", expression.as_str())))
        .chain(queries.iter().map(|query| format!("query {:?}{}", query.name, value(&query.value))))
        .collect();
    conditions.sort_unstable();
    conditions.dedup();
    let method = method.as_ref().map(http::Method::as_str).unwrap_or_default();
    format!("{method} {path} {}", conditions.join(" "))
}

fn value(value: &ValueMatch) -> String {
    match value {
        ValueMatch::Exact(text) => format!(" = {text:?}"),
        ValueMatch::RegularExpression(expression) => format!(" ~ {:?}", expression.as_str()),
        ValueMatch::Present => " is present".to_owned(),
    }
}
