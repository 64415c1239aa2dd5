//! What the README and the demo tell people to type, typed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::gateway::binary;
use crate::harness::run::{Said, command, said};

/// How long the demo may take to its first answer, and a change to be served.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running `headgate demo` in a folder of its own; it ends with this.
pub(crate) struct Demo {
    child: Child,
    folder: TempDir,
    /// Everything that it printed.
    printed: String,
    /// Where it serves, as `http://127.0.0.1:40001`.
    url: String,
}

impl Demo {
    /// Starts it, and returns when it has said what to try and the first of it has been answered.
    pub(crate) fn start() -> Self {
        let started = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let mut demo = command(binary().to_str().unwrap());
        demo.arg("demo").current_dir(folder.path());
        for flag in ["--http", "--https", "--admin", "--echo"] {
            demo.args([flag, "127.0.0.1:0"]);
        }
        demo.stdout(Stdio::piped()).stderr(File::create(folder.path().join("demo.log")).unwrap());
        let mut child = demo.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (told, printed) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            for line in lines {
                let last = line.contains("/api/v1/problems");
                text += &(line + "\n");
                if last {
                    break;
                }
            }
            told.send(text)
        });
        let mut demo = Self { child, folder, printed: String::new(), url: String::new() };
        demo.printed = printed.recv_timeout(PATIENCE).unwrap();
        let url = demo.printed.lines().find_map(|line| line.strip_prefix("Serving headgate-demo on ")).unwrap();
        demo.url = url.to_owned();
        let first = demo.sh(&format!("curl -s -o first -w '%{{http_code}}' {url}/hello/world"));
        assert_eq!((first.code, first.out.as_str()), (0, "200"), "{first:?}");
        assert!(started.elapsed() < PATIENCE, "the first answer took {:?}", started.elapsed());
        demo
    }

    /// Runs a command line as a reader would, where the demo was started.
    pub(crate) fn sh(&self, line: &str) -> Said {
        said(&mut self.shell(line))
    }

    /// Where it serves.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where it can be asked, as it says itself.
    pub(crate) fn admin(&self) -> String {
        let line = self.printed.lines().find(|line| line.contains("/api/v1/problems")).unwrap();
        let (url, _) = line.split_once("/api/v1/problems").unwrap();
        url.trim().trim_start_matches("curl ").to_owned()
    }

    fn shell(&self, line: &str) -> Command {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = [binary().parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&paths));
        let paths = std::env::join_paths(paths).unwrap();
        let mut shell = command("sh");
        shell.args(["-c", line]).current_dir(self.folder.path()).env("PATH", paths);
        shell
    }

    /// Runs it again until `so` is true of what it said: a saved file is served a moment later.
    fn until(&self, line: &str, so: impl Fn(&Said) -> bool) -> Said {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.sh(line);
            if so(&said) || Instant::now() > deadline {
                return said;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.path().join("demo.log")).unwrap_or_default());
        }
    }
}

/// Every ```console block of the README, in order, against one demo.
#[test]
fn readme_consoles_say_what_happens() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (alone, shared) = readme.split_once("\n## One limit for two processes\n").unwrap();
    let steps = consoles(alone);
    assert!(steps.len() >= 7, "only {} commands found", steps.len());
    let demo = Demo::start();
    demo.follow(steps);
    let _two = Background::start(&demo, script(shared));
    demo.until("redis-cli -p 7379 zcard 'headgate:{replicas}'", |said| said.out == "2\n");
    let steps = consoles(shared);
    assert!(steps.len() >= 2, "only {} commands found", steps.len());
    demo.follow(steps);
}

/// A script whose commands go on in the background; they end with this.
struct Background(Child);

impl Background {
    fn start(demo: &Demo, script: &str) -> Self {
        let mut shell = demo.shell(&format!("{script}wait"));
        let log = File::create(demo.folder.path().join("background.log")).unwrap();
        Self(shell.process_group(0).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = command("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

/// The first block of a shell's script.
fn script(text: &str) -> &str {
    text.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```\n")).unwrap().0
}

impl Demo {
    /// Does what a console shows, and sees the same.
    fn follow(&self, steps: Vec<Step<'_>>) {
        for Step { line, expected } in steps {
            let here = line.replace("http://127.0.0.1:8080", &self.url);
            let said = self.until(&here, |said| agrees(&expected, &said.out.lines().collect::<Vec<_>>()));
            let got: Vec<&str> = said.out.lines().collect();
            assert!(agrees(&expected, &got), "$ {line}\n{}{}", difference(&expected, &got), said.err);
        }
    }
}

/// Every command that the demo prints can be pasted, and does what is said beside it.
#[test]
fn demo_prints_what_works() {
    let demo = Demo::start();
    let commands: Vec<(&str, &str)> =
        demo.printed.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(" # ")).collect();
    let expected: [(&str, &[&str]); 9] = [
        ("the backend sees /greet/world", &["\"path\": \"/greet/world\""]),
        ("five a minute for each name, then 429", &["200", "ratelimit: \"per-name\";r="]),
        ("an answer without a backend", &["418", "I am a teapot"]),
        ("an Ingress", &["\"path\": \"/any\"", "\"host\": \"echo.localhost\""]),
        ("no route, and the answer says so", &["404", "\"reason\":\"no_route\""]),
        ("or with an editor", &[]),
        ("short and stout", &["short and stout"]),
        ("which rule wins, and why", &["yes  GatewayRoute default/hello rule \"hello\"", "no   GatewayRoute"]),
        ("what is wrong; nothing yet", &["\"problems\":[]"]),
    ];
    let beside: Vec<&str> = commands.iter().map(|(_, what)| *what).collect();
    assert_eq!(beside, expected.map(|(what, _)| what), "{}", demo.printed);
    for ((line, what), (_, parts)) in commands.into_iter().zip(expected) {
        // The comment is pasted with it.
        let line = format!("{line} # {what}");
        let said = demo.until(&line, |said| parts.iter().all(|part| said.out.contains(part)));
        assert_eq!(said.code, 0, "{line}: {said:?}");
        for part in parts {
            assert!(said.out.contains(part), "$ {line}\nno {part} in\n{}", said.out);
        }
    }
}

/// Every link between documents leads to a file, and to a heading of it.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<_> = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "charts/headgate/README.md"]
        .map(|name| root.join(name))
        .into_iter()
        .chain(fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()))
        .collect();
    documents.sort();
    let mut links = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for part in text.split("](").skip(1) {
            let link = part.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", document.display());
            let anchors = |text: &str| -> Vec<String> {
                let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
                let anchor = |line: &str| line.to_lowercase().replace(' ', "-").chars().filter(|c| kept(*c)).collect();
                text.lines().filter_map(|line| Some(anchor(line.trim_start_matches('#').strip_prefix(' ')?))).collect()
            };
            if !heading.is_empty() {
                let found = anchors(&fs::read_to_string(&target).unwrap());
                assert!(found.iter().any(|anchor| anchor == heading), "{}: {link}", document.display());
            }
        }
        // Paths that are named are there too.
        for name in text.split('`').skip(1).step_by(2).filter(|name| {
            ["docs/", "manifests/", "charts/", "tests/", "src/", "crds/"].iter().any(|folder| name.starts_with(folder))
        }) {
            let path = name.split([' ', '{']).next().unwrap();
            assert!(root.join(path).exists(), "{}: `{name}`", document.display());
        }
    }
    assert!(links >= 5, "{links}");
}

/// A command of a console and the lines that it prints.
struct Step<'a> {
    line: &'a str,
    expected: Vec<&'a str>,
}

fn consoles(text: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (inside, line, line.strip_prefix("$ ")) {
            (false, "```console", _) => inside = true,
            (false, ..) => {}
            (true, "```", _) => inside = false,
            (true, _, Some(line)) => steps.push(Step { line, expected: Vec::new() }),
            (true, ..) => steps.last_mut().expect("a console begins with a command").expected.push(line),
        }
    }
    steps
}

/// Whether the lines are those expected, where `...` stands for any lines, and at the end of one for its rest.
fn agrees(expected: &[&str], got: &[&str]) -> bool {
    match (expected, got) {
        ([], got) => got.is_empty(),
        (["...", rest @ ..], got) => (0..=got.len()).any(|skipped| agrees(rest, &got[skipped..])),
        ([first, rest @ ..], [line, lines @ ..]) => line_agrees(first, line) && agrees(rest, lines),
        (_, []) => false,
    }
}

fn line_agrees(expected: &str, line: &str) -> bool {
    expected == line || expected.strip_suffix("...").is_some_and(|start| line.starts_with(start))
}

/// What was expected and what came, from where they part.
fn difference(expected: &[&str], got: &[&str]) -> String {
    let same = expected.iter().zip(got).take_while(|(expected, line)| line_agrees(expected, line)).count();
    let part = |mark: &str, lines: &[&str]| lines.iter().map(|line| format!("{mark}{line}\n")).collect::<String>();
    part("  ", &got[..same]) + &part("- ", &expected[same..]) + &part("+ ", &got[same..])
}

#[test]
fn dots_stand_for_lines_and_rests() {
    assert!(agrees(&["a", "...", "d..."], &["a", "b", "c", "done"]));
    assert!(agrees(&["..."], &[]));
    assert!(!agrees(&["a", "...", "d"], &["a", "b"]));
    assert!(!agrees(&["a"], &["a", "b"]));
    assert_eq!(difference(&["a", "b"], &["a", "c"]), "  a\n- b\n+ c\n");
}

#[test]
fn every_code_has_its_entry() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md")).unwrap();
    let documented: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert!(documented.is_sorted(), "in the order of the codes: {documented:#?}");
    for code in headgate::compile::Code::ALL {
        let entry = format!("{code}: {}", code.title());
        assert!(documented.contains(&entry.as_str()), "docs/errors.md has no entry `## {entry}`");
    }
}
