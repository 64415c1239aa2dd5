//! EndpointSlices → addresses.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::code::Code;
use super::few::Few;
use super::report::Problem;
use crate::api::{Endpoint, EndpointConditions, EndpointSlice};
use crate::source::{Object, ObjectKey};
use crate::store::Store;

/// Which Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ServiceKey {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which slices belong to which Service.
#[derive(Debug, Default)]
pub(super) struct Slices {
    of_service: HashMap<ServiceKey, Few<ObjectKey>>,
    service_of: HashMap<ObjectKey, ServiceKey>,
}

impl Slices {
    /// Takes note of a slice that has come, changed or gone; the Services concerned, the former one included.
    pub(super) fn update(&mut self, store: &Store, slice: &ObjectKey) -> impl Iterator<Item = ServiceKey> + use<> {
        let former = self.service_of.remove(slice);
        if let Some(service) = &former
            && let Some(slices) = self.of_service.get_mut(service)
        {
            slices.remove(slice);
            if slices.is_empty() {
                self.of_service.remove(service);
            }
        }
        let service = slice_of(store, slice).and_then(|object| {
            let name = object.metadata.labels.service_name.as_deref()?;
            Some(ServiceKey { namespace: slice.namespace.clone(), name: name.into() })
        });
        if let Some(service) = &service {
            self.of_service.entry(service.clone()).or_default().insert(slice.clone());
            self.service_of.insert(slice.clone(), service.clone());
        }
        former.into_iter().chain(service)
    }

    /// The Service that a slice belongs to.
    pub(super) fn service_of(&self, slice: &ObjectKey) -> Option<&ServiceKey> {
        self.service_of.get(slice)
    }

    /// The slices of a Service, by name.
    pub(super) fn of<'a>(
        &'a self,
        store: &'a Store,
        service: &ServiceKey,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a EndpointSlice)> {
        let slices = self.of_service.get(service).into_iter().flatten();
        slices.filter_map(|key| Some((key, slice_of(store, key)?)))
    }
}

/// The addresses that take requests for the port of this name.
///
/// Ready ones; when there is none, those that still serve while they terminate, which is what kube-proxy does and what
/// keeps a rolling update without errors. The port's number is each slice's own: pods of one Service may differ in it.
///
/// A Service whose `trafficDistribution` asks for it has a hint on every endpoint, for which zones it is meant. Of those
/// that are ready the ones meant for `zone` are taken, unless one has no hint or none is meant for it: then the hints are
/// not to be relied on, and all are taken, as kube-proxy does.
pub(super) fn addresses<'a>(
    slices: impl Iterator<Item = (&'a ObjectKey, &'a EndpointSlice)>,
    port: &str,
    zone: Option<&str>,
) -> BTreeSet<SocketAddr> {
    let mut ready = BTreeSet::new();
    let mut near = BTreeSet::new();
    let mut all_hinted = true;
    let mut leaving = BTreeSet::new();
    for (_, slice) in slices {
        let Some(port) = port_number(slice, port) else { continue };
        if is_named(slice) {
            continue;
        }
        for endpoint in &slice.endpoints {
            let Some(Ok(ip)) = endpoint.addresses.first().map(|text| address(text)) else { continue };
            let EndpointConditions { ready: said_ready, serving, terminating } = endpoint.conditions;
            let is_ready = said_ready.unwrap_or(true);
            let is_serving = serving.unwrap_or(is_ready);
            let is_leaving = terminating.unwrap_or(false);
            if is_ready {
                ready.insert(SocketAddr::new(ip, port));
                let zones = &endpoint.hints.for_zones;
                all_hinted &= !zones.is_empty();
                if zones.iter().any(|hint| Some(&*hint.name) == zone) {
                    near.insert(SocketAddr::new(ip, port));
                }
            } else if is_serving && is_leaving {
                leaving.insert(SocketAddr::new(ip, port));
            }
        }
    }
    if all_hinted && !near.is_empty() {
        near
    } else if ready.is_empty() {
        leaving
    } else {
        ready
    }
}

/// What is wrong with a slice.
pub(super) fn problems(slice: &EndpointSlice) -> Vec<Problem> {
    if is_named(slice) {
        return vec![Problem::new(
            Code::NamedEndpoints,
            "addressType",
            "addressType FQDN is ignored",
            "use IPv4 or IPv6 addresses",
        )];
    }
    let wrong = |(index, endpoint): (usize, &Endpoint)| {
        let why = endpoint.addresses.first().map(|text| address(text))?.err()?;
        Some(Problem::new(Code::RefusedAddress, format!("endpoints[{index}].addresses[0]"), why, ""))
    };
    slice.endpoints.iter().enumerate().filter_map(wrong).collect()
}

/// The address that a text gives, unless no backend can have it. These are the ranges that the API server refuses in
/// EndpointSlices, loopback aside, which a gateway without a cluster needs.
fn address(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text.parse().map_err(|_| format!("\"{text}\" is no IP address"))?;
    let ip = ip.to_canonical();
    let refused = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => "unspecified",
        IpAddr::V4(ip) if ip.is_multicast() => "a multicast address",
        IpAddr::V4(ip) if ip.is_broadcast() => "the broadcast address",
        IpAddr::V4(ip) if ip.is_link_local() => "link-local",
        IpAddr::V6(ip) if ip.is_unspecified() => "unspecified",
        IpAddr::V6(ip) if ip.is_multicast() => "a multicast address",
        IpAddr::V6(ip) if ip.is_unicast_link_local() => "link-local",
        IpAddr::V4(_) | IpAddr::V6(_) => return Ok(ip),
    };
    Err(format!("{ip} is {refused} and cannot be a backend"))
}

/// The number of the TCP port of this name; the name of an only port may be empty.
fn port_number(slice: &EndpointSlice, name: &str) -> Option<u16> {
    let port = slice.ports.iter().find(|port| {
        port.name.as_deref().unwrap_or_default() == name && port.protocol.as_deref().unwrap_or("TCP") == "TCP"
    })?;
    u16::try_from(port.port?).ok().filter(|port| *port > 0)
}

fn is_named(slice: &EndpointSlice) -> bool {
    &*slice.address_type == "FQDN"
}

fn slice_of<'s>(store: &'s Store, key: &ObjectKey) -> Option<&'s EndpointSlice> {
    match store.get(key)?.object.as_ref()? {
        Object::EndpointSlice(slice) => Some(slice),
        Object::IngressClass(_)
        | Object::Ingress(_)
        | Object::GatewayRoute(_)
        | Object::RateLimitPolicy(_)
        | Object::Service(_)
        | Object::Secret(_)
        | Object::ConfigMap(_)
        | Object::ReferenceGrant(_) => None,
    }
}
