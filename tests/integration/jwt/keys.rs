//! Keys at the issuer's: fetched before anything is let in, kept when it is down, and not fetched for everybody who
//! makes a name up.

use serde_json::{Value, json};

use super::{ISSUER, bearer, claims, rule};
use crate::harness::backend::Backend;
use crate::harness::certs::Authority;
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::issuer::{Answer, KeyServer, Signer, secret};

fn objects(backend: &Backend, authority: &Authority, uri: &str, cache: &str) -> String {
    let route = json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": "shop"},
        "spec": {
            "jwtProviders": [{
                "name": "main", "issuer": ISSUER, "algorithms": ["ES256"],
                "remoteJWKS": {
                    "uri": uri, "cacheDuration": cache, "timeout": "2s",
                    "caCertificateRefs": [{"kind": "Secret", "name": "ca"}],
                },
            }],
            "rules": [
                rule("/main", &json!({"providers": ["main"], "requireTLS": false})),
                {"matches": [{"path": {"value": "/open"}}], "backendRefs": [{"name": "b", "port": 80}]},
            ],
        },
    });
    format!("{}{}---\n{route}\n", backend.service("b"), secret("ca", "ca.crt", &authority.pem()))
}

fn token(signer: &Signer, id: &str) -> String {
    signer.token(&json!({"alg": "ES256", "kid": id}), &claims(&json!({})))
}

fn codes(gateway: &Gateway) -> Vec<String> {
    let problems = gateway.api("problems");
    let list = problems["problems"].as_array().unwrap();
    list.iter().map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
}

fn set(keys: &[(&str, &Signer)]) -> Answer {
    Answer::Keys(json!({"keys": keys.iter().map(|(id, key)| key.jwk(id)).collect::<Vec<Value>>()}))
}

#[test]
fn nothing_is_let_in_before_the_keys_are_there_and_everything_while_the_issuer_is_down() {
    let (authority, backend, signer) = (Authority::new(), Backend::named("b"), Signer::p256());
    let server = KeyServer::start(&authority, Answer::Nothing);
    let gateway = Gateway::start(&objects(&backend, &authority, &server.uri(), "1s"));
    let mut client = Client::http1(gateway.http);
    let good = token(&signer, "k1");
    // No keys: no answer but for those who need none.
    gateway.wait_until("it was tried", || server.asked() > 0);
    let response = bearer(&mut client, "/main", &good);
    assert_eq!((response.status, &response.json()["reason"]), (503, &json!("jwks_unavailable")));
    assert_eq!(client.get("a.test", "/main").status, 401);
    assert_eq!(client.get("a.test", "/open").status, 200);
    assert_eq!(backend.seen().len(), 1);
    gateway.wait_until("it is told", || codes(&gateway) == ["HG1902"]);

    server.answer(set(&[("k1", &signer)]));
    gateway.wait_until("the keys are there", || bearer(&mut client, "/main", &good).status == 200);
    gateway.wait_until("it is told no more", || codes(&gateway).is_empty());

    // Down for several times as long as keys are kept: by then they have been asked for again and again.
    server.answer(Answer::Nothing);
    let before = server.asked();
    gateway.wait_until("it is told that the keys are old", || codes(&gateway) == ["HG1903"]);
    gateway.wait_until("it was tried again", || {
        // One that is in no memory yet, so its signature is checked.
        let fresh = token(&signer, "k1");
        assert_eq!(bearer(&mut client, "/main", &fresh).status, 200);
        server.asked() >= before + 3
    });
    let metrics = gateway.metrics();
    for series in [
        "headgate_jwks_refresh_total{provider=\"default/shop/main\",result=\"error\"}",
        "headgate_jwks_refresh_total{provider=\"default/shop/main\",result=\"success\"}",
        "headgate_jwks_last_success_timestamp_seconds{provider=\"default/shop/main\"}",
        "headgate_jwt_validations_total{provider=\"default/shop/main\",result=\"no_keys\"}",
    ] {
        assert!(metrics.contains(series), "{series}");
    }

    // Another key in its place: what the former has signed is refused, also what had been let in.
    let second = Signer::p256();
    server.answer(set(&[("k2", &second)]));
    gateway.wait_until("the new key is there", || bearer(&mut client, "/main", &token(&second, "k2")).status == 200);
    assert_eq!(bearer(&mut client, "/main", &good).status, 401);
}

#[test]
fn made_up_names_do_not_flood_the_issuer() {
    let (authority, backend, signer) = (Authority::new(), Backend::named("b"), Signer::p256());
    let server = KeyServer::start(&authority, set(&[("k1", &signer)]));
    let gateway = Gateway::start(&objects(&backend, &authority, &server.uri(), "10m"));
    let mut client = Client::http1(gateway.http);
    gateway.wait_until("the keys are there", || bearer(&mut client, "/main", &token(&signer, "k1")).status == 200);
    assert_eq!(server.asked(), 1);
    let began = std::time::Instant::now();
    let payload = claims(&json!({}));
    let stranger = Signer::Hmac(vec![7; 32]);
    for number in 0..10_000 {
        let header = json!({"alg": "ES256", "kid": format!("made-up-{number}")});
        assert_eq!(bearer(&mut client, "/main", &stranger.token(&header, &payload)).status, 401);
    }
    let allowed = 1 + usize::try_from(began.elapsed().as_secs() / 30).unwrap();
    assert!(server.asked() <= allowed, "{} fetches", server.asked());
}

#[test]
fn what_is_no_key_set_is_not_taken_for_one() {
    let (authority, backend, signer) = (Authority::new(), Backend::named("b"), Signer::p256());
    let elsewhere = KeyServer::start(&authority, set(&[("k1", &signer)]));
    let weak = json!({"kty": "RSA", "kid": "k1", "n": "AQAB", "e": "AQAB"});
    for (name, answer) in [
        ("a redirect", Answer::Redirect(elsewhere.uri())),
        ("a page", Answer::Keys(json!("<html>"))),
        ("an empty set", Answer::Keys(json!({"keys": []}))),
        ("keys of another kind", Answer::Keys(json!({"keys": [Signer::p384().jwk("k1")]}))),
        ("a secret for everybody", Answer::Keys(json!({"keys": [Signer::Hmac(vec![1; 32]).jwk("k1")]}))),
        ("a weak key", Answer::Keys(json!({"keys": [weak]}))),
        ("far too much", Answer::Keys(json!({"keys": [], "x": "x".repeat(300 * 1024)}))),
    ] {
        let server = KeyServer::start(&authority, answer);
        let gateway = Gateway::start(&objects(&backend, &authority, &server.uri(), "10m"));
        gateway.wait_until(name, || codes(&gateway) == ["HG1902"] && server.asked() > 0);
        let mut client = Client::http1(gateway.http);
        assert_eq!(bearer(&mut client, "/main", &token(&signer, "k1")).status, 503, "{name}");
    }
    assert_eq!(elsewhere.asked(), 0);
    // Nor is one that comes from somebody else.
    let stranger = KeyServer::start(&Authority::new(), set(&[("k1", &signer)]));
    let gateway = Gateway::start(&objects(&backend, &authority, &stranger.uri(), "10m"));
    gateway.wait_for_line(&["invalid peer certificate"]);
    assert_eq!(stranger.asked(), 0);
    assert_eq!(backend.seen().len(), 0);
}
