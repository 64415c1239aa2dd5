//! Which objects are ours to serve.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::IngressClass;

use super::code::Code;
use super::lookup::Lookup;
use super::report::Problem;
use crate::source::{Kind, Object, ObjectKey};
use crate::store::Store;

/// The `spec.controller` of an IngressClass that is ours.
pub const CONTROLLER: &str = "headgate.dev/ingress-controller";

/// That of ingress-nginx.
const INGRESS_NGINX: &str = "k8s.io/ingress-nginx";

/// The class that is served unless another is asked for.
pub const DEFAULT_CLASS: &str = "headgate";

/// Deprecated since Kubernetes 1.18 and still in wide use; it holds a class name that needs no IngressClass object.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Marks the class of objects that name none.
const IS_DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// How objects are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSelection {
    /// The one class that is served.
    pub name: String,
    /// The controller that the class's IngressClass must name.
    pub controller: String,
    /// Without a cluster: objects without a class are ours, and no IngressClass object is needed.
    pub standalone: bool,
    /// The one namespace whose policies may bound everything of the class. Every one may where there is none: without a
    /// cluster nobody else writes objects, and who only checks them need not know where they are served from.
    pub home: Option<String>,
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Ours.
    Us,
    /// Another controller's, or nobody's.
    Other,
}

impl ClassSelection {
    /// The selection in a cluster.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self { name: name.into(), controller: CONTROLLER.to_owned(), standalone: false, home: None }
    }

    /// The same, with policies on the class from this namespace only.
    pub fn at_home_in(self, namespace: impl Into<String>) -> Self {
        Self { home: Some(namespace.into()), ..self }
    }

    /// The selection for a folder of files.
    pub fn standalone() -> Self {
        Self { standalone: true, ..Self::cluster(DEFAULT_CLASS) }
    }

    /// The same for another class, as if it were ours if it is somebody else's: for who wants to know what would be.
    pub fn of_class_in(self, name: &str, store: &Store) -> Self {
        let class = store.get(&ObjectKey::new(Kind::IngressClass, "", name));
        let controller = match class.and_then(|entry| entry.object.as_ref()) {
            // That somebody else has the one that is named after us is a mistake, and `doctor` tells it.
            Some(Object::IngressClass(class)) if name != DEFAULT_CLASS => {
                class.spec.as_ref().and_then(|spec| spec.controller.clone())
            }
            _ => None,
        };
        Self { name: name.to_owned(), controller: controller.unwrap_or_else(|| CONTROLLER.to_owned()), ..self }
    }

    /// Whether this is the selection that looks after what has no class of its own.
    pub(super) fn is_default(&self) -> bool {
        self.name == DEFAULT_CLASS
    }

    /// Whether it is only looked at what would be if the objects of ingress-nginx were ours.
    pub(super) fn moves_from_ingress_nginx(&self) -> bool {
        self.controller == INGRESS_NGINX
    }

    /// Whose an Ingress is. The field counts before the annotation; stored objects can have both.
    ///
    /// An Ingress without a class is nobody's in a cluster, also when a default class exists: the API server fills in
    /// the default when an Ingress is created, so one without was made before there was a default.
    pub(super) fn of_ingress(
        &self,
        lookup: &mut Lookup<'_>,
        class: Option<&str>,
        annotations: Option<&BTreeMap<String, String>>,
    ) -> Owner {
        let annotation = annotations.and_then(|annotations| annotations.get(CLASS_ANNOTATION)).map(String::as_str);
        match (named(class), named(annotation)) {
            (Some(class), _) => self.of_class(lookup, class),
            (None, Some(annotation)) if annotation != self.name => Owner::Other,
            // The annotation needs no IngressClass, but must not take one over that belongs to another controller.
            (None, Some(annotation)) => match lookup.ingress_class(annotation) {
                Some(class) if !self.controls(class) => Owner::Other,
                Some(_) | None => Owner::Us,
            },
            (None, None) if self.standalone => Owner::Us,
            (None, None) => Owner::Other,
        }
    }

    /// Whose a GatewayRoute is.
    ///
    /// The API server fills no default in for our own kind, so the default class is looked up here: the one that is
    /// marked as default, and without such a mark the class named `headgate`.
    pub(super) fn of_gateway_route(&self, lookup: &mut Lookup<'_>, class: Option<&str>) -> Owner {
        match named(class) {
            Some(class) => self.of_class(lookup, class),
            None if self.standalone => Owner::Us,
            None => {
                let mut defaults =
                    lookup.ingress_classes().filter(|class| self.controls(class) && is_default(class)).peekable();
                let ours = match defaults.peek() {
                    Some(_) => defaults.any(|class| class.metadata.name.as_deref() == Some(&self.name)),
                    None => self.is_default(),
                };
                if ours { Owner::Us } else { Owner::Other }
            }
        }
    }

    /// Whose objects of a class are.
    pub(super) fn of_class(&self, lookup: &mut Lookup<'_>, name: &str) -> Owner {
        if name != self.name {
            return Owner::Other;
        }
        match lookup.ingress_class(name) {
            Some(class) if self.controls(class) => Owner::Us,
            Some(_) => Owner::Other,
            None if self.standalone => Owner::Us,
            None => Owner::Other,
        }
    }

    /// The namespace that policies on the class must come from, if it is not this one.
    pub(super) fn home_elsewhere(&self, namespace: &str) -> Option<&str> {
        self.home.as_deref().filter(|home| *home != namespace)
    }

    /// Without a cluster there is nobody else to serve an object of another class: it is told that nobody does.
    pub(super) fn unserved(&self, class: Option<&str>, field: &str) -> Option<Problem> {
        let class = named(class)?;
        self.standalone.then(|| {
            let what = format!("class {class} is not served here");
            Problem::new(Code::OtherClass, field, what, format!("use class {}, or leave it out", self.name))
        })
    }

    fn controls(&self, class: &IngressClass) -> bool {
        class.spec.as_ref().and_then(|spec| spec.controller.as_ref()) == Some(&self.controller)
    }
}

fn named(class: Option<&str>) -> Option<&str> {
    class.filter(|class| !class.is_empty())
}

fn is_default(class: &IngressClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(IS_DEFAULT_ANNOTATION)).is_some_and(|value| value == "true")
}
