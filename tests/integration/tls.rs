//! TLS towards clients: which certificate, which version, and what happens while Secrets change.

use std::sync::Arc;

use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::harness::certs::{Authority, Leaf, secret};
use crate::harness::client::Client;
use crate::harness::gateway::Gateway;
use crate::harness::http::get_host;

/// A route that answers 200 for a host with the certificate in the Secret of this name.
fn route(name: &str, host: &str, tls: &str) -> String {
    format!(
        "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}}}\nspec:\n  hostnames: \
         ['{host}']\n  tls: {{{tls}}}\n  rules: [{{filters: [{{type: DirectResponse, directResponse: {{statusCode: 200, \
         body: {name}}}}}]}}]\n"
    )
}

fn refs(name: &str) -> String {
    format!("certificateRefs: [{{name: {name}}}]")
}

/// The certificate that is shown for a name, or why none is.
fn shown(gateway: &Gateway, client: &Arc<rustls::ClientConfig>, name: &str) -> Result<Vec<u8>, String> {
    Client::tls(gateway.https, client, name)
        .map(|client| client.session.unwrap().leaf)
        .map_err(|error| error.to_string())
}

#[test]
fn a_name_gets_its_own_certificate_then_its_wildcard_and_never_anothers() {
    let authority = Authority::new();
    let exact = authority.issue(&["shop.a.test"]);
    let wild = authority.issue(&["*.a.test"]);
    let other = authority.issue(&["b.test"]);
    let gateway = Gateway::start(
        &[
            exact.secret("exact"),
            wild.secret("wild"),
            other.secret("other"),
            route("exact", "shop.a.test", &refs("exact")),
            route("wild", "*.a.test", &refs("wild")),
            route("other", "b.test", &refs("other")),
            route("bare", "bare.test", "httpRedirect: false"),
        ]
        .concat(),
    );
    let client = authority.client();
    for (name, leaf) in [("shop.a.test", &exact), ("SHOP.A.TEST", &exact), ("x.a.test", &wild), ("b.test", &other)] {
        assert_eq!(shown(&gateway, &client, name).as_ref(), Ok(&leaf.der), "{name}");
    }
    // A star is one label, and a name that nobody gave a certificate for gets none.
    for name in ["x.y.a.test", "a.test", "c.test", "bare.test", "sub.b.test", "127.0.0.1"] {
        let refused = shown(&gateway, &client, name).unwrap_err();
        assert!(refused.contains("alert"), "{name}: {refused}");
    }
    let mut nameless = (*client).clone();
    nameless.enable_sni = false;
    assert!(shown(&gateway, &Arc::new(nameless), "shop.a.test").unwrap_err().contains("alert"));
}

#[test]
fn the_name_chooses_the_certificate_and_the_host_chooses_the_route() {
    let authority = Authority::new();
    let gateway = Gateway::start(
        &[
            authority.issue(&["a.test"]).secret("a"),
            authority.issue(&["b.test"]).secret("b"),
            route("a", "a.test", &refs("a")),
            route("b", "b.test", &refs("b")),
        ]
        .concat(),
    );
    let mut client = Client::tls(gateway.https, &authority.client(), "a.test").unwrap();
    assert_eq!(client.get("a.test", "/").text(), "a");
    assert_eq!(client.get("b.test", "/").text(), "b");
    assert_eq!(client.get("c.test", "/").status, 404);
}

#[test]
fn a_rotated_certificate_is_for_new_connections_and_leaves_the_old_ones_alone() {
    let authority = Authority::new();
    let ingress = "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i}
spec:
  tls: [{hosts: [i.test], secretName: leaf}]
  defaultBackend: {service: {name: none, port: {number: 80}}}
  rules: [{host: i.test}]
";
    let objects = |leaf: &Leaf| [leaf.secret("leaf"), route("r", "a.test", &refs("leaf")), ingress.into()].concat();
    let leaves = [(); 5].map(|()| authority.issue(&["a.test", "i.test"]));
    let gateway = Gateway::start(&objects(&leaves[0]));
    let client = authority.client_of(&[&TLS13], &["h2"]);
    let mut old = Vec::new();
    for leaf in &leaves {
        gateway.apply(&objects(leaf));
        for name in ["a.test", "i.test"] {
            let new = Client::tls(gateway.https, &client, name).unwrap();
            assert_eq!(new.session.as_ref().unwrap().leaf, leaf.der, "{name}");
            old.push(new);
        }
        for client in &mut old {
            assert_eq!(client.get("a.test", "/").status, 200);
        }
    }
}

#[test]
fn a_secret_that_goes_bad_leaves_its_last_certificate_in_service_and_says_so() {
    let authority = Authority::new();
    let good = authority.issue(&["a.test"]);
    let other = authority.issue(&["a.test"]);
    let objects = |secret: &str| secret.to_owned() + &route("r", "a.test", &refs("leaf"));
    let gateway = Gateway::start(&objects(&good.secret("leaf")));
    let client = authority.client();
    let told = || gateway.api("problems")["problems"].to_string();
    assert_eq!(told(), "[]");
    for (bad, what) in [
        (secret("leaf", &good.chain, &other.key), "does not belong to its tls.crt"),
        (secret("leaf", "no certificate", &good.key), "has a tls.crt"),
        (secret("leaf", &good.chain, "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n"), "has a tls.key"),
        (secret("leaf", "", ""), "tls."),
    ] {
        gateway.apply(&objects(&bad));
        assert_eq!(shown(&gateway, &client, "a.test").as_ref(), Ok(&good.der), "{what}");
        let told = told();
        assert!(told.contains("HG1306") && told.contains(what) && told.contains("still served"), "{what}: {told}");
        assert!(told.contains("spec.tls.certificateRefs[0].name"), "{told}");
        assert!(!told.contains("PRIVATE KEY"), "{told}");
    }
    gateway.apply(&objects(&other.secret("leaf")));
    assert_eq!(shown(&gateway, &client, "a.test").as_ref(), Ok(&other.der));
    assert_eq!(told(), "[]");
    // One that is gone is gone.
    gateway.apply(&objects(""));
    assert!(shown(&gateway, &client, "a.test").is_err());
    assert!(told().contains("HG1301"), "{}", told());
}

#[test]
fn a_secret_that_was_bad_from_the_start_costs_its_own_host_alone() {
    let authority = Authority::new();
    let good = authority.issue(&["a.test"]);
    let bad = authority.issue(&["b.test"]);
    let gateway = Gateway::start(
        &[
            good.secret("good"),
            secret("bad", &bad.chain, &good.key),
            route("a", "a.test", &refs("good")),
            route("b", "b.test", &refs("bad")),
        ]
        .concat(),
    );
    let client = authority.client();
    assert_eq!(shown(&gateway, &client, "a.test"), Ok(good.der));
    assert!(shown(&gateway, &client, "b.test").unwrap_err().contains("alert"));
    // In clear the route is there: nothing but the handshake needs the certificate.
    assert_eq!(get_host(gateway.http, "b.test", "/").unwrap().status, 200);
    assert!(gateway.api("problems").to_string().contains("HG1302"));
}

/// The minimum is a policy of the route's host: a connection that was made for another host must not get round it.
#[test]
fn a_minimum_version_holds_for_the_host_whatever_name_the_connection_was_made_for() {
    let authority = Authority::new();
    let gateway = Gateway::start(
        &[
            authority.issue(&["new.test"]).secret("new"),
            authority.issue(&["old.test"]).secret("old"),
            route("new", "new.test", &(refs("new") + ", minVersion: '1.3'")),
            route("old", "old.test", &(refs("old") + ", minVersion: '1.2'")),
        ]
        .concat(),
    );
    let (from_1_2, only_1_2) = (authority.client(), authority.client_of(&[&TLS12], &[]));
    let version = |client: &Client| client.session.as_ref().unwrap().version;

    let refused = shown(&gateway, &only_1_2, "new.test").unwrap_err();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    let mut client = Client::tls(gateway.https, &from_1_2, "new.test").unwrap();
    assert_eq!((version(&client), client.get("new.test", "/").status), (ProtocolVersion::TLSv1_3, 200));

    for protocols in [&["h2"][..], &["http/1.1"]] {
        let only_1_2 = authority.client_of(&[&TLS12], protocols);
        let mut client = Client::tls(gateway.https, &only_1_2, "old.test").unwrap();
        assert_eq!((version(&client), client.get("old.test", "/").status), (ProtocolVersion::TLSv1_2, 200));
        let answer = client.get("new.test", "/");
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (421, Some("misdirected")));
        for host in ["NEW.test", "new.test.", "new.test:443"] {
            assert_eq!(client.get(host, "/").status, 421, "{host}");
        }
        // And the connection is still good for what it was made for.
        assert_eq!(client.get("old.test", "/").status, 200);
    }
    let mut client = Client::tls(gateway.https, &from_1_2, "old.test").unwrap();
    assert_eq!(client.get("new.test", "/").status, 200);
}

#[test]
fn http_is_redirected_to_the_port_that_speaks_tls() {
    let authority = Authority::new();
    let gateway = Gateway::start(
        &(authority.issue(&["a.test"]).secret("a")
            + &route("a", "a.test", &(refs("a") + ", httpRedirect: true"))
                .replace("spec:\n", "spec:\n  listeners: [https]\n")),
    );
    let (http, https) = (gateway.http.port(), gateway.https.port());
    for (host, location) in [
        (format!("a.test:{http}"), format!("https://a.test:{https}/x%20y?q=1")),
        // Whoever came by port 80 came through something that maps it, and that has 443 too.
        ("a.test".to_owned(), "https://a.test/x%20y?q=1".to_owned()),
        ("a.test:80".to_owned(), "https://a.test/x%20y?q=1".to_owned()),
    ] {
        let answer = get_host(gateway.http, &host, "/x%20y?q=1").unwrap();
        assert_eq!((answer.status, answer.header("location")), (308, Some(location.as_str())), "{host}");
    }
    let mut client = Client::tls(gateway.https, &authority.client(), "a.test").unwrap();
    assert_eq!(client.get("a.test", "/").status, 200);
}

#[test]
fn both_protocols_are_agreed_on_by_alpn() {
    let authority = Authority::new();
    let gateway = Gateway::start(&(authority.issue(&["a.test"]).secret("a") + &route("a", "a.test", &refs("a"))));
    let versions = &[&TLS13, &TLS12];
    for (offered, agreed, version) in [
        (&["h2", "http/1.1"][..], Some("h2"), "HTTP/2.0"),
        (&["http/1.1", "h2"], Some("h2"), "HTTP/2.0"),
        (&["h2"], Some("h2"), "HTTP/2.0"),
        (&["http/1.1"], Some("http/1.1"), "HTTP/1.1"),
        (&[], None, "HTTP/1.1"),
    ] {
        let config = authority.client_of(versions, offered);
        let mut client = Client::tls(gateway.https, &config, "a.test").unwrap();
        assert_eq!(client.session.as_ref().unwrap().alpn.as_deref(), agreed, "{offered:?}");
        let answer = client.get("a.test", "/");
        assert_eq!((answer.status, answer.version.as_str()), (200, version), "{offered:?}");
    }
    // RFC 7301 3.2: with no protocol in common the handshake ends.
    let refused = Client::tls(gateway.https, &authority.client_of(versions, &["spdy/3"]), "a.test");
    assert!(refused.err().unwrap().to_string().contains("NoApplicationProtocol"));
}

#[test]
fn a_certificate_for_another_name_is_served_and_told() {
    let authority = Authority::new();
    let leaf = authority.issue(&["wrong.test"]);
    let gateway = Gateway::start(&(leaf.secret("leaf") + &route("r", "right.test", &refs("leaf"))));
    let refused = shown(&gateway, &authority.client(), "right.test").unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
    let told = gateway.api("problems").to_string();
    assert!(told.contains("HG1304") && told.contains("it is for wrong.test"), "{told}");
}
