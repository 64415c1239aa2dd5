//! The addresses under which this ingress is reached, for the status of Ingresses.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::pin::pin;
use std::str::FromStr;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

use crate::source::namespace_and_name;

/// Where the addresses come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// Nowhere: the status of Ingresses is left alone.
    #[default]
    Nothing,
    /// These, as given.
    Addresses(BTreeSet<Address>),
    /// Those of our own Service, as they change.
    Service(ServiceName),
}

/// One address: `192.0.2.1`, `2001:db8::1` or `lb.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A number.
    Ip(IpAddr),
    /// A name, in lower case.
    Hostname(Box<str>),
}

/// It is neither an IP address nor a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address to publish; write an IP address or a host name, without a port")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        let name = text.to_ascii_lowercase();
        // What the API server takes for a name (RFC 1123); an all-numeric last label is a mistyped IP address.
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if name.len() > 253 || numeric || !name.split('.').all(label) {
            return Err(AddressError(text.to_owned()));
        }
        Ok(Self::Hostname(name.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Hostname(name) => name.fmt(f),
        }
    }
}

/// A Service as `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// It is no `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no Service; write NAMESPACE/NAME")]
pub struct ServiceNameError(String);

impl FromStr for ServiceName {
    type Err = ServiceNameError;

    fn from_str(text: &str) -> Result<Self, ServiceNameError> {
        let (namespace, name) = namespace_and_name(text).ok_or_else(|| ServiceNameError(text.to_owned()))?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// Keeps `addresses` at what is to be published; `None` until it is known. A Service that is gone or has no address for
/// now changes nothing: what was published stays until there is something better to say. Never returns.
pub(super) async fn follow(client: Client, publish: Publish, addresses: watch::Sender<Option<BTreeSet<Address>>>) {
    match publish {
        Publish::Nothing => {}
        Publish::Addresses(given) => {
            addresses.send_replace(Some(given));
        }
        Publish::Service(ServiceName { namespace, name }) => {
            let services = Api::<Service>::namespaced(client, &namespace);
            // As short as the watches of other kinds, so that a connection that died without a word is found out.
            let only = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(60);
            let mut changes = pin!(watcher(services, only).default_backoff());
            let mut troubled = false;
            while let Some(change) = changes.next().await {
                match change {
                    Ok(watcher::Event::Apply(service) | watcher::Event::InitApply(service)) => {
                        let found = of_service(&service);
                        if found.is_empty() {
                            tracing::info!(service = format!("{namespace}/{name}"), "has no address to publish yet");
                        } else {
                            addresses.send_if_modified(|known| {
                                let new = known.as_ref() != Some(&found);
                                *known = Some(found);
                                new
                            });
                        }
                    }
                    Ok(watcher::Event::Delete(_) | watcher::Event::Init) => {}
                    Ok(watcher::Event::InitDone) => troubled = false,
                    Err(error) if !troubled => {
                        troubled = true;
                        let service = format!("{namespace}/{name}");
                        tracing::warn!(service, %error, "cannot watch the Service whose addresses are published");
                    }
                    Err(_) => {}
                }
            }
        }
    }
    // The receivers are told that nothing will change by nothing changing.
    std::future::pending().await
}

/// The addresses of a Service: what its load balancer reports, else its external IPs, else its cluster IPs. One whose
/// load balancer is still being made has none: its cluster IP would be published to the world for a moment.
fn of_service(service: &Service) -> BTreeSet<Address> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let reported: BTreeSet<Address> = balancer
        .and_then(|balancer| balancer.ingress.as_ref())
        .into_iter()
        .flatten()
        .filter_map(|ingress| ingress.ip.as_ref().or(ingress.hostname.as_ref()))
        .filter_map(|address| address.parse().ok())
        .collect();
    if !reported.is_empty() {
        return reported;
    }
    let Some(ServiceSpec { external_ips, cluster_ip, cluster_ips, type_, external_name, .. }) = &service.spec else {
        return BTreeSet::new();
    };
    let ips = |ips: &[String]| ips.iter().filter_map(|ip| ip.parse().ok().map(Address::Ip)).collect::<BTreeSet<_>>();
    let external = ips(external_ips.as_deref().unwrap_or_default());
    match type_.as_deref() {
        _ if !external.is_empty() => external,
        Some("LoadBalancer") => BTreeSet::new(),
        Some("ExternalName") => external_name.iter().filter_map(|name| name.parse().ok()).collect(),
        // A headless Service has the cluster IP "None", which is none.
        Some(_) | None => ips(cluster_ips.as_deref().unwrap_or(cluster_ip.as_slice())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn addresses_are_numbers_or_names() {
        assert_eq!("192.0.2.1".parse(), Ok(Address::Ip(IpAddr::from([192, 0, 2, 1]))));
        assert_eq!("LB.example.com".parse(), Ok(Address::Hostname("lb.example.com".into())));
        assert_eq!("localhost".parse(), Ok(Address::Hostname("localhost".into())));
        for wrong in ["", "192.0.2.256", "192.0.2.1:80", "[::1]", "a..b", "-a.b", "http://a", "a_b", "10"] {
            assert_eq!(wrong.parse::<Address>(), Err(AddressError(wrong.to_owned())));
        }
    }

    #[test]
    fn services_are_named_with_their_namespace() {
        let name = ServiceName { namespace: "edge".to_owned(), name: "headgate".to_owned() };
        assert_eq!("edge/headgate".parse(), Ok(name));
        for wrong in ["headgate", "/headgate", "edge/", "a/b/c"] {
            assert!(wrong.parse::<ServiceName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_service_is_reached_where_it_says() {
        let spec = |more: Value| {
            let mut spec = json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let balancer = |ingress: Value| json!({"loadBalancer": {"ingress": ingress}});
        let cases = [
            ("nothing is known", json!({}), json!({}), vec![]),
            ("in the cluster only", spec(json!({"type": "ClusterIP"})), json!({}), vec!["10.0.0.1", "fd00::1"]),
            ("headless", json!({"clusterIP": "None", "clusterIPs": ["None"]}), json!({}), vec![]),
            ("external IPs", spec(json!({"externalIPs": ["192.0.2.7"]})), json!({}), vec!["192.0.2.7"]),
            ("a load balancer to come", spec(json!({"type": "LoadBalancer"})), json!({}), vec![]),
            (
                "a load balancer",
                spec(json!({"type": "LoadBalancer", "externalIPs": ["192.0.2.7"]})),
                balancer(json!([{"ip": "192.0.2.9", "ipMode": "VIP"}, {"hostname": "lb.example.com"}])),
                vec!["192.0.2.9", "lb.example.com"],
            ),
        ];
        for (case, spec, status, expected) in cases {
            let service = serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap();
            let expected: BTreeSet<Address> = expected.into_iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(of_service(&service), expected, "{case}");
        }
    }
}
