//! Every kind of mistake that people make in a declaration, each in an object of its own.

use serde_json::{Value, json};

/// A file with one mistake in it.
pub(crate) struct Mistake {
    /// What is in the file.
    pub(crate) text: Vec<u8>,
    /// The object that it should be told of, `GatewayRoute default/broken-7`; none when the file does not get that far.
    pub(crate) object: Option<String>,
    /// Where the path of the field begins that should be named.
    pub(crate) field: String,
    /// What it is, for whoever reads a failure.
    pub(crate) what: String,
}

/// In a route that is otherwise sound: what is put where, and the field that should be named. `null` takes away.
const IN_A_ROUTE: &[(&str, &str, &str)] = &[
    ("spec/hostnames", "[Upper.test]", "spec.hostnames[0]"),
    ("spec/hostnames", "[under_score.test]", "spec.hostnames[0]"),
    ("spec/hostnames", "['*']", "spec.hostnames[0]"),
    ("spec/hostnames", "['a.test:80']", "spec.hostnames[0]"),
    ("spec/hostnames", "['https://a.test']", "spec.hostnames[0]"),
    ("spec/hostnames", "a.test", "spec.hostnames"),
    ("spec/hostnames", "[good0.test, 7]", "spec.hostnames[1]"),
    ("spec/hostname", "a.test", "spec.hostname"),
    ("spec/ingressClassName", "nginx", "spec.ingressClassName"),
    ("spec/listeners", "[tcp]", "spec.listeners[0]"),
    ("spec/tls", "{certificateRefs: [{name: no-such-secret}]}", "spec.tls.certificateRefs[0].name"),
    ("spec/tls", "{certificateRefs: [{name: a, namespace: elsewhere}]}", "spec.tls.certificateRefs[0].namespace"),
    ("spec/tls", "{certificateRefs: [{kind: ConfigMap, name: a}]}", "spec.tls.certificateRefs[0].kind"),
    ("spec/tls", "{minVersion: '1.1'}", "spec.tls.minVersion"),
    ("spec/tls", "{clientValidation: {caCertificateRefs: [{kind: ConfigMap, name: ca}]}}", "spec.tls.clientValidation"),
    ("spec/jwtProviders", "[{name: p, algorithms: [none]}]", "spec.jwtProviders[0]"),
    ("spec/rules", "[]", "spec.rules"),
    ("spec/rules", "null", "spec"),
    ("spec", "null", "spec"),
    ("spec", "everything", "spec"),
    ("spec/rules/0", "the first", "spec.rules[0]"),
    ("spec/rules/0/match", "[{path: {value: /x}}]", "spec.rules[0].match"),
    ("spec/rules/0/name", "Not a name", "spec.rules[0].name"),
    ("spec/rules/0/matches/0/path", "{type: RegularExpression, value: '('}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{type: RegularExpression, value: '(?=x)'}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{value: relative}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{value: /a//b}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{value: /a/../b}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{value: '/a?b=c'}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{value: '/a b'}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{value: '/a%'}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{value: '/a%2Fb'}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{value: '/orders/:id'}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{type: Exact, value: '/files/*rest'}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{type: Template, value: '/:'}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{type: Template, value: '/:a-b'}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{type: Template, value: '/:a/:a'}", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/path", "{type: Template, value: '/*rest/x'}", "spec.rules[0].matches[0].path"),
    (
        "spec/rules/0/matches/0/path",
        "{type: Template, value: '/:a/:b/:c/:d/:e/:f/:g/:h/:i'}",
        "spec.rules[0].matches[0].path",
    ),
    ("spec/rules/0/matches/0/path", "{type: Glob, value: '/*'}", "spec.rules[0].matches[0].path.type"),
    ("spec/rules/0/matches/0/path", "/x", "spec.rules[0].matches[0].path"),
    ("spec/rules/0/matches/0/method", "get", "spec.rules[0].matches[0].method"),
    ("spec/rules/0/matches/0/headers", "[{name: 'a b', value: c}]", "spec.rules[0].matches[0].headers[0].name"),
    ("spec/rules/0/matches/0/headers", "[{name: a}]", "spec.rules[0].matches[0].headers[0]"),
    (
        "spec/rules/0/matches/0/headers",
        "[{name: a, type: RegularExpression, value: '['}]",
        "spec.rules[0].matches[0].headers[0]",
    ),
    (
        "spec/rules/0/matches/0/queryParams",
        "[{name: a, type: Present, value: b}]",
        "spec.rules[0].matches[0].queryParams[0]",
    ),
    (
        "spec/rules/0/matches/0/queryParams",
        "[{name: a, type: RegularExpression, value: '*'}]",
        "spec.rules[0].matches[0].queryParams[0]",
    ),
    (
        "spec/rules/0/filters",
        "[{type: CORS, cors: {allowOrigins: ['https://a.*.test']}}]",
        "spec.rules[0].filters[0].cors.allowOrigins[0]",
    ),
    (
        "spec/rules/0/filters",
        "[{type: IPAccess, ipAccess: {allow: [10.0.0.1/8]}}]",
        "spec.rules[0].filters[0].ipAccess.allow[0]",
    ),
    (
        "spec/rules/0/filters",
        "[{type: ExternalAuth, externalAuth: {backendRef: {name: b, port: 80}, timeout: 0s}}]",
        "spec.rules[0].filters[0].externalAuth.timeout",
    ),
    (
        "spec/rules/0/filters",
        "[{type: RequestMirror, requestMirror: {backendRef: {name: b, port: 80}, percent: 101}}]",
        "spec.rules[0].filters[0].requestMirror.percent",
    ),
    ("spec/rules/0/filters", "[{type: Rewrite}]", "spec.rules[0].filters[0].type"),
    ("spec/rules/0/filters", "[{type: URLRewrite}]", "spec.rules[0].filters[0]"),
    ("spec/rules/0/filters", "[{type: URLRewrite, urlRewrite: {}}]", "spec.rules[0].filters[0].urlRewrite"),
    (
        "spec/rules/0/filters",
        "[{type: URLRewrite, urlRewrite: {hostname: 'a.test:80'}}]",
        "spec.rules[0].filters[0].urlRewrite.hostname",
    ),
    (
        "spec/rules/0/filters",
        "[{type: URLRewrite, urlRewrite: {path: {type: ReplaceTemplate, replaceTemplate: '/:id'}}}]",
        "spec.rules[0].filters[0].urlRewrite.path",
    ),
    (
        "spec/rules/0/filters",
        "[{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replacePrefixMatch: /a}}}]",
        "spec.rules[0].filters[0].urlRewrite.path",
    ),
    (
        "spec/rules/0/filters",
        "[{type: URLRewrite, urlRewrite: {hostname: a.test}}, {type: URLRewrite, urlRewrite: {hostname: b.test}}]",
        "spec.rules[0].filters[1]",
    ),
    (
        "spec/rules/0/filters",
        "[{type: RequestRedirect, requestRedirect: {statusCode: 200}}]",
        "spec.rules[0].filters[0].requestRedirect.statusCode",
    ),
    (
        "spec/rules/0/filters",
        "[{type: RequestRedirect, requestRedirect: {port: 0}}]",
        "spec.rules[0].filters[0].requestRedirect.port",
    ),
    (
        "spec/rules/0/filters",
        "[{type: RequestRedirect, requestRedirect: {scheme: ftp}}]",
        "spec.rules[0].filters[0].requestRedirect.scheme",
    ),
    (
        "spec/rules/0/filters",
        "[{type: RequestRedirect, requestRedirect: {port: 1}}, {type: DirectResponse, directResponse: {statusCode: 200}}]",
        "spec.rules[0].filters[1]",
    ),
    (
        "spec/rules/0/filters",
        "[{type: DirectResponse, directResponse: {statusCode: 101}}]",
        "spec.rules[0].filters[0].directResponse.statusCode",
    ),
    (
        "spec/rules/0/filters",
        "[{type: DirectResponse, directResponse: {statusCode: 200, contentType: nonsense}}]",
        "spec.rules[0].filters[0].directResponse.contentType",
    ),
    (
        "spec/rules/0/filters",
        "[{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Content-Length, value: '0'}]}}]",
        "spec.rules[0].filters[0].requestHeaderModifier.set[0]",
    ),
    (
        "spec/rules/0/filters",
        "[{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: 'a:', value: b}]}}]",
        "spec.rules[0].filters[0].requestHeaderModifier.set[0]",
    ),
    (
        "spec/rules/0/filters",
        "[{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: a, value: \"b\\r\\nc: d\"}]}}]",
        "spec.rules[0].filters[0].responseHeaderModifier.add[0]",
    ),
    (
        "spec/rules/0/filters",
        "[{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: a, value: ':id'}]}}]",
        "spec.rules[0].filters[0].responseHeaderModifier.set[0]",
    ),
    (
        "spec/rules/0/filters",
        "[{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [Transfer-Encoding]}}]",
        "spec.rules[0].filters[0].responseHeaderModifier.remove[0]",
    ),
    ("spec/rules/0/backendRefs", "null", "spec.rules[0]"),
    ("spec/rules/0/backendRefs", "[{name: missing, port: 80}]", "spec.rules[0].backendRefs[0].name"),
    ("spec/rules/0/backendRefs", "[{name: b, port: 81}]", "spec.rules[0].backendRefs[0].port"),
    ("spec/rules/0/backendRefs", "[{name: b, port: http}]", "spec.rules[0].backendRefs[0].port"),
    ("spec/rules/0/backendRefs", "[{name: b, port: 70000}]", "spec.rules[0].backendRefs[0].port"),
    ("spec/rules/0/backendRefs", "[{name: b}]", "spec.rules[0].backendRefs[0]"),
    (
        "spec/rules/0/backendRefs",
        "[{name: b, port: 80, namespace: elsewhere}]",
        "spec.rules[0].backendRefs[0].namespace",
    ),
    (
        "spec/rules/0/backendRefs",
        "[{name: b, port: 80, kind: Bucket, group: a.test}]",
        "spec.rules[0].backendRefs[0].kind",
    ),
    ("spec/rules/0/backendRefs", "[{name: b, port: 80, weight: -1}]", "spec.rules[0].backendRefs[0].weight"),
    ("spec/rules/0/backendRefs", "[{name: b, port: 80, weight: 0}]", "spec.rules[0]"),
    (
        "spec/rules/0/backendRefs",
        "[{name: b, port: 80, tls: {caCertificateRefs: [{kind: ConfigMap, name: ca}]}}]",
        "spec.rules[0].backendRefs[0].tls.caCertificateRefs",
    ),
    (
        "spec/rules/0/backendRefs",
        "[{name: b, port: 80, filters: [{type: DirectResponse, directResponse: {statusCode: 200}}]}]",
        "spec.rules[0].backendRefs[0].filters[0].type",
    ),
    (
        "spec/rules/0/backendRefs",
        "[{name: b, port: 80, appProtocol: spdy}]",
        "spec.rules[0].backendRefs[0].appProtocol",
    ),
    ("spec/rules/0/loadBalancer", "{type: ConsistentHash}", "spec.rules[0].loadBalancer"),
    ("spec/rules/0/loadBalancer", "{type: Fastest}", "spec.rules[0].loadBalancer.type"),
    ("spec/rules/0/loadBalancer", "{type: Random, consistentHash: {type: ClientIP}}", "spec.rules[0].loadBalancer"),
    (
        "spec/rules/0/loadBalancer",
        "{type: ConsistentHash, consistentHash: {type: PathParam, name: id}}",
        "spec.rules[0].loadBalancer.consistentHash.name",
    ),
    (
        "spec/rules/0/loadBalancer",
        "{type: ConsistentHash, consistentHash: {type: Header}}",
        "spec.rules[0].loadBalancer.consistentHash",
    ),
    (
        "spec/rules/0/loadBalancer",
        "{type: ConsistentHash, consistentHash: {type: JWTClaim, name: sub}}",
        "spec.rules[0].loadBalancer.consistentHash.type",
    ),
    (
        "spec/rules/0/loadBalancer",
        "{type: LeastRequest, slowStart: {window: 0s}}",
        "spec.rules[0].loadBalancer.slowStart.window",
    ),
    ("spec/rules/0/timeouts", "{request: soon}", "spec.rules[0].timeouts.request"),
    ("spec/rules/0/timeouts", "{request: 1s, backendRequest: 2s}", "spec.rules[0].timeouts"),
    ("spec/rules/0/timeouts", "{response: 1s}", "spec.rules[0].timeouts.response"),
    ("spec/rules/0/jwt", "{providers: [nobody]}", "spec"),
    ("spec/rules/0/retry", "{backoff: 1s, maxBackoff: 100ms}", "spec.rules[0].retry.maxBackoff"),
    ("spec/rules/0/sessionPersistence", "{idleTimeout: 10ms}", "spec.rules[0].sessionPersistence.idleTimeout"),
    ("spec/rules/0/circuitBreaker", "{maxPendingRequests: 1}", "spec.rules[0].circuitBreaker.maxPendingRequests"),
    ("spec/rules/0/outlierDetection", "{interval: 0s}", "spec.rules[0].outlierDetection.interval"),
    ("spec/rules/0/healthCheck", "{path: /healthz, timeout: 0s}", "spec.rules[0].healthCheck.timeout"),
    ("spec/rules/0/request", "{maxBodySize: large}", "spec.rules[0].request.maxBodySize"),
    (
        "spec/rules/0/compression",
        "{algorithms: [gzip], contentTypes: [text/event-stream]}",
        "spec.rules[0].compression.contentTypes[0]",
    ),
    ("spec/rules/0/observability", "{traceSamplePercent: 101}", "spec.rules[0].observability.traceSamplePercent"),
    ("metadata/labels", "[a, b]", "metadata"),
    ("metadata/namespace", "Not_A_Namespace", "metadata.namespace"),
    ("extra", "1", "extra"),
];

/// The same for an Ingress.
const IN_AN_INGRESS: &[(&str, &str, &str)] = &[
    ("spec/rules", "null", "spec"),
    ("spec/rules/0/host", "10.0.0.1", "spec.rules[0].host"),
    ("spec/rules/0/host", "'a.test:80'", "spec.rules[0].host"),
    ("spec/rules/0/host", "'*'", "spec.rules[0].host"),
    ("spec/rules/0/host", "'a.*.test'", "spec.rules[0].host"),
    ("spec/rules/0/http", "null", "spec.rules[0]"),
    ("spec/rules/0/http/paths", "[]", "spec.rules[0].http.paths"),
    ("spec/rules/0/http/paths/0/path", "relative", "spec.rules[0].http.paths[0].path"),
    ("spec/rules/0/http/paths/0/path", "/a//b", "spec.rules[0].http.paths[0].path"),
    ("spec/rules/0/http/paths/0/path", "/a/..", "spec.rules[0].http.paths[0].path"),
    ("spec/rules/0/http/paths/0/pathType", "null", "spec.rules[0].http.paths[0].pathType"),
    ("spec/rules/0/http/paths/0/pathType", "Regex", "spec.rules[0].http.paths[0].pathType"),
    ("spec/rules/0/http/paths/0/backend", "null", "spec.rules[0].http.paths[0]"),
    ("spec/rules/0/http/paths/0/backend", "{}", "spec.rules[0].http.paths[0].backend"),
    ("spec/rules/0/http/paths/0/backend", "{serviceName: b, servicePort: 80}", "spec.rules[0].http.paths[0].backend"),
    ("spec/rules/0/http/paths/0/backend", "{resource: {kind: Bucket, name: a}}", "spec.rules[0].http.paths[0].backend"),
    ("spec/rules/0/http/paths/0/backend/service/name", "missing", "spec.rules[0].http.paths[0].backend.service.name"),
    (
        "spec/rules/0/http/paths/0/backend/service/name",
        "Not A Name",
        "spec.rules[0].http.paths[0].backend.service.name",
    ),
    (
        "spec/rules/0/http/paths/0/backend/service/port",
        "{number: 81}",
        "spec.rules[0].http.paths[0].backend.service.port",
    ),
    (
        "spec/rules/0/http/paths/0/backend/service/port",
        "{name: grpc}",
        "spec.rules[0].http.paths[0].backend.service.port",
    ),
    (
        "spec/rules/0/http/paths/0/backend/service/port",
        "{number: 0}",
        "spec.rules[0].http.paths[0].backend.service.port",
    ),
    (
        "spec/rules/0/http/paths/0/backend/service/port",
        "{number: 80, name: http}",
        "spec.rules[0].http.paths[0].backend.service.port",
    ),
    (
        "spec/rules/0/http/paths/0/backend/service/port",
        "{number: eighty}",
        "spec.rules[0].http.paths[0].backend.service.port",
    ),
    ("spec/tls", "[{hosts: [a.test], secretName: no-such-secret}]", "spec.tls[0].secretName"),
    ("spec/tls", "[{hosts: [a.test]}]", "spec.tls[0].secretName"),
    ("spec/tls", "{hosts: [a.test]}", "spec.tls"),
    ("spec/defaultBackend", "{service: {name: missing, port: {number: 80}}}", "spec.defaultBackend.service.name"),
    ("spec/ingressClassName", "nginx", "spec.ingressClassName"),
    ("spec/backend", "{service: {name: b, port: {number: 80}}}", "spec.backend"),
    ("metadata/annotations", "{headgate.dev/rewrite: /}", "metadata.annotations"),
];

/// Whole documents of other kinds; `NAME` stands for the object's name.
const DOCUMENTS: &[(&str, &str, &str)] = &[
    ("Service", "{apiVersion: v1, kind: Service, metadata: {name: NAME}}", "spec"),
    ("Service", "{apiVersion: v1, kind: Service, metadata: {name: NAME}, spec: {ports: []}}", "spec.ports"),
    (
        "Service",
        "{apiVersion: v1, kind: Service, metadata: {name: NAME}, spec: {ports: [{port: 70000}]}}",
        "spec.ports[0].port",
    ),
    (
        "Service",
        "{apiVersion: v1, kind: Service, metadata: {name: NAME}, spec: {ports: [{port: 1}, {port: 2}]}}",
        "spec.ports[0].name",
    ),
    (
        "EndpointSlice",
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: NAME, labels: {kubernetes.io/service-name: b}}, endpoints: []}",
        "addressType",
    ),
    (
        "EndpointSlice",
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: NAME, labels: {kubernetes.io/service-name: x}}, addressType: IPv4, endpoints: [{addresses: [backend.test]}]}",
        "endpoints[0].addresses[0]",
    ),
    (
        "EndpointSlice",
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: NAME, labels: {kubernetes.io/service-name: x}}, addressType: IPv4, endpoints: [{addresses: []}]}",
        "endpoints[0].addresses",
    ),
    (
        "EndpointSlice",
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: NAME}, addressType: IPv4, endpoints: []}",
        "metadata.labels",
    ),
    (
        "Secret",
        "{apiVersion: v1, kind: Secret, metadata: {name: NAME}, type: kubernetes.io/tls, data: {tls.crt: '!'}}",
        "data",
    ),
    (
        "Secret",
        "{apiVersion: v1, kind: Secret, metadata: {name: NAME}, type: kubernetes.io/tls, stringData: {tls.crt: a}}",
        "data",
    ),
    (
        "IngressClass",
        "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: NAME}, spec: {controller: nobody}}",
        "spec.controller",
    ),
    (
        "ReferenceGrant",
        "{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: NAME}, spec: {from: [], to: []}}",
        "spec.from",
    ),
    (
        "RateLimitPolicy",
        "{apiVersion: headgate.dev/v1alpha1, kind: RateLimitPolicy, metadata: {name: NAME}, spec: {}}",
        "spec",
    ),
    (
        "RateLimitPolicy",
        "{apiVersion: headgate.dev/v1alpha1, kind: RateLimitPolicy, metadata: {name: NAME}, spec: {targetRefs: [{group: headgate.dev, kind: GatewayRoute, name: missing}], limits: [{name: a, requests: 1, period: 1s, algorithm: TokenBucket, scope: Local, key: [{type: ClientIP}]}]}}",
        "spec",
    ),
    ("", "{kind: GatewayRoute, metadata: {name: NAME}, spec: {rules: []}}", "apiVersion"),
    ("", "{apiVersion: headgate.dev/v1alpha1, metadata: {name: NAME}, spec: {rules: []}}", "kind"),
    ("", "{apiVersion: headgate.dev/v1, kind: GatewayRoute, metadata: {name: NAME}, spec: {rules: []}}", "apiVersion"),
    ("", "{apiVersion: headgate.dev/v1alpha1, kind: Gatewayroute, metadata: {name: NAME}, spec: {rules: []}}", "kind"),
    ("", "{apiVersion: headgate.dev/v1alpha1, kind: Route, metadata: {name: NAME}, spec: {rules: []}}", "kind"),
    ("", "{apiVersion: extensions/v1beta1, kind: Ingress, metadata: {name: NAME}, spec: {}}", "apiVersion"),
    ("", "{apiVersion: headgate.dev/v1alpha1, kind: GatewayRoute, spec: {rules: [{}]}}", "metadata.name"),
    (
        "",
        "{apiVersion: headgate.dev/v1alpha1, kind: GatewayRoute, metadata: {name: ''}, spec: {rules: [{}]}}",
        "metadata.name",
    ),
    ("", "just a text", ""),
    ("", "[a, list]", ""),
    // Texts that do not parse.
    ("", "apiVersion: [", ""),
    ("", "a: 1\n\tb: 2\n", ""),
    ("", "a: 'open\n", ""),
    ("", "a: 1\n b: 2\n", ""),
    ("", "a: 1\na: 2\n", ""),
    ("", "a: *nobody\n", ""),
    ("", "{apiVersion: v1, kind: Service", ""),
    ("", "---\nkind: Service\n---\n}{\n", ""),
];

/// Every mistake there is; of those in routes one on a host of its own and one below a host that is served.
pub(crate) fn all() -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for own_host in [true, false] {
        for (pointer, value, field) in IN_A_ROUTE {
            let name = format!("broken-{}", mistakes.len());
            let host = if own_host { format!("{name}.test") } else { format!("good{}.test", mistakes.len() % 100) };
            let mut route = json!({
                "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": name},
                "spec": {"hostnames": [host], "rules": [{
                    "matches": [{"path": {"type": "PathPrefix", "value": "/broken"}}],
                    "backendRefs": [{"name": "b", "port": 80}],
                }]},
            });
            put(&mut route, pointer, value);
            mistakes.push(Mistake::of("GatewayRoute", &name, &route, pointer, value, field));
        }
    }
    for (pointer, value, field) in IN_AN_INGRESS {
        let name = format!("broken-{}", mistakes.len());
        let mut ingress = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
            "spec": {"rules": [{"host": format!("good{}.test", mistakes.len() % 100), "http": {"paths": [{
                "path": "/broken", "pathType": "Prefix", "backend": {"service": {"name": "b", "port": {"number": 80}}},
            }]}}]},
        });
        put(&mut ingress, pointer, value);
        mistakes.push(Mistake::of("Ingress", &name, &ingress, pointer, value, field));
    }
    for (kind, text, field) in DOCUMENTS {
        let name = format!("broken-{}", mistakes.len());
        let namespace = if *kind == "IngressClass" { "" } else { "default/" };
        mistakes.push(Mistake {
            text: text.replace("NAME", &name).into(),
            object: (!kind.is_empty()).then(|| format!("{kind} {namespace}{name}")),
            field: (*field).into(),
            what: (*text).to_owned(),
        });
    }
    // A mistake that is none of a text.
    mistakes.push(Mistake { text: b"a: \xff\n".into(), object: None, field: String::new(), what: "no UTF-8".into() });
    mistakes
}

impl Mistake {
    fn of(kind: &str, name: &str, object: &Value, pointer: &str, value: &str, field: &str) -> Self {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        Self {
            text: object.to_string().into(),
            object: Some(format!("{kind} {namespace}/{name}")),
            field: field.to_owned(),
            what: format!("{kind} with {pointer}: {value}"),
        }
    }
}

/// Puts a value where a pointer leads, or takes away what is there.
fn put(object: &mut Value, pointer: &str, yaml: &str) {
    let value: Value = serde_yaml::from_str(yaml).unwrap();
    let (above, last) = pointer.rsplit_once('/').map_or(("", pointer), |(above, last)| (above, last));
    let above = if above.is_empty() { object } else { object.pointer_mut(&format!("/{above}")).unwrap() };
    match (above, value) {
        (Value::Object(fields), Value::Null) => {
            fields.remove(last);
        }
        (Value::Object(fields), value) => {
            fields.insert(last.to_owned(), value);
        }
        (Value::Array(items), value) => items[last.parse::<usize>().unwrap()] = value,
        (other, _) => panic!("{pointer} leads into {other}"),
    }
}
