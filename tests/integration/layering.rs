//! The dependency rule that `src/lib.rs` draws, held against every path in the code, and what else can be counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// A module at the top of the crate.
struct Layer {
    name: &'static str,
    /// What of ours it may use: a whole module, or one thing of it.
    uses: &'static [&'static str],
    /// What of others it must not use.
    shuns: &'static [&'static str],
}

const KUBERNETES: &[&str] = &["kube", "k8s_openapi"];
const NETWORK: &[&str] = &["tokio", "hyper", "socket2"];

/// The rule. Left of `compile` speaks Kubernetes, right of it has never heard of it, and only `compile` uses both.
const LAYERS: &[Layer] = &[
    // Declared.
    Layer {
        name: "api",
        uses: &[],
        shuns: &["tokio", "hyper", "socket2", "tracing", "prometheus", "rustls", "notify", "anyhow"],
    },
    Layer { name: "source", uses: &["api"], shuns: &["hyper", "socket2", "prometheus", "rustls", "anyhow"] },
    Layer {
        name: "store",
        uses: &["api", "persistent", "source"],
        shuns: &["tokio", "hyper", "socket2", "tracing", "anyhow"],
    },
    // Compiled.
    Layer {
        name: "compile",
        uses: &[
            "address",
            "api",
            "source",
            "store",
            "auth",
            "filter",
            "limit",
            "path",
            "persistent",
            "slot",
            "table",
            "upstream",
        ],
        shuns: &["tokio", "hyper", "socket2", "kube", "prometheus", "notify", "anyhow", "jiff"],
    },
    Layer { name: "auth", uses: &["filter::Title", "hash"], shuns: &["kube", "k8s_openapi", "anyhow"] },
    Layer { name: "address", uses: &[], shuns: &["tokio", "hyper", "kube", "k8s_openapi"] },
    Layer { name: "field_kinds", uses: &[], shuns: &["tokio", "hyper", "kube", "k8s_openapi"] },
    Layer { name: "path", uses: &[], shuns: &["tokio", "hyper", "kube", "k8s_openapi"] },
    Layer { name: "hash", uses: &[], shuns: &["tokio", "hyper", "kube", "k8s_openapi"] },
    Layer { name: "persistent", uses: &["hash"], shuns: &["tokio", "hyper", "kube", "k8s_openapi"] },
    Layer { name: "scan", uses: &[], shuns: &["tokio", "hyper", "kube", "k8s_openapi"] },
    Layer { name: "slot", uses: &[], shuns: &["tokio", "hyper", "kube", "k8s_openapi"] },
    Layer {
        name: "table",
        uses: &["address", "auth", "filter", "hash", "limit", "path", "persistent", "slot", "upstream"],
        shuns: &["tokio", "hyper", "kube", "k8s_openapi", "anyhow"],
    },
    Layer {
        name: "filter",
        uses: &["address", "limit", "path"],
        shuns: &["tokio", "hyper", "kube", "k8s_openapi", "anyhow"],
    },
    // What is counted is told to the metrics by whoever counts; a shared store speaks over the network.
    Layer {
        name: "limit",
        uses: &["address", "hash", "slot"],
        shuns: &["hyper", "kube", "k8s_openapi", "anyhow", "prometheus"],
    },
    Layer { name: "upstream", uses: &["field_kinds", "slot"], shuns: &["kube", "k8s_openapi", "anyhow"] },
    // Running.
    Layer {
        name: "proxy",
        uses: &[
            "address",
            "auth",
            "drain",
            "field_kinds",
            "filter",
            "limit",
            "path",
            "scan",
            "slot",
            "snapshot",
            "table",
            "telemetry",
            "upstream",
        ],
        shuns: &["kube", "k8s_openapi", "prometheus", "anyhow"],
    },
    Layer { name: "snapshot", uses: &[], shuns: KUBERNETES },
    Layer { name: "drain", uses: &[], shuns: KUBERNETES },
    // Looking out and reporting back.
    Layer {
        name: "telemetry",
        uses: &["limit::LocalStore", "limit::Tally", "limit::Usage", "limit::Verdict", "scan", "slot"],
        shuns: KUBERNETES,
    },
    Layer {
        name: "admin",
        uses: &[
            "compile::Listed",
            "compile::ListedObject",
            "compile::Report",
            "drain",
            "path",
            "slot",
            "snapshot",
            "table",
            "telemetry",
            "upstream",
        ],
        shuns: KUBERNETES,
    },
    Layer {
        name: "status",
        uses: &["api", "compile", "persistent", "source"],
        shuns: &["hyper", "socket2", "prometheus", "anyhow"],
    },
    // Process settings hold lengths of time as people write them, and how long the drain may take.
    Layer {
        name: "config",
        uses: &[
            "address",
            "api::ByteSize",
            "api::Duration",
            "api::DurationError",
            "drain::Grace",
            "telemetry::access_log",
            "telemetry::trace",
        ],
        shuns: NETWORK,
    },
    // What puts it together may use everything, and nothing may use it.
    Layer { name: "app", uses: &["*"], shuns: &[] },
    Layer { name: "cli", uses: &["*"], shuns: &[] },
];

/// Lines of a file, its tests not counted.
const LONGEST_FILE: usize = 600;
/// Nine files in ten are shorter.
const USUAL_FILE: usize = 450;
/// A module of that name is a drawer: what is in it has a better place.
const DRAWERS: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "types", "misc", "shared"];

#[test]
fn every_module_uses_only_what_lies_below_it() {
    let layers: BTreeMap<&str, &Layer> = LAYERS.iter().map(|layer| (layer.name, layer)).collect();
    let mut wrong = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for file in sources("src") {
        let Some(name) = file.module.first().filter(|_| file.path.parent().is_some()) else { continue };
        let Some(layer) = layers.get(name.as_str()) else {
            wrong.insert(format!("{}: no line of LAYERS says what the module {name} may use", file.path.display()));
            continue;
        };
        seen.insert(layer.name);
        for path in file.own_paths() {
            if !may_use(layer, &path) {
                wrong.insert(format!("{}: {name} must not use {path}", file.path.display()));
            }
        }
        for shunned in layer.shuns {
            if file.names_crate(shunned) {
                wrong.insert(format!("{}: {name} must not use the crate {shunned}", file.path.display()));
            }
        }
    }
    for layer in LAYERS.iter().filter(|layer| !seen.contains(layer.name)) {
        wrong.insert(format!("LAYERS speaks of {}, which is not there", layer.name));
    }
    assert!(wrong.is_empty(), "{}", lines(&wrong));
}

#[test]
fn layers_do_not_go_round_in_circles() {
    let uses: BTreeMap<&str, BTreeSet<&str>> = LAYERS
        .iter()
        .filter(|layer| layer.uses != ["*"])
        .map(|layer| (layer.name, layer.uses.iter().map(|used| used.split("::").next().unwrap()).collect()))
        .collect();
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    while settled.len() < uses.len() {
        let next: Vec<&str> = uses
            .iter()
            .filter(|(name, uses)| !settled.contains(*name) && uses.iter().all(|used| settled.contains(used)))
            .map(|(name, _)| *name)
            .collect();
        let rest: Vec<_> = uses.keys().filter(|name| !settled.contains(*name)).collect();
        assert!(!next.is_empty(), "each of these uses another of them: {rest:?}");
        settled.extend(next);
    }
}

#[test]
fn compiling_reads_no_clock_and_touches_no_system() {
    let forbidden =
        ["Instant::now", "SystemTime", "std::fs", "std::net::Tcp", "std::thread", "std::env", "std::process"];
    let mut wrong = BTreeSet::new();
    for file in sources("src").iter().filter(|file| ["compile", "table", "filter"].contains(&file.module[0].as_str())) {
        for word in forbidden.iter().filter(|word| file.code.contains(**word)) {
            wrong.insert(format!("{}: {word}", file.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", lines(&wrong));
}

#[test]
fn files_are_short() {
    let files = sources("src");
    let length = |file: &Source| file.text.lines().count();
    let too_long: BTreeSet<_> = files
        .iter()
        .filter(|file| length(file) > LONGEST_FILE)
        .map(|file| format!("{} has {} lines; {LONGEST_FILE} is the limit", file.path.display(), length(file)))
        .collect();
    assert!(too_long.is_empty(), "{}", lines(&too_long));
    let long = files.iter().filter(|file| length(file) > USUAL_FILE).count();
    assert!(long * 10 <= files.len(), "{long} of {} files have more than {USUAL_FILE} lines", files.len());
}

#[test]
fn modules_are_named_for_a_thing() {
    let drawers: BTreeSet<_> = sources("src")
        .iter()
        .chain(&sources("tests"))
        .filter(|file| file.module.iter().any(|name| DRAWERS.contains(&name.as_str())))
        .map(|file| file.path.display().to_string())
        .collect();
    assert!(drawers.is_empty(), "{}", lines(&drawers));
}

#[test]
fn nothing_is_left_to_do_and_no_comment_needs_a_tracker() {
    // Put together here, so that this file does not find itself.
    let unfinished = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let tracker = Regex::new(r"(?i)(^|[\s(])#\d+\b|\bissues?[ /]#?\d+\b|\b(TODO|FIXME|XXX|HACK)\b").unwrap();
    let mut wrong = BTreeSet::new();
    for file in sources("src").iter().chain(&sources("tests")) {
        for word in unfinished.iter().filter(|word| file.code.contains(word.as_str())) {
            wrong.insert(format!("{}: {word}", file.path.display()));
        }
        for comment in file.text.lines().filter_map(|line| line.split_once("//")) {
            if let Some(found) = tracker.find(comment.1) {
                wrong.insert(format!("{}: {}", file.path.display(), found.as_str().trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", lines(&wrong));
}

// === the reading of sources ===

/// A file of code.
struct Source {
    path: PathBuf,
    /// `compile::gateway_route` as its parts.
    module: Vec<String>,
    /// As written, without a module of tests.
    text: String,
    /// The same without comments and texts.
    code: String,
}

/// Every file of code below a folder of the repository, those that hold tests of `src` aside.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let only_for_tests = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub\([a-z]+\) )?mod (\w+);").unwrap();
    let mut sources = Vec::new();
    let mut of_tests = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let Some(source) = Source::read(&root, &path) else { continue };
                for found in only_for_tests.captures_iter(&source.text) {
                    of_tests.insert([source.module.as_slice(), &[found[1].to_owned()]].concat());
                }
                sources.push(source);
            }
        }
    }
    assert!(!sources.is_empty(), "{}", root.display());
    sources.retain(|source| !of_tests.contains(&source.module));
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

impl Source {
    fn read(root: &Path, path: &Path) -> Option<Self> {
        let below = path.strip_prefix(root).unwrap().with_extension("");
        let mut module: Vec<String> = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if root.ends_with("src") && module.iter().any(|part| part == "tests") {
            return None;
        }
        if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        // The crate's own front pages belong to no layer.
        if root.ends_with("src") && (module == ["lib"] || module == ["main"]) {
            return None;
        }
        let text = fs::read_to_string(path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        let code = bare(&text);
        let path = Path::new(root.file_name().unwrap()).join(path.strip_prefix(root).unwrap());
        Some(Self { path, module, text, code })
    }

    /// Every path into another module at the top of the crate, from its name on.
    fn own_paths(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        let start = Regex::new(r"\bcrate::|\b(?:super::)+").unwrap();
        for found in start.find_iter(&self.code) {
            let up = found.as_str().matches("super::").count();
            let above: &[String] = match up {
                0 => &[],
                up if self.code[..found.start()].ends_with("::") || up > self.module.len() => continue,
                up => &self.module[..self.module.len() - up],
            };
            for tree in expand(&self.code[found.end()..]) {
                let whole: Vec<&str> = above.iter().map(String::as_str).chain(tree.split("::")).collect();
                if whole[0] != self.module[0] && !whole[0].is_empty() {
                    paths.insert(whole.join("::"));
                }
            }
        }
        paths
    }

    fn names_crate(&self, name: &str) -> bool {
        Regex::new(&format!(r"(^|[^:\w]){name}::|\buse {name}\b")).unwrap().is_match(&self.code)
    }
}

/// The paths of `a::{b, c::d}` and of `a::b::c` at the beginning of a text.
fn expand(text: &str) -> Vec<String> {
    let (paths, _) = tree(text);
    paths
}

/// The paths of a tree, and what follows it.
fn tree(text: &str) -> (Vec<String>, &str) {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut all = Vec::new();
        loop {
            let (paths, after) = tree(rest);
            all.extend(paths);
            // What follows a path here can only be `as name`, a comma or the end.
            let end = after.find([',', '}']).unwrap_or(after.len());
            rest = after.get(end..).unwrap_or_default();
            match rest.strip_prefix(',') {
                Some(next) if !next.trim_start().starts_with('}') => rest = next,
                _ => return (all, rest.split_once('}').map_or("", |(_, rest)| rest)),
            }
        }
    }
    let length = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(text.len());
    let (name, rest) = text.split_at(length);
    match rest.strip_prefix("::") {
        Some(below) if below.trim_start().starts_with(|c: char| c.is_alphabetic() || "_*{".contains(c)) => {
            let (paths, rest) = tree(below);
            let within = |path: String| if path == "self" { name.to_owned() } else { format!("{name}::{path}") };
            (paths.into_iter().map(within).collect(), rest)
        }
        _ => (vec![name.to_owned()], rest),
    }
}

fn may_use(layer: &Layer, path: &str) -> bool {
    layer.uses.iter().any(|used| {
        *used == "*" || path.strip_prefix(used).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// The code without comments, and with every text empty.
fn bare(text: &str) -> String {
    let token =
        Regex::new(r##"(?s)//[^\n]*|/\*.*?\*/|\br#"(.*?)"#|\br"[^"]*"|"(\\.|[^"\\])*"|'(\\.[^']*|[^'\\])'"##).unwrap();
    token.replace_all(text, "").into_owned()
}

fn lines(wrong: &BTreeSet<String>) -> String {
    wrong.iter().map(|line| format!("\n  {line}")).collect()
}

#[test]
fn the_reading_of_paths_is_right() {
    assert_eq!(
        expand("table::{self, path::normalise, HostKey as Key,};"),
        ["table", "table::path::normalise", "table::HostKey"]
    );
    assert_eq!(expand("table::HostKey::parse(x)"), ["table::HostKey::parse"]);
    assert_eq!(expand("{snapshot::Reader, drain::*}; use x"), ["snapshot::Reader", "drain::*"]);
    assert_eq!(expand("a::{b::{c, d}, e}"), ["a::b::c", "a::b::d", "a::e"]);
    assert_eq!(bare("a // crate::b\n\"crate::c\" 'x' '\"' &'a str"), "a \n   &'a str");
    let config = &Layer { name: "config", uses: &["api::Duration"], shuns: &[] };
    assert!(may_use(config, "api::Duration::parse"));
    assert!(!may_use(config, "api::Durations"));
    assert!(!may_use(config, "api"));
}
