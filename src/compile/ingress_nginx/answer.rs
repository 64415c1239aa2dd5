//! Answers that need no backend: redirects.

use http::StatusCode;
use http::uri::{Scheme, Uri};

use super::annotations::Annotations;
use crate::filter::{PathRewrite, Redirect};

/// The redirects that are asked for.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Whether requests in clear are sent to TLS.
    pub(super) https_redirect: bool,
    /// In place of whatever a path would do.
    pub(super) redirect: Option<Redirect>,
    /// Where who asks for the root is sent.
    pub(super) app_root: Option<Redirect>,
    /// Whether the host with `www.` sends to the one without, or the other way round.
    pub(super) www: bool,
    /// Whether ingress-nginx would send requests in clear to TLS, so that none came as far as to be asked for a password.
    pub(super) https_only: bool,
}

impl Answers {
    /// Reads what asks for a redirect; `has_tls` says whether the Ingress has a section `tls`.
    pub(super) fn read(annotations: &mut Annotations<'_>, has_tls: bool) -> Self {
        // Without a section `tls` it does nothing there either.
        let redirect = annotations.flag("ssl-redirect");
        let force = annotations.flag("force-ssl-redirect") == Some(true);
        // There it keeps a slash at the end of what is sent to TLS, which is always kept here.
        annotations.flag("preserve-trailing-slash");
        let temporal = self::redirect(annotations, "temporal-redirect", StatusCode::FOUND);
        let permanent = self::redirect(annotations, "permanent-redirect", StatusCode::MOVED_PERMANENTLY);
        Self {
            https_redirect: force || (has_tls && redirect == Some(true)),
            redirect: temporal.or(permanent),
            app_root: app_root(annotations),
            www: annotations.flag("from-to-www-redirect") == Some(true),
            https_only: force || (has_tls && redirect != Some(false)),
        }
    }
}

/// To the same path on another host.
pub(super) fn to_host(host: &str) -> Redirect {
    let status = StatusCode::PERMANENT_REDIRECT;
    Redirect { scheme: None, hostname: Some(host.into()), path: None, port: None, status }
}

fn redirect(annotations: &mut Annotations<'_>, name: &str, usual: StatusCode) -> Option<Redirect> {
    let code_name = format!("{name}-code");
    let code = annotations.number(&code_name);
    let url = annotations.take(name)?;
    let status = match code.map(|code| u16::try_from(code).ok().and_then(Redirect::status)) {
        None => usual,
        Some(Some(status)) => status,
        Some(None) => {
            annotations.unusable(&code_name, "it is no status of a redirect", "use 301, 302, 303, 307 or 308");
            usual
        }
    };
    let redirect = to_url(url, status);
    if redirect.is_none() {
        let what = format!("\"{}\" is nowhere to go to", url.escape_debug());
        let remedy =
            "write https://host/path, without a query; of nginx's variables $request_uri may stand for the path";
        annotations.unusable(name, what, remedy);
    }
    redirect
}

/// `https://host:port/path`, or with `$request_uri` in place of the path.
fn to_url(url: &str, status: StatusCode) -> Option<Redirect> {
    let (base, same_path) = url.strip_suffix("$request_uri").map_or((url, false), |base| (base, true));
    let uri: Uri = base.parse().ok()?;
    let scheme = uri.scheme().filter(|scheme| **scheme == Scheme::HTTP || **scheme == Scheme::HTTPS)?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains(['@', '$']))?;
    if uri.query().is_some() || uri.path().contains('$') || (same_path && uri.path() != "/") {
        return None;
    }
    let path = if same_path { None } else { Some(PathRewrite::parse_full(uri.path()).ok()?) };
    let (scheme, hostname) = (Some(scheme.clone()), Some(authority.host().into()));
    Some(Redirect { scheme, hostname, path, port: authority.port_u16(), status })
}

fn app_root(annotations: &mut Annotations<'_>) -> Option<Redirect> {
    const NAME: &str = "app-root";
    let root = annotations.take(NAME)?;
    match PathRewrite::parse_full(root) {
        Ok(path) => {
            Some(Redirect { scheme: None, hostname: None, path: Some(path), port: None, status: StatusCode::FOUND })
        }
        Err(error) => {
            annotations.unusable(NAME, error.to_string(), error.remedy());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_redirects() {
        for (url, expected) in [
            ("https://www.example.com", Some("301 with scheme to https; host to www.example.com; path to /")),
            (
                "http://example.com:8080/new/",
                Some("301 with scheme to http; host to example.com; port to 8080; path to /new/"),
            ),
            ("https://example.com$request_uri", Some("301 with scheme to https; host to example.com")),
            ("https://example.com/$request_uri", Some("301 with scheme to https; host to example.com")),
            ("https://example.com/new$request_uri", None),
            ("https://$host/new", None),
            ("https://example.com/?a=b", None),
            ("https://user@example.com/", None),
            ("ftp://example.com/", None),
            ("/new", None),
        ] {
            let made = to_url(url, StatusCode::MOVED_PERMANENTLY).map(|redirect| redirect.to_string());
            assert_eq!(made.as_deref(), expected, "{url}");
        }
    }
}
