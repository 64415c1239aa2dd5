use super::*;

fn settings() -> Settings {
    Settings { identity: "me".to_owned(), ..Settings::new("system", "headgate") }
}

fn held(holder: &str, seconds: Option<i32>) -> Lease {
    Lease {
        metadata: ObjectMeta::default(),
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: seconds,
            lease_transitions: Some(3),
            acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            // Whatever the holder's clock says, only ours counts.
            renew_time: Some(MicroTime(Timestamp::MAX)),
            ..LeaseSpec::default()
        }),
    }
}

#[test]
fn a_lease_is_taken_only_when_nobody_can_hold_it() {
    let second = Duration::from_secs;
    let cases = [
        ("there is none", None, 0, Action::Create),
        ("it has no spec", Some(Lease::default()), 0, Action::Take),
        ("it is ours", Some(held("me", Some(15))), 0, Action::Renew),
        ("it is ours, however old", Some(held("me", Some(15))), 100, Action::Renew),
        ("it was given back", Some(held("", Some(1))), 0, Action::Take),
        ("another has just renewed it", Some(held("other", Some(15))), 0, Action::Wait(second(15))),
        ("another may still hold it", Some(held("other", Some(15))), 14, Action::Wait(second(1))),
        ("it stood still for its duration", Some(held("other", Some(15))), 15, Action::Take),
        ("its holder promised more than we do", Some(held("other", Some(60))), 59, Action::Wait(second(1))),
        ("its holder promised nothing", Some(held("other", None)), 14, Action::Wait(second(1))),
        ("its holder promised nothing, and is late", Some(held("other", None)), 15, Action::Take),
        ("its holder promised nonsense", Some(held("other", Some(-1))), 14, Action::Wait(second(1))),
    ];
    let since = Instant::now();
    for (case, lease, age, action) in cases {
        assert_eq!(decide(since + second(age), &Observed { lease, since }, &settings()), action, "{case}");
    }
}

#[test]
fn a_claim_counts_changes_of_hands_and_keeps_the_rest() {
    let now = MicroTime(Timestamp::from_second(1_000).unwrap());
    let claim = |action, lease| claimed(action, lease, &settings(), now.clone()).spec.unwrap();
    let expected = LeaseSpec {
        acquire_time: Some(now.clone()),
        holder_identity: Some("me".to_owned()),
        lease_duration_seconds: Some(15),
        lease_transitions: Some(0),
        renew_time: Some(now.clone()),
        ..LeaseSpec::default()
    };
    assert_eq!(claim(Action::Create, None), expected);
    assert_eq!(
        claim(Action::Take, Some(held("other", Some(60)))),
        LeaseSpec { lease_transitions: Some(4), ..expected.clone() }
    );
    assert_eq!(
        claim(Action::Renew, Some(held("me", Some(15)))),
        LeaseSpec { lease_transitions: Some(3), acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)), ..expected }
    );
}

#[test]
fn a_lease_given_back_is_free_to_take() {
    let lease = freed(held("me", Some(15)), MicroTime(Timestamp::UNIX_EPOCH));
    assert_eq!(lease.spec.as_ref().unwrap().lease_transitions, Some(3));
    let observed = Observed { lease: Some(lease), since: Instant::now() };
    assert_eq!(decide(observed.since, &observed, &settings()), Action::Take);
}

#[test]
fn identities_differ_between_runs() {
    assert_ne!(identity(), identity());
}

#[test]
fn each_class_elects_its_own_leader() {
    assert_eq!(lease_name("headgate"), "headgate-leader");
    assert_eq!(lease_name("internal"), "headgate-leader-internal");
}

// A process that was stopped and goes on must not write on a term that is over, before any task has noticed.
#[tokio::test]
async fn a_term_ends_by_the_clock() {
    let (election, mut leading) = channel();
    assert!(!leading.holds());
    election.lead_until(Instant::now());
    assert!(!leading.holds());
    leading.ended().await;
}

#[tokio::test]
async fn a_renewal_wakes_nobody_and_prolongs_the_term() {
    let (election, mut leading) = channel();
    let end = Instant::now() + Duration::from_secs(1_000);
    election.lead_until(end);
    assert!(leading.term.has_changed().unwrap());
    leading.begun().await;
    assert!(leading.holds());
    election.lead_until(end + Duration::from_secs(2));
    assert!(!leading.term.has_changed().unwrap());
    assert_eq!(election.end(), Some(end + Duration::from_secs(2)));
}

// Its end may have passed before the renewal came, and then the writers wait for a beginning.
#[tokio::test]
async fn a_term_that_was_over_begins_again() {
    let (election, mut leading) = channel();
    election.lead_until(Instant::now());
    leading.ended().await;
    election.lead_until(Instant::now() + Duration::from_secs(1_000));
    assert!(leading.term.has_changed().unwrap());
    leading.begun().await;
}

#[tokio::test]
async fn stepping_down_ends_the_term_at_once() {
    let (election, mut leading) = channel();
    election.lead_until(Instant::now() + Duration::from_secs(1_000));
    leading.begun().await;
    election.step_down();
    assert!(!leading.holds());
    leading.ended().await;
}
