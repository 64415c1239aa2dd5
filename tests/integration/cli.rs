//! The command line: what it prints, where, and the exit code.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::harness::backend::Backend;
use crate::harness::demo::Demo;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::get_host;
use crate::harness::run::{Said, command, headgate, said};

const SOUND: &str = "apiVersion: headgate.dev/v1alpha1
kind: GatewayRoute
metadata: {name: shop, namespace: shop}
spec:
  hostnames: [shop.test]
  rules:
    - name: by-id
      matches:
        - path: {type: Template, value: '/orders/:id'}
          headers: [{name: X-Api-Version, value: '2'}]
      filters: [{type: DirectResponse, directResponse: {statusCode: 200}}]
    - name: post
      matches: [{path: {value: /orders}, method: POST}]
      filters: [{type: DirectResponse, directResponse: {statusCode: 201}}]
    - name: fallback
      matches: [{path: {value: /orders}}]
      filters: [{type: DirectResponse, directResponse: {statusCode: 202}}]
";

const BROKEN: &str = "# Three mistakes, each in its line.
apiVersion: headgate.dev/v1alpha1
kind: GatewayRoute
metadata:
  name: shop
spec:
  hostname: shop.test
  rules:
    - name: orders
      matches:
        - path:
            type: RegularExpression
            value: '('
      backendRefs:
        - name: orders
          port: 8443
";

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn refused(said: &Said, what: &str) {
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    assert!(said.err.starts_with("error: ") && said.err.contains(what), "{said:?}");
}

// === check ===

#[test]
fn check_of_a_sound_folder_says_so() {
    let folder = folder(&[("a.yaml", SOUND)]);
    let text = headgate(&["check", "-f", shown(folder.path())]);
    assert_eq!(text, Said { code: 0, out: "3 routes, nothing is wrong\n".into(), err: String::new() });
    let file = headgate(&["check", "-f", shown(&folder.path().join("a.yaml"))]);
    assert_eq!(file, text);
    let json = headgate(&["check", "-f", shown(folder.path()), "-o", "json"]);
    assert_eq!((json.code, json.json()), (0, serde_json::json!({"version": "v1", "problems": []})));
}

#[test]
fn check_of_a_broken_folder_says_what_is_wrong_where_and_what_would_be_right() {
    let folder =
        folder(&[("shop.yaml", BROKEN), ("half.yaml", "a: [\n"), ("other.yaml", &SOUND.replace("by-id", "B"))]);
    let json = headgate(&["check", "-f", shown(folder.path()), "-o", "json"]);
    assert_eq!((json.code, json.err.as_str()), (1, ""));
    let json = json.json();
    let told: BTreeSet<_> = json["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
            let place = text("place").replace(&format!("{}/", folder.path().display()), "");
            (text("code"), text("severity"), text("object"), text("field"), place)
        })
        .collect();
    let expected = [
        ("HG1001", "error", "", "", "half.yaml:2:1"),
        ("HG1001", "error", "GatewayRoute shop/shop", "spec.rules[0].name", "other.yaml:7:13"),
        ("HG1002", "warning", "GatewayRoute default/shop", "spec.hostname", "shop.yaml:7:13"),
        ("HG1102", "error", "GatewayRoute default/shop", "spec.rules[0].matches[0].path.value", "shop.yaml:13:20"),
        ("HG1201", "error", "GatewayRoute default/shop", "spec.rules[0].backendRefs[0].name", "shop.yaml:15:17"),
    ];
    let expected = expected.map(|(a, b, c, d, e)| (a.into(), b.into(), c.into(), d.into(), e.into()));
    assert_eq!(told, BTreeSet::from(expected));

    let text = headgate(&["check", "-f", shown(folder.path())]);
    assert_eq!((text.code, text.err.as_str()), (1, ""));
    for problem in json["problems"].as_array().unwrap() {
        for name in ["code", "severity", "object", "field", "place", "what", "remedy"] {
            let part = problem[name].as_str().unwrap_or_default();
            assert!(text.out.contains(part), "{name} {part:?} is not in\n{}", text.out);
        }
    }
    assert!(text.out.contains("did you mean \"hostnames\"?"), "{}", text.out);
    assert!(text.out.ends_with(" 5 problems\n"), "{}", text.out);
    assert!(!text.out.contains('\u{1b}'));
}

#[test]
fn check_that_cannot_run_says_why() {
    refused(&headgate(&["check", "-f", "/no/such/folder"]), "/no/such/folder does not exist");
    refused(&headgate(&["check"]), "say what to check");
    refused(&headgate(&["check", "-f", "/", "--in-cluster"]), "--in-cluster");
    refused(&headgate(&["check", "-f", "/", "-o", "xml"]), "xml");
    let nowhere = headgate(&["check", "--in-cluster", "--kubeconfig", "/no/such/kubeconfig"]);
    refused(&nowhere, "/no/such/kubeconfig");
}

// === explain ===

#[test]
fn explain_names_the_winner_and_why_each_other_lost() {
    let folder = folder(&[("a.yaml", SOUND)]);
    let explain = |arguments: &[&str]| headgate(&[&["explain"], arguments, &["-f", shown(folder.path())]].concat());
    let line = |said: &Said, rule: &str| {
        let rule = format!("rule \"{rule}\"");
        said.out
            .lines()
            .find(|line| line.contains(&rule))
            .unwrap_or_else(|| panic!("{rule}: {said:?}"))
            .trim()
            .to_owned()
    };

    let said = explain(&["http://shop.test/orders/42", "-H", "X-Api-Version: 1"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(line(&said, "fallback").starts_with("yes"), "{}", said.out);
    let by_id = line(&said, "by-id");
    assert!(by_id.starts_with("no") && by_id.contains("X-Api-Version") && by_id.contains("\"1\""), "{by_id}");
    let post = line(&said, "post");
    assert!(post.starts_with("no") && post.contains("POST") && post.contains("GET"), "{post}");
    assert!(said.out.contains("then") && said.out.contains("DirectResponse: 202"), "{}", said.out);

    let said = explain(&["https://SHOP.test/orders/42?x=y", "-H", "x-api-version: 2"]);
    assert!(line(&said, "by-id").starts_with("yes"), "{}", said.out);
    assert!(line(&said, "fallback").starts_with("--"), "{}", said.out);

    let said = explain(&["http://shop.test/orders/42", "-X", "POST"]);
    assert!(line(&said, "post").starts_with("yes"), "{}", said.out);

    let said = explain(&["http://shop.test/other"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("no rule matches: 404"), "{}", said.out);
    let said = explain(&["http://other.test/"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("no route names this host"), "{}", said.out);
}

#[test]
fn explain_says_the_same_of_a_folder_and_of_who_serves_it() {
    let gateway = Gateway::start(SOUND);
    let admin = format!("http://{}", gateway.admin);
    for arguments in [
        &["http://shop.test/orders/1", "-H", "X-Api-Version: 2"][..],
        &["http://shop.test/orders", "-X", "POST"],
        &["https://shop.test/nothing"],
        &["http://other.test/"],
    ] {
        let of_folder = headgate(&[&["explain"], arguments, &["-f", shown(gateway.folder())]].concat());
        let of_gateway = headgate(&[&["explain"], arguments, &["--admin", &admin]].concat());
        assert_eq!(of_folder, of_gateway, "{arguments:?}");
    }
}

#[test]
fn explain_that_cannot_run_says_why() {
    let folder = folder(&[("a.yaml", SOUND)]);
    let here = shown(folder.path());
    refused(&headgate(&["explain", "/orders", "-f", here]), "http://shop.example.com/path");
    refused(&headgate(&["explain", "http://shop.test/%zz", "-f", here]), "400");
    refused(&headgate(&["explain", "http://shop.test/", "-f", "/no/such/folder"]), "/no/such/folder");
    refused(&headgate(&["explain", "http://shop.test/"]), "--file");
    refused(&headgate(&["explain", "http://shop.test/", "-H", "no colon", "-f", here]), "Name: value");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refused(&headgate(&["explain", "http://shop.test/", "--admin", &format!("http://{nobody}")]), &nobody.to_string());
}

// === what it writes ===

#[test]
fn crds_are_those_of_the_folder() {
    let said = headgate(&["crds"]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert_eq!(said, Said { code: 0, out: text, err: String::new() });
}

#[test]
fn init_writes_a_sound_example_and_never_over_anything() {
    let place = tempfile::tempdir().unwrap();
    let example = place.path().join("new/example");
    let said = headgate(&["init", shown(&example)]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.contains("route.yaml") && said.out.contains("headgate run "), "{}", said.out);
    assert_eq!(headgate(&["check", "-f", shown(&example)]).out, "3 routes, nothing is wrong\n");
    let before: Vec<_> = fs::read_dir(&example).unwrap().map(|entry| entry.unwrap().path()).collect();

    refused(&headgate(&["init", shown(&example)]), "is not empty; nothing was written");
    let after: Vec<_> = fs::read_dir(&example).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(before, after);
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    refused(&headgate(&["init", shown(&file)]), shown(&file));
    let empty = place.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(headgate(&["init", shown(&empty)]).code, 0);
}

#[test]
fn a_reverse_proxy_in_one_line_is_a_folder_that_one_can_keep() {
    let backend = Backend::named("behind");
    let url = format!("http://{}", backend.address);
    let printed = headgate(&["run", "--to", &url, "--print"]);
    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
    let folder = folder(&[("all.yaml", &printed.out)]);
    assert_eq!(headgate(&["check", "-f", shown(folder.path())]).out, "1 route, nothing is wrong\n");
    let kept = Gateway::serve(folder, &[]);
    let direct = Gateway::reverse_proxy(&url);
    for gateway in [kept, direct] {
        let answer = get_host(gateway.http, "any.test", "/any/path?q").unwrap();
        assert_eq!((answer.status, answer.text()), (200, "behind".into()));
    }
    assert!(backend.seen().iter().all(|seen| seen.uri == "/any/path?q"));
    for (url, what) in [
        ("ftp://127.0.0.1", "the scheme `ftp` is not served"),
        ("http://127.0.0.1/path", "the URL has a path"),
        ("/path", "the URL has no host"),
        ("http://no-such-name.invalid", "does not resolve"),
    ] {
        refused(&headgate(&["run", "--to", url, "--print"]), what);
    }
}

// === the demo ===

/// Everything that the demo prints to try, as one would try it.
#[test]
fn what_the_demo_prints_to_try_does_what_it_says() {
    let demo = Demo::start();
    let commands: Vec<&str> = demo
        .said
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .map(|line| line.split_once("   ").map_or(line, |(command, _)| command))
        .collect();
    // How each is recognised, and what its answer holds.
    let expected: &[(&str, &[&str])] = &[
        ("/hello/world ", &["\"path\": \"/greet/world\""]),
        ("curl -i ", &["HTTP/1.1 418 ", "I am a teapot"]),
        ("echo.localhost", &["\"host\": \"echo.localhost\"", "\"path\": \"/any\""]),
        ("/nothing", &["HTTP/1.1 404 ", "\"reason\":\"no_route\""]),
        ("sed -i ", &[]),
        ("/teapot", &["short and stout"]),
        ("headgate explain ", &["yes", "rule \"hello\"", "Template /hello/:name"]),
        ("/api/v1/problems", &["\"problems\":[]"]),
    ];
    assert_eq!(commands.len(), expected.len(), "{}", demo.said);
    for (command, (mark, holds)) in commands.iter().zip(expected) {
        assert!(format!("{command} ").contains(mark), "{command} instead of one with {mark}");
        let quiet = command.replace("curl ", "curl -sS ");
        let said = demo.shell_until(&quiet, |said| holds.iter().all(|part| said.out.contains(part)));
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{command}");
        for part in *holds {
            assert!(said.out.contains(part), "{command}: {part} is not in\n{}", said.out);
        }
    }
}

#[test]
fn the_demo_serves_what_it_finds_in_its_folder() {
    let first = Demo::start();
    fs::write(first.folder().join("route.yaml"), SOUND.replace("namespace: shop", "namespace: default")).unwrap();
    let any = "127.0.0.1:0";
    let taken = first.http.to_string();
    let again = said(
        command(binary().to_str().unwrap())
            .args(["demo", "--http", &taken, "--https", any, "--admin", any, "--echo", any])
            .current_dir(first.place()),
    );
    assert_eq!(again.code, 2);
    assert!(again.err.contains(&format!("--http {taken}")), "{}", again.err);
    let kept = fs::read_to_string(first.folder().join("route.yaml")).unwrap();
    assert!(kept.contains("shop.test"), "the folder was written again: {kept}");
}

// === the rest ===

#[test]
fn versions_and_help_are_answers_and_no_errors() {
    let version = headgate(&["version"]);
    assert_eq!((version.code, version.err.as_str()), (0, ""));
    let lines: Vec<_> = version.out.lines().collect();
    assert_eq!(lines[0], concat!("headgate ", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].starts_with("commit ") && lines[2].starts_with("built for "), "{lines:?}");
    assert_eq!(headgate(&["--version"]).out, concat!("headgate ", env!("CARGO_PKG_VERSION"), "\n"));

    let commands = ["serve", "run", "demo", "init", "echo", "check", "explain"];
    let help = headgate(&["--help"]);
    assert_eq!(help.code, 0);
    for command in commands.iter().chain(&["crds", "version"]) {
        assert!(help.out.contains(&format!("\n  {command} ")), "{command}: {}", help.out);
    }
    for command in [None].into_iter().chain(commands.map(Some)) {
        let arguments: Vec<&str> = command.into_iter().chain(["--help"]).collect();
        let help = headgate(&arguments);
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{command:?}");
        let examples = help.out.split_once("Examples:\n").unwrap_or_else(|| panic!("{command:?} has no examples")).1;
        let own = format!("headgate {}", command.unwrap_or_default());
        assert!(examples.lines().next().unwrap().trim_start().starts_with(&own), "{command:?}: {examples}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_on_standard_error() {
    for (arguments, what) in [
        (&["bogus"][..], "bogus"),
        (&["--bogus"], "--bogus"),
        (&["run", "--bogus", "dir"], "--bogus"),
        (&["check", "--bogus"], "--bogus"),
        (&["run"], "DIR"),
        (&["run", "dir", "--to", "http://a.test"], "--to"),
        (&["run", "dir", "--print"], "--print"),
        (&["run", "dir", "--http", "8080"], "write `:8080`"),
        (&["run", "dir", "--workers", "0"], "--workers"),
        (&["run", "dir", "--drain-timeout", "soon"], "--drain-timeout"),
        (&["run", "dir", "--log-format", "xml"], "xml"),
        (&["run", "/no/such/folder", "--http", "127.0.0.1:0"], "headgate init /no/such/folder"),
        (&["init"], "DIR"),
    ] {
        refused(&headgate(arguments), what);
    }
    let nothing = headgate(&[]);
    assert_eq!((nothing.code, nothing.out.as_str()), (2, ""));
}

#[test]
fn an_address_that_cannot_be_had_is_named_with_its_flag() {
    let folder = folder(&[("a.yaml", SOUND)]);
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    for flag in ["--http", "--https", "--admin"] {
        let mut arguments = vec!["run", shown(folder.path())];
        for other in ["--http", "--https", "--admin"] {
            arguments.extend([other, if other == flag { &taken } else { "127.0.0.1:0" }]);
        }
        refused(&headgate(&arguments), &format!("{flag} {taken}"));
    }
}

#[test]
fn every_flag_has_a_variable() {
    let folder = folder(&[("a.yaml", SOUND)]);
    let mut run = command(binary().to_str().unwrap());
    run.args(["run", shown(folder.path())]);
    let help = headgate(&["serve", "--help"]).out + &headgate(&["run", "--help"]).out;
    for variable in
        ["HTTP", "HTTPS", "ADMIN", "WORKERS", "DRAIN_DELAY", "DRAIN_TIMEOUT", "LOG_FORMAT", "PUBLISH_SERVICE"]
    {
        assert!(help.contains(&format!("HEADGATE_{variable}=")), "{variable}: {help}");
    }
    let said = said(run.env("HEADGATE_HTTP", "nonsense"));
    refused(&said, "nonsense");
}

/// On a terminal errors are coloured, unless the user asks for none (https://no-color.org).
#[test]
fn colour_is_for_terminals_whose_users_like_it() {
    let on_terminal = |no_color: Option<&str>, arguments: &str| {
        let line = format!("{} {arguments}", binary().display());
        let mut script = command("script");
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm");
        if let Some(value) = no_color {
            script.env("NO_COLOR", value);
        }
        said(&mut script).out
    };
    for arguments in ["check -f /no/such/folder", "run --bogus"] {
        let coloured = |no_color| on_terminal(no_color, arguments).contains('\u{1b}');
        assert_eq!((coloured(None), coloured(Some("1")), coloured(Some(""))), (true, false, true), "{arguments}");
    }
    assert!(!headgate(&["check", "-f", "/no/such/folder"]).err.contains('\u{1b}'));
}
