//! What is refused, at which field and with which words.

use super::*;

/// A small valid object with `value` put at a JSON pointer, and the violations that gives.
struct Case(&'static str, Value, &'static [&'static str]);

fn route() -> Value {
    json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "GatewayRoute",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {
            "hostnames": ["shop.example.com"],
            "rules": [
                {
                    "name": "main",
                    "matches": [{"path": {"value": "/"}}],
                    "filters": [{"type": "IPAccess", "ipAccess": {"deny": ["10.0.0.0/8"]}}],
                    "backendRefs": [{"name": "app", "port": 80}],
                },
                {"name": "other", "backendRefs": [{"name": "app", "port": 80}]},
            ],
        },
    })
}

fn policy() -> Value {
    json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "RateLimitPolicy",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {
            "targetRefs": [{"group": "headgate.dev", "kind": "GatewayRoute", "name": "shop"}],
            "limits": [
                {"name": "a", "requests": 1, "period": "1s", "when": {}},
                {"name": "b", "requests": 1, "period": "24h"},
            ],
        },
    })
}

/// Puts `value` at `pointer`, whose parent exists.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        parent => parent[key] = value,
    }
}

fn run(base: fn() -> Value, validate: fn(&Value) -> Vec<Violation>, cause: Cause, cases: Vec<Case>) {
    assert_eq!(validate(&base()), []);
    for Case(pointer, value, expected) in cases {
        let mut object = base();
        put(&mut object, pointer, value.clone());
        let found = validate(&object);
        assert_eq!(lines(&found), expected, "{pointer} = {value}");
        assert!(found.iter().all(|it| it.cause == cause), "{pointer} = {value}: {found:?}");
    }
}

#[test]
fn rules_of_gateway_routes_hold() {
    const RULE: &str = "/spec/rules/0";
    let filter = |expected: &'static [&'static str], filter: Value| Case("/spec/rules/0/filters/0", filter, expected);
    let path = |expected: &'static [&'static str], path: Value| Case("/spec/rules/0/matches/0/path", path, expected);
    let modifier = |expected: &'static [&'static str], path: Value| {
        Case("/spec/rules/0/filters/0", json!({"type": "URLRewrite", "urlRewrite": {"path": path}}), expected)
    };
    let backend = json!({"name": "app", "port": 80});
    run(
        route,
        gateway_route::validate,
        Cause::Rule,
        vec![
            Case("/spec/rules/1/name", json!("main"), &["spec: rule names must be unique"]),
            Case(
                "/spec/rules/0/jwt",
                json!({"providers": ["main"]}),
                &["spec: jwt.providers must name an entry of jwtProviders"],
            ),
            Case(
                "/spec/jwtProviders",
                json!([{"name": "main", "algorithms": ["RS256"]}]),
                &["spec.jwtProviders[0]: set exactly one of remoteJWKS and localJWKS"],
            ),
            Case(
                "/spec/jwtProviders",
                json!([{
                    "name": "main",
                    "algorithms": ["RS256"],
                    "remoteJWKS": {"uri": "https://issuer.example.com/keys"},
                    "localJWKS": {"valueRef": {"name": "keys"}},
                }]),
                &["spec.jwtProviders[0]: set exactly one of remoteJWKS and localJWKS"],
            ),
            Case(
                "/spec/jwtProviders",
                json!([{
                    "name": "main",
                    "algorithms": ["RS256"],
                    "localJWKS": {"valueRef": {"name": "keys"}},
                    "extractFrom": {},
                }]),
                &["spec.jwtProviders[0].extractFrom: extractFrom needs at least one of headers, cookies and params"],
            ),
            Case(
                "/spec/jwtProviders",
                json!([{"name": "main", "algorithms": ["RS256"], "localJWKS": {}}]),
                &["spec.jwtProviders[0].localJWKS: set exactly one of inline and valueRef"],
            ),
            Case(
                "/spec/jwtProviders",
                json!([{
                    "name": "main",
                    "algorithms": ["RS256"],
                    "localJWKS": {"inline": "{}", "valueRef": {"name": "keys"}},
                }]),
                &["spec.jwtProviders[0].localJWKS: set exactly one of inline and valueRef"],
            ),
            Case(
                RULE,
                json!({
                    "jwt": {"providers": ["main"]},
                    "basicAuth": {"secretRef": {"name": "people"}},
                    "backendRefs": [{"name": "web", "port": 80}],
                }),
                &[
                    "spec: jwt.providers must name an entry of jwtProviders",
                    "spec.rules[0]: set at most one of jwt and basicAuth: both are read from the Authorization header",
                ],
            ),
            Case(
                RULE,
                json!({}),
                &["spec.rules[0]: a rule needs backendRefs, or a RequestRedirect or DirectResponse filter"],
            ),
            Case(
                "/spec/rules/0/backendRefs",
                json!([]),
                &["spec.rules[0]: a rule needs backendRefs, or a RequestRedirect or DirectResponse filter"],
            ),
            Case(
                "/spec/rules/0/backendRefs",
                json!([{"name": "app", "port": 80, "weight": 0}]),
                &["spec.rules[0]: at least one backendRef that is no fallback must have a weight above 0"],
            ),
            Case(
                "/spec/rules/0/backendRefs",
                json!([{"name": "app", "port": 80, "weight": 0}, {"name": "app", "port": 80, "fallback": true}]),
                &["spec.rules[0]: at least one backendRef that is no fallback must have a weight above 0"],
            ),
            filter(
                &["spec.rules[0].filters[0]: ipAccess must be set exactly when type is IPAccess"],
                json!({"type": "IPAccess"}),
            ),
            filter(&["spec.rules[0].filters[0]: cors must be set exactly when type is CORS"], json!({"type": "CORS"})),
            filter(
                &["spec.rules[0].filters[0]: externalAuth must be set exactly when type is ExternalAuth"],
                json!({"type": "ExternalAuth"}),
            ),
            filter(
                &[
                    "spec.rules[0].filters[0]: requestHeaderModifier must be set exactly when type is RequestHeaderModifier",
                ],
                json!({"type": "RequestHeaderModifier"}),
            ),
            filter(
                &[
                    "spec.rules[0].filters[0]: responseHeaderModifier must be set exactly when type is ResponseHeaderModifier",
                ],
                json!({"type": "ResponseHeaderModifier"}),
            ),
            filter(
                &["spec.rules[0].filters[0]: urlRewrite must be set exactly when type is URLRewrite"],
                json!({"type": "URLRewrite"}),
            ),
            filter(
                &["spec.rules[0].filters[0]: requestMirror must be set exactly when type is RequestMirror"],
                json!({"type": "RequestMirror"}),
            ),
            filter(
                &["spec.rules[0].filters[0]: requestRedirect must be set exactly when type is RequestRedirect"],
                json!({"type": "RequestRedirect"}),
            ),
            filter(
                &["spec.rules[0].filters[0]: directResponse must be set exactly when type is DirectResponse"],
                json!({"type": "DirectResponse"}),
            ),
            filter(
                &[
                    "spec.rules[0].filters[0]: ipAccess must be set exactly when type is IPAccess",
                    "spec.rules[0].filters[0]: cors must be set exactly when type is CORS",
                    "spec.rules[0].filters[0]: externalAuth must be set exactly when type is ExternalAuth",
                    "spec.rules[0].filters[0]: requestHeaderModifier must be set exactly when type is RequestHeaderModifier",
                    "spec.rules[0].filters[0]: responseHeaderModifier must be set exactly when type is ResponseHeaderModifier",
                    "spec.rules[0].filters[0]: urlRewrite must be set exactly when type is URLRewrite",
                    "spec.rules[0].filters[0]: requestMirror must be set exactly when type is RequestMirror",
                    "spec.rules[0].filters[0]: requestRedirect must be set exactly when type is RequestRedirect",
                ],
                json!({
                    "type": "DirectResponse",
                    "ipAccess": {"allow": ["10.0.0.0/8"]},
                    "cors": {"allowOrigins": ["*"]},
                    "externalAuth": {"backendRef": backend},
                    "requestHeaderModifier": {},
                    "responseHeaderModifier": {},
                    "urlRewrite": {"hostname": "a.example.com"},
                    "requestMirror": {"backendRef": backend},
                    "requestRedirect": {},
                    "directResponse": {"statusCode": 200},
                }),
            ),
            filter(
                &["spec.rules[0].filters[0].ipAccess: ipAccess needs allow or deny"],
                json!({"type": "IPAccess", "ipAccess": {}}),
            ),
            filter(
                &["spec.rules[0].filters[0].cors: allowCredentials cannot be combined with allowOrigins '*'"],
                json!({"type": "CORS", "cors": {"allowOrigins": ["*"], "allowCredentials": true}}),
            ),
            filter(
                &["spec.rules[0].filters[0].urlRewrite: urlRewrite needs hostname or path"],
                json!({"type": "URLRewrite", "urlRewrite": {}}),
            ),
            modifier(
                &[
                    "spec.rules[0].filters[0].urlRewrite.path: replaceFullPath must be set exactly when type is ReplaceFullPath",
                ],
                json!({"type": "ReplaceFullPath"}),
            ),
            modifier(
                &[
                    "spec.rules[0].filters[0].urlRewrite.path: replacePrefixMatch must be set exactly when type is ReplacePrefixMatch",
                ],
                json!({"type": "ReplacePrefixMatch"}),
            ),
            modifier(
                &[
                    "spec.rules[0].filters[0].urlRewrite.path: replaceFullPath must be set exactly when type is ReplaceFullPath",
                    "spec.rules[0].filters[0].urlRewrite.path: replaceTemplate must be set exactly when type is ReplaceTemplate",
                ],
                json!({"type": "ReplaceTemplate", "replaceFullPath": "/v2/:id"}),
            ),
            Case(
                "/spec/rules/0/backendRefs/0/filters",
                json!([{"type": "CORS"}]),
                &["spec.rules[0].backendRefs[0].filters[0]: cors must be set exactly when type is CORS"],
            ),
            Case(
                "/spec/rules/0/loadBalancer",
                json!({"type": "ConsistentHash"}),
                &["spec.rules[0].loadBalancer: consistentHash must be set exactly when type is ConsistentHash"],
            ),
            Case(
                "/spec/rules/0/loadBalancer",
                json!({"type": "Random", "consistentHash": {"type": "ClientIP"}}),
                &["spec.rules[0].loadBalancer: consistentHash must be set exactly when type is ConsistentHash"],
            ),
            Case(
                "/spec/rules/0/loadBalancer",
                json!({"type": "ConsistentHash", "consistentHash": {"type": "Header"}}),
                &["spec.rules[0].loadBalancer.consistentHash: name is required unless type is ClientIP"],
            ),
            Case(
                "/spec/rules/0/loadBalancer",
                json!({"type": "ConsistentHash", "consistentHash": {"type": "ClientIP", "name": "x"}}),
                &["spec.rules[0].loadBalancer.consistentHash: name is required unless type is ClientIP"],
            ),
            Case(
                "/spec/rules/0/matches/0/headers",
                json!([{"name": "X-A"}]),
                &["spec.rules[0].matches[0].headers[0]: value is required unless type is Present"],
            ),
            Case(
                "/spec/rules/0/matches/0/queryParams",
                json!([{"name": "a", "type": "Present", "value": "1"}]),
                &["spec.rules[0].matches[0].queryParams[0]: value is required unless type is Present"],
            ),
            path(&["spec.rules[0].matches[0].path: value must start with '/'"], json!({"value": "shop"})),
            path(
                &["spec.rules[0].matches[0].path: '*rest' must be the last segment"],
                json!({"type": "Template", "value": "/a/*rest/b"}),
            ),
            path(
                &["spec.rules[0].matches[0].path: ':name' and '*rest' need type: Template"],
                json!({"type": "PathPrefix", "value": "/orders/:id"}),
            ),
            path(
                &["spec.rules[0].matches[0].path: ':name' and '*rest' need type: Template"],
                json!({"type": "Exact", "value": "/assets/*rest"}),
            ),
            Case(
                "/spec/rules/0/timeouts",
                json!({"request": "1s", "backendRequest": "1001ms"}),
                &["spec.rules[0].timeouts: backendRequest must not be longer than request"],
            ),
            Case(
                "/spec/rules/0/healthCheck",
                json!({"path": "/", "expectedStatuses": [{"start": 299, "end": 200}]}),
                &["spec.rules[0].healthCheck.expectedStatuses[0]: start must not be above end"],
            ),
            Case(
                "/spec/rules/0/healthCheck",
                json!({"interval": "5s"}),
                &["spec.rules[0].healthCheck: path must be set exactly when type is HTTP"],
            ),
            Case(
                "/spec/rules/0/healthCheck",
                json!({"type": "TCP", "path": "/", "grpcService": "a", "expectedStatuses": [{"start": 200, "end": 299}]}),
                &[
                    "spec.rules[0].healthCheck: path must be set exactly when type is HTTP",
                    "spec.rules[0].healthCheck: expectedStatuses is only used when type is HTTP",
                    "spec.rules[0].healthCheck: grpcService is only used when type is GRPC",
                ],
            ),
            Case(
                "/spec/rules/0/sessionPersistence",
                json!({"type": "Header", "cookieConfig": {}}),
                &["spec.rules[0].sessionPersistence: cookieConfig is only used when type is Cookie"],
            ),
            Case(
                "/spec/rules/0/sessionPersistence",
                json!({"cookieConfig": {"lifetimeType": "Permanent"}}),
                &[
                    "spec.rules[0].sessionPersistence: absoluteTimeout is required when cookieConfig.lifetimeType is Permanent",
                ],
            ),
        ],
    );
}

#[test]
fn rules_of_rate_limit_policies_hold() {
    let limit = |extra: Value, expected: &'static [&'static str]| {
        let mut limit = policy()["spec"]["limits"][0].clone();
        limit.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Case("/spec/limits/0", limit, expected)
    };
    run(
        policy,
        rate_limit_policy::validate,
        Cause::Rule,
        vec![
            Case(
                "/spec/targetRefs/0",
                json!({"group": "apps", "kind": "Deployment", "name": "shop"}),
                &["spec: targetRefs must point at a GatewayRoute, an Ingress, an IngressClass or a Service"],
            ),
            Case(
                "/spec/targetRefs/0",
                json!({"group": "headgate.dev", "kind": "Ingress", "name": "shop"}),
                &["spec: targetRefs must point at a GatewayRoute, an Ingress, an IngressClass or a Service"],
            ),
            Case(
                "/spec/targetRefs/0",
                json!({"group": "networking.k8s.io", "kind": "Ingress", "name": "shop", "sectionName": "a"}),
                &["spec: sectionName is only used with a GatewayRoute or a Service"],
            ),
            Case("/spec/limits/1/name", json!("a"), &["spec: limit names must be unique"]),
            limit(
                json!({"algorithm": "SlidingWindow", "burst": 1}),
                &["spec.limits[0]: burst is not used by SlidingWindow"],
            ),
            limit(json!({"maxDelay": "1s"}), &["spec.limits[0]: maxDelay is only used by LeakyBucket"]),
            limit(json!({"precision": "Exact"}), &["spec.limits[0]: precision is only used by SlidingWindow"]),
            limit(
                json!({"sync": "Leased"}),
                &["spec.limits[0]: sync and failureMode are only used when scope is Global"],
            ),
            limit(
                json!({"failureMode": "Open"}),
                &["spec.limits[0]: sync and failureMode are only used when scope is Global"],
            ),
            limit(json!({"period": "0s"}), &["spec.limits[0].period: period must be above 0s and at most 24h"]),
            limit(json!({"period": "24h1ms"}), &["spec.limits[0].period: period must be above 0s and at most 24h"]),
            limit(json!({"key": [{"type": "Header"}]}), &["spec.limits[0].key[0]: name is required for this key type"]),
            limit(
                json!({"key": [{"type": "Route", "name": "x"}]}),
                &["spec.limits[0].key[0]: name is required for this key type"],
            ),
            limit(
                json!({"key": [{"type": "Host", "ipv4PrefixLength": 24}]}),
                &["spec.limits[0].key[0]: ipv4PrefixLength and ipv6PrefixLength are only used when type is ClientIP"],
            ),
            Case(
                "/spec/limits/0/when/path",
                json!({"value": "x"}),
                &["spec.limits[0].when.path: value must start with '/'"],
            ),
            Case(
                "/spec/limits/0/when/path",
                json!({"type": "Template", "value": "/*a/b"}),
                &["spec.limits[0].when.path: '*rest' must be the last segment"],
            ),
            Case(
                "/spec/limits/0/when/path",
                json!({"value": "/:a"}),
                &["spec.limits[0].when.path: ':name' and '*rest' need type: Template"],
            ),
            Case(
                "/spec/limits/0/when/headers",
                json!([{"name": "a"}]),
                &["spec.limits[0].when.headers[0]: value is required unless type is Present"],
            ),
        ],
    );
}

/// Every rule of both CRDs has a case above.
#[test]
fn every_rule_has_a_negative_case() {
    let cases = include_str!("negative.rs");
    for (kind, schema) in schemas() {
        visit(&kind, &schema, &mut |path, schema| {
            for rule in schema.x_kubernetes_validations.iter().flatten() {
                let message = rule.message.as_deref().unwrap_or_else(|| panic!("{path} has a rule without message"));
                assert!(cases.contains(message), "{path}: no case for {message:?}");
            }
        });
    }
}

#[test]
fn structure_is_checked_as_the_api_server_does() {
    let long = "a".repeat(254);
    run(
        route,
        gateway_route::validate,
        Cause::Schema,
        vec![
            Case("/spec", json!([]), &["spec: must be an object, is a list"]),
            Case("/spec", json!(null), &["spec: is required; add it, an object"]),
            Case("/spec/rules", json!(null), &["spec.rules: is required; add it, a list"]),
            Case("/spec/rules", json!([]), &["spec.rules: has 0 items, at least 1 needed"]),
            Case("/spec/rules/0", json!(null), &["spec.rules[0]: must be an object, is null"]),
            Case("/spec/rules/0/name", json!(""), &["spec.rules[0].name: must not be empty"]),
            Case(
                "/spec/rules/0/name",
                json!("My_Rule"),
                &[
                    r#"spec.rules[0].name: "My_Rule" is not a name of lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit"#,
                ],
            ),
            Case("/spec/ingressClassName", json!(long), &["spec.ingressClassName: is longer than 253 characters"]),
            Case(
                "/spec/hostnames",
                json!("shop.example.com"),
                &["spec.hostnames: must be a list, is a string: write it as an item of a list"],
            ),
            Case(
                "/spec/hostnames",
                json!(["a.example.com", "b.example.com", "a.example.com"]),
                &[r#"spec.hostnames[2]: "a.example.com" occurs twice in the list"#],
            ),
            Case(
                "/spec/hostnames",
                json!(["a.*.example.com"]),
                &[
                    r#"spec.hostnames[0]: "a.*.example.com" is not a host name in lower case without port, such as shop.example.com or *.example.com"#,
                ],
            ),
            Case(
                "/spec/tls",
                json!({"minVersion": 1.2}),
                &[r#"spec.tls.minVersion: must be a string, is a number: write it in quotes, "1.2""#],
            ),
            Case(
                "/spec/tls",
                json!({"minVersion": "1.1"}),
                &[r#"spec.tls.minVersion: "1.1" is not one of 1.2, 1.3; did you mean 1.2?"#],
            ),
            Case(
                "/spec/tls",
                json!({"httpRedirect": "true"}),
                &[
                    r#"spec.tls.httpRedirect: must be true or false, is the string "true": write it without quotes, true"#,
                ],
            ),
            Case(
                "/spec/rules/0/backendRefs/0/port",
                json!(70_000),
                &["spec.rules[0].backendRefs[0].port: 70000 is above the maximum of 65535"],
            ),
            Case(
                "/spec/rules/0/backendRefs/0/port",
                json!(0),
                &["spec.rules[0].backendRefs[0].port: 0 is below the minimum of 1"],
            ),
            Case(
                "/spec/rules/0/backendRefs/0/port",
                json!("http"),
                &[
                    r#"spec.rules[0].backendRefs[0].port: must be a whole number, is the string "http": write one from 1 to 65535"#,
                ],
            ),
            Case(
                "/spec/rules/0/backendRefs/0/port",
                json!("8080"),
                &[
                    r#"spec.rules[0].backendRefs[0].port: must be a whole number, is the string "8080": write it without quotes, 8080"#,
                ],
            ),
            Case(
                "/spec/rules/0/backendRefs/0/port",
                json!(80.5),
                &["spec.rules[0].backendRefs[0].port: must be a whole number, is 80.5"],
            ),
            Case(
                "/spec/rules/0/backendRefs/0",
                json!({"name": "app"}),
                &["spec.rules[0].backendRefs[0].port: is required; add it, a whole number"],
            ),
            Case(
                "/spec/rules/0/filters/0",
                json!({"requestRedirect": {"statusCode": 301}}),
                &["spec.rules[0].filters[0].type: is required; add it, one of IPAccess, CORS, ExternalAuth, \
                     RequestHeaderModifier, ResponseHeaderModifier, URLRewrite, RequestMirror, RequestRedirect, \
                     DirectResponse"],
            ),
            Case(
                "/spec/rules/0/filters/0",
                json!({"type": "RequestRedirect", "requestRedirect": {"statusCode": 304}}),
                &["spec.rules[0].filters[0].requestRedirect.statusCode: 304 is not one of 301, 302, 303, 307, 308"],
            ),
            Case(
                "/spec/rules/0/matches/0/headers",
                json!([{"name": "X-A", "value": "1"}, {"name": "X-A", "value": "2"}]),
                &[r#"spec.rules[0].matches[0].headers[1]: name "X-A" occurs twice in the list"#],
            ),
            Case(
                "/spec/rules/0/matches/0/headers",
                json!([{"name": "X A", "value": "1"}]),
                &[
                    r#"spec.rules[0].matches[0].headers[0].name: "X A" is not a name of letters, digits and !#$%&'*+.^_`|~-"#,
                ],
            ),
            Case(
                "/spec/rules/0/timeouts",
                json!({"connect": "1.5s"}),
                &[
                    r#"spec.rules[0].timeouts.connect: "1.5s" is not a duration: one to four whole numbers, each with a unit of h, m, s or ms, such as 1m30s"#,
                ],
            ),
            Case(
                "/spec/rules/0/request",
                json!({"maxBodySize": "10MB"}),
                &[
                    r#"spec.rules[0].request.maxBodySize: "10MB" is not a size: a whole number with a suffix such as Ki, Mi or Gi, or none for bytes"#,
                ],
            ),
            Case(
                "/spec/rules/0/compression",
                json!({"algorithms": "zstd"}),
                &["spec.rules[0].compression.algorithms: must be a list, is a string: write it as an item of a list"],
            ),
        ],
    );
    run(
        policy,
        rate_limit_policy::validate,
        Cause::Schema,
        vec![Case(
            "/spec/limits/0/algorithm",
            json!("tokenBucket"),
            &[
                r#"spec.limits[0].algorithm: "tokenBucket" is not one of TokenBucket, LeakyBucket, SlidingWindow; did you mean TokenBucket?"#,
            ],
        )],
    );
}

#[test]
fn unknown_fields_are_named_with_what_was_meant() {
    run(
        policy,
        rate_limit_policy::validate,
        Cause::UnknownField,
        vec![
            Case(
                "/spec/limits/0/bursts",
                json!(20),
                &[r#"spec.limits[0].bursts: unknown field "bursts"; did you mean "burst"?"#],
            ),
            Case(
                "/spec/limits/0/when/zone",
                json!({"a": ["b"]}),
                &[
                    r#"spec.limits[0].when.zone: unknown field "zone"; known here: exceptCIDRs, headers, methods, path, sourceCIDRs"#,
                ],
            ),
            Case("/sepc", json!({}), &[r#"sepc: unknown field "sepc"; did you mean "spec"?"#]),
            // The API server's own business.
            Case("/metadata/anything", json!(1), &[]),
            Case("/status", json!({"conditions": 1}), &[]),
        ],
    );
    run(
        route,
        gateway_route::validate,
        Cause::UnknownField,
        vec![Case(
            "/spec/tls",
            json!({"httpredirect": true}),
            &[r#"spec.tls.httpredirect: unknown field "httpredirect"; did you mean "httpRedirect"?"#],
        )],
    );
}

/// An unknown field is dropped as in the API server, and what is left can be served.
#[test]
fn an_object_with_unknown_fields_can_still_be_read() {
    let mut object = route();
    put(&mut object, "/spec/rules/0/priority", json!(10));
    let (read, violations) = gateway_route::read(&object);
    assert_eq!(lines(&violations).len(), 1);
    assert_eq!(read, gateway_route::read(&route()).0);
    assert!(read.is_some());
}

#[test]
fn what_cannot_be_read_says_why() {
    for object in [json!(null), json!("x"), json!([]), json!({"spec": 1}), json!({"spec": {"rules": [{"name": 1}]}})] {
        let (read, violations) = gateway_route::read(&object);
        assert!(read.is_none() && !violations.is_empty(), "{object}");
        assert!(violations.iter().any(|it| it.cause == Cause::Schema), "{object}: {violations:?}");
    }
}

/// As in the API server, rules wait until types, sizes and required fields are right, and not for anything else.
#[test]
fn rules_run_beside_violations_that_do_not_blind_them() {
    let mut object = route();
    put(&mut object, "/spec/rules/1/name", json!("main"));
    put(&mut object, "/spec/hostnames", json!(["Shop"]));
    assert_eq!(
        gateway_route::validate(&object).iter().map(|it| it.cause).collect::<Vec<_>>(),
        [Cause::Schema, Cause::Rule]
    );
    put(&mut object, "/spec/hostnames", json!(1));
    assert_eq!(gateway_route::validate(&object).iter().map(|it| it.cause).collect::<Vec<_>>(), [Cause::Schema]);
}

#[test]
fn hostile_objects_cost_little() {
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({"a": [deep]});
    }
    let mut object = route();
    put(&mut object, "/spec/deep", deep.clone());
    put(&mut object, "/spec/rules/0/name", deep);
    let found = gateway_route::validate(&object);
    assert_eq!(found.len(), 2, "{found:?}");

    let many: serde_json::Map<String, Value> = (0..10_000).map(|it| (format!("field-{it}"), json!(it))).collect();
    let found = gateway_route::validate(&json!({"spec": many}));
    assert_eq!(found.len(), schema::MAX_VIOLATIONS + 1);
    assert!(found.last().unwrap().message.contains("more than 100 problems"));
}
