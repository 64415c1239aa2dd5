//! Names and passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::issuer::secret;

fn objects(backend: &Backend, file: &str) -> String {
    let rule = |path: &str, more: serde_json::Value| {
        let mut basic = json!({"secretRef": {"name": "people"}, "requireTLS": false});
        basic.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"matches": [{"path": {"value": path}}], "basicAuth": basic, "backendRefs": [{"name": "b", "port": 80}]})
    };
    let route = json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": "admin"},
        "spec": {"rules": [
            rule("/named", json!({"userHeader": "X-Remote-User", "realm": "Back office"})),
            rule("/kept", json!({"forwardCredentials": true})),
            rule("/secure", json!({"requireTLS": true})),
            {"matches": [{"path": {"value": "/open"}}], "backendRefs": [{"name": "b", "port": 80}]},
        ]},
    });
    format!("{}{}---\n{route}\n", backend.service("b"), secret("people", "auth", file))
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

#[test]
fn only_the_right_password_is_let_in() {
    let backend = Backend::named("b");
    let file = format!("ann:{}\nbob:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n", bcrypt::hash("correct horse", 5).unwrap());
    let gateway = Gateway::start(&objects(&backend, &file));
    let mut client = Client::http1(gateway.http);
    let mut ask = |path: &str, authorization: &str| {
        backend.forget();
        let headers = [("authorization", authorization), ("x-remote-user", "root"), ("X_Remote_User", "root")];
        let headers = if authorization.is_empty() { &headers[1..] } else { &headers[..] };
        let response = client.request("GET", "a.test", path, headers).unwrap();
        (response, backend.seen().pop())
    };
    for (credentials, user) in [("ann:correct horse", "ann"), ("bob:secret", "bob")] {
        // The second time from memory.
        for _ in 0..2 {
            let (response, seen) = ask("/named", &basic(credentials));
            assert_eq!(response.status, 200);
            let headers = seen.unwrap().headers;
            assert_eq!(headers.get_all("x-remote-user").iter().collect::<Vec<_>>(), [user]);
            assert!(!headers.contains_key("authorization"));
        }
    }
    for wrong in ["ann:Correct horse", "ann:", "ann", "Ann:correct horse", "nobody:correct horse", ":", "bob:Secret"] {
        let (response, seen) = ask("/named", &basic(wrong));
        assert_eq!(
            (response.status, response.json()["reason"].as_str().unwrap()),
            (401, "basic_auth_invalid"),
            "{wrong}"
        );
        assert_eq!(response.header("www-authenticate"), Some("Basic realm=\"Back office\", charset=\"UTF-8\""));
        assert!(seen.is_none());
    }
    for other in ["Bearer x", "Basic !!!", "Basic", &format!("{}, {}", basic("ann:x"), basic("ann:correct horse"))] {
        assert_eq!(ask("/named", other).0.status, 401, "{other}");
    }
    let (response, _) = ask("/named", "");
    assert_eq!((response.status, response.json()["reason"].as_str().unwrap()), (401, "basic_auth_missing"));
    let kept = basic("bob:secret");
    let (_, seen) = ask("/kept", &kept);
    assert_eq!(seen.unwrap().headers["authorization"], kept.as_str());
    assert_eq!(ask("/secure", &basic("bob:secret")).0.json()["reason"], "tls_required");
    // The header that speaks of a user is ours on every rule of the route.
    assert!(!ask("/open", "").1.unwrap().headers.contains_key("x-remote-user"));

    // Another file: who was let in by the former is not any more.
    gateway.apply(&objects(&backend, &format!("ann:{}\n", bcrypt::hash("new", 4).unwrap())));
    assert_eq!(ask("/named", &basic("ann:correct horse")).0.status, 401);
    assert_eq!(ask("/named", &basic("ann:new")).0.status, 200);
}

/// Passwords that take long are checked beside the traffic and not in it.
#[test]
fn a_check_holds_up_nobody_else() {
    let backend = Backend::named("b");
    let file = format!("ann:{}\n", bcrypt::hash("right", 10).unwrap());
    let gateway = Gateway::start_with(&objects(&backend, &file), &["--workers", "1"]);
    let address = gateway.http;
    let guessing: Vec<_> = (0..4)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::http1(address);
                let guess = basic(&format!("ann:{number}"));
                client.request("GET", "a.test", "/named", &[("authorization", &guess)]).unwrap().status
            })
        })
        .collect();
    let mut client = Client::http1(address);
    let mut served = 0;
    while !guessing.iter().all(std::thread::JoinHandle::is_finished) {
        assert_eq!(client.get("a.test", "/open").status, 200);
        served += 1;
    }
    assert!(guessing.into_iter().all(|guess| guess.join().unwrap() == 401));
    // In a build without optimisation each of the four took the better part of a second.
    assert!(served >= 20, "{served}");
}
