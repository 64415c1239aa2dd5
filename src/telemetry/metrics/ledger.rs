//! Which names the workers' numbers go by, and what has been counted under names that have moved on.
//!
//! Workers count by slot, people read by name, and the two do not live equally long: a route is deleted and its slot
//! given to another; a route is deleted and made again under a new slot; a route keeps its slot and gets other
//! backends. The ledger keeps the sums right through all of that: what belongs to a name only grows as long as the name
//! is declared, and leaves after it has been shown once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::histogram::{DurationSample, HistogramSample};
use super::route::{BytesSample, CellKey, Labels, RouteSample, WAITS};
use super::worker::WorkerCells;
use crate::slot::Slot;

/// The names of a route, for its metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteLabels {
    /// Where the workers count for it.
    pub slot: Slot,
    /// `namespace/name` of the object that declares it.
    pub route: String,
    /// Its rule's name, or its number.
    pub rule: String,
    /// `namespace/service:port` of each of its backends, in their order.
    pub services: Vec<String>,
}

/// After so many changes of names that nobody has asked about, the names that have left are forgotten unseen.
const UNSEEN: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The routes of the current table, by their slot's serial.
    pub(super) current: BTreeMap<u64, Named>,
    /// Routes that have left the table since the last look.
    leaving: Vec<Leaving>,
    /// What was counted under names by slots that count for them no more; less what slots had counted before they were
    /// given a name.
    carried: Totals,
    /// How many changes `carried` and `leaving` have seen since the last look.
    unseen: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) slot: Slot,
    names: Names,
}

/// The names that a slot's numbers go by.
#[derive(Clone, Debug)]
struct Names {
    route: Arc<str>,
    rule: Arc<str>,
    services: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Leaving {
    named: Named,
    /// What each worker had counted when the route left: it counts if the worker's cells have another owner by the
    /// time somebody looks.
    captured: Vec<RouteSample>,
}

/// Sums over workers and slots, by name. A number may be below zero, and wrapped, while it is part of a larger sum.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// By route and rule.
    pub(super) rules: BTreeMap<RuleNames, RuleTotals>,
    /// By route, in clear and over TLS.
    pub(super) bytes: BTreeMap<Arc<str>, [BytesSample; 2]>,
    /// By service.
    pub(super) waits: [BTreeMap<Arc<str>, DurationSample>; WAITS],
}

/// A route and its rule.
pub(super) type RuleNames = (Arc<str>, Arc<str>);

/// Sums of one rule, sorted by their labels: vectors, since most rules have a handful and there are many rules.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleTotals {
    pub(super) requests: Vec<(Option<Series>, u64)>,
    pub(super) durations: Vec<(Option<Series>, DurationSample)>,
}

/// The labels of a series within its rule; none for what had no room in a worker's table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) service: Arc<str>,
    pub(super) labels: Labels,
}

#[derive(Clone, Copy)]
enum Sign {
    Plus,
    Minus,
}

// === impl Ledger ===

impl Ledger {
    /// Takes what the table that is about to be published has not in common with the one before.
    pub(super) fn change_routes(
        &mut self,
        gone: impl IntoIterator<Item = Slot>,
        named: impl IntoIterator<Item = RouteLabels>,
        workers: &[Arc<WorkerCells>],
    ) {
        for labels in named {
            let serial = labels.slot.serial();
            let named = match self.current.remove(&serial) {
                Some(named) if named.names == labels => named,
                Some(named) => self.rename(&named, &labels, workers),
                None => Named { slot: labels.slot, names: (&labels).into() },
            };
            self.current.insert(serial, named);
        }
        for slot in gone {
            let Some(named) = self.current.remove(&slot.serial()) else { continue };
            let captured = workers.iter().map(|worker| worker.sample(named.slot).unwrap_or_default()).collect();
            self.leaving.push(Leaving { named, captured });
            self.unseen += 1;
        }
        if self.unseen > UNSEEN {
            self.settle(workers);
            self.forget();
        }
    }

    /// What has been counted so far belongs to the former names, and what comes to the new ones.
    fn rename(&mut self, former: &Named, labels: &RouteLabels, workers: &[Arc<WorkerCells>]) -> Named {
        let names = Names::from(labels);
        for sample in workers.iter().filter_map(|worker| worker.sample(former.slot)) {
            self.carried.take(&former.names, &sample, Sign::Plus);
            self.carried.take(&names, &sample, Sign::Minus);
        }
        self.unseen += 1;
        Named { slot: labels.slot, names }
    }

    /// Everything that is to be shown now. Names that have left are shown for the last time.
    pub(super) fn look(&mut self, workers: &[Arc<WorkerCells>]) -> Totals {
        self.settle(workers);
        let mut totals = self.carried.clone();
        let nobody = Names { route: "".into(), rule: "".into(), services: Vec::new() };
        for worker in workers {
            totals.take(&nobody, &worker.sample_unrouted(), Sign::Plus);
        }
        for Named { slot, names } in self.current.values() {
            // Workers are put together by the numbers of their cells before anything is looked up by name.
            let mut samples = workers.iter().filter_map(|worker| worker.sample(*slot));
            if let Some(mut sample) = samples.next() {
                samples.for_each(|other| sample.add(other));
                totals.take(names, &sample, Sign::Plus);
            }
        }
        self.forget();
        totals
    }

    /// Carries what the slots of routes that have left had counted.
    fn settle(&mut self, workers: &[Arc<WorkerCells>]) {
        for Leaving { named: Named { slot, names }, captured } in std::mem::take(&mut self.leaving) {
            // Exchanges that were under way when the route left have gone on counting.
            for (number, worker) in workers.iter().enumerate() {
                let sample = worker.sample(slot);
                if let Some(sample) = sample.as_ref().or(captured.get(number)) {
                    self.carried.take(&names, sample, Sign::Plus);
                }
            }
        }
    }

    /// Forgets what is carried under names that nothing has any more.
    fn forget(&mut self) {
        self.unseen = 0;
        let (mut rules, mut routes, mut services) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        if !self.carried.is_empty() {
            for Named { names: Names { route, rule, services: own }, .. } in self.current.values() {
                let of_rule: &mut BTreeSet<&str> = rules.entry((&**route, &**rule)).or_default();
                of_rule.extend(own.iter().map(|service| &**service));
                routes.insert(&**route);
                services.extend(own.iter().map(|service| &**service));
            }
        }
        let Totals { rules: carried_rules, bytes, waits } = &mut self.carried;
        carried_rules.retain(|(route, rule), RuleTotals { requests, durations }| {
            let Some(services) = rules.get(&(&**route, &**rule)) else { return false };
            let stays = |series: &Option<Series>| match series {
                Some(series) => series.service.is_empty() || services.contains(&*series.service),
                None => true,
            };
            requests.retain(|(series, _)| stays(series));
            durations.retain(|(series, _)| stays(series));
            true
        });
        bytes.retain(|route, _| routes.contains(&**route));
        for by_service in waits {
            by_service.retain(|service, _| service.is_empty() || services.contains(&**service));
        }
    }
}

// === impl Names ===

impl From<&RouteLabels> for Names {
    fn from(labels: &RouteLabels) -> Self {
        let RouteLabels { slot: _, route, rule, services } = labels;
        Self {
            route: route.as_str().into(),
            rule: rule.as_str().into(),
            services: services.iter().map(|service| service.as_str().into()).collect(),
        }
    }
}

impl PartialEq<RouteLabels> for Names {
    fn eq(&self, labels: &RouteLabels) -> bool {
        let Self { route, rule, services } = self;
        **route == *labels.route
            && **rule == *labels.rule
            && services.iter().map(|service| &**service).eq(labels.services.iter().map(String::as_str))
    }
}

// === impl Totals ===

impl Totals {
    fn is_empty(&self) -> bool {
        let Self { rules, bytes, waits } = self;
        rules.is_empty() && bytes.is_empty() && waits.iter().all(BTreeMap::is_empty)
    }

    /// Takes what one worker has counted for one slot, under these names.
    fn take(&mut self, names: &Names, sample: &RouteSample, sign: Sign) {
        let RouteSample { bytes, requests, durations, waits } = sample;
        let series = |key: &CellKey| {
            key.map(Labels::unpack).map(|labels| Series {
                service: names.service(labels.backend),
                labels: Labels { backend: None, ..labels },
            })
        };
        if requests.is_empty() && durations.is_empty() && waits.iter().all(Vec::is_empty) {
            return;
        }
        let rule = self.rules.entry((names.route.clone(), names.rule.clone())).or_default();
        for (key, count) in requests {
            sign.number(total(&mut rule.requests, series(key)), *count);
        }
        for (key, histogram) in durations {
            sign.histogram(total(&mut rule.durations, series(key)), histogram);
        }
        for (totals, histograms) in self.waits.iter_mut().zip(waits) {
            for (key, histogram) in histograms {
                let service = names.service(key.and_then(|key| Labels::unpack(key).backend));
                sign.histogram(totals.entry(service).or_default(), histogram);
            }
        }
        let totals = self.bytes.entry(names.route.clone()).or_default();
        for (total, more) in totals.iter_mut().zip(bytes) {
            sign.number(&mut total.sent, more.sent);
            sign.number(&mut total.received, more.received);
        }
    }
}

/// The sum of a series, nothing yet if there was none.
fn total<T: Default>(totals: &mut Vec<(Option<Series>, T)>, series: Option<Series>) -> &mut T {
    let at = match totals.binary_search_by(|(known, _)| known.cmp(&series)) {
        Ok(at) => at,
        Err(at) => {
            totals.insert(at, (series, T::default()));
            at
        }
    };
    #[allow(clippy::indexing_slicing, reason = "the search has found the place, or the insertion has made it")]
    &mut totals[at].1
}

impl Names {
    /// The name of a backend; empty for none, and for one that the route no longer has.
    fn service(&self, backend: Option<u16>) -> Arc<str> {
        backend.and_then(|number| self.services.get(usize::from(number)).cloned()).unwrap_or_else(|| "".into())
    }
}

impl Sign {
    fn number(self, total: &mut u64, more: u64) {
        *total = match self {
            Self::Plus => total.wrapping_add(more),
            Self::Minus => total.wrapping_sub(more),
        };
    }

    fn histogram<const N: usize>(self, total: &mut HistogramSample<N>, more: &HistogramSample<N>) {
        match self {
            Self::Plus => total.add(more),
            Self::Minus => total.subtract(more),
        }
    }
}
