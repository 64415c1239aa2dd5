//! Who may come in: by address, by password, from other origins; and how large what they send may be.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::super::gateway_route::{Scope, basic_auth, certificate_headers, client_validation};
use super::annotations::Annotations;
use crate::address::{Network, Networks};
use crate::api::gateway_route::{self as api, BasicAuth, ClientValidationMode};
use crate::api::{CaCertificateRef, LocalObjectKind, SecretObjectRef};
use crate::auth::{Requirement, Reserved};
use crate::filter::{Cors, IpAccess, Listed, Origin, Origins};
use crate::table::{BodyBounds, CertificateHeaders, ClientValidation};

/// What ingress-nginx allows when nothing is said.
const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,\
                       Authorization";
const MAX_AGE: u32 = 1_728_000;

/// What a request is asked before it goes anywhere.
#[derive(Debug, Default)]
pub(super) struct Guards {
    pub(super) ip: Option<Box<IpAccess>>,
    /// One of address and password, or whoever is asked for leave, is enough.
    pub(super) any: bool,
    pub(super) cors: Option<Box<Cors>>,
    pub(super) body: BodyBounds,
    pub(super) requirement: Option<Arc<Requirement>>,
    pub(super) validation: Option<Arc<ClientValidation>>,
    /// Headers that speak of a client's certificate where one is asked for.
    pub(super) vouched: Reserved,
    /// Which of them backends are told of it in.
    pub(super) certificate: Option<CertificateHeaders>,
}

impl Guards {
    /// Reads what asks something of a request; `https_only` says that requests in clear are sent away anyway.
    pub(super) fn read(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>, https_only: bool) -> Self {
        let validation = validation(scope, annotations);
        let whole = annotations.flag("auth-tls-pass-certificate-to-upstream") == Some(true);
        let reserved = certificate_headers().filter(|_| validation.is_some());
        Self {
            vouched: Reserved::new(reserved),
            certificate: validation.is_some().then_some(CertificateHeaders::SslClient { whole }),
            validation,
            ip: ip(annotations).map(Box::new),
            any: any(annotations),
            cors: cors(annotations).map(Box::new),
            body: BodyBounds { most: body_size(annotations), held: false },
            requirement: basic(scope, annotations, https_only),
        }
    }
}

fn any(annotations: &mut Annotations<'_>) -> bool {
    const NAME: &str = "satisfy";
    match annotations.take(NAME) {
        None | Some("all") => false,
        Some("any") => true,
        Some(other) => {
            annotations.unusable(
                NAME,
                format!("\"{}\" is neither any nor all", other.escape_debug()),
                "write one of them",
            );
            false
        }
    }
}

fn ip(annotations: &mut Annotations<'_>) -> Option<IpAccess> {
    let allowed = networks(annotations, "allowlist-source-range");
    // The older name, which ingress-nginx looks at only where the newer one is not there.
    let allowed = if allowed.is_empty() { networks(annotations, "whitelist-source-range") } else { allowed };
    let deny: Networks = networks(annotations, "denylist-source-range").into_iter().collect();
    // What answers the questions of ACME is declared with all of IPv4, so that nobody's defaults keep them out; it means
    // everybody.
    let everybody = allowed.is_empty() || allowed.iter().any(|network| network.to_string() == "0.0.0.0/0");
    let allow = (!everybody).then(|| allowed.into_iter().collect());
    (allow.is_some() || !deny.is_empty()).then_some(IpAccess { allow, deny })
}

/// The networks of a list that keeps somebody out.
fn networks(annotations: &mut Annotations<'_>, name: &str) -> Vec<Network> {
    let (networks, wrong) = annotations.networks(name);
    for error in wrong {
        annotations.close(name, error.to_string(), error.remedy());
    }
    networks
}

fn cors(annotations: &mut Annotations<'_>) -> Option<Cors> {
    let enabled = annotations.flag("enable-cors") == Some(true);
    let origins = annotations.list("cors-allow-origin");
    let methods = annotations.take("cors-allow-methods").unwrap_or(METHODS);
    let headers = annotations.take("cors-allow-headers").unwrap_or(HEADERS);
    let exposed = annotations.take("cors-expose-headers").unwrap_or_default();
    let credentials = annotations.flag("cors-allow-credentials").unwrap_or(true);
    let max_age = annotations.number("cors-max-age").unwrap_or(MAX_AGE);
    if !enabled {
        return None;
    }
    let every = origins.is_empty() || origins.contains(&"*");
    let mut known = Vec::new();
    for origin in origins.iter().filter(|_| !every) {
        match Origin::parse(origin) {
            Ok(origin) => known.push(origin),
            Err(error) => {
                let what = format!("\"{}\": {error}", origin.escape_debug());
                annotations.unusable("cors-allow-origin", what, error.remedy());
            }
        }
    }
    Some(Cors {
        origins: if every { Origins::Every } else { Origins::These(known.into()) },
        methods: listed(annotations, "cors-allow-methods", methods, |name| Method::from_bytes(name.as_bytes()).is_ok()),
        headers: listed(annotations, "cors-allow-headers", headers, is_header),
        exposed: listed(annotations, "cors-expose-headers", exposed, is_header),
        // No browser sends any to what is for every origin.
        credentials: credentials && !every,
        max_age: HeaderValue::from(max_age),
    })
}

fn is_header(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

fn listed(annotations: &mut Annotations<'_>, name: &str, value: &str, is_valid: impl Fn(&str) -> bool) -> Listed {
    let names: Vec<_> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.contains(&"*") {
        return Listed::Everything;
    }
    let (valid, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| is_valid(name));
    for other in others {
        annotations.unusable(name, format!("\"{}\" is no such name", other.escape_debug()), "use a token, or *");
    }
    Listed::these(valid)
}

/// The most bytes of a body; in nginx's sizes a `k` is 1024, and 0 is no bound.
fn body_size(annotations: &mut Annotations<'_>) -> Option<u64> {
    const NAME: &str = "proxy-body-size";
    let value = annotations.take(NAME)?;
    let (digits, shift) = match value.char_indices().next_back()? {
        (end, 'k' | 'K') => (value.get(..end)?, 10),
        (end, 'm' | 'M') => (value.get(..end)?, 20),
        (end, 'g' | 'G') => (value.get(..end)?, 30),
        _ => (value, 0),
    };
    let bytes = digits.parse::<u32>().ok().map(|number| u64::from(number) << shift);
    if bytes.is_none() {
        let what = format!("\"{}\" is no size", value.escape_debug());
        annotations.unusable(NAME, what, "write a number, alone or with k, m or g behind it");
    }
    bytes.filter(|bytes| *bytes > 0)
}

/// What is asked of clients' certificates.
fn validation(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>) -> Option<Arc<ClientValidation>> {
    const SECRET: &str = "auth-tls-secret";
    const MODE: &str = "auth-tls-verify-client";
    let (namespace, name) = annotations.reference(SECRET)?;
    let mode = match annotations.take(MODE) {
        None | Some("on") => ClientValidationMode::Required,
        Some("optional") => ClientValidationMode::Optional,
        Some("off") => return None,
        Some("optional_no_ca") => {
            let what = "certificates that no authority vouches for are not asked for";
            annotations.unusable(MODE, what, "use optional, or on");
            return None;
        }
        Some(other) => {
            let what = format!("\"{}\" is no way to ask", other.escape_debug());
            annotations.close(MODE, what, "use on, optional or off");
            return None;
        }
    };
    let authority = CaCertificateRef { group: String::new(), kind: LocalObjectKind::Secret, name, namespace };
    let declared = api::ClientValidation { mode, ca_certificate_refs: vec![authority], forward_certificate: false };
    let mut problems = Vec::new();
    let made = client_validation(scope, &declared, &mut problems);
    annotations.found(SECRET, problems, made)
}

fn basic(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>, https_only: bool) -> Option<Arc<Requirement>> {
    const TYPE: &str = "auth-type";
    const SECRET: &str = "auth-secret";
    let kind = annotations.take(TYPE)?;
    let realm = annotations.take("auth-realm").unwrap_or("Authentication Required");
    let format = annotations.take("auth-secret-type").unwrap_or("auth-file");
    let secret = annotations.reference(SECRET);
    if kind != "basic" {
        let what = format!("passwords of type \"{}\" are not asked for here", kind.escape_debug());
        annotations.close(TYPE, what, "use basic, or a GatewayRoute with jwt");
        return None;
    }
    if format != "auth-file" {
        let what = format!("a Secret of type \"{}\" is not read", format.escape_debug());
        annotations.close("auth-secret-type", what, "write the names and hashes into one file under the key auth");
        return None;
    }
    let Some((namespace, name)) = secret else {
        annotations.close(TYPE, "nothing says where the passwords are", format!("name a Secret in {SECRET}"));
        return None;
    };
    let declared = BasicAuth {
        secret_ref: SecretObjectRef { group: String::new(), kind: "Secret".to_owned(), name, namespace },
        key: "auth".to_owned(),
        realm: realm.to_owned(),
        user_header: None,
        forward_credentials: true,
        require_tls: https_only,
    };
    let mut problems = Vec::new();
    let made = basic_auth(scope, "", &declared, &mut problems);
    annotations.found(SECRET, problems, made).map(|basic| Arc::new(Requirement::Basic(basic)))
}
