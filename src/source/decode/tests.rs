use k8s_openapi::api::networking::v1::Ingress;
use serde_json::json;

use super::*;

/// A document of `kind` named `x` with these fields.
fn document(kind: Kind, fields: Value) -> Value {
    let mut document = json!({"apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": {"name": "x"}});
    for (name, value) in fields.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

/// The object, if it can be used, and its findings as `field: message`, the fatal ones with a `!` before them.
fn decoded(kind: Kind, fields: Value, origin: Origin) -> (Option<Object>, Vec<String>) {
    let (object, findings) = match decode(kind, document(kind, fields), origin).unwrap() {
        Change::Upsert(object, findings) => (Some(object), findings),
        Change::Invalid(_, _, findings) => (None, findings),
        other => panic!("{other:?}"),
    };
    let told =
        findings.into_iter().map(|it| format!("{}{}: {}", if it.is_fatal() { "!" } else { "" }, it.field, it.message));
    (object, told.collect())
}

/// From a file: whether the object can be used, and its findings.
fn file(kind: Kind, fields: Value) -> (bool, Vec<String>) {
    let (object, findings) = decoded(kind, fields, Origin::File);
    (object.is_some(), findings)
}

fn backend() -> Value {
    json!({"service": {"name": "s", "port": {"number": 80}}})
}

fn ingress(paths: Value) -> Value {
    json!({"spec": {"rules": [{"host": "a.example", "http": {"paths": paths}}]}})
}

fn route(rules: Value) -> Value {
    json!({"spec": {"hostnames": ["a.example"], "rules": rules}})
}

fn rule() -> Value {
    json!({"matches": [{"path": {"value": "/a"}}], "backendRefs": [{"name": "s", "port": 80}]})
}

#[test]
fn knows_its_kinds_and_says_what_is_near() {
    for kind in Kind::ALL {
        assert_eq!(kind_of(&document(kind, json!({}))), Ok(kind));
    }
    for (version, kind, fatal, message) in [
        ("v1", "service", true, "did you mean Service?"),
        ("networking.k8s.io/v1beta1", "Ingress", true, "it reads Ingress of networking.k8s.io/v1"),
        ("headgate.dev/v1alpha1", "Route", true, "it has GatewayRoute and RateLimitPolicy"),
        ("v1", "Pod", false, "is not a kind that Headgate reads"),
        ("", "Service", true, "is missing"),
    ] {
        let finding = kind_of(&json!({"apiVersion": version, "kind": kind})).unwrap_err();
        assert!(finding.message.contains(message), "{finding:?}");
        assert_eq!(finding.is_fatal(), fatal, "{finding:?}");
    }
}

#[test]
fn fills_in_what_an_api_server_would() {
    let (object, findings) = decoded(Kind::Service, json!({"spec": {"ports": [{"port": 80}]}}), Origin::File);
    assert_eq!(findings, [""; 0]);
    assert_eq!(object.unwrap().key(), ObjectKey::new(Kind::Service, "default", "x"));

    let text = json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": "C", "tls.key": "K"}});
    let (object, findings) = decoded(Kind::Secret, text, Origin::File);
    assert_eq!(findings, [""; 0]);
    let Some(Object::Secret(secret)) = object else { panic!() };
    assert_eq!(secret.data.as_ref().unwrap()["tls.key"].0, b"K");

    let class = json!({"metadata": {"name": "x", "namespace": "y"}, "spec": {"controller": "headgate.dev/c"}});
    let (object, findings) = decoded(Kind::IngressClass, class, Origin::File);
    assert_eq!(findings, [""; 0]);
    assert_eq!(object.unwrap().key(), ObjectKey::new(Kind::IngressClass, "", "x"));
}

#[test]
fn drops_what_nobody_reads() {
    let metadata = json!({
        "name": "x",
        "namespace": "n",
        "managedFields": [{"manager": "kubectl"}],
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "meta.helm.sh/release-name": "shop",
            "kubernetes.io/ingress.class": "headgate",
            "headgate.dev/mine": "y".repeat(1_000),
            "nginx.ingress.kubernetes.io/server-snippet": "x".repeat(1_000),
        },
        "labels": {"app": "shop"},
        "resourceVersion": "7",
        "uid": "u",
    });
    let status = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}});
    let (object, findings) = decoded(Kind::Ingress, json!({"metadata": metadata, "status": status}), Origin::Cluster);
    assert_eq!(findings, [""; 0]);
    let Some(Object::Ingress(ingress)) = object else { panic!() };
    let kept = [
        ("headgate.dev/mine", "y".repeat(253)),
        ("kubernetes.io/ingress.class", "headgate".to_owned()),
        ("nginx.ingress.kubernetes.io/server-snippet", "x".repeat(1_000)),
    ];
    let kept = kept.into_iter().map(|(name, value)| (name.to_owned(), value));
    let metadata = ObjectMeta {
        name: Some("x".to_owned()),
        namespace: Some("n".to_owned()),
        uid: Some("u".to_owned()),
        annotations: Some(kept.collect()),
        ..ObjectMeta::default()
    };
    assert_eq!(*ingress, Ingress { metadata, ..Ingress::default() });
}

/// So the API server writes the slice of a Service without pods: it is an empty slice and no broken one, whose endpoints
/// would stay as they were.
#[test]
fn a_slice_without_endpoints_has_none() {
    let fields = json!({"addressType": "IPv4", "endpoints": null, "ports": null});
    // kubectl prints it so as well, and people put that into a file.
    for origin in [Origin::Cluster, Origin::File] {
        let (object, findings) = decoded(Kind::EndpointSlice, fields.clone(), origin);
        assert!(findings.iter().all(|finding| finding.starts_with("metadata.labels: ")), "{findings:?}");
        let Some(Object::EndpointSlice(slice)) = object else { panic!() };
        assert!(slice.endpoints.is_empty() && slice.ports.is_empty());
    }
}

/// A field nobody knows is told and costs nothing, except in a cluster that may know it better.
#[test]
fn tells_unknown_fields() {
    let fields = json!({"spec": {"ports": [{"port": 80, "nodeprot": 1}]}});
    let (usable, findings) = file(Kind::Service, fields.clone());
    assert!(usable);
    assert_eq!(
        findings,
        ["spec.ports[0].nodeprot: unknown field \"nodeprot\"; did you mean \"nodePort\"? (it is ignored)"]
    );
    assert_eq!(decoded(Kind::Service, fields, Origin::Cluster).1, [""; 0]);

    let mut spoilt = rule();
    spoilt["timeout"] = json!({});
    let fields = route(json!([spoilt]));
    for origin in [Origin::File, Origin::Cluster] {
        let (object, findings) = decoded(Kind::GatewayRoute, fields.clone(), origin);
        assert!(object.is_some());
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            findings[0].starts_with("spec.rules[0].timeout: unknown field \"timeout\"; did you mean"),
            "{findings:?}"
        );
    }
    let fields = json!({"metadata": {"name": "x", "lables": {}}, "spec": route(json!([rule()]))["spec"]});
    let (usable, findings) = file(Kind::GatewayRoute, fields);
    assert!(usable);
    assert!(
        findings[0].starts_with("metadata.lables: unknown field \"lables\"; did you mean \"labels\"?"),
        "{findings:?}"
    );
}

/// Everything of `ingress-semantics.md` 5.1 that an API server refuses, each at its field, and which of it costs more
/// than that field.
#[test]
fn checks_ingresses_as_an_api_server_would() {
    let path = |path: &str, kind: &str| json!([{"path": path, "pathType": kind, "backend": backend()}]);
    let with_backend = |backend: Value| ingress(json!([{"path": "/", "pathType": "Prefix", "backend": backend}]));
    let host = |host: &str| json!({"spec": {"rules": [{"host": host}]}});
    let at = "!spec.rules[0].http.paths[0]";
    for (fields, usable, expected) in [
        (ingress(path("/a", "Prefix")), true, None),
        (ingress(path("", "ImplementationSpecific")), true, None),
        (host("*.a.example"), true, None),
        (json!({"spec": {"defaultBackend": backend()}}), true, None),
        (ingress(path("a", "Prefix")), true, Some(format!("{at}.path: \"a\" does not start with '/'; \"/a\" would"))),
        (ingress(path("", "Exact")), true, Some(format!("{at}.path: \"\" does not start with '/'; \"/\" would"))),
        (ingress(path("a", "ImplementationSpecific")), true, Some(format!("{at}.path: \"a\" does not start"))),
        (ingress(path("/a//b", "Exact")), true, Some(format!("{at}.path: \"/a//b\" contains \"//\""))),
        (ingress(path("/a/./b", "Exact")), true, Some(format!("{at}.path: \"/a/./b\" contains \"/./\""))),
        (ingress(path("/a/../b", "Prefix")), true, Some(format!("{at}.path: \"/a/../b\" contains \"/../\""))),
        (ingress(path("/a%2fb", "Prefix")), true, Some(format!("{at}.path: \"/a%2fb\" contains \"%2f\""))),
        (ingress(path("/a/..", "Prefix")), true, Some(format!("{at}.path: \"/a/..\" ends with \"/..\""))),
        (ingress(path("/a/.", "Exact")), true, Some(format!("{at}.path: \"/a/.\" ends with \"/.\""))),
        (ingress(path("/a", "prefix")), true, Some(format!("{at}.pathType: \"prefix\" is not one of"))),
        (ingress(json!([{"path": "/", "backend": backend()}])), true, Some(format!("{at}.pathType: is required"))),
        (ingress(json!([])), true, Some("!spec.rules[0].http.paths: is empty".to_owned())),
        (host("A.example"), true, Some("!spec.rules[0].host: \"A.example\" is no host".to_owned())),
        (host("a.example:80"), true, Some("!spec.rules[0].host: \"a.example:80\" is no host".to_owned())),
        (host("1.2.3.4"), true, Some("!spec.rules[0].host: \"1.2.3.4\" is no host".to_owned())),
        (host("*"), true, Some("!spec.rules[0].host: \"*\" is no host".to_owned())),
        (host("a.*.example"), true, Some("!spec.rules[0].host: \"a.*.example\" is no host".to_owned())),
        (with_backend(json!({})), true, Some(format!("{at}.backend: has neither service nor resource"))),
        (
            with_backend(
                json!({"service": {"name": "s", "port": {"number": 80}}, "resource": {"kind": "K", "name": "n"}}),
            ),
            true,
            Some(format!("{at}.backend: has both service and resource")),
        ),
        (
            with_backend(json!({"service": {"name": "s", "port": {"number": 80, "name": "web"}}})),
            true,
            Some(format!("{at}.backend.service.port: has both name and number")),
        ),
        (
            with_backend(json!({"service": {"name": "s"}})),
            true,
            Some(format!("{at}.backend.service.port: needs a name or a number")),
        ),
        (
            with_backend(json!({"service": {"name": "s", "port": {"number": 0}}})),
            true,
            Some(format!("{at}.backend.service.port.number: 0 is no port")),
        ),
        (json!({"spec": {}}), false, Some("!spec: has neither rules nor a defaultBackend".to_owned())),
        (json!({"spec": {"rules": "all"}}), false, Some("!spec.rules: must be a list".to_owned())),
        (
            json!({"spec": {"rules": [{}], "tls": [{"hosts": ["a.example", "b_"]}]}}),
            true,
            Some("!spec.tls[0].hosts[1]: \"b_\" is no host".to_owned()),
        ),
    ] {
        let (used, findings) = file(Kind::Ingress, fields.clone());
        assert_eq!(used, usable, "{fields}: {findings:?}");
        match expected {
            None => assert_eq!(findings, [""; 0], "{fields}"),
            Some(expected) => assert!(findings[0].starts_with(&expected), "{fields}: {findings:?} not {expected}"),
        }
    }
}

#[test]
fn checks_the_other_kinds_as_an_api_server_would() {
    let slice = |family: &str, address: &str| {
        json!({
            "metadata": {"name": "x", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": family,
            "endpoints": [{"addresses": ["::1".replace("::1", address)]}],
            "ports": [{"port": 80}],
        })
    };
    for (kind, fields, usable, expected) in [
        (Kind::EndpointSlice, slice("IPv4", "127.0.0.1"), true, None),
        (Kind::EndpointSlice, slice("IPv6", "::1"), true, None),
        (Kind::EndpointSlice, slice("FQDN", "a.example"), true, None),
        (
            Kind::EndpointSlice,
            slice("IPv4", "::1"),
            true,
            Some("!endpoints[0].addresses[0]: \"::1\" is no IPv4 address"),
        ),
        (Kind::EndpointSlice, slice("IPv4", "localhost"), true, Some("!endpoints[0].addresses[0]: ")),
        (Kind::EndpointSlice, slice("IP", "::1"), false, Some("!addressType: \"IP\" is not one of")),
        (
            Kind::EndpointSlice,
            json!({"addressType": "IPv4", "endpoints": []}),
            true,
            Some("metadata.labels: has no label kubernetes.io/service-name"),
        ),
        (Kind::Service, json!({"spec": {}}), false, Some("!spec.ports: is empty")),
        (Kind::Service, json!({}), false, Some("!spec: is missing")),
        (Kind::Service, json!({"spec": {"clusterIP": "None"}}), true, None),
        (Kind::Service, json!({"spec": {"type": "ExternalName", "externalName": "a.example"}}), true, None),
        (
            Kind::Service,
            json!({"spec": {"ports": [{"port": 70000}]}}),
            true,
            Some("!spec.ports[0].port: 70000 is no port"),
        ),
        (
            Kind::Service,
            json!({"spec": {"ports": [{"port": 1, "name": "a"}, {"port": 2}]}}),
            true,
            Some("!spec.ports[1].name: is missing"),
        ),
        (
            Kind::Service,
            json!({"metadata": {"name": "1x"}, "spec": {"ports": [{"port": 1}]}}),
            false,
            Some("!metadata.name: \"1x\" is no name for a Service"),
        ),
        (
            Kind::Service,
            json!({"metadata": {"name": "x", "namespace": "A"}, "spec": {"ports": [{"port": 1}]}}),
            false,
            Some("!metadata.namespace: \"A\" is no name for a namespace"),
        ),
        (Kind::IngressClass, json!({"spec": {"controller": "me"}}), false, Some("!spec.controller: \"me\" names no")),
        (
            Kind::Secret,
            json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "Qw=="}}),
            false,
            Some("!data: has no tls.key"),
        ),
        (Kind::Secret, json!({"data": {"a": "not base64!"}}), false, Some("!data.a: is no base64")),
        (Kind::ReferenceGrant, json!({"spec": {"from": []}}), false, Some("!spec.")),
    ] {
        let (used, findings) = file(kind, fields.clone());
        assert_eq!(used, usable, "{fields}: {findings:?}");
        match expected {
            None => assert_eq!(findings, [""; 0], "{fields}"),
            Some(expected) => assert!(findings[0].starts_with(expected), "{fields}: {findings:?} not {expected}"),
        }
    }
}

/// Whatever is wrong with a Secret, its values are not repeated.
#[test]
fn never_quotes_a_secret() {
    for fields in [
        json!({"data": {"tls.key": 1_234_567}}),
        json!({"data": "1234567"}),
        json!({"stringData": {"tls.key": 1_234_567}}),
        json!({"data": {"tls.key": "1234567 "}}),
        json!({"stringData": {"a": ["1234567"]}}),
    ] {
        for origin in [Origin::File, Origin::Cluster] {
            let (object, findings) = decoded(Kind::Secret, fields.clone(), origin);
            assert!(object.is_none() && !findings.is_empty(), "{fields}: {findings:?}");
            assert!(!findings.concat().contains("1234567"), "{findings:?}");
        }
    }
}

fn rules(object: &Object) -> Vec<(usize, usize)> {
    let Object::GatewayRoute(route) = object else { panic!() };
    route.spec.rules.iter().map(|rule| (rule.matches.len(), rule.backend_refs.len())).collect()
}

#[test]
fn a_bad_rule_costs_only_itself() {
    // CEL: a rule needs backendRefs. It still decodes and keeps its matches.
    let (object, findings) =
        decoded(Kind::GatewayRoute, route(json!([rule(), {"matches": [{"path": {"value": "/b"}}]}])), Origin::File);
    assert_eq!(rules(&object.unwrap()), [(1, 1), (1, 0)]);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].starts_with("!spec.rules[1]: "), "{findings:?}");

    // A wrong type does not decode; what is left of the rule says which requests it would have taken.
    let mut wrong = rule();
    wrong["filters"] = json!("none");
    wrong["name"] = json!("wrong");
    let (object, findings) = decoded(Kind::GatewayRoute, route(json!([rule(), wrong, rule()])), Origin::File);
    assert_eq!(rules(&object.unwrap()), [(1, 1), (1, 0), (1, 1)]);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].starts_with("!spec.rules[1].filters: must be a list"), "{findings:?}");
}

/// A match that cannot be read must not become one that takes everything.
#[test]
fn an_unreadable_match_claims_nothing() {
    let matches = json!([{"path": {"value": "/b"}}, {"path": {"type": "Prefx", "value": "/c"}}]);
    let (object, findings) = decoded(Kind::GatewayRoute, route(json!([{"matches": matches}, rule()])), Origin::File);
    assert_eq!(rules(&object.unwrap()), [(2, 0), (1, 1)]);
    assert!(findings.iter().any(|it| it.starts_with("!spec.rules[0].matches[1]")), "{findings:?}");

    for unreadable in [json!({"matches": "all"}), json!("x")] {
        let (object, findings) = decoded(Kind::GatewayRoute, route(json!([unreadable, rule()])), Origin::File);
        assert_eq!(rules(&object.unwrap()), [(0, 0), (1, 1)]);
        assert!(findings.iter().any(|it| it.starts_with("!spec.rules[0].matches: ")), "{findings:?}");
    }
}

#[test]
fn what_is_wrong_with_a_spec_costs_the_object() {
    for spec in
        [json!({"hostnames": ["a..b"], "rules": [rule()]}), json!({"rules": {}}), json!({"rules": []}), json!(1)]
    {
        let (object, findings) = decoded(Kind::GatewayRoute, json!({"spec": spec}), Origin::Cluster);
        assert!(object.is_none(), "{spec}");
        assert!(findings[0].starts_with("!spec"), "{findings:?}");
    }
}

/// Metadata of a shape that no API server would send still tells which object it is.
#[test]
fn metadata_that_does_not_decode_keeps_its_name() {
    let metadata = json!({"name": "x", "namespace": "n", "generation": 3, "creationTimestamp": 7});
    let document = document(Kind::GatewayRoute, json!({"metadata": metadata}));
    let Ok(Change::Invalid(key, metadata, findings)) = decode(Kind::GatewayRoute, document, Origin::Cluster) else {
        panic!()
    };
    assert_eq!(key, ObjectKey::new(Kind::GatewayRoute, "n", "x"));
    assert_eq!(metadata.generation, Some(3));
    assert!(findings.iter().any(|it| it.field == "metadata"), "{findings:?}");
}
