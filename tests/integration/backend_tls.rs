//! TLS to backends: whom it trusts, what it shows, and that nothing is shared between the two of different terms.

use std::net::SocketAddr;

use http::Response;

use crate::harness::backend::service;
use crate::harness::certs::{Authority, bundle};
use crate::harness::endpoint::{Endpoint, Speaks, full};
use crate::harness::gateway::Gateway;
use crate::harness::traffic::{self, until};

/// One worker, so that there is one pool.
const ONE: &[&str] = &["--workers", "1"];
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];
const NAME: &str = "s.default.svc";

async fn answering(config: std::sync::Arc<rustls::ServerConfig>) -> Endpoint {
    Endpoint::answering(Speaks::Tls(config), |_| async { Response::new(full("ok")) }).await
}

/// A Service of this address, a rule for it with these fields of TLS, and one that answers by itself.
fn objects(address: SocketAddr, tls: &str) -> String {
    service("s", &[address])
        + &format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: r}}\nspec:\n  rules:\n  - \
             backendRefs: [{{name: s, port: 80, tls: {{{tls}}}}}]\n  - matches: [{{path: {{value: /own}}}}]\n    filters: \
             [{{type: DirectResponse, directResponse: {{statusCode: 200}}}}]\n"
        )
}

const TRUSTING: &str = "caCertificateRefs: [{name: ca}]";
const SHOWING: &str = "caCertificateRefs: [{name: ca}], clientCertificateRef: {name: me}";

/// What becomes of a request; the rule beside it is served whatever does.
async fn ask(gateway: &Gateway) -> (u16, String) {
    assert_eq!(traffic::get(gateway.http, "/own").await.status, 200);
    let answer = traffic::get(gateway.http, "/").await;
    match answer.status.as_u16() {
        200 => (200, answer.text().to_owned()),
        _ => answer.refusal(),
    }
}

fn ok() -> (u16, String) {
    (200, "ok".to_owned())
}

fn refused(reason: &str) -> (u16, String) {
    let status = if reason == "no_backend" { 500 } else { 503 };
    (status, reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_trusted_by_its_bundle_and_by_nothing_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    for protocols in [PROTOCOLS, &[b"http/1.1"]] {
        let endpoint = answering(authority.server(NAME, protocols)).await;
        let declared = objects(endpoint.address, TRUSTING);
        let gateway = Gateway::start_with(&(authority.bundle("ca") + &declared), ONE);
        assert_eq!(ask(&gateway).await, ok());
        assert_eq!(ask(&gateway).await, ok());
        assert_eq!(endpoint.accepted(), 1);
        // Another authority: the connection that is there is not used, and no other comes about.
        gateway.apply(&(other.bundle("ca") + &declared));
        assert_eq!(ask(&gateway).await, refused("connect_failed"));
        until("the connection of before is closed", || endpoint.open() == 0).await;
        // What is no bundle lets no connection come about at all.
        let connections = endpoint.accepted();
        for (broken, code) in [(String::new(), "HG1307"), (bundle("ca", "none"), "HG1308")] {
            gateway.apply(&(broken + &declared));
            assert_eq!(ask(&gateway).await, refused("no_backend"));
            let told = gateway.api("problems").to_string();
            assert!(told.contains(code) && told.contains("backendRefs[0].tls.caCertificateRefs[0].name"), "{told}");
        }
        assert_eq!(endpoint.accepted(), connections);
        // Both, while backends change over.
        gateway.apply(&(bundle("ca", &(other.pem() + &authority.pem())) + &declared));
        assert_eq!(ask(&gateway).await, ok());
        assert_eq!(gateway.api("problems")["problems"].to_string(), "[]");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_asks_is_shown_the_certificate_of_now() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let ca = authority.bundle("ca");
    for protocols in [PROTOCOLS, &[b"http/1.1"]] {
        let endpoint = answering(authority.server_asking(NAME, protocols, &clients)).await;
        let declared = ca.clone() + &objects(endpoint.address, SHOWING);
        let me = clients.issue(&["gateway"]);
        // None, one of somebody else, none that can be used.
        let gateway = Gateway::start_with(&(ca.clone() + &objects(endpoint.address, TRUSTING)), ONE);
        let (status, _) = ask(&gateway).await;
        assert!(status >= 500, "{status}");
        gateway.apply(&(Authority::new().issue(&["gateway"]).secret("me") + &declared));
        let (status, _) = ask(&gateway).await;
        assert!(status >= 500, "{status}");
        gateway.apply(&declared);
        assert_eq!(ask(&gateway).await, refused("no_backend"));
        assert!(gateway.api("problems").to_string().contains("HG1301"));
        // The right one.
        gateway.apply(&(me.secret("me") + &declared));
        assert_eq!(ask(&gateway).await, ok());
        let connections = endpoint.accepted();
        assert_eq!(ask(&gateway).await, ok());
        assert_eq!(endpoint.accepted(), connections);
        // A renewed one is shown on a connection of its own, and the old connection ends.
        gateway.apply(&(clients.issue(&["gateway"]).secret("me") + &declared));
        assert_eq!(ask(&gateway).await, ok());
        assert_eq!(endpoint.accepted(), connections + 1);
        until("the connection of before is closed", || endpoint.open() == 1).await;
    }
}

/// One route trusts whoever runs the backend, the other does not: what the first has agreed on is not the other's.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_not_lent_to_those_who_would_not_have_made_it() {
    let (authority, other) = (Authority::new(), Authority::new());
    let endpoint = answering(authority.server(NAME, PROTOCOLS)).await;
    let route = |name: &str| {
        format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: {name}}}\nspec:\n  rules: \
             [{{matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{name: s, port: 80, tls: {{caCertificateRefs: \
             [{{name: {name}}}]}}}}]}}]\n"
        )
    };
    let declared = [
        service("s", &[endpoint.address]),
        authority.bundle("right"),
        other.bundle("wrong"),
        route("right"),
        route("wrong"),
    ];
    let gateway = Gateway::start_with(&declared.concat(), ONE);
    for _ in 0..3 {
        assert_eq!(traffic::get(gateway.http, "/right").await.text(), "ok");
        assert_eq!(traffic::get(gateway.http, "/wrong").await.refusal(), refused("connect_failed"));
    }
}
