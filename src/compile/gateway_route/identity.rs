//! Who is asking: issuers of tokens, and what rules ask of a request's token or password.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Uri};

use super::super::code::Code;
use super::super::key_sets::KeySetId;
use super::super::report::Problem;
use super::scope::{Scope, Value, ValuesRef};
use super::trust;
use crate::api::gateway_route::{
    BasicAuth, ClaimToHeader, JwksObjectRef, JwtAlgorithm, JwtProvider, JwtRequirement, LocalJwks, RemoteJwks,
    RouteRule, TokenHeader, TokenSource,
};
use crate::api::{LocalObjectKind, SecretObjectRef};
use crate::auth::{
    Algorithm, BasicRequirement, ClaimHeader, KeySet, KeySource, KeyType, Origin, Provider, RemoteSettings,
    RequiredClaim, Requirement, Reserved, Sources, TokenRequirement, TokenRules, Users,
};
use crate::filter::HeaderRules;
use crate::table::Listeners;

/// How far the clocks of issuer and gateway may differ.
const MOST_SKEW: u64 = 120;

/// How proxies tell of a client's certificate: RFC 9440, Envoy, Traefik and ingress-nginx.
const CERTIFICATE_HEADERS: [&str; 9] = [
    "client-cert",
    "client-cert-chain",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-forwarded-tls-client-cert-info",
    "ssl-client-cert",
    "ssl-client-verify",
    "ssl-client-subject-dn",
    "ssl-client-issuer-dn",
];

/// The issuers of a route.
#[derive(Debug, Default)]
pub(super) struct Providers {
    /// By name; nothing for one that cannot be used.
    usable: BTreeMap<String, Option<Arc<Provider>>>,
    /// What is wrong with them. It spoils the rules that use them and no others.
    pub(super) problems: Vec<Problem>,
    /// Headers that speak of who is asking, on every rule of the route: also on those that do not ask, since a backend
    /// cannot tell which rule a request came by.
    pub(super) reserved: Reserved,
}

/// The headers by which proxies tell of a client's certificate.
pub(in super::super) fn certificate_headers() -> impl Iterator<Item = HeaderName> {
    CERTIFICATE_HEADERS.into_iter().map(HeaderName::from_static)
}

impl Providers {
    /// The issuers that a route declares.
    pub(super) fn lower(scope: &mut Scope<'_, '_>, declared: &[JwtProvider], rules: &[RouteRule]) -> Self {
        let mut providers = Self::default();
        let mut reserved = Vec::new();
        for (index, provider) in declared.iter().enumerate() {
            let mut problems = Vec::new();
            let field = format!("spec.jwtProviders[{index}]");
            let lowered = self::provider(scope, &field, provider, &mut problems);
            let spoilt = problems.iter().any(|problem| problem.severity() == super::super::Severity::Error);
            let usable = lowered.filter(|provider| !spoilt || is_only_unfetched(provider));
            reserved.extend(provider.claim_to_headers.iter().filter_map(|it| header(&it.header).ok()));
            providers.usable.insert(provider.name.clone(), usable);
            providers.problems.append(&mut problems);
        }
        let users = rules.iter().filter_map(|rule| rule.basic_auth.as_ref()?.user_header.as_deref());
        reserved.extend(users.filter_map(|name| header(name).ok()));
        providers.reserved = Reserved::new(reserved);
        providers
    }

    /// Reserves the headers by which proxies tell of a client's certificate: backends may well take their word.
    pub(super) fn reserve_certificate_headers(&mut self) {
        self.reserved = Reserved::new(self.reserved.iter().cloned().chain(certificate_headers()));
    }

    /// What a rule asks; an error when the rule cannot be served for what is wrong elsewhere, which is told there.
    pub(super) fn requirement(
        &self,
        scope: &mut Scope<'_, '_>,
        field: &str,
        jwt: Option<&JwtRequirement>,
        basic: Option<&BasicAuth>,
        problems: &mut Vec<Problem>,
    ) -> Result<Option<Arc<Requirement>>, ()> {
        let requirement = match (jwt, basic) {
            (Some(_), Some(_)) => {
                let what = "jwt and basicAuth both read the Authorization header";
                problems.push(Problem::new(
                    Code::InvalidIdentity,
                    format!("{field}.basicAuth"),
                    what,
                    "keep one of them",
                ));
                return Err(());
            }
            (Some(jwt), None) => Some(Requirement::Token(self.token(&format!("{field}.jwt"), jwt, problems)?)),
            (None, Some(basic)) => {
                Some(Requirement::Basic(self::basic(scope, &format!("{field}.basicAuth"), basic, problems)?))
            }
            (None, None) => None,
        };
        Ok(requirement.map(Arc::new))
    }

    fn token(
        &self,
        field: &str,
        declared: &JwtRequirement,
        problems: &mut Vec<Problem>,
    ) -> Result<TokenRequirement, ()> {
        let JwtRequirement { providers, optional, require_tls, required_scopes, required_claims } = declared;
        let mut found = Vec::new();
        let mut whole = !providers.is_empty();
        for (index, name) in providers.iter().enumerate() {
            match self.usable.get(name) {
                Some(Some(provider)) => found.push(provider.clone()),
                Some(None) => whole = false,
                None => {
                    whole = false;
                    let known: Vec<_> = self.usable.keys().map(String::as_str).collect();
                    let remedy = match known.as_slice() {
                        [] => "declare it under spec.jwtProviders".to_owned(),
                        known => format!("name one of spec.jwtProviders: {}", known.join(", ")),
                    };
                    let what = format!("there is no provider \"{name}\"");
                    problems.push(Problem::new(
                        Code::InvalidIdentity,
                        format!("{field}.providers[{index}]"),
                        what,
                        remedy,
                    ));
                }
            }
        }
        let claims = required_claims.iter().map(|claim| RequiredClaim {
            name: claim.name.as_str().into(),
            values: claim.values.iter().map(|value| value.as_str().into()).collect(),
        });
        let requirement = TokenRequirement {
            providers: found.into(),
            optional: *optional,
            require_tls: *require_tls,
            scopes: required_scopes.iter().map(|scope| scope.as_str().into()).collect(),
            claims: claims.collect(),
        };
        if whole { Ok(requirement) } else { Err(()) }
    }
}

/// The problem that a rule refuses what comes in clear, and its route is served in clear only.
pub(super) fn unreachable(
    field: &str,
    jwt: Option<&JwtRequirement>,
    basic: Option<&BasicAuth>,
    listeners: Listeners,
) -> Option<Problem> {
    let field = match (jwt, basic) {
        (Some(jwt), _) if jwt.require_tls => format!("{field}.jwt.requireTLS"),
        (_, Some(basic)) if basic.require_tls => format!("{field}.basicAuth.requireTLS"),
        _ => return None,
    };
    let what = "the route is served in clear only, where every request to this rule is refused";
    let remedy = "add https to spec.listeners, or set requireTLS: false where something in front ends TLS";
    (!listeners.https).then(|| Problem::new(Code::OnlyInClear, field, what, remedy))
}

/// Whether nothing is wrong with a provider but that its keys are still to come: its rules are served, and what asks
/// for them is answered 503.
fn is_only_unfetched(provider: &Provider) -> bool {
    matches!(&provider.keys, KeySource::Remote(keys) if keys.current().is_none())
}

fn provider(
    scope: &mut Scope<'_, '_>,
    field: &str,
    declared: &JwtProvider,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Provider>> {
    let JwtProvider {
        name,
        issuer,
        audiences,
        algorithms,
        remote_jwks,
        local_jwks,
        extract_from,
        claim_to_headers,
        forward_token,
        clock_skew,
    } = declared;
    let before = problems.len();
    let algorithms: Box<[Algorithm]> = algorithms.iter().copied().map(algorithm).collect();
    if algorithms.is_empty() {
        problems.push(invalid(
            format!("{field}.algorithms"),
            "no algorithm is accepted".to_owned(),
            "list at least one",
        ));
    }
    let kinds: BTreeSet<_> = algorithms.iter().map(|algorithm| algorithm.key_type() == KeyType::Hmac).collect();
    if kinds.len() > 1 {
        let what = "HS algorithms stand beside others, and a public key could be taken for an HMAC key".to_owned();
        problems.push(invalid(format!("{field}.algorithms"), what, "give the HS algorithms a provider of their own"));
    }
    let clock_skew_seconds = clock_skew.as_std().as_secs();
    if clock_skew_seconds > MOST_SKEW {
        let what = format!("{clock_skew} would let tokens live on for too long");
        problems.push(invalid(format!("{field}.clockSkew"), what, "use 2m or less"));
    }
    let full_name: Arc<str> = format!("{}/{}/{name}", scope.lowered.object.namespace, scope.lowered.object.name).into();
    let claim_headers = claim_headers(&format!("{field}.claimToHeaders"), claim_to_headers, problems);
    let sources = sources(&format!("{field}.extractFrom"), extract_from.as_ref(), problems);
    let keys = match (remote_jwks, local_jwks) {
        (Some(remote), None) => {
            let field = format!("{field}.remoteJWKS");
            self::remote(scope, &field, remote, &full_name, &algorithms, problems, before)
        }
        (None, Some(local)) => self::local(scope, &format!("{field}.localJWKS"), local, &algorithms, problems),
        (Some(_), Some(_)) | (None, None) => {
            let what = "a provider has its keys in one place".to_owned();
            problems.push(invalid(field.to_owned(), what, "set exactly one of remoteJWKS and localJWKS"));
            None
        }
    }?;
    let rules = TokenRules {
        issuer: issuer.as_deref().map(Into::into),
        audiences: audiences.iter().map(|audience| audience.as_str().into()).collect(),
        algorithms,
        clock_skew: clock_skew_seconds,
    };
    Some(Arc::new(Provider::new(full_name, rules, keys, sources, claim_headers, *forward_token)))
}

/// Keys at the issuer's. They are only asked for when nothing else is wrong with the provider.
fn remote(
    scope: &mut Scope<'_, '_>,
    field: &str,
    declared: &RemoteJwks,
    provider: &Arc<str>,
    algorithms: &[Algorithm],
    problems: &mut Vec<Problem>,
    before: usize,
) -> Option<KeySource> {
    let RemoteJwks { uri, cache_duration, timeout, ca_certificate_refs } = declared;
    let parsed: Option<Uri> = uri.parse().ok();
    let parsed = parsed.filter(|uri| uri.scheme_str() == Some("https") && uri.host().is_some_and(|it| !it.is_empty()));
    if parsed.is_none() {
        let what = format!("\"{}\" is no https address", uri.escape_debug());
        let remedy = "use https: whoever can change the keys on their way can sign tokens";
        problems.push(invalid(format!("{field}.uri"), what, remedy));
    }
    if algorithms.iter().any(|algorithm| algorithm.key_type() == KeyType::Hmac) {
        let what = "an HMAC key cannot be fetched: whoever else fetches it could sign tokens".to_owned();
        problems.push(invalid(field.to_owned(), what, "keep it in a Secret and refer to it with localJWKS"));
    }
    for (name, value) in [("cacheDuration", cache_duration), ("timeout", timeout)] {
        if value.is_zero() {
            problems.push(invalid(
                format!("{field}.{name}"),
                "it must be longer than nothing".to_owned(),
                "use 1s or more",
            ));
        }
    }
    let trust = trust::authorities(scope, &format!("{field}.caCertificateRefs"), ca_certificate_refs, problems);
    let (Some(uri), Some(trust), true) = (parsed, trust, problems.len() == before) else { return None };
    let tls = trust::issuer(&scope.settings.backend_tls, &trust)?;
    let id = KeySetId {
        provider: provider.clone(),
        uri: uri.to_string(),
        algorithms: algorithms.to_vec(),
        every: cache_duration.as_std(),
        timeout: timeout.as_std(),
        trust: trust.bundles.concat(),
    };
    let settings = RemoteSettings {
        name: provider.clone(),
        uri: uri.clone(),
        algorithms: algorithms.into(),
        every: cache_duration.as_std(),
        timeout: timeout.as_std(),
        tls,
        allow_loopback: scope.settings.class.standalone,
    };
    let object = scope.lowered.object.clone();
    let keys = scope.keyring.key_sets.obtain(&object, id.clone(), settings);
    scope.lowered.key_sets.push(id);
    let field = format!("{field}.uri");
    match (keys.current(), keys.failure()) {
        (None, None) => {
            let what = format!("keys from {uri} have not been fetched yet");
            problems.push(Problem::new(Code::KeysUnavailable, field, what, "requests are answered 503 until then"));
        }
        (None, Some(failure)) => {
            let what = format!("keys cannot be fetched from {uri}: {failure}");
            problems.push(Problem::new(
                Code::KeysUnavailable,
                field,
                what,
                "requests are answered 503 until they can; see that the gateway may reach that address",
            ));
        }
        (Some(_), Some(failure)) => {
            let what = format!("keys cannot be fetched from {uri} any more: {failure}");
            problems.push(Problem::new(Code::StaleKeys, field, what, "the keys fetched before are still used"));
        }
        (Some(_), None) => {}
    }
    Some(KeySource::Remote(keys))
}

/// Keys in the cluster or in the route.
fn local(
    scope: &mut Scope<'_, '_>,
    field: &str,
    declared: &LocalJwks,
    algorithms: &[Algorithm],
    problems: &mut Vec<Problem>,
) -> Option<KeySource> {
    let LocalJwks { value_ref, inline } = declared;
    let (field, what, text, origin) = match (value_ref, inline) {
        (None, Some(inline)) => (format!("{field}.inline"), "it".to_owned(), inline.as_bytes(), Origin::Public),
        (Some(value), None) => {
            let JwksObjectRef { group, kind, name, namespace, key } = value;
            let field = format!("{field}.valueRef");
            if !group.is_empty() {
                let what = format!("group \"{group}\" has nothing that can hold keys");
                problems.push(Problem::new(Code::InvalidKind, format!("{field}.group"), what, "leave it out"));
                return None;
            }
            let origin = match kind {
                LocalObjectKind::Secret => Origin::Secret,
                LocalObjectKind::ConfigMap => Origin::Public,
            };
            let reference = ValuesRef { kind: *kind, namespace: namespace.as_deref(), name };
            let object = scope.values(&field, reference, problems)?;
            match scope.value(&object, key) {
                Value::Found(text) => (field, format!("{object} ({key})"), text, origin),
                Value::Missing(what) => {
                    let remedy = format!("put the keys under {key} there");
                    problems.push(Problem::new(Code::KeysNotFound, format!("{field}.name"), what, remedy));
                    return None;
                }
            }
        }
        (Some(_), Some(_)) | (None, None) => {
            let what = "local keys stand in one place".to_owned();
            problems.push(invalid(field.to_owned(), what, "set exactly one of inline and valueRef"));
            return None;
        }
    };
    match KeySet::read(text, algorithms, origin) {
        Ok(keys) => Some(KeySource::Fixed(Arc::new(keys))),
        Err(error) => {
            let what = format!("{what} cannot be used: {error}");
            problems.push(Problem::new(Code::InvalidKeys, field, what, error.remedy()));
            None
        }
    }
}

fn claim_headers(field: &str, declared: &[ClaimToHeader], problems: &mut Vec<Problem>) -> Box<[ClaimHeader]> {
    let mut seen = BTreeSet::new();
    let mut headers = Vec::new();
    for (index, ClaimToHeader { claim, header: name }) in declared.iter().enumerate() {
        let field = format!("{field}[{index}].header");
        match header(name) {
            Ok(header) => {
                let folded: String =
                    header.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
                if !seen.insert(folded) {
                    let what = format!("another claim is passed as {name}, or as what a backend reads as the same");
                    problems.push(invalid(field, what, "give each claim a header of its own"));
                } else if claim.is_empty() {
                    problems.push(invalid(field, "no claim is named".to_owned(), "name one, such as sub"));
                }
                headers.push(ClaimHeader { claim: claim.as_str().into(), header });
            }
            Err((what, remedy)) => problems.push(invalid(field, what, &remedy)),
        }
    }
    headers.into()
}

fn sources(field: &str, declared: Option<&TokenSource>, problems: &mut Vec<Problem>) -> Sources {
    let Some(TokenSource { headers, cookies, params }) = declared else { return Sources::default() };
    if headers.is_empty() && cookies.is_empty() && params.is_empty() {
        let what = "tokens are looked for nowhere".to_owned();
        problems.push(invalid(field.to_owned(), what, "name a header, a cookie or a parameter"));
    }
    let header = |(index, declared): (usize, &TokenHeader)| {
        let TokenHeader { name, value_prefix } = declared;
        match name.parse::<HeaderName>() {
            Ok(name) => Some((name, value_prefix.as_deref().unwrap_or_default().into())),
            Err(_) => {
                let what = format!("\"{}\" is no header name", name.escape_debug());
                problems.push(invalid(format!("{field}.headers[{index}].name"), what, "use a token"));
                None
            }
        }
    };
    Sources {
        headers: headers.iter().enumerate().filter_map(header).collect(),
        cookies: cookies.iter().map(|name| name.as_str().into()).collect(),
        params: params.iter().map(|name| name.as_str().into()).collect(),
    }
}

/// Lowers what a rule asks of names and passwords; an error when it cannot be asked, which is told then.
pub(in super::super) fn basic(
    scope: &mut Scope<'_, '_>,
    field: &str,
    declared: &BasicAuth,
    problems: &mut Vec<Problem>,
) -> Result<BasicRequirement, ()> {
    let BasicAuth { secret_ref, key, realm, user_header, forward_credentials, require_tls } = declared;
    let SecretObjectRef { group, kind, name, namespace } = secret_ref;
    let before = problems.len();
    let user_header = user_header.as_deref().map(header).transpose().unwrap_or_else(|(what, remedy)| {
        problems.push(invalid(format!("{field}.userHeader"), what, &remedy));
        None
    });
    // What would end the quotes is escaped by nobody.
    let challenge = match realm.contains(['"', '\\']) {
        true => None,
        false => HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")).ok(),
    };
    if challenge.is_none() {
        let what = format!("\"{}\" cannot stand between quotes", realm.escape_debug());
        problems.push(invalid(format!("{field}.realm"), what, "use letters, digits and spaces"));
    }
    if !group.is_empty() || kind != "Secret" {
        let what = format!("{kind} cannot hold passwords");
        problems.push(Problem::new(Code::InvalidKind, format!("{field}.secretRef.kind"), what, "name a Secret"));
        return Err(());
    }
    let reference = ValuesRef { kind: LocalObjectKind::Secret, namespace: namespace.as_deref(), name };
    let secret = scope.values(&format!("{field}.secretRef"), reference, problems).ok_or(())?;
    let name_field = format!("{field}.secretRef.name");
    let file = match scope.value(&secret, key) {
        Value::Found(file) => file,
        Value::Missing(what) => {
            let remedy = format!("put a file that htpasswd wrote under {key} there");
            problems.push(Problem::new(Code::PasswordsNotFound, name_field, what, remedy));
            return Err(());
        }
    };
    let users = match Users::parse(file) {
        Ok(users) => users,
        Err(error) => {
            let what = format!("{secret} ({key}) cannot be used: {error}");
            problems.push(Problem::new(Code::InvalidPasswords, name_field, what, error.remedy()));
            return Err(());
        }
    };
    if !users.weak().is_empty() {
        let what = format!("{secret} ({key}) has SHA-1 hashes, which are quick to guess, for {}", listed(users.weak()));
        let remedy = "write them anew with `htpasswd -B`";
        problems.push(Problem::new(Code::WeakPasswords, name_field, what, remedy));
    }
    let errors = problems.get(before..).unwrap_or_default().iter();
    match challenge {
        Some(challenge) if errors.clone().all(|problem| problem.code == Code::WeakPasswords) => Ok(BasicRequirement {
            users: Arc::new(users),
            challenge,
            user_header,
            forward_credentials: *forward_credentials,
            require_tls: *require_tls,
        }),
        Some(_) | None => Err(()),
    }
}

/// A header that can be set, by what the same words mean in a filter.
fn header(name: &str) -> Result<HeaderName, (String, String)> {
    HeaderRules::parse_name(name).map_err(|error| (error.to_string(), error.remedy()))
}

fn listed(names: &[Box<str>]) -> String {
    match names {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        names => names.join(", "),
    }
}

fn invalid(field: String, what: String, remedy: &str) -> Problem {
    Problem::new(Code::InvalidIdentity, field, what, remedy)
}

fn algorithm(declared: JwtAlgorithm) -> Algorithm {
    match declared {
        JwtAlgorithm::HS256 => Algorithm::HS256,
        JwtAlgorithm::HS384 => Algorithm::HS384,
        JwtAlgorithm::HS512 => Algorithm::HS512,
        JwtAlgorithm::RS256 => Algorithm::RS256,
        JwtAlgorithm::RS384 => Algorithm::RS384,
        JwtAlgorithm::RS512 => Algorithm::RS512,
        JwtAlgorithm::PS256 => Algorithm::PS256,
        JwtAlgorithm::PS384 => Algorithm::PS384,
        JwtAlgorithm::PS512 => Algorithm::PS512,
        JwtAlgorithm::ES256 => Algorithm::ES256,
        JwtAlgorithm::ES384 => Algorithm::ES384,
        JwtAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}
