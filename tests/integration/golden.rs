//! Golden files for `compile`: declared resources in, table and verdicts out.
//!
//! Every `tests/fixtures/<topic>/<case>.in.yaml` has a `<case>.out.yaml` beside it; the first line of the input says what
//! the case proves. `UPDATE_GOLDEN=1` writes the outputs anew, for review. Each case also sees the Services of
//! `tests/fixtures/backends.yaml`. A line `# class: NAME` makes it a case of a cluster that serves this class; without it
//! the case is one of a folder. A line `# zone: NAME` is the zone it runs in, a line `# home: NAME` the namespace.
//! `@certificate a.example b.example` stands for a certificate for these names, and `@key a.example b.example` for the key
//! that goes with it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::{env, fs};

use headgate::compile::{Ancestor, ClassSelection, Compiled, Externals, Settings, compile};
use headgate::source::decode::{Origin, decode, kind_of};
use headgate::source::{Change, Kind};
use headgate::store::Store;
use headgate::table::Description;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a case comes to.
#[derive(Serialize)]
struct Output {
    table: Description,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    objects: BTreeMap<String, ObjectOutput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", rename = "configMaps")]
    config_maps: Vec<String>,
}

#[derive(Serialize)]
struct ObjectOutput {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ancestors: Vec<String>,
}

#[test]
fn declared_resources_come_to_what_the_golden_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let backends = fs::read_to_string(folder.join("backends.yaml")).unwrap();
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let cases = cases(&folder);
    let mut wrong = Vec::new();
    for case in &cases {
        let input = fs::read_to_string(case).unwrap();
        let purpose = input.lines().next().and_then(|line| line.strip_prefix("# "));
        assert!(purpose.is_some_and(|text| text.ends_with('.')), "{}: say what the case proves", case.display());
        let output = run(&input, &backends);
        let golden = PathBuf::from(case.to_str().unwrap().replace(".in.yaml", ".out.yaml"));
        if update {
            fs::write(&golden, &output).unwrap();
        } else if fs::read_to_string(&golden).ok().as_ref() != Some(&output) {
            wrong.push(format!("{} ({}):\n{output}", golden.display(), purpose.unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            cases.extend(self::cases(&path));
        } else if path.to_str().unwrap().ends_with(".in.yaml") {
            cases.push(path);
        }
    }
    cases.sort();
    cases
}

fn run(input: &str, backends: &str) -> String {
    let said = |what: &str| input.lines().find_map(|line| line.strip_prefix(what));
    let (mut class, origin) = match said("# class: ") {
        Some(name) => (ClassSelection::cluster(name), Origin::Cluster),
        None => (ClassSelection::standalone(), Origin::File),
    };
    class.home = said("# home: ").map(str::to_owned);
    let mut store = Store::awaiting(Kind::ALL);
    store.apply_all(changes(backends, origin).chain(changes(input, origin)));
    let dirty = store.take_dirty();
    let mut settings = settings(class);
    settings.externals.zone = said("# zone: ").map(Arc::from);
    let compiled = compile(&store, &settings, Compiled::empty(), &dirty);
    let objects = compiled.report.objects.iter().map(|(key, report)| {
        let conditions = report.conditions.iter().map(|condition| {
            let status = if condition.status { "True" } else { "False" };
            format!("{}={status} {}: {}", condition.type_.as_str(), condition.reason, condition.message)
        });
        let output = ObjectOutput {
            conditions: conditions.collect(),
            problems: report.problems.iter().map(|problem| format!("{} {problem}", problem.code)).collect(),
            ancestors: report.ancestors.iter().map(ancestor).collect(),
        };
        (key.to_string(), output)
    });
    let output = Output {
        table: compiled.table.describe(),
        objects: objects.collect(),
        secrets: referenced(&compiled, Kind::Secret),
        config_maps: referenced(&compiled, Kind::ConfigMap),
    };
    serde_yaml::to_string(&output).unwrap()
}

/// The objects of a kind that are read because something refers to them.
fn referenced(compiled: &Compiled, kind: Kind) -> Vec<String> {
    let mut referenced: Vec<_> = compiled.referenced().iter().filter(|key| key.kind == kind).collect();
    referenced.sort();
    referenced.into_iter().map(ToString::to_string).collect()
}

/// What becomes of a policy at one of its targets, in short.
fn ancestor(ancestor: &Ancestor) -> String {
    let conditions =
        ancestor.conditions.iter().map(|condition| format!("{}={}", condition.type_.as_str(), condition.reason));
    format!("targetRefs[{}] {ancestor}: {}", ancestor.target, conditions.collect::<Vec<_>>().join(" "))
}

/// Settings for compiling; what backends are trusted by does not show in a table.
pub(crate) fn settings(class: ClassSelection) -> Settings {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let backend_tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Settings { class, backend_tls: Arc::new(backend_tls), externals: Externals::default() }
}

/// The objects of a text of several documents.
pub(crate) fn changes(text: &str, origin: Origin) -> impl Iterator<Item = Change> {
    serde_yaml::Deserializer::from_str(text).filter_map(move |document| {
        let mut document = Value::deserialize(document).unwrap();
        if document.is_null() {
            return None;
        }
        put_certificates_in(&mut document);
        Some(decode(kind_of(&document).unwrap(), document, origin).unwrap())
    })
}

fn put_certificates_in(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(names) = text.strip_prefix("@certificate ") {
                *text = certificate(names).0;
            } else if let Some(names) = text.strip_prefix("@key ") {
                *text = certificate(names).1;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(put_certificates_in),
        Value::Object(fields) => fields.values_mut().for_each(put_certificates_in),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A certificate for these names and its key, as PEM.
fn certificate(names: &str) -> (String, String) {
    static MADE: LazyLock<Mutex<HashMap<String, (String, String)>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    let pair = made.entry(names.to_owned()).or_insert_with(|| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap();
        params.not_after = date_time_ymd(2100, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    });
    pair.clone()
}
