use super::*;

const OUTLIER: Outlier = Outlier {
    consecutive_failures: 3,
    consecutive_gateway_failures: None,
    consecutive_connect_failures: None,
    failure_rate: None,
    interval: Duration::from_millis(100),
    base_ejection_time: Duration::from_secs(1),
    max_ejection_percent: 50,
};

struct Set {
    group: Arc<GroupHealth>,
    endpoints: Vec<Arc<Health>>,
    outlier: Outlier,
}

impl Set {
    fn of(count: usize, max_ejection_percent: u32) -> Self {
        let group = Arc::new(GroupHealth::default());
        let endpoints = (0..count).map(|_| Arc::new(Health::new(group.clone()))).collect();
        Self { group, endpoints, outlier: Outlier { max_ejection_percent, ..OUTLIER } }
    }

    fn fail(&self, number: usize, now: u64) -> Option<Change> {
        self.end(number, Outcome::Failed, now)
    }

    fn end(&self, number: usize, outcome: Outcome, now: u64) -> Option<Change> {
        let health = &self.endpoints[number];
        match outcome {
            Outcome::Well => health.succeeded(Some(&self.outlier), now),
            failed => health.failed(&self.outlier, failed, self.endpoints.len(), now),
        }
    }

    /// Fails until it is ejected, or `None` if it is not.
    fn eject(&self, number: usize, now: u64) -> Option<Change> {
        (0..self.outlier.consecutive_failures).find_map(|_| self.fail(number, now))
    }

    /// Which may be chosen: the numbers of those, `T` and a number for a trial, or how long none may.
    fn fit(&self, now: u64) -> String {
        match self.group.fit(&self.endpoints, Some(&self.outlier), now, |_| true) {
            Fit::All => "all".to_owned(),
            Fit::Trial(number) => format!("trial {number}"),
            Fit::None(wait) => format!("none for {wait}"),
            Fit::Some(healths) => {
                let fit = healths.iter().enumerate().filter(|(_, health)| !health.is_out());
                fit.map(|(number, _)| number.to_string()).collect::<Vec<_>>().join(" ")
            }
        }
    }
}

#[test]
fn closed_open_half_open_closed() {
    let set = Set::of(4, 50);
    assert_eq!(set.fit(0), "all");
    assert_eq!([set.fail(1, 10), set.fail(1, 10)], [None, None]);
    // A success in between starts the row anew.
    assert_eq!(set.endpoints[1].succeeded(None, 10), None);
    assert_eq!([set.fail(1, 10), set.fail(1, 10), set.fail(1, 10)], [None, None, Some(Change::Ejected(1090))]);
    assert_eq!((set.fit(20), set.endpoints[1].circuit()), ("0 2 3".to_owned(), Circuit::Open));
    // What was under way when it was ejected changes nothing, for better or worse.
    assert_eq!((set.endpoints[1].succeeded(None, 30), set.fail(1, 30)), (None, None));
    assert_eq!(set.fit(1_099), "0 2 3");
    // One request, and no other until its outcome is known.
    assert_eq!([set.fit(1_100), set.fit(1_100), set.fit(2_000)], ["trial 1", "0 2 3", "0 2 3"]);
    assert_eq!(set.endpoints[1].circuit(), Circuit::HalfOpen);
    // It fails: twice as long.
    assert_eq!(set.fail(1, 1_200), Some(Change::Ejected(2_000)));
    assert_eq!((set.fit(3_100), set.fit(3_200), set.fit(3_200)), ("0 2 3".into(), "trial 1".into(), "0 2 3".into()));
    assert_eq!(set.endpoints[1].succeeded(None, 3_300), Some(Change::Returned));
    assert_eq!((set.fit(3_300), set.endpoints[1].circuit()), ("all".to_owned(), Circuit::Closed));
    // Within the next interval the third time is three times as long; much later all is forgotten.
    assert_eq!(set.eject(1, 3_350), Some(Change::Ejected(3_050)));
    assert_eq!(set.fit(6_400), "trial 1");
    assert_eq!(set.endpoints[1].succeeded(None, 6_400), Some(Change::Returned));
    assert_eq!(set.eject(1, 60_000), Some(Change::Ejected(1_000)));
}

#[test]
fn no_more_are_left_out_than_is_allowed_and_one_always() {
    for (count, percent, allowed) in
        [(1, 0, 1), (1, 50, 1), (2, 50, 1), (3, 50, 1), (4, 50, 2), (4, 10, 1), (4, 100, 4)]
    {
        let set = Set::of(count, percent);
        let ejected = (0..count).filter(|number| set.eject(*number, 0).is_some()).count();
        assert_eq!((ejected, set.group.out()), (allowed, allowed as u32), "{count} at {percent}%");
    }
}

#[test]
fn when_too_many_are_out_all_are_used_unless_all_may_be() {
    let set = Set::of(3, 50);
    set.eject(0, 0);
    assert_eq!(set.fit(1), "1 2");
    assert!(set.endpoints[1].check_fails());
    assert_eq!(set.fit(1), "all");
    assert!(set.endpoints[1].check_passes());
    assert_eq!(set.fit(1), "1 2");

    let one = Set::of(1, 50);
    one.eject(0, 0);
    assert_eq!(one.fit(1), "all");
    let one = Set::of(1, 100);
    one.eject(0, 0);
    assert_eq!([one.fit(1), one.fit(400)], ["none for 999", "none for 600"]);
    assert_eq!([one.fit(1_000), one.fit(1_001)], ["trial 0", "none for 999"]);
}

#[test]
fn requests_are_taken_by_whoever_is_not_out_or_may_be_tried() {
    let takes = |set: &Set, now| set.group.takes_requests(&set.endpoints, now);
    assert!(!takes(&Set::of(0, 50), 0));
    let set = Set::of(2, 100);
    assert!(takes(&set, 0));
    set.eject(0, 0);
    assert!(takes(&set, 1));
    set.endpoints[1].check_fails();
    assert!(!takes(&set, 999));
    // The first may be tried, by one request.
    assert!(takes(&set, 1_000));
    assert_eq!(set.fit(1_000), "trial 0");
    assert!(!takes(&set, 1_000));
    set.endpoints[1].check_passes();
    assert!(takes(&set, 1_000));
}

#[test]
fn a_trial_without_an_outcome_is_made_again() {
    let set = Set::of(2, 50);
    set.eject(0, 0);
    assert_eq!([set.fit(1_000), set.fit(1_999), set.fit(2_000)], ["trial 0", "1", "trial 0"]);
    set.endpoints[0].abandon_trial(2_100);
    assert_eq!((set.endpoints[0].circuit(), set.fit(2_100)), (Circuit::Open, "trial 0".to_owned()));
}

#[test]
fn checks_and_failures_are_counted_once() {
    let set = Set::of(4, 50);
    let health = &set.endpoints[2];
    assert_eq!([health.check_fails(), health.check_fails()], [true, false]);
    assert_eq!((set.group.out(), set.fit(0)), (1, "0 1 3".to_owned()));
    set.eject(2, 0);
    assert_eq!(set.group.out(), 1);
    // Its time is over, and checks still fail.
    assert_eq!(set.fit(5_000), "0 1 3");
    assert_eq!([health.check_passes(), health.check_passes()], [false, true]);
    assert_eq!((set.group.out(), set.fit(5_000)), (1, "trial 2".to_owned()));
    assert_eq!(health.succeeded(None, 5_000), Some(Change::Returned));
    assert_eq!((set.group.out(), set.fit(5_000)), (0, "all".to_owned()));
}

#[test]
fn one_that_has_left_counts_for_nothing() {
    let set = Set::of(4, 50);
    set.eject(0, 0);
    set.endpoints[1].check_fails();
    assert_eq!(set.group.out(), 2);
    set.endpoints[0].leave();
    set.endpoints[1].leave();
    assert_eq!(set.group.out(), 0);
    assert!(set.endpoints[1].check_passes());
    assert_eq!((set.endpoints[0].succeeded(None, 9), set.eject(0, 9), set.eject(1, 9)), (None, None, None));
    assert_eq!(set.group.out(), 0);
}

#[test]
fn a_new_endpoint_gets_a_growing_share() {
    let health = Set::of(1, 50).endpoints.remove(0);
    let window = Duration::from_secs(10);
    assert_eq!([5_000, 5_500, 10_000, 15_000, 50_000].map(|now| health.share(window, now)), [26, 26, 128, 256, 256]);
}

/// Whoever comes first makes the trial, also a cluster that would leave out nobody.
#[test]
fn a_cluster_without_settings_tries_by_those_that_left_it_out() {
    let set = Set::of(2, 50);
    set.eject(0, 0);
    let fit = |now| set.group.fit(&set.endpoints, None, now, |_| true);
    assert!(
        matches!(fit(999), Fit::Some(_)) && matches!(fit(1_000), Fit::Trial(0)) && matches!(fit(1_999), Fit::Some(_))
    );
    let health = &set.endpoints[0];
    assert_eq!(health.failed(&health.left_out_by(), Outcome::Failed, 2, 1_500), Some(Change::Ejected(2_000)));
    assert!(matches!(fit(3_500), Fit::Trial(0)));
    assert_eq!(health.succeeded(None, 3_500), Some(Change::Returned));
    assert!(matches!(fit(3_500), Fit::All));
}

/// What each of these is answered by, letter by letter: `.` well, `5` failed, `g` as a gateway, `c` not connected. Gives how
/// many it took to be left out.
fn taken(outlier: Outlier, outcomes: &str) -> Option<usize> {
    let set = Set { outlier, ..Set::of(1, 100) };
    let outcome = |letter| match letter {
        '.' => Outcome::Well,
        '5' => Outcome::Failed,
        'g' => Outcome::GatewayFailed,
        _ => Outcome::Unreachable,
    };
    outcomes.chars().position(|letter| set.end(0, outcome(letter), 1_000).is_some()).map(|number| number + 1)
}

#[test]
fn worse_failures_are_counted_by_themselves() {
    let outlier = Outlier {
        consecutive_failures: 5,
        consecutive_gateway_failures: Some(3),
        consecutive_connect_failures: Some(2),
        ..OUTLIER
    };
    for (outcomes, out) in [
        ("55555", Some(5)),
        ("ggg", Some(3)),
        ("cc", Some(2)),
        // Another kind of failure ends a row, a worse one does not.
        ("gg5gg", Some(5)),
        ("gcg", Some(3)),
        ("cgc", Some(3)),
        ("c5c5", None),
        ("gg.gg.cg.5555.", None),
    ] {
        assert_eq!(taken(outlier, outcomes), out, "{outcomes}");
    }
    assert_eq!(taken(Outlier { consecutive_failures: 4, ..OUTLIER }, "gc5g"), Some(4));
}

#[test]
fn too_large_a_share_of_failures_leaves_out() {
    let rate = FailureRate { percent: 50, min_requests: 4 };
    let outlier = Outlier { consecutive_failures: 100, failure_rate: Some(rate), ..OUTLIER };
    for (outcomes, out) in [
        ("555", None),
        ("5555", Some(4)),
        (".5.5", Some(4)),
        ("...5.5.", None),
        ("...5.555", Some(8)),
        ("5.....", None),
    ] {
        assert_eq!(taken(outlier, outcomes), out, "{outcomes}");
    }
    // What was in an interval before counts for nothing.
    let set = Set { outlier, ..Set::of(1, 100) };
    for now in [1_000, 1_040, 1_080, 1_120, 1_160, 1_200] {
        assert_eq!(set.fail(0, now), None, "{now}");
    }
    assert!(set.fail(0, 1_210).is_some());
}
