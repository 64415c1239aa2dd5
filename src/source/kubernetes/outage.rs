//! Why a kind cannot be watched, in words that say what to do about it.

use kube::core::Status;
use kube::runtime::watcher;

use super::document::resource;
use crate::source::Kind;

/// A failed attempt to list or watch.
#[derive(Debug)]
pub(super) enum Failure {
    /// kube's watcher says so.
    Watcher(watcher::Error),
    /// A page of a list did not come in time.
    Stalled,
}

/// What a failure means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outage {
    /// The next attempt may well succeed: a connection was lost, a list has expired.
    Passing(String),
    /// It stays so until somebody does something, which the words name.
    Lasting(String),
}

/// What a failure to watch `kind` in `namespace` (all when `None`) means.
pub(super) fn judge(kind: Kind, namespace: Option<&str>, failure: &Failure) -> Outage {
    let (verb, status) = match failure {
        Failure::Stalled => return Outage::Passing("the list does not go on".to_owned()),
        Failure::Watcher(watcher::Error::InitialListFailed(error)) => ("list", status(error)),
        Failure::Watcher(watcher::Error::WatchStartFailed(error)) => ("watch", status(error)),
        Failure::Watcher(watcher::Error::WatchFailed(error)) => ("watch", status(error)),
        Failure::Watcher(watcher::Error::WatchError(status)) => ("watch", Some(status.as_ref())),
        Failure::Watcher(watcher::Error::NoResourceVersion) => ("watch", None),
    };
    let resource = resource(kind);
    let name = if resource.group.is_empty() {
        resource.plural.clone()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    };
    match status.map(|status| (status.code, status.message.as_str())) {
        Some((404, _)) => Outage::Lasting(match kind {
            Kind::GatewayRoute | Kind::RateLimitPolicy => {
                format!("CRD {name} is not installed; apply crds/")
            }
            Kind::ReferenceGrant => {
                format!("CRD {name} is not installed, so no reference into another namespace is allowed")
            }
            Kind::IngressClass
            | Kind::Ingress
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Secret
            | Kind::ConfigMap => {
                format!("the API server has no {name} of {}", resource.version)
            }
        }),
        Some((403, message)) => {
            let scope = namespace.filter(|_| kind.is_namespaced());
            let (role, scope) = match scope {
                Some(namespace) => ("Role", format!("in namespace {namespace}")),
                None => ("ClusterRole", "in the whole cluster".to_owned()),
            };
            Outage::Lasting(format!(
                "not allowed to {verb} {name} {scope}; the {role} needs get, list and watch on {name} ({message})"
            ))
        }
        Some((401, message)) => {
            Outage::Lasting(format!("the API server does not accept our credentials, to {verb} {name} ({message})"))
        }
        Some((code, message)) => Outage::Passing(format!("cannot {verb} {name}: {code} {message}")),
        None => Outage::Passing(match failure {
            Failure::Watcher(error) => format!("cannot {verb} {name}: {}", root_cause(error)),
            Failure::Stalled => format!("cannot {verb} {name}"),
        }),
    }
}

fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status.as_ref()),
        _ => None,
    }
}

/// The innermost error: the outer ones only say in turn that something failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
