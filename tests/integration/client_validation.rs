//! Certificates of clients: who is let in, and that there is no way round.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{DnType, DnValue};
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use crate::harness::backend::Backend;
use crate::harness::certs::{Authority, Leaf, bundle};
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::http::get_host;

/// Hosts of one certificate, and an authority of their clients.
struct Bench {
    server: Authority,
    partners: Authority,
    hosts: Leaf,
}

impl Bench {
    fn new() -> Self {
        let (server, partners) = (Authority::new(), Authority::new());
        let hosts = server.issue(&["*.t.test"]);
        Self { server, partners, hosts }
    }

    /// The certificate, the bundle `partners`, and routes for `required`, `optional` and `open`.
    fn objects(&self) -> String {
        [
            self.hosts.secret("hosts"),
            self.partners.bundle("partners"),
            route("required", &asking("{caCertificateRefs: [{name: partners}]}")),
            route("optional", &asking("{mode: Optional, caCertificateRefs: [{name: partners}]}")),
            route("open", "certificateRefs: [{name: hosts}]"),
        ]
        .concat()
    }

    /// A client that shows this certificate.
    fn client(&self, shown: Option<&Leaf>) -> Arc<ClientConfig> {
        let client = self.server.client();
        shown.map_or(client.clone(), |leaf| leaf.shown_by(&client))
    }
}

/// A route of this name that answers with it for `NAME.t.test`.
fn route(name: &str, tls: &str) -> String {
    rule(name, name, "/", tls)
}

fn rule(name: &str, host: &str, path: &str, tls: &str) -> String {
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}}}\nspec:\n  hostnames: \
         ['{host}.t.test']\n  tls: {{{tls}}}\n  rules: [{{matches: [{{path: {{value: {path}}}}}], filters: [{{type: \
         DirectResponse, directResponse: {{statusCode: 200, body: {name}}}}}]}}]\n"
    )
}

fn asking(validation: &str) -> String {
    format!("certificateRefs: [{{name: hosts}}], clientValidation: {validation}")
}

/// What a client gets who connects for one host and asks for another.
fn ask(gateway: &Gateway, client: &Arc<ClientConfig>, name: &str, host: &str) -> Result<String, String> {
    let mut client = Client::tls(gateway.https, client, &format!("{name}.t.test")).map_err(|it| it.to_string())?;
    let response = client.request("GET", &format!("{host}.t.test"), "/", &[]).map_err(|it| format!("{it:?}"))?;
    Ok(match response.status {
        200 => response.text(),
        status => format!("{status} {}", response.json()["reason"].as_str().unwrap()),
    })
}

#[test]
fn who_has_no_good_certificate_is_not_let_in() {
    let bench = Bench::new();
    let gateway = Gateway::start(&bench.objects());
    let good = bench.partners.issue(&["a.partner"]);
    let (expired, foreign) = (bench.partners.issue_expired(&["a.partner"]), Authority::new().issue(&["a.partner"]));
    for versions in [&[&TLS13][..], &[&TLS12]] {
        for protocols in [&["h2"][..], &["http/1.1"]] {
            let nobody = bench.server.client_of(versions, protocols);
            let showing = |leaf: &Leaf| leaf.shown_by(&nobody);
            let host = |client: &Arc<ClientConfig>, name: &str| ask(&gateway, client, name, name);
            for name in ["required", "optional"] {
                assert_eq!(host(&showing(&good), name).as_deref(), Ok(name), "{protocols:?}");
                for bad in [&expired, &foreign] {
                    assert!(host(&showing(bad), name).is_err(), "{name} {protocols:?}");
                }
            }
            assert!(host(&nobody, "required").is_err(), "{protocols:?}");
            assert_eq!(host(&nobody, "optional").as_deref(), Ok("optional"));
            assert_eq!(host(&nobody, "open").as_deref(), Ok("open"));
        }
    }
    let refused = r#"headgate_tls_handshake_errors_total{listener="https",reason="client_certificate"} 20"#;
    assert!(gateway.metrics().contains(refused), "{}", gateway.metrics());
    // In clear nobody can show anything.
    let clear = get_host(gateway.http, "required.t.test", "/").unwrap();
    assert_eq!((clear.status, clear.json()["reason"].as_str()), (403, Some("tls_required")));
    assert_eq!(get_host(gateway.http, "optional.t.test", "/").unwrap().status, 200);
}

/// One certificate for many hosts has browsers use one connection for all of them.
#[test]
fn a_connection_that_was_made_for_another_host_does_not_get_round_it() {
    let bench = Bench::new();
    let staff = Authority::new();
    let objects = [
        bench.objects(),
        route("too", &asking("{caCertificateRefs: [{name: partners}]}")),
        staff.bundle("staff"),
        route("staff", &asking("{caCertificateRefs: [{name: staff}]}")),
        // Says nothing of clients, as another route of the same host does.
        rule("silent", "required", "/silent", ""),
        // Has no certificate to ask clients with.
        rule("bare", "bare", "/", "clientValidation: {caCertificateRefs: [{name: partners}]}")
            .replace(".t.test", ".bare.test"),
        rule("bare-silent", "bare", "/silent", "").replace(".t.test", ".bare.test"),
    ];
    let gateway = Gateway::start(&objects.concat());
    let good = bench.partners.issue(&["a.partner"]);
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let nobody = bench.server.client_of(&[&TLS13], protocols);
        let showing = good.shown_by(&nobody);
        let mut open = Client::tls(gateway.https, &nobody, "open.t.test").unwrap();
        for host in ["required.t.test", "REQUIRED.t.test.", "required.t.test:443", "optional.t.test", "staff.t.test"] {
            let answer = open.get(host, "/");
            assert_eq!((answer.status, answer.json()["reason"].as_str()), (421, Some("misdirected")), "{host}");
        }
        assert_eq!(open.get("required.t.test", "/silent").status, 421);
        assert_eq!(open.get("bare.bare.test", "/").status, 421);
        assert_eq!(open.get("bare.bare.test", "/silent").status, 421);
        // And the connection is still good for what it was made for.
        assert_eq!(open.get("open.t.test", "/").text(), "open");
        // Who was asked the same may use one connection for both.
        for (host, expected) in [
            ("required", "required"),
            ("too", "too"),
            ("open", "open"),
            ("staff", "421 misdirected"),
            ("optional", "421 misdirected"),
        ] {
            assert_eq!(ask(&gateway, &showing, "required", host).as_deref(), Ok(expected), "{host}");
        }
        let mut required = Client::tls(gateway.https, &showing, "required.t.test").unwrap();
        assert_eq!(required.get("required.t.test", "/silent").text(), "silent");
    }
    // What a proxy in front says of TLS shows no certificate.
    let trusting = Gateway::start_with(&bench.objects(), &["--trusted-proxies", "127.0.0.0/8"]);
    let said = [("X-Forwarded-Proto", "https")];
    let answer = Client::http1(trusting.http).request("GET", "required.t.test", "/", &said).unwrap();
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (403, Some("tls_required")));
}

#[test]
fn another_bundle_is_for_new_connections_and_ends_the_old_ones() {
    let bench = Bench::new();
    let next = Authority::new();
    let gateway = Gateway::start(&bench.objects());
    let (old, new) = (bench.partners.issue(&["a.partner"]), next.issue(&["a.partner"]));
    let client = |leaf: &Leaf, protocol: &str| leaf.shown_by(&bench.server.client_of(&[&TLS13], &[protocol]));
    let mut before = ["h2", "http/1.1"]
        .map(|protocol| Client::tls(gateway.https, &client(&old, protocol), "required.t.test").unwrap());
    for connection in &mut before {
        assert_eq!(connection.get("required.t.test", "/").text(), "required");
    }
    let renewed = bench.objects().replace(&bench.partners.bundle("partners"), &next.bundle("partners"));
    gateway.apply(&renewed);
    for connection in &mut before {
        assert_eq!(connection.get("required.t.test", "/").status, 421);
        gateway.wait_until("the connection ends", || connection.request("GET", "open.t.test", "/", &[]).is_err());
    }
    assert_eq!(ask(&gateway, &client(&new, "h2"), "required", "required").as_deref(), Ok("required"));
    assert!(ask(&gateway, &client(&old, "h2"), "required", "required").is_err());
    // A connection that nothing has changed for lives on.
    let mut open = Client::tls(gateway.https, &bench.client(None), "open.t.test").unwrap();
    gateway.apply(&bench.objects());
    assert_eq!(open.get("open.t.test", "/").text(), "open");
    // Both at once, while clients change over.
    let both = bundle("partners", &(bench.partners.pem() + &next.pem()));
    gateway.apply(&bench.objects().replace(&bench.partners.bundle("partners"), &both));
    for leaf in [&old, &new] {
        assert_eq!(ask(&gateway, &client(leaf, "h2"), "required", "required").as_deref(), Ok("required"));
    }
}

#[test]
fn without_authorities_nobody_is_let_in_and_other_hosts_are_none_the_worse() {
    let bench = Bench::new();
    let silent = rule("silent", "required", "/silent", "");
    let gateway = Gateway::start(&(bench.objects() + &silent));
    let client = bench.client(Some(&bench.partners.issue(&["a.partner"])));
    let good = bench.partners.bundle("partners");
    for (broken, code) in [("", "HG1307"), (&*bundle("partners", "none"), "HG1308"), (&*bundle("others", ""), "HG1307")]
    {
        gateway.apply(&(bench.objects().replace(&good, broken) + &silent));
        for name in ["required", "optional"] {
            assert_eq!(ask(&gateway, &client, name, name).as_deref(), Ok("500 route_refused"), "{code}");
            assert_eq!(ask(&gateway, &client, "open", name).as_deref(), Ok("500 route_refused"), "{code}");
        }
        let mut nobody = Client::tls(gateway.https, &bench.client(None), "required.t.test").unwrap();
        assert_eq!(nobody.get("required.t.test", "/silent").status, 500);
        assert_eq!(get_host(gateway.http, "required.t.test", "/").unwrap().status, 500);
        assert_eq!(ask(&gateway, &client, "open", "open").as_deref(), Ok("open"));
        let told = gateway.api("problems").to_string();
        assert!(told.contains(code) && told.contains("spec.tls.clientValidation.caCertificateRefs[0].name"), "{told}");
        gateway.apply(&(bench.objects() + &silent));
        assert_eq!(ask(&gateway, &client, "required", "required").as_deref(), Ok("required"));
        // Who connected while everybody could does not stay.
        assert_eq!(nobody.get("required.t.test", "/silent").status, 421);
    }
}

/// Backends may take the word of these headers, and clients could write anything into them.
#[test]
fn what_clients_say_of_their_own_certificate_is_dropped() {
    let (bench, backend) = (Bench::new(), Backend::named("b"));
    let to_backend = |name: &str, tls: &str| {
        format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}}}\nspec:\n  hostnames: \
             [{name}.t.test]\n  tls: {{{tls}}}\n  rules: [{{backendRefs: [{{name: b, port: 80}}]}}]\n"
        )
    };
    let objects = [
        bench.hosts.secret("hosts"),
        bench.partners.bundle("partners"),
        backend.service("b"),
        to_backend("asked", &asking("{mode: Optional, caCertificateRefs: [{name: partners}]}")),
        to_backend("open", "certificateRefs: [{name: hosts}]"),
    ];
    let gateway = Gateway::start(&objects.concat());
    let forged = [
        ("Client-Cert", ":aaaa:"),
        ("Client-Cert-Chain", ":aaaa:"),
        ("X-Forwarded-Client-Cert", "Subject=root"),
        ("X-Forwarded-Tls-Client-Cert-Info", "Subject=root"),
        ("Ssl-Client-Verify", "SUCCESS"),
        ("Ssl-Client-Subject-Dn", "CN=root"),
        ("X-Other", "kept"),
    ];
    for (host, kept) in [("asked.t.test", &["x-other"][..]), ("open.t.test", &["x-other", "client-cert"])] {
        let mut client = Client::tls(gateway.https, &bench.client(None), host).unwrap();
        assert_eq!(client.request("GET", host, "/", &forged).unwrap().status, 200);
        let seen = backend.seen().remove(0).headers;
        backend.forget();
        assert!(kept.iter().all(|name| seen.contains_key(*name)), "{host}: {seen:?}");
        if host == "asked.t.test" {
            let passed: Vec<_> = forged.iter().filter(|(name, _)| seen.contains_key(*name)).collect();
            assert_eq!(passed, [&("X-Other", "kept")]);
        }
    }
}

/// As RFC 9440 has it for routes, and for Ingresses as ingress-nginx has it; OpenSSL, which nginx asks, says what the names are.
#[test]
fn backends_are_told_of_a_certificate_where_that_is_wanted() {
    let (bench, backend) = (Bench::new(), Backend::named("b"));
    let route = |name: &str, more: &str| {
        let tls = asking(&format!("{{mode: Optional, caCertificateRefs: [{{name: partners}}]{more}}}"));
        format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}}}\nspec:\n  hostnames: \
             [{name}.t.test]\n  tls: {{{tls}}}\n  rules: [{{backendRefs: [{{name: b, port: 80}}]}}]\n"
        )
    };
    let ingress = |name: &str, more: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  annotations:\n    \
             nginx.ingress.kubernetes.io/auth-tls-secret: default/authority\n    \
             nginx.ingress.kubernetes.io/auth-tls-verify-client: optional\n{more}spec:\n  tls: [{{hosts: [{name}.t.test], \
             secretName: hosts}}]\n  rules: [{{host: {name}.t.test, http: {{paths: [{{path: /, pathType: Prefix, backend: \
             {{service: {{name: b, port: {{number: 80}}}}}}}}]}}}}]\n"
        )
    };
    let authority =
        bench.partners.bundle("authority").replace("ConfigMap", "Secret").replace("\"data\"", "\"stringData\"");
    let pass = "    nginx.ingress.kubernetes.io/auth-tls-pass-certificate-to-upstream: \"true\"\n";
    let gateway = Gateway::start(
        &[
            bench.hosts.secret("hosts"),
            bench.partners.bundle("partners"),
            authority,
            backend.service("b"),
            route("silent", ""),
            route("whole", ", forwardCertificate: true"),
            ingress("names", ""),
            ingress("passed", pass),
        ]
        .concat(),
    );
    let shown = bench.partners.issue_to(&[
        (DnType::OrganizationName, "Smith, Jones + \"Sons\" <1>; Ltd\\".into()),
        (DnType::CommonName, DnValue::Utf8String("J\u{fc}rg #1 ".to_owned())),
        (DnType::OrganizationalUnitName, DnValue::BmpString("\u{20ac}".parse().unwrap())),
        (DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]), "#ann".into()),
        (DnType::CustomDnType(vec![1, 2, 3, 4]), "private".into()),
    ]);
    let names = openssl(&["x509", "-noout", "-subject", "-issuer", "-nameopt", "RFC2253"], shown.chain.as_bytes());
    let name = |which: &str| names.lines().find_map(|line| line.strip_prefix(which)).unwrap().to_owned();
    let (subject, issuer) = (name("subject="), name("issuer="));
    assert!(subject.contains("1.2.3.4=#0C07") && subject.contains("\\+") && subject.contains("\\C3\\BC"), "{subject}");
    let told = |host: &str, certificate: Option<&Leaf>| {
        let forged =
            [("Client-Cert", ":aaaa:"), ("Ssl-Client-Subject-Dn", "CN=root"), ("Ssl-Client-Verify", "SUCCESS")];
        let host = format!("{host}.t.test");
        let mut client = Client::tls(gateway.https, &bench.client(certificate), &host).unwrap();
        // The second time by what was made for the first.
        let [first, second] = [(); 2].map(|()| {
            assert_eq!(client.request("GET", &host, "/", &forged).unwrap().status, 200);
            let seen = backend.seen().remove(0).headers;
            backend.forget();
            let names = [
                "client-cert",
                "ssl-client-verify",
                "ssl-client-subject-dn",
                "ssl-client-issuer-dn",
                "ssl-client-cert",
            ];
            names.map(|name| {
                let values: Vec<_> =
                    seen.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect();
                values.join(" and ")
            })
        });
        assert_eq!(first, second);
        first
    };
    let bytes = format!(":{}:", STANDARD.encode(&shown.der));
    let names = [subject.as_str(), &issuer];
    assert_eq!(told("silent", Some(&shown)), [""; 5]);
    assert_eq!(told("whole", Some(&shown)), [&bytes, "", "", "", ""]);
    assert_eq!(told("whole", None), [""; 5]);
    assert_eq!(told("names", Some(&shown)), ["", "SUCCESS", names[0], names[1], ""]);
    assert_eq!(told("names", None), ["", "NONE", "", "", ""]);
    let [none, verified, of, by, escaped] = told("passed", Some(&shown));
    assert_eq!([&none, &verified, &of, &by].map(String::as_str), ["", "SUCCESS", names[0], names[1]]);
    assert!(escaped.starts_with("-----BEGIN%20CERTIFICATE-----%0A") && !escaped.contains(['+', '/', '=']), "{escaped}");
    let pem =
        escaped.replace("%20", " ").replace("%0A", "\n").replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    assert_eq!(pem, shown.chain.replace('\r', ""));
}

/// What `openssl` makes of this input.
fn openssl(arguments: &[&str], input: &[u8]) -> String {
    let mut command = Command::new("openssl");
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// `openssl s_client` with further arguments, and what it says of the connection after a request.
fn s_client(gateway: &Gateway, name: &str, arguments: &[&str]) -> String {
    use std::io::Write as _;
    let host = format!("{name}.t.test");
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &gateway.https.to_string(), "-servername", &host, "-ign_eof"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    // It may have ended already.
    let _ = child.stdin.take().unwrap().write_all(request.as_bytes());
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A session remembers what was found of a client once; with a ticket nobody is asked again.
#[test]
fn no_session_is_resumed_past_a_certificate() {
    let bench = Bench::new();
    // Whichever worker gave the ticket.
    let gateway = Gateway::start_with(&bench.objects(), &["--workers", "2"]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let good = bench.partners.issue(&["a.partner"]);
    let (chain, key) = (path("chain.pem"), path("key.pem"));
    std::fs::write(&chain, &good.chain).unwrap();
    std::fs::write(&key, &good.key).unwrap();
    for version in ["-tls1_3", "-tls1_2"] {
        let session = |name: &str| path(&format!("{name}{version}"));
        // The attack works where nobody is asked: that is what a session is for.
        let (open, asked) = (session("open"), session("required"));
        assert!(s_client(&gateway, "open", &[version, "-sess_out", &open]).contains("\r\n\r\nopen"));
        let again = s_client(&gateway, "open", &[version, "-sess_in", &open]);
        assert!(again.contains("Reused") && again.contains("\r\n\r\nopen"), "{again}");
        // With a session of another host.
        let refused = s_client(&gateway, "required", &[version, "-sess_in", &open]);
        assert!(!refused.contains("Reused") && !refused.contains("200 OK"), "{refused}");
        // With that of somebody who has shown a good one, if there is any such session at all.
        let shown = s_client(&gateway, "required", &[version, "-cert", &chain, "-key", &key, "-sess_out", &asked]);
        assert!(shown.contains("\r\n\r\nrequired"), "{shown}");
        if Path::new(&asked).exists() {
            let refused = s_client(&gateway, "required", &[version, "-sess_in", &asked]);
            assert!(!refused.contains("Reused") && !refused.contains("200 OK"), "{refused}");
        }
    }
    // With one from before the host asked.
    let unasking = bench.objects().replace("clientValidation: {caCertificateRefs: [{name: partners}]}", "");
    gateway.apply(&unasking);
    let before = path("before");
    assert!(s_client(&gateway, "required", &["-tls1_3", "-sess_out", &before]).contains("\r\n\r\nrequired"));
    assert!(s_client(&gateway, "required", &["-tls1_3", "-sess_in", &before]).contains("Reused"));
    gateway.apply(&bench.objects());
    let refused = s_client(&gateway, "required", &["-tls1_3", "-sess_in", &before]);
    assert!(!refused.contains("Reused") && !refused.contains("200 OK"), "{refused}");
}
