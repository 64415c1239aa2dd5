//! Every command that the documents tell people to type is typed somewhere, or the reason why not is here.

use std::fs;
use std::path::Path;

use crate::docs::Demo;
use crate::harness::gateway::binary;
use crate::harness::run::{Said, command, said};

/// Blocks of commands that are typed as they are: the document, and the heading that they stand under.
const TYPED: [(&str, &str); 7] = [
    // With what they print, by the tests of `docs`.
    ("README.md", "Sixty seconds without a cluster"),
    ("README.md", "One limit for two processes"),
    MACHINE,
    LOG_LEVEL,
    PROFILE,
    REDIS,
    CONTROL_PLANE,
];
const MACHINE: (&str, &str) = ("docs/install.md", "Without a cluster");
const LOG_LEVEL: (&str, &str) = ("docs/observing.md", "Log level");
const PROFILE: (&str, &str) = ("docs/profiling.md", "Profiling");
const REDIS: (&str, &str) = ("docs/redis.md", "Where it is");
const CONTROL_PLANE: (&str, &str) = ("tests/cluster/README.md", "By hand");

/// How commands begin that only people type, and why.
const BY_HAND: [(&str, &str); 13] = [
    ("kind ", "needs a container engine"),
    ("docker build ", "needs a container engine; hadolint reads the Dockerfile"),
    (
        "helm install headgate charts/headgate --namespace headgate --create-namespace --values manifests/kind-values.yaml ",
        "needs kind; tests/chart renders these values",
    ),
    ("headgate check --in-cluster --ingress-class nginx", "needs a cluster with objects of ingress-nginx"),
    ("apt-get install ", "changes the machine; `tests/run` installs what it needs"),
    ("python3 -m venv target/peers ", "gets half a gigabyte of other proxies"),
    ("(cd benches/proxy/peers/fasthttp ", "builds another proxy"),
    ("export RUSTFLAGS=", "is for a build of ten minutes"),
    ("cargo build --profile dist ", "takes ten minutes"),
    ("export HEADGATE_BENCH_BIN=", "is told of the program that took ten minutes"),
    ("valgrind ", "prints what only people can read"),
    ("callgrind_control ", "belongs to valgrind"),
    ("h2load ", "belongs to valgrind"),
];

fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(whole).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The commands of a document, each with the heading that it stands under.
fn commands(text: &str) -> Vec<(&str, &str)> {
    let mut heading = "";
    let mut commands = Vec::new();
    // Outside and inside of blocks in turn.
    for (number, part) in text.split("\n```").enumerate() {
        if number % 2 == 0 {
            let last = part.lines().rev().find(|line| line.starts_with('#'));
            heading = last.map_or(heading, |line| line.trim_start_matches('#').trim());
            continue;
        }
        let (first, lines) = part.split_once('\n').unwrap_or((part, ""));
        // A console shows prompts where it shows what is printed.
        let prompt = if lines.starts_with("$ ") { "$ " } else { "" };
        if ["sh", "console"].contains(&first) {
            let lines = lines.lines().filter_map(|line| line.strip_prefix(prompt));
            // Without what is said of them.
            let lines = lines.map(|line| line.split(" # ").next().unwrap_or(line).trim_end());
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            commands.extend(lines.map(|line| (heading, line)));
        }
    }
    commands
}

/// The commands under a heading.
fn under((document, heading): (&str, &str)) -> Vec<String> {
    let text = read(document);
    let found = commands(&text).into_iter().filter(|(its, _)| *its == heading);
    let lines: Vec<String> = found.map(|(_, line)| line.to_owned()).collect();
    assert!(!lines.is_empty(), "{document} has no commands under {heading:?}");
    lines
}

#[test]
fn every_command_is_typed_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_docs = fs::read_dir(root.join("docs")).unwrap();
    let in_docs = in_docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    let others =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "charts/headgate/README.md", "tests/cluster/README.md"];
    let (cluster, tests) = (read("tests/cluster/e2e"), read("tests/run"));
    let scripted =
        |line: &str| cluster.contains(&format!("documented '{line}'")) || tests.lines().any(|its| its.trim() == line);
    let mut unused: Vec<&str> = BY_HAND.iter().map(|(start, _)| *start).collect();
    let mut untyped = Vec::new();
    for document in others.map(str::to_owned).into_iter().chain(in_docs) {
        let text = read(&document);
        for (heading, line) in commands(&text) {
            let by_hand = BY_HAND.iter().find(|(start, _)| line.starts_with(start));
            if let Some((start, _)) = by_hand {
                unused.retain(|unused| unused != start);
            }
            // `.ci/run` types each of them, the long ones with `--help` behind it.
            let bench = line.starts_with("cargo bench ");
            let typed = TYPED.contains(&(document.as_str(), heading));
            if !typed && !bench && by_hand.is_none() && !scripted(line) {
                untyped.push(format!("{document}, {heading}: {line}"));
            }
        }
    }
    assert!(untyped.is_empty(), "nothing types these: {untyped:#?}");
    assert!(unused.is_empty(), "no document says these any more: {unused:#?}");
}

/// A script that ends at the first command that fails.
fn bash(folder: &Path, script: &str) -> Said {
    let mut bash = command("bash");
    bash.args(["-euo", "pipefail", "-c", script]).current_dir(folder);
    said(&mut bash)
}

/// Whether this is root of the machine, or of a container at least, and not of a namespace that a user has made.
fn owns_the_machine() -> bool {
    let users = fs::read_to_string("/proc/self/uid_map").unwrap();
    let words: Vec<&str> = users.split_whitespace().collect();
    words.len() == 3 && words[0] == "0" && words[2].parse::<u64>().unwrap() > 65_535
}

/// Lays something over what the machine has.
const OVERLAID: &str = r"
ip link set lo up
mount -t tmpfs none /mnt
for place in etc usr/local/bin; do
  mkdir -p /mnt/$place /mnt/work/$place
  mount -t overlay -o lowerdir=/$place,upperdir=/mnt/$place,workdir=/mnt/work/$place none /$place
done
mkdir -p target/x86_64-unknown-linux-gnu/dist /etc/systemd/system
";

/// What is typed on a machine without a cluster, with everything that it changes laid over the machine's own; at last the
/// unit's command serves, as the unit's user and with its rights.
#[test]
fn a_machine_is_set_up_as_told() {
    if !owns_the_machine() {
        eprintln!("not run: only the machine's root may add users");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for part in ["manifests", "dist"] {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
        std::os::unix::fs::symlink(here, folder.path().join(part)).unwrap();
    }
    let unit = read("manifests/headgate.service");
    let setting = |key: &str| {
        unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_else(|| panic!("no {key}="))
    };
    let starts = format!(
        "setpriv --reuid {} --regid {} --clear-groups --inh-caps -all,+net_bind_service --ambient-caps -all,+net_bind_service \
         --bounding-set -all,+net_bind_service --no-new-privs {} & server=$!\n\
         curl -sS --retry 100 --retry-connrefused --retry-delay 0 --retry-max-time 10 -o answer -w '%{{http_code}}' \
         http://127.0.0.1/nothing\nkill $server\nwait $server\n\
         ! setpriv --reuid nobody --regid nogroup --clear-groups ls /etc/headgate",
        setting("User"),
        setting("Group"),
        setting("ExecStart"),
    );
    let mut script = OVERLAID.to_owned();
    let mut started = false;
    for line in under(MACHINE) {
        script += &match line.as_str() {
            line if line.starts_with("export RUSTFLAGS=") => {
                format!("{line}\ntest -s \"${{RUSTFLAGS#*profile-use=}}\"")
            }
            // The program of the tests stands in for one that takes ten minutes.
            "cargo build --profile dist --target x86_64-unknown-linux-gnu" => {
                format!("cp {} target/x86_64-unknown-linux-gnu/dist/headgate", binary().display())
            }
            "systemctl daemon-reload" => "test -s /etc/systemd/system/headgate.service".to_owned(),
            "systemctl enable --now headgate" => {
                started = true;
                starts.clone()
            }
            line => line.to_owned(),
        };
        script += "\n";
    }
    assert!(started, "nothing starts the service");
    fs::write(folder.path().join("script"), &script).unwrap();
    let done = bash(folder.path(), "unshare --mount --net bash -euo pipefail script");
    assert_eq!(done.code, 0, "{script}\n{}{}", done.out, done.err);
    assert!(done.out.contains("404"), "{}{}", done.out, done.err);
    assert!(done.out.trim_end().ends_with("nothing is wrong"), "{}", done.out);
}

#[test]
fn a_running_one_is_asked_as_told() {
    let demo = Demo::start();
    let admin = demo.admin();
    for line in under(LOG_LEVEL) {
        let said = demo.sh(&line.replace("http://127.0.0.1:8081", &admin));
        assert_eq!(said.code, 0, "{line}: {said:?}");
        let now = demo.sh(&format!("curl -s {admin}/api/v1/log-level"));
        assert_eq!(now.json()["level"], "warn", "{line}");
    }
    let load = format!("h2load --h1 -c 8 -D 4 {}/teapot >load 2>&1 &", demo.url());
    assert_eq!(demo.sh(&load).code, 0);
    let lines = under(PROFILE);
    let [take, read, _] = lines.as_slice() else { panic!("{lines:?}") };
    let take = take.replace("http://127.0.0.1:8081", &admin).replace("seconds=20", "seconds=2");
    let said = demo.sh(&take);
    assert_eq!(said.code, 0, "{take}: {said:?}");
    let said = demo.sh(read);
    assert!(said.code == 0 && said.out.contains("headgate::"), "$ {read}\n{said:?}");
}

/// The servers are not there, but the flags are: what they do is seen with servers that are, in `shared_limits` and `redis`.
#[test]
fn flags_for_a_store_are_known() {
    let folder = tempfile::tempdir().unwrap();
    for line in under(REDIS) {
        let arguments = line.strip_prefix("headgate ").unwrap();
        let said = bash(folder.path(), &format!("{} {arguments} --help", binary().display()));
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{line}");
    }
}

#[test]
fn a_control_plane_is_started_by_hand() {
    let bed = tempfile::tempdir().unwrap();
    let lines = under(CONTROL_PLANE).join("\n").replace("/tmp/bed", bed.path().to_str().unwrap());
    let script = format!("set +e\n{lines}\nwait");
    let said = bash(Path::new(env!("CARGO_MANIFEST_DIR")), &script);
    assert!(said.out.contains("kube-system"), "{script}\n{said:?}");
}
