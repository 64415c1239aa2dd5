//! Another service that is asked whether a request may pass.

use std::time::Duration;

use http::uri::{PathAndQuery, Uri};

use super::super::gateway_route::Scope;
use super::super::lowered::{DraftAuthService, DraftAuthTarget};
use super::annotations::Annotations;
use super::service;
use crate::filter::{ExternalAuth, HeaderRules, Shown, SignIn};
use crate::path::parse_path;
use crate::table::HostKey;

/// How long the service may take, as nginx has it for every backend.
const TIMEOUT: Duration = Duration::from_secs(60);
const URL: &str = "auth-url";

/// Whom a URL means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'u> {
    /// A port of a Service of a namespace.
    Service(&'u str, &'u str, u16),
    /// A host of somebody who is served here; the request's own when there is none.
    Host(Option<&'u str>),
}

/// Reads who is asked.
pub(super) fn read(scope: &mut Scope<'_, '_>, annotations: &mut Annotations<'_>) -> Option<DraftAuthService> {
    let url = annotations.take(URL)?;
    let sign_in = sign_in(annotations);
    if let Some(method) = annotations.take("auth-method").filter(|method| *method != "GET") {
        let what = format!("the question is a GET, and not a {}", method.escape_debug());
        annotations.unusable("auth-method", what, "remove it");
    }
    let mut passed_on = Vec::new();
    for name in annotations.list("auth-response-headers") {
        match HeaderRules::parse_name(name) {
            Ok(name) => passed_on.push(name),
            Err(error) => annotations.unusable("auth-response-headers", error.to_string(), error.remedy()),
        }
    }
    let Some((place, target)) = place(url) else {
        let what = format!("\"{}\" is nobody who can be asked", url.escape_debug());
        let remedy = "write http://NAME.NAMESPACE.svc.cluster.local:PORT/PATH for a Service, or https://HOST/PATH for a host \
                      that is served here, where HOST may be $host";
        annotations.close(URL, what, remedy);
        return None;
    };
    let (name, target_of) = match place {
        Place::Host(host) => {
            let words = host.map_or_else(|| "whoever serves it on the same host".to_owned(), str::to_owned);
            (words.into(), DraftAuthTarget::Host(host.map(Into::into)))
        }
        Place::Service(name, namespace, port) => {
            let resolved = service::resolve(scope, annotations, URL, (Some(namespace), name, port.into()));
            (resolved.name, DraftAuthTarget::Backend(resolved.target))
        }
    };
    let auth = ExternalAuth {
        target: Some(target),
        shown: Shown::All,
        passed_on: passed_on.into(),
        timeout: TIMEOUT,
        fail_open: false,
        sign_in,
    };
    Some(DraftAuthService { auth, name, target: target_of })
}

/// Whom a URL means, and what is asked for there.
pub(super) fn place(url: &str) -> Option<(Place<'_>, PathAndQuery)> {
    let (scheme, rest) = url.split_once("://")?;
    let usual = match scheme {
        "http" => 80,
        "https" | "$scheme" => 443,
        _ => return None,
    };
    let (authority, target) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let target = if target.is_empty() { "/" } else { target };
    // What is looked up must be spelt as requests are.
    if target.contains('$') || parse_path(target.split('?').next()?).ok()? != target.split('?').next()? {
        return None;
    }
    let target: PathAndQuery = target.parse().ok()?;
    if matches!(authority, "$host" | "$http_host" | "$best_http_host") {
        return Some((Place::Host(None), target));
    }
    let uri: Uri = format!("http://{authority}/").parse().ok()?;
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    if uri.host()? != host || !matches!(HostKey::parse_ingress(host), Ok(HostKey::Exact(_))) {
        return None;
    }
    let port = if port.is_empty() { usual } else { port.parse().ok()? };
    let service = host.strip_suffix(".svc").or_else(|| host.strip_suffix(".svc.cluster.local"));
    Some(match service.and_then(|service| service.split_once('.')) {
        Some((name, namespace)) if !namespace.contains('.') => (Place::Service(name, namespace, port), target),
        Some(_) => return None,
        None => (Place::Host(Some(host)), target),
    })
}

fn sign_in(annotations: &mut Annotations<'_>) -> Option<SignIn> {
    const NAME: &str = "auth-signin";
    let parameter = annotations.take("auth-signin-redirect-param").unwrap_or("rd");
    let url = annotations.take(NAME)?;
    let back = "$pass_access_scheme://$http_host$escaped_request_uri";
    let names = |query: &str| query.split('&').any(|pair| pair.split('=').next() == Some(parameter));
    // Where to come back to is added unless the address says it.
    let whole = match url.split_once('?') {
        None => format!("{url}?{parameter}={back}"),
        Some((_, query)) if names(query) => url.to_owned(),
        Some(_) => format!("{url}&{parameter}={back}"),
    };
    let parsed = SignIn::parse(&whole).filter(|_| url.starts_with("http://") || url.starts_with("https://"));
    if parsed.is_none() {
        let what = format!("\"{}\" is nowhere to go to", url.escape_debug());
        let remedy = "write a whole URL; of nginx's variables there are $host, $http_host, $scheme, $request_uri and \
                      $escaped_request_uri";
        annotations.unusable(NAME, what, remedy);
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_url_means() {
        let service = |port| Some(Place::Service("auth", "tools", port));
        for (url, expected) in [
            ("http://auth.tools.svc.cluster.local:4180/oauth2/auth", service(4180)),
            ("http://auth.tools.svc/verify?rd=https://login.test", service(80)),
            ("https://auth.tools.svc/", service(443)),
            ("https://$host/oauth2/auth", Some(Place::Host(None))),
            ("https://auth.example.com/verify", Some(Place::Host(Some("auth.example.com")))),
            ("https://auth.example.com", Some(Place::Host(Some("auth.example.com")))),
            ("http://auth.tools.pod.svc/", None),
            ("https://$host/check?u=$request_uri", None),
            ("https://user@auth.example.com/", None),
            ("http://10.0.0.1/check", None),
            ("http://a b/", None),
            ("ftp://auth.tools.svc/", None),
            ("http://auth.tools.svc/../x", None),
            ("auth", None),
        ] {
            assert_eq!(place(url).map(|(place, _)| place), expected, "{url}");
        }
    }
}
