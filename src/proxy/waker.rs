//! Tasks that wait for something.

use std::task::{Context, Waker};

/// Remembers the task that is to be woken. It is mostly the one that is known already.
pub(super) fn remember(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(known) if known.will_wake(cx.waker()) => {}
        _ => *place = Some(cx.waker().clone()),
    }
}
