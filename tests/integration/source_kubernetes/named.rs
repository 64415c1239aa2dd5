//! Secrets that are wanted by their names: followed one by one, with whatever rights there are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headgate::source::kubernetes::Settings;
use headgate::source::{Kind, Object, ObjectKey};
use serde_json::{Value, json};

use super::{Bench, object, settings};
use crate::harness::watch_faults::{End, Faults, Reply, event, failure};

/// What requests for Secrets by name get, by the name.
type Scripts = Arc<Mutex<BTreeMap<&'static str, VecDeque<Reply>>>>;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Secret, "shop", name)
}

/// A Secret that holds this value.
fn keys(name: &str, version: &str, value: &str) -> Value {
    object(name, version, json!({"type": "Opaque", "stringData": {}, "data": {"jwks": base64(value)}}))
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn listed(items: &[Value], version: &str) -> Reply {
    Reply::List(items.to_vec(), version.to_owned(), None)
}

/// Answers what is asked by a name as its script says, in silence at its end. What is asked by type is an empty list.
fn by_name<const N: usize>(faults: &Faults, scripts: [(&'static str, Vec<Reply>); N]) -> Scripts {
    let scripts: Scripts = Arc::new(Mutex::new(scripts.map(|(name, replies)| (name, replies.into())).into()));
    let answers = scripts.clone();
    faults.answer(
        "secrets",
        Box::new(move |watching, query| {
            let mut scripts = answers.lock().unwrap();
            let of_name = |name: &&str| {
                query.contains(&format!("metadata.name%3D{name}&"))
                    || query.ends_with(&format!("metadata.name%3D{name}"))
            };
            let name = scripts.keys().copied().find(of_name);
            let next = name.and_then(|name| scripts.get_mut(name)?.pop_front());
            next.unwrap_or_else(|| match (watching, name) {
                (true, _) => Reply::Watch(Vec::new(), End::Stall),
                (false, None) => listed(&[], "1"),
                (false, Some(_)) => Reply::Hang,
            })
        }),
    );
    scripts
}

impl Bench {
    fn want(&mut self, names: &[&str]) {
        let keys: BTreeSet<_> = names.iter().map(|name| key(name)).collect();
        let references = keys.iter().cloned().collect();
        self.store.retain(&references, &references);
        self.wanted.values.send(keys).unwrap();
    }

    /// What the Secret holds now.
    fn value(&self, name: &str) -> Option<String> {
        let Object::Secret(secret) = self.store.get(&key(name))?.object.as_ref()? else { return None };
        Some(String::from_utf8(secret.data.as_ref()?["jwks"].0.clone()).unwrap())
    }

    /// The values that the Secret goes through until it holds the last of these; `-` is that it has gone.
    async fn goes_through(&mut self, name: &str, expected: &[&str]) {
        let mut seen: Vec<String> = Vec::new();
        while seen.last().map(String::as_str) != expected.last().copied() {
            self.batch().await;
            match self.value(name) {
                Some(now) if seen.last() != Some(&now) => seen.push(now),
                None if seen.last().is_some_and(|last| last != "-") => seen.push("-".to_owned()),
                Some(_) | None => {}
            }
        }
        assert_eq!(seen, expected);
    }
}

/// Renewed, taken away and made again, over watches that end and one that is too old: every state is seen, in order.
#[tokio::test]
async fn a_secret_is_followed_through_renewal_and_deletion() {
    let faults = Faults::start().await;
    let replies = vec![
        listed(&[keys("keys", "5", "old")], "10"),
        Reply::Watch(vec![event("MODIFIED", keys("keys", "11", "renewed"))], End::Close),
        Reply::Watch(vec![event("DELETED", keys("keys", "12", "renewed"))], End::Close),
        Reply::Watch(vec![event("ADDED", keys("keys", "13", "again")), failure(410)], End::Close),
        listed(&[keys("keys", "20", "relisted")], "20"),
        Reply::Watch(vec![failure(410)], End::Close),
        // It went while nobody watched.
        listed(&[], "30"),
        Reply::Watch(vec![event("ADDED", keys("keys", "31", "last"))], End::Stall),
    ];
    let scripts = by_name(&faults, [("keys", replies)]);
    let mut bench = Bench::start(&faults, settings());
    // The list by type has come, and none of these is among what it has.
    bench.synced(Kind::Secret).await;
    bench.want(&["keys"]);
    bench.goes_through("keys", &["old", "renewed", "-", "again", "relisted", "-", "last"]).await;
    assert!(scripts.lock().unwrap()["keys"].is_empty());
    let asked = faults.requests("secrets");
    let by_type = asked.iter().filter(|query| query.contains("type%3Dkubernetes.io%2Ftls")).count();
    let by_name = asked.iter().filter(|query| query.contains("metadata.name%3Dkeys")).count();
    assert_eq!(by_type + by_name, asked.len(), "nothing else is ever read: {asked:#?}");
    bench.stop().await;
}

/// A server that fails takes nothing away, and neither does it keep the others waiting.
#[tokio::test]
async fn a_failing_server_takes_nothing_away() {
    let faults = Faults::start().await;
    let failing = vec![
        Reply::Status(500),
        Reply::Status(503),
        listed(&[keys("keys", "5", "first")], "10"),
        Reply::Watch(vec![failure(500)], End::Close),
        Reply::Watch(vec![failure(410)], End::Close),
        Reply::Status(500),
        Reply::Status(429),
        listed(&[keys("keys", "20", "second")], "20"),
    ];
    by_name(&faults, [("keys", failing), ("other", vec![listed(&[keys("other", "1", "there")], "10")])]);
    let mut bench = Bench::start(&faults, settings());
    bench.synced(Kind::Secret).await;
    bench.want(&["keys", "other"]);
    bench.until(|store| store.get(&key("other")).is_some()).await;
    bench.until(|store| store.get(&key("keys")).is_some()).await;
    assert_eq!(bench.value("keys").as_deref(), Some("first"));
    bench.goes_through("keys", &["second"]).await;
    bench.stop().await;
}

/// Rights to get, and not to list or watch: it is got again and again, a right that is taken away takes the Secret away,
/// and what cannot be answered for does not. Once it may be watched, it is.
#[tokio::test]
async fn a_secret_that_may_only_be_got_is_got_again() {
    let faults = Faults::start().await;
    let forbidden = (0..8).map(|_| Reply::Status(403));
    let then = [
        listed(&[keys("keys", "40", "watched")], "40"),
        Reply::Watch(vec![event("MODIFIED", keys("keys", "41", "followed"))], End::Stall),
    ];
    by_name(&faults, [("keys", forbidden.chain(then).collect())]);
    faults.script(
        "secrets/keys",
        [
            Reply::Object(keys("keys", "1", "old")),
            Reply::Object(keys("keys", "2", "renewed")),
            Reply::Status(500),
            Reply::Object(keys("keys", "3", "renewed once more")),
            Reply::Status(403),
            Reply::Object(keys("keys", "4", "allowed again")),
            Reply::Status(404),
            Reply::Object(keys("keys", "5", "made again")),
        ],
    );
    let mut bench = Bench::start(&faults, Settings { get_again: Duration::from_millis(5), ..settings() });
    bench.synced(Kind::Secret).await;
    bench.want(&["keys"]);
    let expected =
        ["old", "renewed", "renewed once more", "-", "allowed again", "-", "made again", "watched", "followed"];
    bench.goes_through("keys", &expected).await;
    faults.finished().await;
    bench.stop().await;
}

/// What is no longer wanted is no longer watched, and is read anew when it is wanted again.
#[tokio::test]
async fn only_what_is_wanted_is_watched() {
    let faults = Faults::start().await;
    let scripts = by_name(
        &faults,
        [
            ("one", vec![listed(&[keys("one", "1", "before")], "10"), Reply::Watch(Vec::new(), End::Stall)]),
            ("two", vec![listed(&[keys("two", "1", "there")], "10")]),
        ],
    );
    let mut bench = Bench::start(&faults, settings());
    bench.synced(Kind::Secret).await;
    bench.want(&["one"]);
    bench.until(|store| store.get(&key("one")).is_some()).await;
    bench.want(&["two"]);
    // Whoever has made the second watch has ended the first.
    bench.until(|store| store.get(&key("two")).is_some()).await;
    assert_eq!((bench.value("one"), bench.value("two").as_deref()), (None, Some("there")));
    scripts.lock().unwrap().get_mut("one").unwrap().push_back(listed(&[keys("one", "9", "after")], "20"));
    bench.want(&["one", "two"]);
    bench.goes_through("one", &["after"]).await;
    assert_eq!(bench.value("two").as_deref(), Some("there"), "and nobody else is read anew");
    let lists = |name: &str| {
        let wanted = format!("metadata.name%3D{name}");
        faults.requests("secrets").iter().filter(|it| it.contains(&wanted) && !it.contains("watch=true")).count()
    };
    assert_eq!((lists("one"), lists("two")), (2, 1));
    bench.stop().await;
}
