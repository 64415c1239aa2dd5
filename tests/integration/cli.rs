//! The commands, apart from what they serve.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::backend::Backend;
use crate::harness::certs::Authority;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::get;
use crate::harness::run::{Said, command, headgate, said};

const COMMANDS: [&str; 9] = ["serve", "run", "demo", "init", "echo", "check", "explain", "crds", "version"];

const ROUTE: &str = "apiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {name: shop}\nspec:\n  hostnames: \
                     [shop.test]\n  rules:\n    - name: order\n      matches: [{path: {type: Template, value: \
                     '/orders/:id'}, method: GET}]\n      backendRefs: [{name: orders, port: 80}]\n    - name: home\n      \
                     matches: [{path: {type: Exact, value: /}}]\n      backendRefs: [{name: orders, port: 80}]\n";

const RULES: &str = "apiVersion: headgate.dev/v1alpha1
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

/// A folder with one file, and its path as text.
fn folder(yaml: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), yaml).unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    (folder, path)
}

fn shop() -> (TempDir, String) {
    folder(&format!("{ROUTE}{}", Backend::named("orders").service("orders")))
}

#[test]
fn check_says_that_nothing_is_wrong() {
    let (_folder, path) = shop();
    let said = headgate(&["check", "-f", &path]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "2 routes, nothing is wrong\n", ""));
    let said = headgate(&["check", "-f", &path, "-o", "json"]);
    assert_eq!((said.code, said.json()), (0, serde_json::json!({"version": "v1", "problems": []})));
}

#[test]
fn check_says_where_a_field_is_wrong() {
    let yaml = ROUTE.replace("port: 80", "port: http");
    let (_folder, path) = folder(&yaml);
    let said = headgate(&["check", "-f", &path]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    // As an editor counts: the ninth line, at the `h` of `http`.
    let column = yaml.lines().nth(8).unwrap().find("http").unwrap() + 1;
    let place = format!(
        "{path}/shop.yaml:9:{column}  GatewayRoute default/shop  rule \"order\"  spec.rules[0].backendRefs[0].port"
    );
    assert!(said.out.contains(&place), "{place}\n{}", said.out);
    assert!(said.out.contains("must be a whole number"), "{}", said.out);
}

#[test]
fn check_names_object_field_and_remedy() {
    let (_folder, path) = folder(ROUTE);
    let said = headgate(&["check", "-o", "json", "-f", &path]);
    assert_eq!(said.code, 1);
    let problem = &said.json()["problems"][0];
    for (field, expected) in [
        ("code", "HG1201"),
        ("severity", "error"),
        ("object", "GatewayRoute default/shop"),
        ("rule", "order"),
        ("field", "spec.rules[0].backendRefs[0].name"),
        ("what", "Service default/orders does not exist"),
        ("remedy", "create it, or correct the name"),
    ] {
        assert_eq!(problem[field], expected, "{field}");
    }
}

#[test]
fn check_says_where_a_file_is_broken() {
    let (_folder, path) = folder("apiVersion: v1\nkind: [Service\nmetadata: {name: x}\n");
    let said = headgate(&["check", "-f", &path]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains(&format!("--> {path}/shop.yaml:3:")), "{}", said.out);
    assert!(said.out.ends_with("0 routes, 1 problem\n"), "{}", said.out);
}

#[test]
fn check_says_where_the_problems_of_a_whole_folder_stand() {
    let (folder, path) = folder(BROKEN);
    fs::write(folder.path().join("half.yaml"), "a: [\n").unwrap();
    fs::write(folder.path().join("other.yaml"), RULES.replace("by-id", "B")).unwrap();
    let json = headgate(&["check", "-f", &path, "-o", "json"]);
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

    let text = headgate(&["check", "-f", &path]);
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
fn check_tells_what_would_be_if_the_class_of_somebody_else_were_ours() {
    let folder = tempfile::tempdir().unwrap();
    let moving = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: nginx}\nspec: {controller: \
                  k8s.io/ingress-nginx}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: admin, \
                  annotations: {nginx.ingress.kubernetes.io/auth-type: digest}}\nspec: {ingressClassName: nginx, \
                  tls: [{secretName: absent}], defaultBackend: {service: {name: web, port: {number: 80}}}}\n";
    fs::write(folder.path().join("declared.yaml"), moving).unwrap();
    let path = folder.path().to_str().unwrap();
    // Service and Secret are not there either, which nobody looks at for an object of somebody else.
    for (flags, told, count) in [
        (&["--ingress-class", "nginx"][..], "error[HG1007]", " 4 problems\n"),
        (&[], "warning[HG1004]", " 1 problem\n"),
    ] {
        let said = headgate(&[&["check", "-f", path], flags].concat());
        assert!(said.code == 1 && said.out.starts_with(told) && said.out.contains(count), "{said:?}");
        assert_eq!(said.out.contains("here they are served"), !flags.is_empty(), "{said:?}");
    }
}

#[test]
fn check_tells_what_takes_the_place_of_the_settings_of_ingress_nginx() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller, namespace: ingress-nginx}\ndata:\n  \
                    use-forwarded-headers: \"true\"\n  server-tokens: \"false\"\n  hsts: \"false\"\n  \
                    whitelist-source-range: 10.0.0.0/8\n";
    fs::write(folder.path().join("controller.yaml"), settings).unwrap();
    let path = folder.path().to_str().unwrap();
    let said = headgate(&["check", "-f", path, "--nginx-configmap", "ingress-nginx/controller"]);
    assert!(said.code == 1 && said.out.contains(" 3 problems\n"), "{said:?}");
    for (line, field, part) in [
        (5, "data.use-forwarded-headers", "--trusted-proxies"),
        (8, "data.whitelist-source-range", "lets them in here"),
        (5, "data.proxy-body-size", "here it may have any size"),
    ] {
        let at = |told: &&str| told.contains(&format!("controller.yaml:{line}:")) && told.ends_with(field);
        assert!(said.out.lines().any(|told| at(&told)) && said.out.contains(part), "{field}: {}", said.out);
    }
    // Without the flag it is a ConfigMap like any other.
    assert_eq!(headgate(&["check", "-f", path]).out, "0 routes, nothing is wrong\n");
}

#[test]
fn commands_that_cannot_run_say_why_on_standard_error() {
    let (_folder, path) = shop();
    for (arguments, why) in [
        (vec!["check", "-f", "/nowhere"], "/nowhere does not exist"),
        (vec!["check"], "say what to check: -f DIR, or --in-cluster"),
        (vec!["check", "-f", &path, "--in-cluster"], "cannot be used with"),
        (vec!["check", "-f", &path, "--nginx-configmap", "controller"], "`controller` names no ConfigMap"),
        (vec!["check", "-f", &path, "--nginx-configmap", "a/b"], "there is no ConfigMap a/b"),
        (vec!["explain", "http://shop.test/", "-f", "/nowhere"], "/nowhere does not exist"),
        (vec!["explain", "/orders", "-f", &path], "the URL has no host"),
        (vec!["explain", "http://shop.test/", "--admin", "http://127.0.0.1:1"], "nothing answers at 127.0.0.1:1"),
        (vec!["init", &path], "is not empty; nothing was written"),
        (vec!["run", "/nowhere"], "`headgate init /nowhere` writes an example there"),
        (vec!["run", "--to", "ftp://127.0.0.1"], "the scheme `ftp` is not served"),
        (vec!["run", "--to", "http://127.0.0.1/path"], "the URL has a path"),
        (vec!["explain", "http://shop.test/%zz", "-f", &path], "400"),
        (vec!["explain", "http://shop.test/", "-H", "no colon", "-f", &path], "Name: value"),
        (vec!["run", &path, "--print"], "--print"),
        (vec!["run", &path, "--to", "http://a.test"], "--to"),
        (vec!["run", &path, "--http", "8080"], "write `:8080`"),
        (vec!["run", &path, "--workers", "0"], "--workers"),
        (vec!["run", &path, "--drain-timeout", "soon"], "--drain-timeout"),
        (vec!["run", "--nonsense", &path], "unexpected argument '--nonsense'"),
        (vec!["nonsense"], "unrecognized subcommand 'nonsense'"),
    ] {
        let said = headgate(&arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}: {said:?}");
        assert!(said.err.starts_with("error: ") && said.err.contains(why), "{arguments:?}: {}", said.err);
        assert!(!said.err.contains('\u{1b}'), "{arguments:?} is in colour: {}", said.err);
    }
}

#[test]
fn explain_says_which_rule_wins_and_why_others_do_not() {
    let (folder, path) = shop();
    let won = headgate(&["explain", "http://shop.test/orders/42", "-f", &path]);
    assert_eq!(won.code, 0, "{won:?}");
    for part in ["shop.test  ->  shop.test", "yes  GatewayRoute default/shop rule \"order\"", "default/orders:80"] {
        assert!(won.out.contains(part), "{part}\n{}", won.out);
    }
    let lost = headgate(&["explain", "-X", "POST", "http://shop.test/orders/42", "-f", &path]);
    assert_eq!(lost.code, 1, "{lost:?}");
    assert!(lost.out.contains("method") && lost.out.ends_with("no rule matches: 404\n"), "{}", lost.out);
    let nowhere = headgate(&["explain", "http://other.test/", "-f", &path]);
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
    assert!(nowhere.out.contains("no route names this host"), "{}", nowhere.out);

    // A running one says the same.
    let gateway = Gateway::serve(folder, &[]);
    let admin = format!("http://{}", gateway.admin);
    assert_eq!(headgate(&["explain", "http://shop.test/orders/42", "--admin", &admin]), won);
    assert_eq!(headgate(&["explain", "-X", "POST", "http://shop.test/orders/42", "--admin", &admin]), lost);
    assert_eq!(headgate(&["explain", "http://other.test/", "--admin", &admin]), nowhere);
}

#[test]
fn explain_names_the_winner_and_why_each_other_lost() {
    let (_folder, path) = folder(RULES);
    let explain = |arguments: &[&str]| headgate(&[&["explain"], arguments, &["-f", &path]].concat());
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
fn crds_prints_the_folder_crds() {
    let mut files: Vec<_> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")).unwrap().collect::<Result<_, _>>().unwrap();
    files.sort_by_key(fs::DirEntry::file_name);
    let all: String = files.iter().map(|file| fs::read_to_string(file.path()).unwrap()).collect();
    let said = headgate(&["crds"]);
    assert_eq!((said.code, said.out == all), (0, true), "`headgate crds` differs from crds/");
}

#[test]
fn init_writes_what_check_approves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(headgate(&["init", path]).code, 0);
    assert_eq!(headgate(&["check", "-f", path]).out, "3 routes, nothing is wrong\n");
}

#[test]
fn run_to_a_url_serves_it_and_prints_what_serves_it() {
    let backend = Backend::named("behind");
    let url = format!("http://{}", backend.address);
    let printed = headgate(&["run", "--to", &url, "--print"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    let (folder, path) = folder(&printed.out);
    assert_eq!(headgate(&["check", "-f", &path]).out, "1 route, nothing is wrong\n");
    for gateway in [Gateway::serve(folder, &[]), Gateway::reverse_proxy(&url)] {
        let response = get(gateway.http, "/any").unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "behind"));
    }
}

#[test]
fn version_tells_the_build() {
    let said = headgate(&["version"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!((said.code, lines[0]), (0, concat!("headgate ", env!("CARGO_PKG_VERSION"))));
    assert!(lines[1].starts_with("commit ") && lines[2].starts_with("built for "), "{lines:?}");
    assert_eq!(headgate(&["--version"]).out, format!("{}\n", lines[0]));
}

#[test]
fn help_shows_examples() {
    for command in COMMANDS {
        let said = headgate(&[command, "--help"]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{command}");
        assert!(!said.out.contains('\u{1b}'), "{command} is in colour");
        let plain = ["echo", "crds", "version"].contains(&command);
        assert!(
            plain
                || said.out.contains(&format!("\n  headgate {command} "))
                || said.out.contains(&format!("\n  headgate {command}\n")),
            "{}",
            said.out
        );
    }
    let whole = headgate(&["--help"]).out;
    for command in COMMANDS {
        assert!(whole.contains(&format!("\n  {command}")), "{command} is not listed");
    }
}

#[test]
fn an_address_that_cannot_be_had_is_named_with_its_flag() {
    let (_folder, path) = shop();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    for flag in ["--http", "--https", "--admin"] {
        let mut arguments = vec!["run", path.as_str()];
        for other in ["--http", "--https", "--admin"] {
            arguments.extend([other, if other == flag { &taken } else { "127.0.0.1:0" }]);
        }
        let said = headgate(&arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
        assert!(said.err.contains(&format!("error: {flag} {taken}")), "{said:?}");
    }
}

#[test]
fn every_flag_has_a_variable() {
    let (_folder, path) = shop();
    let mut run = command(binary().to_str().unwrap());
    run.args(["run", path.as_str()]);
    let help = headgate(&["serve", "--help"]).out + &headgate(&["run", "--help"]).out;
    for variable in
        ["HTTP", "HTTPS", "ADMIN", "WORKERS", "DRAIN_DELAY", "DRAIN_TIMEOUT", "LOG_FORMAT", "PUBLISH_SERVICE"]
    {
        assert!(help.contains(&format!("HEADGATE_{variable}=")), "{variable}: {help}");
    }
    let said = said(run.env("HEADGATE_HTTP", "nonsense"));
    assert_eq!(said.code, 2);
    assert!(said.err.contains("`nonsense` is no address"), "{said:?}");
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

/// An authority that nobody knows is told with its remedy, and who is asked for a certificate can be asked for.
#[test]
fn check_and_explain_speak_of_certificates() {
    let authority = Authority::new();
    let route = "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {name: shop}\nspec:\n  tls: \
                 {clientValidation: {caCertificateRefs: [{name: partners}]}}\n  rules: [{backendRefs: [{name: s, port: 80, \
                 tls: {caCertificateRefs: [{name: internal}]}}]}]\n";
    let service = crate::harness::backend::service("s", &[]);
    let bundles = |names: &[&str]| names.iter().map(|name| authority.bundle(name)).collect::<String>();
    let (_folder, path) = folder(&(service.clone() + &bundles(&["partners"]) + route));
    let said = headgate(&["check", "-o", "json", "-f", &path]);
    let problem = &said.json()["problems"][0];
    assert_eq!(said.code, 1, "{said:?}");
    for (field, expected) in [
        ("code", "HG1307"),
        ("field", "spec.rules[0].backendRefs[0].tls.caCertificateRefs[0].name"),
        ("what", "ConfigMap default/internal does not exist"),
        ("remedy", "put the authorities' certificates there as PEM, under ca.crt"),
    ] {
        assert_eq!(problem[field], expected, "{field}");
    }
    let (_folder, path) = folder(&(service + &bundles(&["partners", "internal"]) + route));
    assert_eq!(headgate(&["check", "-f", &path]).code, 0);
    let said = headgate(&["explain", "https://shop.test/", "-f", &path]);
    for step in [
        "then  clientValidation: Required, signed by ConfigMap default/partners",
        "LeastRequest; https for s.default.svc, trusting ConfigMap default/internal",
    ] {
        assert!(said.out.contains(step), "{}", said.out);
    }
}
