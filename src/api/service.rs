//! Services and their slices, as far as anything of them is read here: a cluster has more of them than of anything else,
//! and Kubernetes' own types take ten times the room.

use serde::Deserialize;

/// What is read of an object's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// Its name.
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// What tells it from another object that had its name before.
    pub uid: Option<Box<str>>,
    /// The labels that are read.
    pub labels: Labels,
}

/// The labels that are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Labels {
    /// The Service that a slice belongs to; slices without it belong to none.
    #[serde(rename = "kubernetes.io/service-name")]
    pub service_name: Option<Box<str>>,
}

/// A backend's name and ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Which one.
    pub metadata: Identity,
    /// What it is.
    pub spec: ServiceSpec,
}

/// What a Service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// How it is reached; `ClusterIP` if it does not say.
    #[serde(rename = "type")]
    pub type_: Option<Box<str>>,
    /// Where it is reached.
    pub ports: Box<[ServicePort]>,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name, which an only port may lack.
    pub name: Option<Box<str>>,
    /// Its number.
    pub port: i32,
    /// TCP if it does not say.
    pub protocol: Option<Box<str>>,
    /// What is spoken there.
    pub app_protocol: Option<Box<str>>,
}

/// Some of a backend's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Which one.
    pub metadata: Identity,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: Box<str>,
    /// Who can be reached.
    pub endpoints: Box<[Endpoint]>,
    /// Where each of them can be reached.
    pub ports: Box<[EndpointPort]>,
}

/// One that can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Addresses of which the first counts: the others are the same by another way.
    pub addresses: Box<[Box<str>]>,
    /// How it is.
    pub conditions: EndpointConditions,
    /// Whom it is meant for.
    pub hints: EndpointHints,
}

/// How an endpoint is. What it does not say is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// It takes requests, or nobody knows.
    pub ready: Option<bool>,
    /// It would, were it not for its terminating.
    pub serving: Option<bool>,
    /// It is about to leave.
    pub terminating: Option<bool>,
}

/// Whom an endpoint is meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointHints {
    /// Those in these zones; anybody if there are none.
    pub for_zones: Box<[ForZone]>,
}

/// A zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ForZone {
    /// Its name.
    pub name: Box<str>,
}

/// A port of all endpoints of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    /// The name of the Service's port.
    pub name: Option<Box<str>>,
    /// Its number; none stands for all.
    pub port: Option<i32>,
    /// TCP if it does not say.
    pub protocol: Option<Box<str>>,
}
