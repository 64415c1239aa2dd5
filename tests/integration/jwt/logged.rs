//! What a line of the access log says of who asked, and how much is left to them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Issuer, bearer, claims, header};
use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;

const LIMITS: &str = "---
apiVersion: headgate.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: fair}
spec:
  targetRefs: [{group: headgate.dev, kind: GatewayRoute, name: shop}]
  limits:
    - {name: per-ip, requests: 1000, period: 1h, key: [{type: ClientIP}]}
    - {name: looks-on, requests: 1, period: 1h, shadow: true}
    - {name: per-user, requests: 2, period: 1h, key: [{type: JWTClaim, name: sub, onMissing: Skip}]}
  response: {headers: None}
";

/// The lines for one request without a token, three of a person, and one that no rule takes.
fn lines(setting: &str) -> Vec<String> {
    let issuer = Issuer::new();
    let backend = Backend::named("b");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let setting = setting.replace("FILE", path.to_str().unwrap());
    let gateway =
        Gateway::start_with(&(issuer.objects(&backend) + LIMITS), &["--access-log", &setting, "--workers", "1"]);
    let mut client = Client::http1(gateway.http);
    let token = issuer.rsa.token(&header(&json!({})), &claims(&json!({"sub": "canary@example.com"})));
    let forged = format!("{token}x");
    let statuses = [
        client.request("GET", "a.test", "/open", &[]).unwrap().status,
        bearer(&mut client, "/main", &forged).status,
        bearer(&mut client, "/main", &token).status,
        bearer(&mut client, "/main", &token).status,
        bearer(&mut client, "/main", &token).status,
        client.request("GET", "a.test", "/nowhere", &[]).unwrap().status,
    ];
    assert_eq!(statuses, [200, 401, 200, 200, 429, 404]);
    let arrived = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    gateway.wait_until("the lines have arrived", || arrived(&path).lines().count() == statuses.len());
    arrived(&path).lines().map(str::to_owned).collect()
}

#[test]
fn a_line_tells_what_is_left_at_the_tightest_limit_and_not_who_asked() {
    let told = lines("json,file=FILE");
    assert!(!told.concat().contains("canary"), "{told:#?}");
    let limits: Vec<Value> =
        told.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["ratelimit"].clone()).collect();
    let left = |limit: &str, remaining: u32| json!({"policy": "default/fair", "limit": limit, "remaining": remaining});
    let expected = [
        left("per-ip", 999),
        left("per-ip", 998),
        left("per-user", 1),
        left("per-user", 0),
        left("per-user", 0),
        Value::Null,
    ];
    assert_eq!(limits, expected, "also where clients are told nothing");
}

#[test]
fn who_asked_is_told_only_where_that_is_asked_for() {
    let told = lines("json,jwt-sub=keep,file=FILE");
    let subjects: Vec<Value> =
        told.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["jwt_sub"].clone()).collect();
    let canary = json!("canary@example.com");
    let nobody = Value::Null;
    let expected = [&nobody, &nobody, &canary, &canary, &canary, &nobody];
    assert_eq!(subjects.iter().collect::<Vec<_>>(), expected, "and only of a token that was found right");

    let told = lines("file=FILE,text:{jwt_sub} {ratelimit_policy}/{ratelimit_limit} {ratelimit_remaining}");
    assert_eq!(
        told,
        [
            "- default/fair/per-ip 999",
            "- default/fair/per-ip 998",
            "canary@example.com default/fair/per-user 1",
            "canary@example.com default/fair/per-user 0",
            "canary@example.com default/fair/per-user 0",
            "- -/- -",
        ]
    );
}
