use proptest::prelude::*;

use super::*;
use crate::table::sample::precedence;

fn certificates(claims: &[(HostKey, i64, &str)]) -> Certificates {
    Certificates::new(
        claims
            .iter()
            .map(|(key, created, name)| (key.clone(), precedence(*created, "x"), Arc::new(sample_certificate(name)))),
    )
}

fn shown<'c>(certificates: &'c Certificates, sni: &str) -> Option<&'c str> {
    certificates.find(sni).map(|certificate| &*certificate.secret.1)
}

/// Exact, then one label of a wildcard, then the default.
#[test]
fn a_name_gets_the_most_specific_certificate() {
    let some = certificates(&[
        (HostKey::Exact("foo.com".into()), 0, "foo"),
        (HostKey::Exact("a.foo.com".into()), 0, "a"),
        (HostKey::Wildcard("foo.com".into()), 0, "wild"),
        (HostKey::Subdomains("foo.com".into()), 0, "never"),
    ]);
    let mut all: Vec<_> = some.iter().map(|(key, shown)| (key, 0, &*shown.secret.1)).collect();
    all.push((HostKey::Any, 0, "default"));
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

proptest! {
    #[test]
    fn the_choice_does_not_depend_on_the_order(
        claims in prop::collection::vec((0..3usize, 0..3i64, prop::sample::select(vec!["a", "b", "c"])), 0..8).prop_shuffle(),
    ) {
        let keys = [HostKey::Exact("a.foo.com".into()), HostKey::Wildcard("foo.com".into()), HostKey::Any];
        let claims: Vec<_> = claims.into_iter().map(|(key, created, name)| (keys[key].clone(), created, name)).collect();
        let chosen = certificates(&claims);
        for (key, sni) in keys.iter().zip(["a.foo.com", "b.foo.com", "bar.com"]) {
            // The oldest claim on the most specific key that has any; the Secret's name settles the rest.
            let best = |key: &HostKey| {
                claims.iter().filter(|claim| claim.0 == *key).map(|(_, created, name)| (*created, *name)).min()
            };
            let fallback = || keys.iter().skip_while(|other| *other != key).find_map(best);
            prop_assert_eq!(shown(&chosen, sni), fallback().map(|(_, name)| name), "{}", sni);
        }
    }
}
