//! Declared objects in any number, and what they come to.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use headgate::compile::{self, ClassSelection, Compiled, Externals, Settings};
use headgate::filter::{Flow, Matched, RequestParts, Rewritten};
use headgate::path::Params;
use headgate::source::{Change, Kind, ObjectKey, file};
use headgate::store::Store;
use headgate::table::{Route, Table};
use http::HeaderMap;

/// Objects and what was compiled from them.
pub(crate) struct Declared {
    store: Store,
    settings: Settings,
    compiled: Option<Compiled>,
    /// One route in two versions, which take turns.
    versions: [Change; 2],
}

impl Declared {
    /// A GatewayRoute, a Service and an EndpointSlice for each host, with as many rules as paths.
    pub(crate) fn hosts(hosts: usize, paths: usize) -> Self {
        let mut yaml = String::new();
        for host in 0..hosts {
            write_service(&mut yaml, host);
            yaml += &route(host, paths, "1s");
        }
        let declared = Self::of(&yaml, [route(hosts / 2, paths, "2s"), route(hosts / 2, paths, "1s")]);
        assert_eq!(declared.table().routes.len(), hosts * paths);
        declared
    }

    /// One route whose rule changes headers.
    pub(crate) fn with_header_rules() -> Self {
        let mut yaml = String::new();
        write_service(&mut yaml, 0);
        let route = route(0, 1, "1s").replace(
            "backendRefs",
            "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: a}], add: [{name: \
             x-add, value: b}], remove: [x-drop-me]}}], backendRefs",
        );
        yaml += &route;
        Self::of(&yaml, [route.clone(), route])
    }

    fn of(yaml: &str, versions: [String; 2]) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let backend_tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let settings = Settings {
            class: ClassSelection::standalone(),
            backend_tls: Arc::new(backend_tls),
            externals: Externals::default(),
        };
        let mut store = Store::awaiting(Kind::ALL);
        store.apply_all(read(yaml));
        let dirty = store.take_dirty();
        let compiled = compile::compile(&store, &settings, Compiled::empty(), &dirty);
        assert_eq!(compiled.report.problems().count(), 0, "{:?}", compiled.report.problems().next());
        let route = |yaml: String| {
            let mut changes = read(&yaml).into_iter().flat_map(|change| match change {
                Change::Replace(_, all) => all,
                one => vec![one],
            });
            changes.find(|change| matches!(change, Change::Upsert(..))).unwrap()
        };
        let versions = versions.map(route);
        Self { store, settings, compiled: Some(compiled), versions }
    }

    /// What is served.
    pub(crate) fn table(&self) -> &Table {
        &self.compiled.as_ref().unwrap().table
    }

    /// The only route.
    pub(crate) fn route(&self) -> Arc<Route> {
        self.table().routes.values().next().unwrap().clone()
    }

    /// Changes one route and compiles what follows.
    pub(crate) fn change_one(&mut self) {
        self.versions.swap(0, 1);
        self.store.apply(self.versions[1].clone());
        let dirty = self.store.take_dirty();
        let generation = self.table().generation;
        let compiled = compile::compile(&self.store, &self.settings, self.compiled.take().unwrap(), &dirty);
        assert!(compiled.table.generation > generation);
        self.compiled = Some(compiled);
    }

    /// Compiles everything from nothing.
    pub(crate) fn compile_all(&self) -> Compiled {
        let all: BTreeSet<ObjectKey> =
            Kind::ALL.into_iter().flat_map(|kind| self.store.all(kind)).map(|(key, _)| key.clone()).collect();
        compile::compile(&self.store, &self.settings, Compiled::empty(), &all)
    }
}

/// Runs the route's filters on a request's headers.
pub(crate) fn filter(route: &Route, headers: &mut HeaderMap) {
    let mut rewritten = Rewritten::default();
    let matched = Matched { params: Params::default(), prefix: 0 };
    for filter in &route.filters {
        let mut parts = RequestParts {
            headers,
            secure: false,
            host: "h0.example.com",
            port: None,
            path: "/p0",
            query: None,
            rewritten: &mut rewritten,
        };
        assert!(matches!(filter.on_request(&mut parts, &matched), Flow::Continue));
    }
}

fn read(yaml: &str) -> Vec<Change> {
    let folder = tempfile::tempdir().unwrap();
    // A source takes a thousand documents from a file.
    for (number, part) in parts(yaml, 64 << 10).enumerate() {
        std::fs::write(folder.path().join(format!("{number}.yaml")), part).unwrap();
    }
    file::read(folder.path()).unwrap()
}

/// The stream in parts of about so many bytes, cut between documents.
fn parts(mut yaml: &str, size: usize) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if yaml.is_empty() {
            return None;
        }
        let end = yaml.get(size..).and_then(|rest| rest.find("---\n")).map_or(yaml.len(), |at| size + at);
        let (part, rest) = yaml.split_at(end);
        yaml = rest;
        Some(part)
    })
}

fn write_service(yaml: &mut String, number: usize) {
    let [_, _, b, c] = u32::try_from(number).unwrap().to_be_bytes();
    write!(
        yaml,
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}}}\nspec: {{ports: [{{port: 80}}]}}\n---\napiVersion: \
         discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{number}, labels: {{kubernetes.io/service-name: \
         s{number}}}}}\naddressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [{{addresses: [10.1.{b}.{c}]}}, {{addresses: \
         [10.2.{b}.{c}]}}]\n"
    )
    .unwrap();
}

fn route(host: usize, paths: usize, timeout: &str) -> String {
    let mut yaml = format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: h{host}}}\nspec:\n  hostnames: \
         [h{host}.example.com]\n  rules:\n"
    );
    for path in 0..paths {
        writeln!(
            yaml,
            "  - {{matches: [{{path: {{type: PathPrefix, value: /p{path}}}}}], timeouts: {{request: {timeout}}}, backendRefs: \
             [{{name: s{host}, port: 80}}]}}"
        )
        .unwrap();
    }
    yaml
}
