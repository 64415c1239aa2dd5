use kube::Config;
use serde_json::json;

use super::*;
use crate::compile::{Condition, ConditionType, Reason};

/// A term that never gets as far as asking anybody: what it would ask for is what is looked at.
fn term(report: Report) -> Term {
    let client = Client::try_from(Config::new("http://192.0.2.1".parse().unwrap())).unwrap();
    let cluster = Cluster {
        client,
        settings: Settings::new("headgate", "me"),
        manager: field_manager("headgate"),
        leading: super::super::leader::channel().1,
    };
    let mut term = Term::begin(Arc::new(cluster), Arc::new(report));
    term.queue = Queue::new();
    term
}

fn route(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::GatewayRoute, "shop", name)
}

fn verdict(uid: &str, generation: i64, message: &str) -> ObjectReport {
    let accepted = Condition {
        type_: ConditionType::Accepted,
        status: true,
        reason: Reason::Accepted,
        message: message.to_owned(),
    };
    ObjectReport {
        ours: true,
        generation: Some(generation),
        uid: Some(uid.to_owned()),
        conditions: vec![accepted],
        ..ObjectReport::default()
    }
}

fn report(objects: impl IntoIterator<Item = (ObjectKey, ObjectReport)>) -> Report {
    objects.into_iter().collect()
}

/// The object as the API server would give it after `verdict` has been written.
fn written(term: &Term, uid: &str, generation: i64, version: &str, message: &str) -> Shown {
    let object = json!({
        "metadata": {
            "name": "web", "uid": uid, "generation": generation, "resourceVersion": version,
            "managedFields": [{"manager": "headgate", "operation": "Apply", "subresource": "status"}],
        },
        "spec": {},
        "status": {"conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": message,
            "observedGeneration": generation, "lastTransitionTime": "2020-01-01T00:00:00Z",
        }]},
    });
    term.cluster.shown(Kind::GatewayRoute, serde_json::from_value(object).unwrap())
}

/// The objects for which the API server would be asked now.
fn asked(term: &mut Term) -> Vec<String> {
    let mut asked = Vec::new();
    while let Some(task) = term.queue.pop(Instant::now()) {
        if let Task::Settle(key) = task
            && term.intent(&key).is_some()
        {
            asked.push(key.name.to_string());
        }
    }
    asked
}

#[tokio::test]
async fn what_is_shown_already_asks_for_nothing() {
    let ours = || report([(route("web"), verdict("u", 1, "fine"))]);
    let mut term = term(ours());
    let shown = written(&term, "u", 1, "10", "fine");
    term.take_list(Kind::GatewayRoute, vec![(route("web"), shown)]);
    assert_eq!(asked(&mut term), [""; 0]);
    for _ in 0..3 {
        term.take_report(Arc::new(ours()));
        assert_eq!(asked(&mut term), [""; 0]);
    }
    term.take_report(Arc::new(report([(route("web"), verdict("u", 1, "other words"))])));
    assert_eq!(asked(&mut term), ["web"]);
}

#[tokio::test]
async fn only_the_newest_report_counts_and_only_once() {
    let mut term = term(Report::default());
    term.take_list(Kind::GatewayRoute, Vec::new());
    for message in ["one", "two", "three"] {
        term.take_report(Arc::new(report([(route("web"), verdict("u", 1, message))])));
    }
    assert_eq!(asked(&mut term), ["web"]);
    // There and back again before anything was written.
    let shown = written(&term, "u", 1, "10", "three");
    term.finish(Task::Settle(route("web")), Ok(Done::Settled(Some(shown))));
    for message in ["four", "three"] {
        term.take_report(Arc::new(report([(route("web"), verdict("u", 1, message))])));
    }
    assert_eq!(asked(&mut term), [""; 0]);
}

#[tokio::test]
async fn nothing_is_written_before_it_is_known_what_is_shown() {
    let mut term = term(Report::default());
    term.take_report(Arc::new(report([(route("web"), verdict("u", 1, "fine"))])));
    assert_eq!(asked(&mut term), [""; 0]);
    term.take_list(Kind::GatewayRoute, Vec::new());
    assert_eq!(asked(&mut term), ["web"]);
}

#[tokio::test]
async fn an_older_generation_is_not_told_and_another_object_owes_nothing_to_its_namesake() {
    let mut term = term(report([(route("web"), verdict("u", 1, "fine"))]));
    let shown = written(&term, "u", 2, "10", "fine for the second");
    term.take_list(Kind::GatewayRoute, vec![(route("web"), shown)]);
    assert_eq!(asked(&mut term), [""; 0], "a report on the second generation is on its way");

    let shown = written(&term, "u", 1, "10", "fine");
    term.shown.insert(route("web"), shown);
    term.take_report(Arc::new(report([(route("web"), verdict("v", 1, "fine"))])));
    assert_eq!(asked(&mut term), ["web"]);
    assert_eq!(term.shown.get(&route("web")), None, "its times of transition were another's");
}

#[tokio::test]
async fn what_is_not_ours_is_forgotten_unless_we_wrote_to_it() {
    let theirs = ObjectReport { ours: false, ..verdict("u", 1, "fine") };
    let mut term = term(report([(route("theirs"), theirs)]));
    let before = written(&term, "u", 1, "10", "fine");
    let never = Shown { written: false, ..before.clone() };
    let objects = vec![(route("theirs"), never.clone()), (route("unknown"), never), (route("former"), before)];
    term.take_list(Kind::GatewayRoute, objects);
    assert_eq!(term.shown.keys().collect::<Vec<_>>(), [&route("former")]);
    assert_eq!(asked(&mut term), ["former"]);
}

#[tokio::test]
async fn an_object_is_given_up_only_when_it_names_another_class() {
    let term = term(Report::default());
    let ours = written(&term, "u", 1, "10", "fine");
    assert_eq!(Intent::Leave.body(&route("web"), &ours), None, "its IngressClass may be back in a moment");
    let left = Shown { left: true, ..ours };
    assert_eq!(Intent::Leave.body(&route("web"), &left), Some(Value::Null));
    let body = term.cluster.apply(&route("web"), &Intent::Leave, &left, Value::Null);
    assert_eq!(
        body,
        json!({
            "apiVersion": "headgate.dev/v1alpha1",
            "kind": "GatewayRoute",
            "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "10"},
        })
    );
}

#[tokio::test]
async fn no_address_is_written_before_one_is_known() {
    let ingress = ObjectKey::new(Kind::Ingress, "shop", "web");
    let mut term = term(report([(ingress, verdict("u", 1, "fine"))]));
    term.take_list(Kind::Ingress, Vec::new());
    assert_eq!(asked(&mut term), [""; 0]);
    term.addresses = Some(["192.0.2.1".parse().unwrap()].into());
    term.settle_all(Kind::Ingress);
    assert_eq!(asked(&mut term), ["web"]);
}

#[tokio::test]
async fn a_list_does_not_undo_what_was_learnt_while_it_was_read() {
    let mut term = term(report([(route("web"), verdict("u", 1, "new"))]));
    let (old, new) = (written(&term, "u", 1, "10", "old"), written(&term, "u", 1, "11", "new"));
    term.shown.insert(route("web"), new.clone());
    term.take_list(Kind::GatewayRoute, vec![(route("web"), old)]);
    assert_eq!(term.shown.get(&route("web")), Some(&new));
    assert_eq!(asked(&mut term), [""; 0]);
    term.take_list(Kind::GatewayRoute, Vec::new());
    assert_eq!(term.shown.get(&route("web")), None, "it has been deleted");
}

#[tokio::test]
async fn a_failure_is_tried_again_later_and_with_nothing_taken_for_granted() {
    let mut term = term(report([(route("web"), verdict("u", 1, "fine"))]));
    let shown = written(&term, "u", 1, "10", "old");
    term.shown.insert(route("web"), shown);
    term.listed.insert(Kind::GatewayRoute);
    term.finish(Task::Settle(route("web")), Err(late()));
    assert_eq!(term.shown.get(&route("web")), None);
    assert_eq!(term.queue.pop(Instant::now()), None);
    let due = term.queue.next().unwrap();
    assert_eq!(term.queue.pop(due), Some(Task::Settle(route("web"))));
}
