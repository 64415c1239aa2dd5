//! How much of what nobody needs a client may send. Frames that ask for something cost what is asked; those that ask for
//! nothing, or take back what they have asked, cost us all the same, and only their number tells an attack from a client.

/// What a connection begins with and never has more of.
const MOST: u32 = 2_000;
/// What comes back by itself, every second.
const EACH_SECOND: u64 = 100;

/// What a frame costs that only has to be read.
pub(super) const IDLE: u32 = 1;
/// What a frame costs that has to be answered.
pub(super) const ANSWERED: u32 = 4;
/// What it costs to make a stream for nothing.
pub(super) const WASTED: u32 = 10;
/// Who takes back within so many milliseconds what has been asked has not waited for an answer.
pub(super) const RASH: u64 = 100;
/// What an exchange gives back that came to its end: clients tell of windows and priorities meanwhile.
pub(super) const EXCHANGE: u32 = 10;
/// What every part of an answer's body gives back, since clients tell that they have taken it.
pub(super) const PART: u32 = 4;

/// What is left of it, on one connection.
#[derive(Debug)]
pub(super) struct Patience {
    left: u32,
    /// When something came back last, in milliseconds of the worker's clock.
    since: u64,
}

impl Patience {
    pub(super) fn new(now: u64) -> Self {
        Self { left: MOST, since: now }
    }

    /// Takes so much; false once there is none left.
    pub(super) fn take(&mut self, cost: u32, now: u64) -> bool {
        if let Some(left) = self.left.checked_sub(cost) {
            self.left = left;
            return true;
        }
        let back = now.saturating_sub(self.since).saturating_mul(EACH_SECOND) / 1_000;
        self.since = now;
        self.give(u32::try_from(back).unwrap_or(MOST));
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Gives so much back.
    pub(super) fn give(&mut self, part: u32) {
        self.left = self.left.saturating_add(part).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_and_comes_back() {
        let mut patience = Patience::new(0);
        assert!((0..MOST).all(|_| patience.take(IDLE, 0)));
        assert!(!patience.take(IDLE, 9) && patience.take(IDLE, 1_000));
        assert_eq!((1..).take_while(|_| patience.take(IDLE, 1_000)).count(), 98);
        patience.give(EXCHANGE);
        assert!(patience.take(WASTED, 1_000) && !patience.take(IDLE, 1_000));
        patience.give(u32::MAX);
        assert!(patience.take(MOST, 1_000) && !patience.take(1, 1_000));
    }
}
