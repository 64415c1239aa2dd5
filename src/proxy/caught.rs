//! A mistake of ours in one exchange, kept from the others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits for the future; `None` when it panics. What it had borrowed is as it left it.
///
/// It takes the future where it is: to be wrapped, the future of every exchange would have to be copied.
pub(super) async fn caught<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| poll(future.as_mut(), cx))) {
        Ok(poll) => poll.map(Some),
        // The panic hook has written what there is to say. A future that has panicked must not be polled again.
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// One function of its own, whatever the profile says: made one with whoever waits for it, it takes 35 KB of stack in place
/// of 7, which are touched each time, and has too few registers left for its loops.
#[inline(never)]
fn poll<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(cx)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_own_future_and_no_other() {
        let steps = Cell::new(0);
        let step = async |last: u32| {
            for _ in 0..3 {
                tokio::task::yield_now().await;
                steps.set(steps.get() + 1);
                assert!(steps.get() != last, "for this test");
            }
            steps.get()
        };
        assert_eq!(caught(pin!(step(2))).await, None);
        assert_eq!(steps.get(), 2, "it went on after its panic");
        assert_eq!(caught(pin!(step(100))).await, Some(5));
    }
}
