//! HTTP/2 as its specification wants it, and clients that want nothing else than to be a nuisance.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::backend::Backend;
use crate::harness::certs::Authority;
use crate::harness::gateway::Gateway;
use crate::harness::raw_h2::{Fate, RawH2};

const HOST: &str = "localhost";

fn routed(backend: &Backend, tls: &str) -> String {
    backend.service("app")
        + &format!(
            "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: app}}\nspec:\n  hostnames: \
             [{HOST}]\n  tls: {{{tls}}}\n  rules: [{{backendRefs: [{{name: app, port: 80}}]}}]\n"
        )
}

/// The cases that fail, by their names.
fn failures(arguments: &[&str]) -> Vec<String> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/h2spec/bin/h2spec");
    let program = std::env::var_os("HEADGATE_TEST_H2SPEC").map_or(built, PathBuf::from);
    let report = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(&program)
        .args(["--host", HOST, "--strict", "--timeout", "5", "--junit-report"])
        .arg(report.path())
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}: tests/h2spec/build.sh builds it", program.display()));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("146 tests, "), "{told}");
    let report = std::fs::read_to_string(report.path()).unwrap();
    let case = regex::Regex::new(r#"classname="([^"]*)" time="[^"]*">\s*<(?:failure|error)"#).unwrap();
    let failed: Vec<String> = case.captures_iter(&report).map(|found| found[1].to_owned()).collect();
    assert!(told.contains(&format!(" {} failed", failed.len())), "{told}");
    failed
}

#[test]
fn what_the_specification_wants_is_done() {
    let (authority, backend) = (Authority::new(), Backend::named("app"));
    let leaf = authority.issue(&[HOST]);
    let refs = "certificateRefs: [{name: leaf}], httpRedirect: false";
    let gateway = Gateway::start(&(leaf.secret("leaf") + &routed(&backend, refs)));
    assert_eq!(failures(&["--tls", "--insecure", "--port", &gateway.https.port().to_string()]), [""; 0]);
    // In clear, what does not begin as HTTP/2 is HTTP/1.1, and is answered as that.
    assert_eq!(failures(&["--port", &gateway.http.port().to_string()]), ["Sends invalid connection preface"]);
}

#[test]
fn a_client_that_asks_for_nothing_again_and_again_loses_its_connection() {
    let backend = Backend::named("app");
    let gateway = Gateway::start_with(&routed(&backend, ""), &["--workers", "1"]);
    let get: [(&[u8], &[u8]); 4] =
        [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", HOST.as_bytes()), (b":path", b"/")];
    let mut patient = RawH2::connect(gateway.http);
    let mut nuisance = RawH2::connect(gateway.http);
    nuisance.pings(5_000);
    let stream = nuisance.headers(&get, true);
    // ENHANCE_YOUR_CALM (RFC 9113 7).
    assert_eq!(nuisance.fate(stream), Fate::Ended(Some(11)));
    gateway.wait_for_line(&["HTTP/2 connection closed", "127.0.0.1"]);
    // A few are what clients do, and others are none the worse for it.
    patient.pings(50);
    let stream = patient.headers(&get, true);
    assert!(matches!(patient.fate(stream), Fate::Answered(200, _)));
}
