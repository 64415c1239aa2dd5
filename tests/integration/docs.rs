//! What the documentation shows is what happens: every console block of it is run against a demo.
//!
//! In a block lines that begin with `$ ` are commands and the lines after them what they print; `...` on a line of its
//! own stands for any lines, within a line for any text.

use std::fs;
use std::path::Path;

use crate::harness::demo::Demo;

/// What the documentation calls the ports that a demo has.
const HTTP: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:8081";

#[test]
fn the_readme_shows_what_happens() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let steps = steps(&fs::read_to_string(readme).unwrap());
    assert!(!steps.is_empty(), "no console block is left in it");
    run(&steps);
}

#[test]
fn a_block_that_shows_something_else_is_found() {
    let steps = steps("# A page\n\n```console\n$ echo one; echo two\none\n...\n$ echo three\nfour\n```\n");
    assert_eq!(
        steps.iter().map(|step| (step.line, step.command.as_str())).collect::<Vec<_>>(),
        [(4, "echo one; echo two"), (7, "echo three")]
    );
    assert!(fits(&steps[0].shown, &["one", "two"]));
    assert!(!fits(&steps[1].shown, &["three"]));
}

#[test]
fn dots_stand_for_anything() {
    let fits = |shown: &str, said: &str| {
        fits(&shown.lines().map(str::to_owned).collect::<Vec<_>>(), &said.lines().collect::<Vec<_>>())
    };
    for (shown, said) in [
        ("a", "a"),
        ("a\n...", "a"),
        ("a\n...", "a\nb\nc"),
        ("...\nc", "a\nb\nc"),
        ("...\nb\n...\nd", "a\nb\nb\nc\nd"),
        ("a ... z", "a b c z"),
        ("{\"a\":...", "{\"a\":1}"),
        ("...", ""),
        ("", ""),
    ] {
        assert!(fits(shown, said), "{shown:?} {said:?}");
    }
    for (shown, said) in [("a", "b"), ("a", "a\nb"), ("a\nb", "a"), ("a ... z", "a b"), ("", "a"), ("...\nb", "b\nc")] {
        assert!(!fits(shown, said), "{shown:?} {said:?}");
    }
}

/// A command and what it is shown to print.
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
}

/// The commands in the console blocks of a page.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        match line.trim_end() {
            "```console" => inside = true,
            "```" => inside = false,
            line if inside => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { line: number + 1, command: command.to_owned(), shown: Vec::new() });
                }
                (None, Some(step)) => step.shown.push(line.to_owned()),
                (None, None) => panic!("line {}: a block begins with a command", number + 1),
            },
            _ => {}
        }
    }
    steps
}

/// Runs commands one after the other in one demo.
fn run(steps: &[Step]) {
    let demo = Demo::start();
    let (http, admin) = (demo.http.to_string(), demo.admin.to_string());
    for Step { line, command, shown } in steps {
        let here = command.replace(HTTP, &http).replace(ADMIN, &admin);
        let as_shown = |text: &str| text.replace(&http, HTTP).replace(&admin, ADMIN);
        let said = demo.shell_until(&here, |said| fits(shown, &as_shown(&said.out).lines().collect::<Vec<_>>()));
        let out = as_shown(&said.out);
        assert!(
            fits(shown, &out.lines().collect::<Vec<_>>()),
            "line {line}: $ {command}\n--- shown\n{}\n--- printed (exit code {})\n{out}{}",
            shown.join("\n"),
            said.code,
            said.err
        );
        assert_eq!(said.err, "", "line {line}: $ {command}");
    }
}

/// Whether what was printed is what is shown.
fn fits(shown: &[String], printed: &[&str]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((dots, rest)), _) if dots.trim() == "..." => {
            (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..]))
        }
        (Some((line, rest)), Some((first, others))) => line_fits(line, first) && fits(rest, others),
        (Some(_), None) => false,
    }
}

fn line_fits(shown: &str, printed: &str) -> bool {
    let printed = printed.trim_end();
    let mut parts = shown.split("...");
    let Some(mut rest) = parts.next().and_then(|first| printed.strip_prefix(first)) else { return false };
    let mut exact = true;
    for part in parts {
        let Some(at) = (if part.is_empty() { Some(rest.len()) } else { rest.find(part) }) else { return false };
        rest = &rest[at + part.len()..];
        exact = part.is_empty() || rest.is_empty();
    }
    exact && rest.is_empty()
}
