//! A place for one more connection, where a cluster bounds their number.

use std::rc::Rc;
use std::sync::Arc;

use http_body::Body;
use tokio::sync::Notify;

use super::{BoxError, ConnectError, Destination, Pool, lease};
use crate::slot::Slot;
use crate::upstream::{Bound, Breaker, Permit};

/// A connection that is there, with its age.
pub(super) struct Existing<B: Body + 'static> {
    pub(super) connection: lease::Connection<B>,
    pub(super) born: u64,
    pub(super) served: u32,
}

/// What somebody gets who needs a connection.
pub(super) enum Place<B: Body + 'static> {
    /// The right to make one, with its place if their number is bounded.
    New(Option<Permit>),
    /// One that has come to rest meanwhile.
    Existing(Existing<B>),
}

impl<B> Pool<B>
where
    B: Body<Data = bytes::Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// A place for a connection to the endpoint; with `any` also one that is there.
    pub(super) async fn place(&self, to: &Destination<'_>, any: bool) -> Result<Place<B>, ConnectError> {
        let bounded = to.cluster.breaker.as_ref().filter(|breaker| breaker.limits().connections.is_some());
        let Some(breaker) = bounded else { return Ok(Place::New(None)) };
        if let Some(permit) = self.new_place(breaker) {
            return Ok(Place::New(Some(permit)));
        }
        // Boxed, since it is rare.
        Box::pin(self.wait_for_place(breaker, to, any)).await
    }

    async fn wait_for_place(
        &self,
        breaker: &Arc<Breaker>,
        to: &Destination<'_>,
        any: bool,
    ) -> Result<Place<B>, ConnectError> {
        let _pending = breaker.take(Bound::Pending).ok_or(ConnectError::Full)?;
        let endpoint = to.endpoint.slot;
        let waiting = any.then(|| Waiting::begin(self.clone(), endpoint));
        loop {
            // Listening before looking: what is freed in between is not missed.
            let freed = breaker.freed.notified();
            if any && let Some(existing) = self.existing(endpoint, to.speaks_for) {
                return Ok(Place::Existing(existing));
            }
            if let Some(permit) = self.new_place(breaker) {
                return Ok(Place::New(Some(permit)));
            }
            match &waiting {
                Some(waiting) => tokio::select! {
                    () = freed => {}
                    () = waiting.freed.notified() => {}
                },
                None => freed.await,
            }
        }
    }

    /// A place that is free, or that of a connection of this worker that rests.
    fn new_place(&self, breaker: &Arc<Breaker>) -> Option<Permit> {
        breaker.take(Bound::Connections).or_else(|| {
            let resting = self.inner.endpoints.borrow_mut().values_mut().find_map(|state| {
                let number =
                    state.idle.iter().position(|idle| idle.permit().is_some_and(|permit| permit.is_of(breaker)))?;
                Some(state.idle.swap_remove(number))
            });
            drop(resting?);
            breaker.take(Bound::Connections)
        })
    }
}

impl<B: Body + 'static> Pool<B> {
    /// Says to who waits for the endpoint that a connection to it has room again.
    pub(super) fn tell_waiting(&self, endpoint: Slot) {
        self.with(endpoint, |state| {
            if state.waiting > 0 {
                state.freed.notify_one();
            }
        });
    }
}

/// Somebody waits for a connection to an endpoint, until this is dropped.
struct Waiting<B: Body + 'static> {
    pool: Pool<B>,
    endpoint: Slot,
    freed: Rc<Notify>,
}

impl<B: Body + 'static> Waiting<B> {
    fn begin(pool: Pool<B>, endpoint: Slot) -> Self {
        let freed = pool.with(endpoint, |state| {
            state.waiting += 1;
            state.freed.clone()
        });
        Self { pool, endpoint, freed: freed.unwrap_or_default() }
    }
}

impl<B: Body + 'static> Drop for Waiting<B> {
    fn drop(&mut self) {
        self.pool.with(self.endpoint, |state| state.waiting = state.waiting.saturating_sub(1));
    }
}
