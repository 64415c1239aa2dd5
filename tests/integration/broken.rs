//! Many broken objects among good ones: the good ones never notice, and each broken one is named with what is wrong.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::harness::backend::Backend;
use crate::harness::gateway::Gateway;
use crate::harness::http::get_host;
use crate::harness::run::headgate;

const GOOD: usize = 100;
const BROKEN: usize = 200;

/// A kind of mistake.
struct Mistake {
    kind: &'static str,
    /// The object without its head; `#` is a number of its own.
    body: &'static str,
    /// The field that is to be named.
    field: &'static str,
    /// What is to be said of what would be right.
    remedy: &'static str,
}

const ROUTE: &str = "headgate.dev/v1alpha1 GatewayRoute";
const INGRESS: &str = "networking.k8s.io/v1 Ingress";

#[rustfmt::skip]
const MISTAKES: [Mistake; 25] = [
    Mistake { kind: ROUTE, body: "spec: {hostname: [x], hostnames: [b#.test], rules: [{backendRefs: [{name: good, port: 80}]}]}", field: "spec.hostname", remedy: "did you mean \"hostnames\"" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test]}", field: "spec.rules", remedy: "is required" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{matches: [{path: {type: Exact, value: orders}}], backendRefs: [{name: good, port: 80}]}]}", field: "spec.rules[0].matches[0].path", remedy: "must start with '/'" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{matches: [{path: {type: RegularExpression, value: '/(a'}}], backendRefs: [{name: good, port: 80}]}]}", field: "spec.rules[0].matches[0].path.value", remedy: "use the syntax of" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{backendRefs: [{name: goood, port: 80}]}]}", field: "spec.rules[0].backendRefs[0].name", remedy: "correct the name" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{backendRefs: [{name: good, port: 81}]}]}", field: "spec.rules[0].backendRefs[0].port", remedy: "it has 80 (http)" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{backendRefs: [{name: good, port: eighty}]}]}", field: "spec.rules[0].backendRefs[0].port", remedy: "must be a whole number" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{matches: [{path: {type: Prefix, value: /}}], backendRefs: [{name: good, port: 80}]}]}", field: "spec.rules[0].matches[0].path.type", remedy: "is not one of Exact, PathPrefix" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{timeouts: {request: 15 s}, backendRefs: [{name: good, port: 80}]}]}", field: "spec.rules[0].timeouts.request", remedy: "such as 1m30s" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{filters: [{type: DirectResponse, directResponse: {statusCode: 42}}]}]}", field: "spec.rules[0].filters[0].directResponse.statusCode", remedy: "below the minimum of 200" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 302}}, {type: DirectResponse, directResponse: {statusCode: 200}}]}]}", field: "spec.rules[0].filters[1]", remedy: "remove one of them" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{name: a, backendRefs: [{name: good, port: 80}]}, {name: a, backendRefs: [{name: good, port: 80}]}]}", field: "spec", remedy: "must be unique" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{matches: [{path: {type: Template, value: '/:a/:a'}}], backendRefs: [{name: good, port: 80}]}]}", field: "spec.rules[0].matches[0].path.value", remedy: "a name of its own" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{matches: [{path: {type: Template, value: '/:a'}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceTemplate, replaceTemplate: '/:b'}}}], backendRefs: [{name: good, port: 80}]}]}", field: "spec.rules[0].filters[0].urlRewrite.path.replaceTemplate", remedy: "needs type: Template with :b" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{backendRefs: [{name: good, namespace: other, port: 80}]}]}", field: "spec.rules[0].backendRefs[0].namespace", remedy: "allow it with a ReferenceGrant" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], tls: {certificateRefs: [{name: nothing}]}, rules: [{backendRefs: [{name: good, port: 80}]}]}", field: "spec.tls.certificateRefs[0].name", remedy: "create it with type kubernetes.io/tls" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: ['*.*.b#.test'], rules: [{backendRefs: [{name: good, port: 80}]}]}", field: "spec.hostnames[0]", remedy: "such as shop.example.com" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{loadBalancer: {type: ConsistentHash}, backendRefs: [{name: good, port: 80}]}]}", field: "spec.rules[0].loadBalancer", remedy: "must be set exactly when" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{backendRefs: [{name: good, port: 80, weight: 0}]}]}", field: "spec.rules[0]", remedy: "must have a weight above 0" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [b#.test], rules: [{retry: {attempts: 2}, backendRefs: [{name: good, port: 80}]}]}", field: "spec.rules[0].retry", remedy: "remove it" },
    Mistake { kind: ROUTE, body: "spec: {hostnames: [good-0.test], rules: [{backendRefs: [{name: good, port: 80}]}]}", field: "spec.hostnames", remedy: "change the host or the match" },
    Mistake { kind: INGRESS, body: "spec: {rules: [{host: b#.test, http: {paths: [{path: /, backend: {service: {name: good, port: {number: 80}}}}]}}]}", field: "spec.rules[0].http.paths[0].pathType", remedy: "is required" },
    Mistake { kind: INGRESS, body: "spec: {rules: [{host: 'b#.test:80', http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: good, port: {number: 80}}}}]}}]}", field: "spec.rules[0].host", remedy: "such as shop.example.com" },
    Mistake { kind: "v1 Service", body: "spec: {ports: [{name: http, port: 70000}]}", field: "spec.ports[0].port", remedy: "1 to 65535" },
    Mistake { kind: "v1 Secret", body: "type: kubernetes.io/tls\nstringData: {tls.crt: none}", field: "data", remedy: "has no tls.key, which type kubernetes.io/tls needs" },
];

/// Two hundred broken objects of twenty-five kinds of mistakes come and go in the files of a hundred good ones.
#[test]
fn broken_objects_cost_good_ones_nothing() {
    let backend = Backend::named("good");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("backend.yaml"), backend.service("good")).unwrap();
    write(folder.path(), good);
    let gateway = Gateway::serve(folder, &[]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Asked all the while, whatever happens to the files; every host at least once.
        let asking = scope.spawn(|| {
            let mut rounds = 0;
            while rounds == 0 || !over.load(Ordering::Relaxed) {
                every_good_one_is_served(&gateway);
                rounds += 1;
            }
        });
        {
            let _until_here = Raised(&over);
            every_good_one_is_served(&gateway);
            assert_eq!(problems(&gateway), Vec::<Value>::new());

            write(gateway.folder(), with_broken);
            gateway.wait_until("all broken ones are told", || named(&problems(&gateway)) == BROKEN);
            every_good_one_is_served(&gateway);
            each_is_told(&gateway);

            write(gateway.folder(), good);
            gateway.wait_until("none is told any more", || problems(&gateway).is_empty());
            every_good_one_is_served(&gateway);
        }
        asking.join().unwrap();
    });
    let said = headgate(&["check", "-f", gateway.folder().to_str().unwrap()]);
    assert_eq!((said.code, said.out.as_str()), (0, "100 routes, nothing is wrong\n"));
}

/// The same from a cold start, where no earlier version of anything is known.
#[test]
fn broken_objects_cost_good_ones_nothing_from_a_cold_start() {
    let backend = Backend::named("good");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("backend.yaml"), backend.service("good")).unwrap();
    write(folder.path(), with_broken);
    let gateway = Gateway::serve(folder, &[]);
    every_good_one_is_served(&gateway);
    each_is_told(&gateway);
}

/// Raises a flag at the end of its scope, also when that is a panic.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn mistake(number: usize) -> &'static Mistake {
    &MISTAKES[number % MISTAKES.len()]
}

/// The broken object of this number, as problems name it.
fn name(number: usize) -> String {
    let (_, kind) = mistake(number).kind.split_once(' ').unwrap();
    format!("{kind} default/x{number}")
}

/// The good object of this number: half are routes, half Ingresses.
fn good(number: usize) -> String {
    if number.is_multiple_of(2) {
        format!(
            "apiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: good-{number}}}\nspec: {{hostnames: \
             [good-{number}.test], rules: [{{backendRefs: [{{name: good, port: 80}}]}}]}}\n"
        )
    } else {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: good-{number}}}\nspec: {{rules: [{{host: \
             good-{number}.test, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: good, port: \
             {{name: http}}}}}}}}]}}}}]}}\n"
        )
    }
}

/// The same between two broken ones.
fn with_broken(number: usize) -> String {
    let broken = |number: usize| {
        let Mistake { kind, body, .. } = mistake(number);
        let (version, kind) = kind.split_once(' ').unwrap();
        let body = body.replace('#', &number.to_string());
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x{number}}}\n{body}\n")
    };
    format!("{}---\n{}---\n{}", broken(2 * number), good(number), broken(2 * number + 1))
}

/// Replaces the file of every good object.
fn write(folder: &Path, text: impl Fn(usize) -> String) {
    for number in 0..GOOD {
        let aside = folder.join(".new");
        fs::write(&aside, text(number)).unwrap();
        fs::rename(aside, folder.join(format!("{number}.yaml"))).unwrap();
    }
}

fn every_good_one_is_served(gateway: &Gateway) {
    for number in 0..GOOD {
        let response = get_host(gateway.http, &format!("good-{number}.test"), "/").unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "good"), "good-{number}");
    }
}

fn problems(gateway: &Gateway) -> Vec<Value> {
    gateway.api("problems")["problems"].as_array().unwrap().clone()
}

/// How many of the broken objects some problem names.
fn named(problems: &[Value]) -> usize {
    (0..BROKEN).filter(|number| problems.iter().any(|problem| problem["object"] == name(*number))).count()
}

/// Every broken object is named with field and remedy by `check`, the API and the log, and no good one is.
fn each_is_told(gateway: &Gateway) {
    let check = headgate(&["check", "-o", "json", "-f", gateway.folder().to_str().unwrap()]);
    assert_eq!(check.code, 1, "{}", check.err);
    let checked = check.json()["problems"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for (source, told) in [("check", &checked), ("the API", &problems(gateway))] {
        for number in 0..BROKEN {
            let Mistake { field, remedy, .. } = mistake(number);
            let of_it: Vec<_> = told.iter().filter(|problem| problem["object"] == name(number)).collect();
            let found = of_it.iter().any(|problem| {
                problem["field"] == *field && (text(&problem["what"]) + &text(&problem["remedy"])).contains(remedy)
            });
            assert!(found, "{source}: {} {field} {remedy}: {of_it:#?}", name(number));
            assert_eq!(of_it.len(), 1, "{source} says one mistake more than once: {of_it:#?}");
        }
        assert_eq!(told.len(), BROKEN, "{source} tells of others");
    }
    let log = gateway.log();
    for number in 0..BROKEN {
        let Mistake { field, remedy, .. } = mistake(number);
        let (object, remedy) = (format!(" {}: ", name(number)), remedy.replace('"', "\\\""));
        let parts = [object.as_str(), field, &remedy];
        let found = log.iter().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "the log does not say {parts:?}");
    }
}
