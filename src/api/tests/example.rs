//! The full example.

use super::*;

const FULL: &str = include_str!("full.yaml");

#[test]
fn the_full_example_is_valid_and_loses_nothing() {
    let [route, policy] = <[Value; 2]>::try_from(documents(FULL)).unwrap();
    assert_eq!(lines(&gateway_route::validate(&route)), Vec::<String>::new());
    assert_eq!(lines(&rate_limit_policy::validate(&policy)), Vec::<String>::new());

    let route_back = round_trip::<GatewayRoute>(&route);
    assert!(contains(&route_back, &route), "{route_back:#}");
    assert_eq!(round_trip::<GatewayRoute>(&route_back), route_back);
    let policy_back = round_trip::<RateLimitPolicy>(&policy);
    assert!(contains(&policy_back, &policy), "{policy_back:#}");
    assert_eq!(round_trip::<RateLimitPolicy>(&policy_back), policy_back);

    let (read, violations) = gateway_route::read(&route);
    assert_eq!(read, serde_json::from_value(route).unwrap());
    assert_eq!(violations, []);
    let read = read.unwrap();
    read.validate_cel().unwrap();
    serde_json::from_value::<RateLimitPolicy>(policy).unwrap().validate_cel().unwrap();
}

/// A field that the example does not show is a field whose name nothing has proven.
#[test]
fn the_full_example_shows_every_field() {
    // Parts of a reference that have a default, and the second occurrence of types shown elsewhere.
    const ELSEWHERE: &[&str] = &[
        ".group",
        ".kind",
        ".namespace",
        ".backendRefs[].filters[].",
        ".remoteJWKS.caCertificateRefs",
        ".queryParams[].value",
        ".requestRedirect.port",
        ".path.replace",
        ".when.headers[].type",
    ];
    let [route, policy] = <[Value; 2]>::try_from(documents(FULL)).unwrap();
    for ((kind, schema), example) in schemas().into_iter().zip([route, policy]) {
        let mut missing = Vec::new();
        visit("", &schema, &mut |path, _| {
            if !path.starts_with(".status") && !occurs(&[&example], path) {
                missing.push(path.to_owned());
            }
        });
        missing.retain(|path| !ELSEWHERE.iter().any(|it| path.contains(it)));
        assert_eq!(missing, Vec::<String>::new(), "{kind}");
    }
}

/// Whether the schema path (`.spec.rules[].name`) has a value somewhere in one of `values`.
fn occurs(values: &[&Value], path: &str) -> bool {
    let Some(rest) = path.strip_prefix('.').or_else(|| path.strip_prefix('[')) else {
        return !values.is_empty();
    };
    if let Some(rest) = rest.strip_prefix(']') {
        let items: Vec<&Value> = values.iter().filter_map(|it| it.as_array()).flatten().collect();
        return occurs(&items, rest);
    }
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let fields: Vec<&Value> = values.iter().filter_map(|it| it.get(&rest[..end])).collect();
    occurs(&fields, &rest[end..])
}

#[test]
fn defaults_are_filled_in() {
    let (route, violations) = gateway_route::read(&json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "GatewayRoute",
        "metadata": {"name": "small", "namespace": "shop"},
        "spec": {"hostnames": null, "rules": [{"backendRefs": [{"name": "app", "port": 80}]}]},
    }));
    assert_eq!(violations, [], "a null is no value, as for the API server");
    let spec = serde_json::to_value(route.unwrap().spec).unwrap();
    assert_eq!(
        spec,
        json!({"rules": [{"backendRefs": [{"kind": "Service", "name": "app", "port": 80, "weight": 1, "fallback": false}]}]})
    );
}

#[test]
fn reference_grants_are_read_and_checked() {
    let grant = json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "from-shop", "namespace": "platform"},
        "spec": {
            "from": [{"group": "headgate.dev", "kind": "GatewayRoute", "namespace": "shop"}],
            "to": [{"group": "", "kind": "Service", "name": "cdn"}, {"group": "", "kind": "Secret"}],
        },
    });
    assert_eq!(round_trip::<ReferenceGrant>(&grant), grant);
    assert_eq!(reference_grant::validate(&grant), []);
    let bad = json!({"spec": {"from": [], "to": [{"group": "", "kind": "Service", "nam": "cdn"}]}});
    assert_eq!(
        lines(&reference_grant::validate(&bad)),
        ["spec.from: has 0 items, at least 1 needed", r#"spec.to[0].nam: unknown field "nam"; did you mean "name"?"#,]
    );
}
