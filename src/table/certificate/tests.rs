use super::*;

fn certificates(named: &[(HostKey, &str)]) -> Certificates {
    let mut certificates = Certificates::default();
    for (key, name) in named {
        certificates.set(key, Ok(Arc::new(sample_certificate(name))));
    }
    certificates
}

fn shown<'c>(certificates: &'c Certificates, sni: &str) -> Option<&'c str> {
    certificates.find(sni).map(|certificate| &*certificate.secret.1)
}

/// Exact, then one label of a wildcard, then the default.
#[test]
fn a_name_gets_the_most_specific_certificate() {
    let some = certificates(&[
        (HostKey::Exact("foo.com".into()), "foo"),
        (HostKey::Exact("a.foo.com".into()), "a"),
        (HostKey::Wildcard("foo.com".into()), "wild"),
        (HostKey::Subdomains("foo.com".into()), "never"),
    ]);
    let mut all: Vec<_> = some.iter().map(|(key, shown)| (key, &*shown.secret.1)).collect();
    all.push((HostKey::Any, "default"));
    let all = certificates(&all);
    for (sni, without_default) in [
        ("foo.com", Some("foo")),
        ("FOO.com.", Some("foo")),
        ("a.foo.com", Some("a")),
        ("b.foo.com", Some("wild")),
        ("B.Foo.Com", Some("wild")),
        ("c.b.foo.com", None),
        (".foo.com", None),
        ("com", None),
        ("", None),
        ("10.0.0.1", None),
    ] {
        assert_eq!(shown(&some, sni), without_default, "{sni}");
        assert_eq!(shown(&all, sni), without_default.or(Some("default")), "{sni}");
    }
}

#[test]
fn no_key_is_in_the_debug_text() {
    let text = format!("{:?}", sample_certificate("shop"));
    assert!(text.starts_with("Certificate { min_version: Tls12, client: None, secret: (\"shop\", \"shop\")"), "{text}");
    assert!(!text.to_lowercase().contains("key"), "{text}");
}

/// A host that has lost its certificate is as if it had never had one, and others never notice.
#[test]
fn what_is_set_anew_replaces_what_was_there() {
    let hosts = [HostKey::Exact("foo.com".into()), HostKey::Wildcard("foo.com".into()), HostKey::Any];
    let before =
        certificates(&[(hosts[0].clone(), "exact"), (hosts[1].clone(), "wild"), (hosts[2].clone(), "default")]);
    let mut after = before.clone();
    assert!(after.is(&before));
    for (gone, host) in hosts.iter().enumerate() {
        after.set(host, Err(None));
        assert!(!after.is(&before));
        let left: Vec<_> = after.iter().map(|(key, _)| key).collect();
        assert_eq!(left, hosts[gone + 1..]);
    }
    assert!(after.named.is_empty());
    assert_eq!(before.iter().count(), 3);
}
