//! Where declared resources come from.
//!
//! A source turns what it watches into [`Change`]s on one channel and promises three things: a [`Change::Replace`] is the
//! whole truth for its kind at that moment; every kind it is in charge of is eventually either synced or reported as
//! unavailable; an object that cannot be decoded becomes a [`Change::Invalid`] of its own and costs no other object
//! anything.

pub mod decode;
pub mod file;
pub mod kubernetes;

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{EndpointSlice, GatewayRoute, Identity, RateLimitPolicy, ReferenceGrant, Service};

/// The kinds of objects that Headgate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `networking.k8s.io/v1`
    IngressClass,
    /// `networking.k8s.io/v1`
    Ingress,
    /// `headgate.dev/v1alpha1`
    GatewayRoute,
    /// `headgate.dev/v1alpha1`
    RateLimitPolicy,
    /// `v1`
    Service,
    /// `discovery.k8s.io/v1`
    EndpointSlice,
    /// `v1`: of type `kubernetes.io/tls`, and those that something of ours refers to
    Secret,
    /// `v1`, only those that something of ours refers to
    ConfigMap,
    /// `gateway.networking.k8s.io/v1beta1`
    ReferenceGrant,
}

impl Kind {
    /// Every kind, in the order in which problems are listed.
    pub const ALL: [Self; 9] = [
        Self::IngressClass,
        Self::Ingress,
        Self::GatewayRoute,
        Self::RateLimitPolicy,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::ConfigMap,
        Self::ReferenceGrant,
    ];

    /// The kinds of which a cluster is asked for all objects. Of the others each is asked for by its name, once something
    /// refers to it.
    pub const LISTED: [Self; 8] = [
        Self::IngressClass,
        Self::Ingress,
        Self::GatewayRoute,
        Self::RateLimitPolicy,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::ReferenceGrant,
    ];

    /// The name as users write it in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IngressClass => "IngressClass",
            Self::Ingress => "Ingress",
            Self::GatewayRoute => "GatewayRoute",
            Self::RateLimitPolicy => "RateLimitPolicy",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::ReferenceGrant => "ReferenceGrant",
        }
    }

    /// Whether its objects live in a namespace.
    pub fn is_namespaced(self) -> bool {
        match self {
            Self::IngressClass => false,
            Self::Ingress
            | Self::GatewayRoute
            | Self::RateLimitPolicy
            | Self::Service
            | Self::EndpointSlice
            | Self::Secret
            | Self::ConfigMap
            | Self::ReferenceGrant => true,
        }
    }

    /// Whether a cluster may well not have it: then its absence is no problem to report. ReferenceGrant comes with
    /// Gateway API; without it no reference across namespaces is allowed, which is the safe side.
    pub fn optional(self) -> bool {
        self == Self::ReferenceGrant
    }

    /// The value of `apiVersion:` that goes with it.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::IngressClass | Self::Ingress => "networking.k8s.io/v1",
            Self::GatewayRoute | Self::RateLimitPolicy => "headgate.dev/v1alpha1",
            Self::Service | Self::Secret | Self::ConfigMap => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::ReferenceGrant => "gateway.networking.k8s.io/v1beta1",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which object: kind, namespace (empty for a cluster-wide kind), name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for an IngressClass.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// The key of an object of `kind` in `namespace`.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: shared(namespace), name: name.into() }
    }
}

/// The two parts of `NAMESPACE/NAME`, if it is that.
pub fn namespace_and_name(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'))
}

/// Namespaces that a thread remembers.
const NAMESPACES: usize = 1024;

thread_local! {
    static SHARED: RefCell<HashSet<Arc<str>>> = RefCell::default();
}

/// A namespace's name, in the memory that other keys of it have as well: there are many keys and few namespaces.
fn shared(namespace: &str) -> Arc<str> {
    SHARED.with_borrow_mut(|known| {
        if let Some(known) = known.get(namespace) {
            return known.clone();
        }
        if known.len() >= NAMESPACES {
            known.clear();
        }
        let namespace: Arc<str> = namespace.into();
        known.insert(namespace.clone());
        namespace
    })
}

impl fmt::Display for ObjectKey {
    /// `Service shop/orders`, or `IngressClass headgate`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// One declared resource.
#[derive(Clone, Debug)]
pub enum Object {
    /// A class of ingresses and who serves it.
    IngressClass(Arc<IngressClass>),
    /// Kubernetes' own routes.
    Ingress(Arc<Ingress>),
    /// Our routes.
    GatewayRoute(Arc<GatewayRoute>),
    /// Our limits.
    RateLimitPolicy(Arc<RateLimitPolicy>),
    /// A backend's name and ports.
    Service(Arc<Service>),
    /// A backend's addresses.
    EndpointSlice(Arc<EndpointSlice>),
    /// A certificate and its key, or other values that are nobody's to read.
    Secret(Arc<Secret>),
    /// Values that anybody may read.
    ConfigMap(Arc<ConfigMap>),
    /// A namespace's consent to be referred to.
    ReferenceGrant(Arc<ReferenceGrant>),
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::IngressClass(_) => Kind::IngressClass,
            Self::Ingress(_) => Kind::Ingress,
            Self::GatewayRoute(_) => Kind::GatewayRoute,
            Self::RateLimitPolicy(_) => Kind::RateLimitPolicy,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
        }
    }

    /// Its metadata, or as much of it as is read.
    pub fn metadata(&self) -> Metadata<'_> {
        match self {
            Self::IngressClass(object) => Metadata::Whole(&object.metadata),
            Self::Ingress(object) => Metadata::Whole(&object.metadata),
            Self::GatewayRoute(object) => Metadata::Whole(&object.metadata),
            Self::RateLimitPolicy(object) => Metadata::Whole(&object.metadata),
            Self::Service(object) => Metadata::Read(&object.metadata),
            Self::EndpointSlice(object) => Metadata::Read(&object.metadata),
            Self::Secret(object) => Metadata::Whole(&object.metadata),
            Self::ConfigMap(object) => Metadata::Whole(&object.metadata),
            Self::ReferenceGrant(object) => Metadata::Whole(&object.metadata),
        }
    }

    /// Which object this is.
    pub fn key(&self) -> ObjectKey {
        let (namespace, name) = match self.metadata() {
            Metadata::Whole(metadata) => {
                (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
            }
            Metadata::Read(identity) => (&*identity.namespace, &*identity.name),
        };
        ObjectKey::new(self.kind(), namespace, name)
    }
}

/// What is known of an object beside what it declares.
#[derive(Clone, Copy, Debug)]
pub enum Metadata<'o> {
    /// Everything that is kept of it.
    Whole(&'o ObjectMeta),
    /// As much as is ever read.
    Read(&'o Identity),
}

impl<'o> Metadata<'o> {
    /// What tells it from another object that had its name before.
    pub fn uid(self) -> Option<&'o str> {
        match self {
            Self::Whole(metadata) => metadata.uid.as_deref(),
            Self::Read(identity) => identity.uid.as_deref(),
        }
    }

    /// Which version of what is declared it is, for objects of which that is told.
    pub fn generation(self) -> Option<i64> {
        match self {
            Self::Whole(metadata) => metadata.generation,
            Self::Read(_) => None,
        }
    }
}

/// Something wrong with a declared object that the source itself saw: it does not decode, or it breaks a rule of its
/// schema. The compiler turns it into a problem of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path of the field, such as `spec.rules[0].backendRefs[1].port`; empty when the object as a whole is meant.
    pub field: String,
    /// What is wrong and, behind a semicolon, what would be right.
    pub message: String,
    /// Where it stands, `routes/shop.yaml:41:17`, when it came from a file.
    pub place: Option<String>,
    /// What follows from it.
    pub effect: Effect,
}

/// What follows from a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: an unknown field is told, and the rest is served.
    Told,
    /// What it is about cannot be used.
    Spoils,
    /// The object as it is written now is not used at all. What was last read of it stays in force.
    Withheld,
}

impl Finding {
    /// Whether something cannot be used for it.
    pub fn is_fatal(&self) -> bool {
        self.effect == Effect::Spoils
    }
}

/// What a source tells the store. Changes travel in batches (`Vec<Change>`); a batch is applied as one step, so that
/// a reload of many files or a relist is never seen half done.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object is now this; with what the source found wrong in it.
    Upsert(Object, Vec<Finding>),
    /// The object exists and cannot be used; the metadata is what could be read of it.
    Invalid(ObjectKey, Box<ObjectMeta>, Vec<Finding>),
    /// The object is gone.
    Delete(ObjectKey),
    /// These are all the objects of the kind: whatever else the store holds of it is gone.
    Replace(Kind, Vec<Self>),
    /// The first complete list of the kind has been sent.
    Synced(Kind),
    /// The kind cannot be watched now; the reason is for people. What was known of it stays.
    Unavailable(Kind, String),
    /// Something that is no object of ours is wrong, such as a file that does not parse: what was read from it before
    /// stays. The key is the place, and the findings replace those told before under it; an empty list clears them.
    Place(String, Vec<Finding>),
}
