//! More to do than a worker can: how late it is, and whom it turns away.
//!
//! A worker runs what is ready in turn, so whoever comes waits as long as one turn takes, and the worker's tick, which
//! waits like everybody else, is late by just that. A tick that is late once says little: another process may have had
//! the processor. Being late all the time says that more is asked than can be answered. Then a growing share of new
//! requests is answered 503, until the turns are short again. The same is done while memory is short.

use std::cell::Cell;
use std::future::poll_fn;
use std::time::Duration;

use super::Worker;

/// A tick that is later than this is late. Where the processor is shared with others, a tenth of a second is nothing
/// unusual.
const LATE: Duration = Duration::from_millis(250);
/// So many late ticks in a row, two seconds and more, are an overload.
const PATIENCE: u32 = 6;
/// The share of requests that are turned away grows and shrinks by a step for each tick.
const STEPS: u32 = 16;
/// A request that is turned away waits for so long first. A client that asks again as soon as it is answered would cost
/// about as much by that as by being served.
const PAUSE: Duration = Duration::from_millis(500);

/// How far a worker is behind.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    late_in_a_row: Cell<u32>,
    /// How many of [`STEPS`] requests are turned away.
    share: Cell<u32>,
}

/// What a tick has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Requests are turned away from now on.
    Overloaded,
    /// No request is turned away any more.
    Recovered,
}

impl Pressure {
    /// A tick came so late, or memory is short, which is to be relieved in the same way.
    pub(super) fn tick(&self, late: Duration, short: bool) -> Option<Change> {
        let share = self.share.get();
        if late > LATE || short {
            let in_a_row = self.late_in_a_row.get().saturating_add(1);
            self.late_in_a_row.set(in_a_row);
            if in_a_row >= PATIENCE {
                // Some always pass: those who are told to come again must find out that they may.
                self.share.set((share + 1).min(STEPS - 1));
            }
        } else {
            self.late_in_a_row.set(0);
            self.share.set(share.saturating_sub(1));
        }
        match (share, self.share.get()) {
            (0, 1) => Some(Change::Overloaded),
            (1, 0) => Some(Change::Recovered),
            _ => None,
        }
    }

    /// Whether a new request is turned away; `draw` is a random number below its argument.
    pub(super) fn turns_away(&self, draw: impl FnOnce(u32) -> u32) -> bool {
        let share = self.share.get();
        share > 0 && draw(STEPS) < share
    }
}

/// Lets a request that is turned away wait.
pub(super) async fn pause(worker: &Worker) {
    let mut deadline = worker.clock.deadline();
    deadline.set(PAUSE);
    poll_fn(|cx| deadline.poll(cx)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON_TIME: Duration = Duration::from_millis(240);
    const TOO_LATE: Duration = Duration::from_millis(251);

    #[test]
    fn nobody_is_turned_away_for_a_few_late_ticks() {
        let pressure = Pressure::default();
        for _ in 0..10 {
            for _ in 1..PATIENCE {
                assert_eq!(pressure.tick(TOO_LATE, false), None);
            }
            assert!(!pressure.turns_away(|_| 0));
            assert_eq!(pressure.tick(ON_TIME, false), None);
        }
    }

    #[test]
    fn the_share_grows_while_ticks_are_late_and_some_always_pass() {
        let pressure = Pressure::default();
        let changes: Vec<_> = (0..100).filter_map(|_| pressure.tick(TOO_LATE, false)).collect();
        assert_eq!(changes, [Change::Overloaded]);
        assert!(pressure.turns_away(|steps| steps - 2));
        assert!(!pressure.turns_away(|steps| steps - 1));
        let back: Vec<_> = (0..STEPS).map(|_| pressure.tick(ON_TIME, false)).collect();
        assert_eq!(back.iter().flatten().collect::<Vec<_>>(), [&Change::Recovered]);
        assert_eq!(back[STEPS as usize - 2], Some(Change::Recovered));
        assert!(!pressure.turns_away(|_| 0));
    }

    #[test]
    fn a_shortage_of_memory_is_relieved_in_the_same_way() {
        let pressure = Pressure::default();
        let changes: Vec<_> = (0..PATIENCE).filter_map(|_| pressure.tick(ON_TIME, true)).collect();
        assert_eq!(changes, [Change::Overloaded]);
        assert!(pressure.turns_away(|_| 0));
        assert_eq!(pressure.tick(ON_TIME, false), Some(Change::Recovered));
    }
}
