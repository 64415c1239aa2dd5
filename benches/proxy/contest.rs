//! The one way in which costs are compared: several servers take turns under the same load, there and back (ABBA, and
//! ABCCBA for three), so that whatever slows the machine down slows all of them, and what drifts evens out. A figure is
//! the median of what the turns of one round make of each other.

use std::fs;
use std::net::SocketAddr;

use clap::Args;

use crate::offer::{Done, Offer, Request, offer, offer_both};
use crate::server::Server;
use crate::spread::Spread;
use crate::table::{Goal, Row};
use crate::watching::Scraper;

/// How much to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Rounds in which everyone has a turn.
    #[arg(long, global = true, default_value_t = 10)]
    pub(crate) pairs: u32,
    /// Seconds for each turn.
    #[arg(long, global = true, default_value_t = 2)]
    pub(crate) seconds: u32,
    /// Requests per second, where the rate is fixed.
    #[arg(long, global = true, default_value_t = 5000)]
    pub(crate) rate: u32,
    /// Percent of the processors that the machine's host may take away in a turn, or it is taken again. What is taken is not
    /// counted as anybody's, so it costs caches and nothing else; of latencies it is a part.
    #[arg(long, global = true, default_value_t = 3.0)]
    pub(crate) lost: f64,
}

/// Who has a turn.
pub(crate) struct Contestant<'a> {
    pub(crate) name: &'static str,
    pub(crate) server: &'a Server,
    pub(crate) request: &'a Request,
    /// Who is asked for metrics once a second meanwhile: fifteen times as often as Prometheus asks by default.
    pub(crate) scraped: Option<SocketAddr>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: &'static str, server: &'a Server, request: &'a Request) -> Self {
        Self { name, server, request, scraped: None }
    }
}

/// What one turn came to.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// Of the processor, for each request.
    pub(crate) microseconds: f64,
    /// From when a request was due to its last byte, in microseconds; not a number where the load does not tell.
    pub(crate) p99: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Whether the rate was held and nobody else took this machine's processors.
    sound: bool,
}

/// All the turns that were taken.
pub(crate) struct Rounds {
    names: Vec<&'static str>,
    rounds: Vec<Vec<Turn>>,
}

/// What a turn is judged by.
type Figure = fn(&Turn) -> f64;

/// Lets everyone have `plan.pairs` turns.
pub(crate) fn contest(what: &str, plan: &Plan, load: Offer, contestants: &[Contestant<'_>]) -> anyhow::Result<Rounds> {
    let mut rounds = Vec::new();
    for number in 0..plan.pairs {
        let take = |contestant| take(contestant, load, plan);
        let turns = if number % 2 == 0 {
            contestants.iter().map(take).collect::<anyhow::Result<Vec<_>>>()?
        } else {
            let mut back = contestants.iter().rev().map(take).collect::<anyhow::Result<Vec<_>>>()?;
            back.reverse();
            back
        };
        let told = contestants.iter().zip(&turns).map(|(contestant, turn)| {
            format!("{} {:.1} µs{}", contestant.name, turn.microseconds, if turn.sound { "" } else { " (left out)" })
        });
        eprintln!("{what}: {}", told.collect::<Vec<_>>().join(", "));
        rounds.push(turns);
    }
    Ok(Rounds { names: contestants.iter().map(|contestant| contestant.name).collect(), rounds })
}

/// Lets two have `plan.pairs` turns at the same time, each at half the rate, on one core: for a difference of a few percent
/// turns one after the other differ too much by themselves.
pub(crate) fn side_by_side(what: &str, plan: &Plan, [one, other]: [&Contestant<'_>; 2]) -> anyhow::Result<Rounds> {
    let rate = plan.rate / 2;
    let mut rounds = Vec::new();
    for _ in 0..plan.pairs {
        let scrapers = [one, other].map(|contestant| contestant.scraped.map(Scraper::start));
        let stolen = stolen()?;
        let both = [one, other].map(|contestant| (contestant.server, contestant.request));
        let done = offer_both(both, rate, plan.seconds)?;
        drop(scrapers);
        let quiet = plan.allows(stolen)?;
        let turns = done.map(|done| Turn::of(&done, quiet && done.seconds < f64::from(plan.seconds) * 1.02));
        eprintln!("{what}: {:.1} µs, {} {:.1} µs", turns[0].microseconds, other.name, turns[1].microseconds);
        rounds.push(turns.to_vec());
    }
    Ok(Rounds { names: vec![one.name, other.name], rounds })
}

impl Turn {
    fn of(done: &Done, sound: bool) -> Self {
        Self {
            microseconds: done.cpu as f64 / done.requests / 1000.0,
            p99: done.p99,
            rate: done.requests / done.seconds,
            sound,
        }
    }
}

/// A sound turn, if one of three is.
fn take(contestant: &Contestant<'_>, load: Offer, plan: &Plan) -> anyhow::Result<Turn> {
    let mut turn = once(contestant, load, plan)?;
    for _ in 0..2 {
        if turn.sound {
            break;
        }
        turn = once(contestant, load, plan)?;
    }
    Ok(turn)
}

fn once(contestant: &Contestant<'_>, load: Offer, plan: &Plan) -> anyhow::Result<Turn> {
    let seconds = plan.seconds;
    let scraper = contestant.scraped.map(Scraper::start);
    let stolen = stolen()?;
    let done = offer(contestant.server, contestant.request, load, seconds)?;
    drop(scraper);
    // A machine that is busy with something else does not hold the rate, and then not everyone was offered the same.
    let held = match load {
        Offer::Rate(_) => done.seconds < f64::from(seconds) * 1.02,
        Offer::Full | Offer::Closed | Offer::Streams => true,
    };
    Ok(Turn::of(&done, held && plan.allows(stolen)?))
}

impl Rounds {
    /// One contestant's figures in sound turns.
    pub(crate) fn of(&self, name: &str, figure: Figure) -> Spread {
        Spread::of(self.sound([name]).map(|[turn]| figure(&turn)))
    }

    /// The processor time of one over that of another. Nothing where one of them did not take part.
    pub(crate) fn cpu(&self, what: &str, goal: Option<Goal>, ours: &str, other: &str) -> Option<Row> {
        let known = |name| self.names.contains(&name);
        (known(ours) && known(other)).then(|| {
            let ratio = self.sound([ours, other]).map(|[a, b]| a.microseconds / b.microseconds);
            let (ours, theirs) = (self.of(ours, |turn| turn.microseconds), self.of(other, |turn| turn.microseconds));
            ratio_row(
                format!("CPU, {what} / {other}"),
                goal,
                Spread::of(ratio),
                &format!("{:.1} µs, {other} {:.1} µs", ours.median, theirs.median),
            )
        })
    }

    /// What one adds to the latency of going `without`, over what another adds.
    pub(crate) fn added_p99(&self, what: String, goal: f64, [ours, other, without]: [&str; 3]) -> Row {
        let ratio = self.sound([ours, other, without]).map(|[a, b, none]| (a.p99 - none.p99) / (b.p99 - none.p99));
        let p99 = |name| self.of(name, |turn| turn.p99).median;
        let more = format!("p99 {:.0} µs, {other} {:.0} µs, {without} {:.0} µs", p99(ours), p99(other), p99(without));
        ratio_row(what, Some(Goal::at_most(goal)), Spread::of(ratio), &more)
    }

    /// The turns of these in each round in which all of theirs are sound.
    fn sound<const N: usize>(&self, names: [&str; N]) -> impl Iterator<Item = [Turn; N]> {
        let places = names.map(|name| self.names.iter().position(|known| *known == name));
        self.rounds.iter().filter_map(move |turns| {
            let turns = places.map(|place| turns.get(place?).copied().filter(|turn| turn.sound));
            let all: Vec<Turn> = turns.into_iter().collect::<Option<_>>()?;
            all.try_into().ok()
        })
    }
}

fn ratio_row(what: String, goal: Option<Goal>, ratio: Spread, more: &str) -> Row {
    let Spread { low, median, high, count } = ratio;
    let more = if count == 0 {
        "left out: the rate was never held, or others took the processors".to_owned()
    } else {
        format!("middle half {low:.2} to {high:.2} of {count} pairs; {more}")
    };
    Row { what, figure: median, goal, more }
}

impl Plan {
    /// Whether the host has taken little enough during a turn at whose beginning it had taken so much.
    fn allows(&self, before: u64) -> anyhow::Result<bool> {
        let taken = (stolen()? - before) as f64 / 100.0;
        let processors = std::thread::available_parallelism()?.get() as f64;
        Ok(taken < self.lost / 100.0 * processors * f64::from(self.seconds))
    }
}

/// Time that the machine's host gave to others instead of to this machine so far, in ticks of 10 ms.
fn stolen() -> anyhow::Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    Ok(stat.split_whitespace().nth(8).map_or(Ok(0), str::parse)?)
}
