//! Time as a worker sees it: a coarse clock and deadlines without a timer each.
//!
//! A connection or an exchange holds a [`Deadline`], a place in its worker's list. One tick looks at them all and wakes
//! what is due; setting a deadline writes a number. So a request costs no timer and no allocation, and ten thousand
//! idle connections cost a walk over ten thousand numbers twenty times a second.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::waker;

/// How often deadlines are looked at, and so how late they may come.
pub const TICK: Duration = Duration::from_millis(50);

const NEVER: u64 = u64::MAX;

/// A worker's clock; clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// Milliseconds since `start`, as of the last tick.
    now: Cell<u64>,
    /// When that was, and how long after 1970.
    ticked: Cell<(Instant, Duration)>,
    places: RefCell<Places>,
}

#[derive(Debug, Default)]
struct Places {
    entries: Vec<Entry>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    due: u64,
    waker: Option<Waker>,
}

impl Clock {
    /// A clock of its own that stands still until it is ticked.
    pub fn new() -> Self {
        Self::since(Instant::now())
    }

    /// The same, counting from a moment that it shares with others.
    pub fn since(start: Instant) -> Self {
        let clock = Self(Rc::new(Inner {
            start,
            now: Cell::new(0),
            ticked: Cell::new((start, Duration::ZERO)),
            places: RefCell::default(),
        }));
        clock.tick();
        clock
    }

    /// Milliseconds since the worker began, as of the last tick.
    pub fn now(&self) -> u64 {
        self.0.now.get()
    }

    /// Milliseconds since 1970, as of the last tick.
    pub fn wall(&self) -> u64 {
        let (_, wall) = self.0.ticked.get();
        wall.as_secs() * 1000 + u64::from(wall.subsec_millis())
    }

    /// Microseconds between 1970 and this moment, which is not long ago. Who has a moment need not ask for the time again.
    pub(super) fn micros_at(&self, moment: Instant) -> u64 {
        let (ticked, wall) = self.0.ticked.get();
        let at = match moment.checked_duration_since(ticked) {
            Some(after) => wall.saturating_add(after),
            None => wall.saturating_sub(ticked.duration_since(moment)),
        };
        u64::try_from(at.as_micros()).unwrap_or(0)
    }

    /// Moves on to the present and wakes whatever is due.
    pub fn tick(&self) {
        let ticked = Instant::now();
        self.advance(u64::try_from(ticked.duration_since(self.0.start).as_millis()).unwrap_or(NEVER - 1));
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.ticked.set((ticked, wall));
    }

    /// Moves on to this many milliseconds and wakes whatever is due.
    pub(super) fn advance(&self, now: u64) {
        self.0.now.set(now);
        let mut due = Vec::new();
        for entry in &mut self.0.places.borrow_mut().entries {
            if entry.due <= now {
                due.extend(entry.waker.take());
            }
        }
        for waker in due {
            waker.wake();
        }
    }

    /// A deadline that is never due until it is set.
    pub fn deadline(&self) -> Deadline {
        let mut places = self.0.places.borrow_mut();
        let entry = Entry { due: NEVER, waker: None };
        let place = match places.free.pop() {
            Some(place) => {
                if let Some(old) = places.entries.get_mut(place) {
                    *old = entry;
                }
                place
            }
            None => {
                places.entries.push(entry);
                places.entries.len() - 1
            }
        };
        Deadline { clock: self.clone(), place, due: NEVER }
    }

    /// Ticks for ever, and tells how late each tick was.
    pub async fn run(self, mut late: impl FnMut(Duration)) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = interval.tick().await;
            self.tick();
            late(due.elapsed());
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// A moment that its holder is woken at.
#[derive(Debug)]
pub struct Deadline {
    clock: Clock,
    place: usize,
    due: u64,
}

impl Deadline {
    /// Due this long from now, give or take a tick.
    pub fn set(&mut self, after: Duration) {
        let after = u64::try_from(after.as_millis()).unwrap_or(NEVER);
        self.set_at(self.clock.now().saturating_add(after));
    }

    /// Due at this many milliseconds of the worker's clock.
    pub fn set_at(&mut self, due: u64) {
        if self.due == due {
            return;
        }
        self.due = due;
        if let Some(entry) = self.clock.0.places.borrow_mut().entries.get_mut(self.place) {
            entry.due = due;
        }
    }

    /// Not due any more.
    pub fn clear(&mut self) {
        self.set_at(NEVER);
    }

    /// When it is due, by the worker's clock.
    pub fn due(&self) -> Option<u64> {
        (self.due != NEVER).then_some(self.due)
    }

    /// Ready when it is due; otherwise the task is woken then.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.due == NEVER {
            return Poll::Pending;
        }
        if self.due <= self.clock.now() {
            return Poll::Ready(());
        }
        if let Some(entry) = self.clock.0.places.borrow_mut().entries.get_mut(self.place) {
            waker::remember(&mut entry.waker, cx);
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut places = self.clock.0.places.borrow_mut();
        if let Some(entry) = places.entries.get_mut(self.place) {
            *entry = Entry { due: NEVER, waker: None };
        }
        places.free.push(self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_moment_has_a_time_of_day() {
        let clock = Clock::new();
        let (moment, wall) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        let at = clock.micros_at(moment);
        assert!(u128::from(at).abs_diff(wall.as_micros()) < 1_000_000, "{at} {wall:?}");
        let step = Duration::from_millis(5);
        assert_eq!([clock.micros_at(moment - step), clock.micros_at(moment + step)], [at - 5_000, at + 5_000]);
    }

    #[test]
    fn a_deadline_wakes_its_task_once_it_is_due_and_not_before() {
        let clock = Clock::new();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let cx = Context::from_waker(&waker);
        let mut deadline = clock.deadline();
        assert!(deadline.poll(&cx).is_pending());
        deadline.set_at(clock.now() + 1000);
        assert!(deadline.poll(&cx).is_pending());
        clock.advance(clock.now() + 999);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        clock.advance(clock.now() + 1);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(deadline.poll(&cx).is_ready());
        deadline.clear();
        assert!(deadline.poll(&cx).is_pending());
    }

    #[test]
    fn places_are_used_again() {
        let clock = Clock::new();
        let first = clock.deadline();
        drop(first);
        let second = clock.deadline();
        assert_eq!(second.place, 0);
    }
}
