//! Mistakes: whoever makes one is told, and nobody else notices.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::mistakes::{self, Mistake};
use crate::harness::run::headgate;

/// Hosts that are served, half of them by a GatewayRoute and half by an Ingress.
const GOOD: usize = 100;

fn good() -> String {
    let of = |number: usize| {
        if number.is_multiple_of(2) {
            format!(
                "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: a{number}}}\nspec:\n  \
                 hostnames: [good{number}.test]\n  rules: [{{matches: [{{path: {{value: /}}}}], backendRefs: [{{name: b, \
                 port: 80}}]}}]\n"
            )
        } else {
            format!(
                "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: a{number}}}\nspec:\n  rules: \
                 [{{host: good{number}.test, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: b, \
                 port: {{name: http}}}}}}}}]}}}}]\n"
            )
        }
    };
    (0..GOOD).map(of).collect()
}

/// Asks all good hosts in turn until it is stopped.
struct Visitor {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    failed: JoinHandle<Vec<String>>,
}

impl Visitor {
    fn start(gateway: &Gateway) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let failed = std::thread::spawn({
            let (stop, rounds, address) = (stop.clone(), rounds.clone(), gateway.http);
            move || {
                let mut client = Client::http1(address);
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) && failed.len() < 10 {
                    for number in 0..GOOD {
                        let answer = client.get(&format!("good{number}.test"), "/");
                        if answer.status != 200 {
                            failed.push(format!("good{number}.test: {} {}", answer.status, answer.text()));
                        }
                    }
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
                failed
            }
        });
        Self { stop, rounds, failed }
    }

    /// Waits for one more round at least.
    fn look(&self, gateway: &Gateway) {
        let before = self.rounds.load(Ordering::Relaxed);
        gateway.wait_until("another round", || {
            self.rounds.load(Ordering::Relaxed) > before + 1 || self.failed.is_finished()
        });
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.failed.join().unwrap(), Vec::<String>::new());
    }
}

fn write_all(folder: &Path, mistakes: &[Mistake]) {
    for (number, mistake) in mistakes.iter().enumerate() {
        fs::write(folder.join(format!("broken-{number}.yaml")), &mistake.text).unwrap();
    }
}

/// The mistakes that a list of problems does not tell as it should: object or file, field, and what would be right.
fn untold(mistakes: &[Mistake], problems: &[Value]) -> Vec<String> {
    let mut untold = Vec::new();
    for (number, mistake) in mistakes.iter().enumerate() {
        let file = format!("broken-{number}.yaml:");
        let is_its = |problem: &&Value| match &mistake.object {
            Some(object) => problem["object"] == object.as_str(),
            None => problem["place"].as_str().is_some_and(|place| (place.to_owned() + ":").contains(&file)),
        };
        let its: Vec<_> = problems.iter().filter(is_its).collect();
        let named = its.iter().find(|it| it["field"].as_str().unwrap_or_default().starts_with(&mistake.field));
        match named {
            None => untold.push(format!("{}: wanted {}, told {its:?}", mistake.what, mistake.field)),
            Some(problem) if !says_what_would_be_right(problem) => untold.push(format!("no remedy: {problem}")),
            Some(_) => {}
        }
    }
    untold
}

/// A remedy of its own, or a sentence that says what is allowed; of a text that does not parse nobody knows more than
/// where.
fn says_what_would_be_right(problem: &Value) -> bool {
    let what = problem["what"].as_str().unwrap_or_default();
    let rules = ["must", "need", "required", "expected", "one of", "minimum", "maximum", "is not a", "is no IPv4"];
    let said = problem["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty());
    said || rules.iter().any(|rule| what.contains(rule)) || (problem["object"].is_null() && problem["field"].is_null())
}

fn list(json: &Value) -> Vec<Value> {
    json["problems"].as_array().unwrap().clone()
}

/// Two hundred broken objects among a hundred good ones.
#[test]
fn broken_objects_are_told_and_touch_nobody_else() {
    let mistakes = mistakes::all();
    assert!(mistakes.len() >= 200, "{}", mistakes.len());
    let backend = Backend::named("b");
    let gateway = Gateway::start(&(backend.service("b") + &good()));
    let visitor = Visitor::start(&gateway);
    visitor.look(&gateway);
    assert_eq!(list(&gateway.api("problems")), Vec::<Value>::new());

    write_all(gateway.folder(), &mistakes);
    let all_told = || untold(&mistakes, &list(&gateway.api("problems"))).is_empty();
    if !gateway.comes(all_told) {
        let untold = untold(&mistakes, &list(&gateway.api("problems")));
        panic!("{} of {} are not told as they should:\n{}", untold.len(), mistakes.len(), untold.join("\n"));
    }
    visitor.look(&gateway);

    let checked = headgate(&["check", "-f", gateway.folder().to_str().unwrap(), "-o", "json"]);
    assert_eq!(checked.code, 1);
    let checked = list(&checked.json());
    assert_eq!(untold(&mistakes, &checked), Vec::<String>::new());
    let placeless: Vec<_> = checked
        .iter()
        .filter(|problem| !problem["place"].as_str().is_some_and(|place| place.contains(".yaml:")))
        .collect();
    assert!(placeless.len() <= 1, "without a place: {placeless:#?}");

    for (number, mistake) in mistakes.iter().enumerate() {
        let whose = mistake.object.clone().unwrap_or_else(|| format!("broken-{number}.yaml"));
        gateway.wait_for_line(&[&whose, &mistake.field]);
    }

    // They go, and come back, and go.
    for _ in 0..2 {
        for number in 0..mistakes.len() {
            fs::remove_file(gateway.folder().join(format!("broken-{number}.yaml"))).unwrap();
        }
        gateway.wait_until("no problem is left", || list(&gateway.api("problems")).is_empty());
        visitor.look(&gateway);
        write_all(gateway.folder(), &mistakes);
        gateway.wait_until("all problems are back", all_told);
        visitor.look(&gateway);
    }

    // And are mended one by one.
    for number in 0..mistakes.len() {
        let mended = format!(
            "apiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: broken-{number}}}\nspec:\n  \
             hostnames: [mended{number}.test]\n  rules: [{{filters: [{{type: DirectResponse, directResponse: {{statusCode: \
             200, body: mended}}}}]}}]\n"
        );
        fs::write(gateway.folder().join(format!("broken-{number}.yaml")), mended).unwrap();
    }
    gateway.wait_until("no problem is left", || list(&gateway.api("problems")).is_empty());
    let mut client = Client::http1(gateway.http);
    for (number, mistake) in mistakes.iter().enumerate() {
        assert_eq!(client.get(&format!("mended{number}.test"), "/").text(), "mended", "{}", mistake.what);
    }
    visitor.look(&gateway);
    visitor.finish();
}

#[test]
fn good_objects_are_served_from_a_cold_start_among_broken_ones() {
    let mistakes = mistakes::all();
    let backend = Backend::named("b");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.yaml"), backend.service("b") + &good()).unwrap();
    write_all(folder.path(), &mistakes);
    let gateway = Gateway::serve(folder, &[]);
    let visitor = Visitor::start(&gateway);
    visitor.look(&gateway);
    visitor.finish();
    assert_eq!(untold(&mistakes, &list(&gateway.api("problems"))), Vec::<String>::new());
}

#[test]
fn a_file_that_breaks_keeps_what_it_declared() {
    let backend = Backend::named("b");
    let gateway = Gateway::start(&(backend.service("b") + &good()));
    let good = fs::read_to_string(gateway.folder().join("objects.yaml")).unwrap();
    let visitor = Visitor::start(&gateway);
    for broken in [good.clone() + "\n---\n{", good.replace("kind:", "kind :\n\t"), "{".into(), "a: &a [*a]".into()] {
        gateway.apply(&broken);
        let problems = list(&gateway.api("problems"));
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem["place"].as_str().unwrap().contains("objects.yaml:"), "{problem}");
        assert!(problem["what"].as_str().unwrap().contains("stays in force"), "{problem}");
        visitor.look(&gateway);
    }
    gateway.apply(&good);
    assert_eq!(list(&gateway.api("problems")), Vec::<Value>::new());
    visitor.look(&gateway);
    visitor.finish();
}

/// As with an API server, which refuses a change that breaks a rule; one that was never right is spoilt as far as it must
/// be, and what is right beside them is taken.
#[test]
fn an_object_that_breaks_keeps_what_it_was() {
    let backend = Backend::named("b");
    let route = |name: &str, rules: &str| {
        format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}}}\nspec:\n  hostnames: \
             [{name}.test]\n  {rules}\n"
        )
    };
    let to = |service: &str| format!("rules: [{{backendRefs: [{{name: {service}, port: 80}}]}}]");
    let before = [backend.service("b"), route("changed", &to("b")), route("other", &to("absent"))].concat();
    let gateway = Gateway::start(&before);
    let mut client = Client::http1(gateway.http);
    assert_eq!((client.get("changed.test", "/").status, client.get("other.test", "/").status), (200, 500));
    for broken in ["ruls: []", "rules: [{backendRefs: [{name: b, port: 70000}]}]", "rules: 7"] {
        let other = route("other", &to("b"));
        gateway.apply(&[backend.service("b"), route("changed", broken), other, route("never", broken)].concat());
        let problems = list(&gateway.api("problems"));
        let of = |object: &str| problems.iter().find(|problem| problem["object"] == object).unwrap();
        let told = of("GatewayRoute default/changed");
        assert!(told["code"] == "HG1001" && told["what"].as_str().unwrap().contains("stays in force"), "{told}");
        let hints = problems.iter().filter(|problem| problem["remedy"].to_string().contains("did you mean"));
        assert_eq!(hints.count(), if broken.starts_with("ruls") { 2 } else { 0 }, "{problems:?}");
        assert!(!of("GatewayRoute default/never").to_string().contains("stays in force"));
        assert_eq!((client.get("changed.test", "/").text().as_str(), client.get("other.test", "/").status), ("b", 200));
        assert!(client.get("never.test", "/").status >= 404);
    }
    gateway.apply(
        &[
            backend.service("b"),
            route("changed", "rules: [{filters: [{type: DirectResponse, directResponse: {statusCode: 204}}]}]"),
        ]
        .concat(),
    );
    assert_eq!(client.get("changed.test", "/").status, 204);
    assert_eq!(list(&gateway.api("problems")), Vec::<Value>::new());
}
