//! Pages in place of answers that say that something is wrong.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

use super::super::lowered::{DraftBackend, DraftErrorPages};
use super::annotations::Annotations;
use crate::source::ObjectKey;

const NAME: &str = "custom-http-errors";

/// Reads of which answers the default backend makes pages.
pub(super) fn read(
    annotations: &mut Annotations<'_>,
    ingress: &ObjectKey,
    maker: Option<&DraftBackend>,
) -> Option<DraftErrorPages> {
    let mut statuses = Vec::new();
    for declared in annotations.list(NAME) {
        match declared.parse().ok().filter(|status| (300..600).contains(status)).map(StatusCode::from_u16) {
            Some(Ok(status)) => statuses.push(status),
            _ => {
                let what = format!("\"{}\" is no status of which there is a page", declared.escape_debug());
                annotations.unusable(NAME, what, "use 300 to 599");
            }
        }
    }
    let Some(DraftBackend { name, target, .. }) = maker else {
        if !statuses.is_empty() {
            annotations.unusable(NAME, "nobody makes the pages", "name a Service that does in default-backend");
        }
        return None;
    };
    if statuses.is_empty() {
        return None;
    }
    let told = said([("x-namespace", &ingress.namespace), ("x-ingress-name", &ingress.name)]).collect();
    Some(DraftErrorPages { statuses, name: name.clone(), target: target.clone(), told })
}

/// The same of a rule with this backend, `namespace/service:port`: whoever makes them is told which that is.
pub(super) fn of(pages: &DraftErrorPages, backend: Option<&Arc<str>>) -> DraftErrorPages {
    let backend = backend.and_then(|name| name.split_once('/')?.1.rsplit_once(':'));
    let (service, port) = backend.unwrap_or_default();
    let mut pages = pages.clone();
    pages.told.extend(said([("x-service-name", service), ("x-service-port", port)]));
    pages
}

fn said(fields: [(&'static str, &str); 2]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let field = |(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?));
    fields.into_iter().filter_map(field)
}
