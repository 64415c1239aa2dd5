//! The connections of a worker, so that a drain reaches those that wait for nothing else.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};

/// All connections of a worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Rc<RefCell<Places>>);

#[derive(Debug, Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// One of them; it leaves the list when this is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    connections: Connections,
    place: usize,
}

impl Connections {
    /// Takes a connection in.
    pub(super) fn register(&self) -> Registration {
        let mut places = self.0.borrow_mut();
        let place = places.free.pop().unwrap_or_else(|| {
            places.wakers.push(None);
            places.wakers.len() - 1
        });
        Registration { connections: self.clone(), place }
    }

    /// Has every connection look at the phase again.
    pub(super) fn wake(&self) {
        let wakers: Vec<Waker> = self.0.borrow_mut().wakers.iter_mut().filter_map(Option::take).collect();
        for waker in wakers {
            waker.wake();
        }
    }
}

impl Registration {
    /// The task to wake; it stays the same for a connection's life, so this writes once.
    pub(super) fn waker(&self, cx: &Context<'_>) {
        if let Some(waker) = self.connections.0.borrow_mut().wakers.get_mut(self.place)
            && waker.is_none()
        {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut places = self.connections.0.borrow_mut();
        if let Some(waker) = places.wakers.get_mut(self.place) {
            *waker = None;
        }
        places.free.push(self.place);
    }
}
