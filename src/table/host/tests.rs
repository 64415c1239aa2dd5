use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::table::sample;

/// A router that is known by its only rule.
fn router(name: &str) -> Arc<HostRouter> {
    let mut entry = sample::entry(sample::path("Prefix /"));
    entry.route = Arc::new(sample::route(name));
    Arc::new(HostRouter::new(vec![entry]))
}

fn name_of(router: &HostRouter) -> &str {
    &router.entries()[0].route.id.name
}

fn key(text: &str) -> HostKey {
    match text.strip_prefix("*.") {
        _ if text == "*" => HostKey::Any,
        Some(rest) => match rest.strip_prefix("*.") {
            Some(suffix) => HostKey::Subdomains(suffix.into()),
            None => HostKey::Wildcard(rest.into()),
        },
        None => HostKey::Exact(text.into()),
    }
}

fn hosts(keys: &[&str]) -> Hosts {
    Hosts::default().with(keys.iter().map(|text| (key(text), Some(router(text)))))
}

#[test]
fn declared_hosts_are_parsed() {
    let exact = |name: &str| HostKey::Exact(name.into());
    assert_eq!(HostKey::parse_ingress(""), Ok(HostKey::Any));
    assert_eq!(HostKey::parse_ingress("Shop.Example.com"), Ok(exact("shop.example.com")));
    assert_eq!(HostKey::parse_ingress("*.foo.com"), Ok(HostKey::Wildcard("foo.com".into())));
    assert_eq!(HostKey::parse_hostname("foo.com"), Ok(vec![exact("foo.com")]));
    assert_eq!(
        HostKey::parse_hostname("*.foo.com"),
        Ok(vec![HostKey::Wildcard("foo.com".into()), HostKey::Subdomains("foo.com".into())])
    );
    assert_eq!(HostKey::parse_hostname(""), Err(HostKeyError::Name("".into())));
    let long = ["a123456789"; 24].join(".");
    for (declared, error) in [
        ("10.0.0.1", HostKeyError::Address("10.0.0.1".into())),
        ("[::1]", HostKeyError::Address("[::1]".into())),
        ("::1", HostKeyError::Address("::1".into())),
        ("foo.com:8080", HostKeyError::Port("foo.com:8080".into())),
        ("*", HostKeyError::LoneStar),
        ("a.*.com", HostKeyError::Star("a.*.com".into())),
        ("*foo.com", HostKeyError::Star("*foo.com".into())),
        ("*.*.com", HostKeyError::Star("*.*.com".into())),
        ("*.", HostKeyError::Name("*.".into())),
        ("foo.com.", HostKeyError::Name("foo.com.".into())),
        ("foo..com", HostKeyError::Name("foo..com".into())),
        ("-foo.com", HostKeyError::Name("-foo.com".into())),
        ("foo_bar.com", HostKeyError::Name("foo_bar.com".into())),
        ("foo.com/x", HostKeyError::Name("foo.com/x".into())),
        ("müller.de", HostKeyError::Name("müller.de".into())),
        (&long, HostKeyError::Name(long.as_str().into())),
    ] {
        assert_eq!(HostKey::parse_ingress(declared), Err(error), "{declared}");
    }
}

/// The host rules of Ingress (one label) and HTTPRoute (one label or more), and no fall-through.
#[test]
fn the_most_specific_host_answers() {
    let all = hosts(&["foo.com", "bar.foo.com", "*.foo.com", "*.*.foo.com", "*.deep.foo.com", "*.1.1.1", "*"]);
    for (host, expected) in [
        ("foo.com", "foo.com"),
        ("bar.foo.com", "bar.foo.com"),
        ("other.foo.com", "*.foo.com"),
        ("a.b.foo.com", "*.*.foo.com"),
        ("a.b.c.foo.com", "*.*.foo.com"),
        ("x.deep.foo.com", "*.deep.foo.com"),
        // The longer wildcard takes one label only, and does not keep the shorter one from taking more.
        ("y.x.deep.foo.com", "*.*.foo.com"),
        ("deep.foo.com", "*.foo.com"),
        (".foo.com", "*"),
        ("com", "*"),
        ("", "*"),
        ("10.1.1.1", "*"),
        ("[::1]", "*"),
        ("afoo.com", "*"),
    ] {
        assert_eq!(all.find(host).map(name_of), Some(expected), "{host}");
        assert_eq!(all.key(host), Some(key(expected)), "{host}");
    }
    let ingress = hosts(&["*.foo.com"]);
    assert_eq!(ingress.find("bar.foo.com").map(name_of), Some("*.foo.com"));
    assert!(ingress.find("baz.bar.foo.com").is_none());
    assert!(ingress.find("foo.com").is_none());
    assert_eq!(ingress.key("foo.com"), None);
}

#[test]
fn replacing_a_host_leaves_the_others_where_they_are() {
    let before = hosts(&["a.com", "b.com", "*.c.com"]);
    let after = before.with([(key("a.com"), Some(router("new"))), (key("b.com"), None)]);
    assert_eq!(before.find("a.com").map(name_of), Some("a.com"));
    assert_eq!(after.find("a.com").map(name_of), Some("new"));
    assert!(after.find("b.com").is_none());
    assert!(Arc::ptr_eq(before.get(&key("*.c.com")).unwrap(), after.get(&key("*.c.com")).unwrap()));
    let copied = shards(&before).zip(shards(&after)).filter(|(old, new)| !Arc::ptr_eq(old, new)).count();
    assert!(copied <= 2, "{copied} shards copied for two hosts");
    let copied = before.parts.iter().zip(&*after.parts).filter(|(old, new)| !Arc::ptr_eq(old, new)).count();
    assert!(copied <= 2, "{copied} parts copied for two hosts");
    let none = after.with([(key("a.com"), None), (key("*.c.com"), None), (key("never.there"), None)]);
    assert_eq!(none.iter().count(), 0);
    assert!(shards(&none).all(|shard| shard.is_empty()));
    assert_eq!(none.wildcards, 0);
}

proptest! {
    /// Whatever was put in, replaced and taken out, the hosts are those of a map that is treated the same.
    #[test]
    fn hosts_are_a_map(
        changes in prop::collection::vec(
            (prop::sample::select(vec!["a.b", "b", "*.b", "*.*.b", "*.a.b", "*", "c.a.b"]), any::<Option<u8>>()),
            0..24,
        ),
    ) {
        let mut hosts = Hosts::default();
        let mut map = BTreeMap::new();
        for (text, name) in changes {
            let name = name.map(|name| name.to_string());
            hosts = hosts.with([(key(text), name.as_deref().map(router))]);
            match name {
                Some(name) => map.insert(key(text), name),
                None => map.remove(&key(text)),
            };
        }
        let found: BTreeMap<_, _> = hosts.iter().map(|(key, router)| (key, name_of(router).to_owned())).collect();
        prop_assert_eq!(&found, &map);
        for (host, keys) in [
            ("b", &["b", "*"][..]),
            ("a.b", &["a.b", "*.b", "*"]),
            ("x.b", &["*.b", "*"]),
            ("c.a.b", &["c.a.b", "*.a.b", "*.*.b", "*"]),
            ("x.c.a.b", &["*.*.b", "*"]),
            ("other", &["*"]),
        ] {
            let expected = keys.iter().find_map(|text| map.get(&key(text)));
            prop_assert_eq!(hosts.find(host).map(name_of), expected.map(String::as_str), "{}", host);
        }
    }
}

fn shards(hosts: &Hosts) -> impl Iterator<Item = &Shard> {
    hosts.parts.iter().flat_map(|part| part.iter())
}
