//! Which limits are shown, and those that have just left: what they had counted last is shown once more.

use std::collections::BTreeSet;

use super::control::LimitLabels;

/// So many that have left are kept for whoever asks next; nobody may ask.
const LEAVING: usize = 10_000;

/// The limits that are shown.
#[derive(Debug, Default)]
pub(super) struct Limits {
    current: Vec<LimitLabels>,
    leaving: Vec<LimitLabels>,
}

type Names<'l> = (&'l str, &'l str, &'static str);

impl Limits {
    /// These are all there are. One that has kept its names and has another tally counts from zero, as any counter does
    /// that began anew; its last count is not shown, since two series cannot have one name.
    pub(super) fn set(&mut self, limits: impl IntoIterator<Item = LimitLabels>) {
        let former = std::mem::replace(&mut self.current, limits.into_iter().collect());
        let names: BTreeSet<Names<'_>> = self.current.iter().map(LimitLabels::names).collect();
        let room = LEAVING.saturating_sub(self.leaving.len());
        let mut leaving = std::mem::take(&mut self.leaving);
        // One that left twice is there once, as it was the last time.
        let left: Vec<_> = former.into_iter().filter(|limit| !names.contains(&limit.names())).take(room).collect();
        let anew: BTreeSet<Names<'_>> = left.iter().map(LimitLabels::names).collect();
        leaving.retain(|limit| !names.contains(&limit.names()) && !anew.contains(&limit.names()));
        leaving.extend(left);
        self.leaving = leaving;
    }

    /// Those to be shown now. The ones that have left are among them for the last time.
    pub(super) fn look(&mut self) -> Vec<LimitLabels> {
        let mut shown = self.current.clone();
        shown.append(&mut self.leaving);
        shown
    }
}

impl LimitLabels {
    fn names(&self) -> Names<'_> {
        (&self.policy, &self.limit, self.scope)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limit::{Tally, Verdict};

    fn limit(name: &str, count: usize) -> LimitLabels {
        let tally = Arc::new(Tally::default());
        (0..count).for_each(|_| tally.count(0, Verdict::Allowed));
        LimitLabels { policy: "a/b".into(), limit: name.into(), scope: "Local", tally }
    }

    fn look(limits: &mut Limits) -> Vec<(String, u64)> {
        limits.look().iter().map(|it| (it.limit.clone(), it.tally.total(Verdict::Allowed))).collect()
    }

    #[test]
    fn what_has_left_is_shown_once_more_with_its_last_count() {
        let mut limits = Limits::default();
        let going = limit("going", 1);
        limits.set([limit("stays", 1), going.clone()]);
        assert_eq!(look(&mut limits), [("stays".to_owned(), 1), ("going".to_owned(), 1)]);
        limits.set([limit("stays", 2)]);
        // A request that was under way when the policy left.
        going.tally.count(0, Verdict::Allowed);
        limits.set([limit("stays", 3)]);
        assert_eq!(look(&mut limits), [("stays".to_owned(), 3), ("going".to_owned(), 2)]);
        assert_eq!(look(&mut limits), [("stays".to_owned(), 3)]);
    }

    #[test]
    fn no_name_is_ever_shown_twice() {
        let mut limits = Limits::default();
        limits.set([limit("one", 5)]);
        limits.set([limit("one", 1)]);
        assert_eq!(look(&mut limits), [("one".to_owned(), 1)], "another limit of the same name");
        limits.set([]);
        limits.set([limit("one", 2)]);
        limits.set([]);
        assert_eq!(look(&mut limits), [("one".to_owned(), 2)], "one that came and went twice");
        limits.set([limit("one", 3)]);
        limits.set([]);
        limits.set([limit("one", 4)]);
        assert_eq!(look(&mut limits), [("one".to_owned(), 4)], "one that is back");
    }
}
