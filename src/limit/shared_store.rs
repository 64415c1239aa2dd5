//! The seam to a store whose counts all replicas share.

use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;

use super::{Decision, Limit};

/// How replicas agree on a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SyncMode {
    /// The store decides about every request.
    #[default]
    Strict,
    /// Replicas take grants of several requests at once.
    Leased,
}

/// One question about a request.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// Who is counted: the same bytes for the same client in every replica, with nothing of the limit in them. A
    /// client has chosen some of them: what is made of them must not let it choose another's count.
    pub key: &'a [u8],
    /// How many requests it counts for; never more than the quota's capacity.
    pub cost: NonZeroU32,
}

/// The store could not be asked, or has not answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of shared limits does not answer")]
pub struct Unavailable;

/// What became of an [`Ask`].
pub type Answer = Result<Decision, Unavailable>;

/// The answers to come, one for each question in its order. It stays on the worker that asked.
pub type Deciding<'a> = Pin<Box<dyn Future<Output = Vec<Answer>> + 'a>>;

/// Counts that all replicas share. One handle serves every worker; it is made by `app` and only cloned by `compile`.
pub trait SharedStore: fmt::Debug + Send + Sync {
    /// What each worker runs beside its exchanges, for as long as it serves; without it there are no answers on it.
    fn attend(&self) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// Decides about all limits of one request, which come in one call so that the store can decide in one round trip.
    ///
    /// Questions that are decided together are so as one: if one is refused, none of them has been counted. The future
    /// is ready within the store's own deadline, whatever has happened to the store; dropping it may leave the request
    /// counted.
    fn check<'a>(&'a self, asks: &'a [Ask<'a>]) -> Deciding<'a>;

    /// Takes back what a check has counted for a request that did not pass after all, as far as that is still possible.
    /// Does not wait.
    fn give_back(&self, asks: &[Ask<'_>]);

    /// How many replicas there are now, for what each may let pass on its own while the store is away.
    fn replicas(&self) -> NonZeroU32;
}

/// Stands for the store where nothing is served, and so nothing is asked: for looking at what is declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presumed;

impl SharedStore for Presumed {
    fn attend(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(std::future::pending())
    }

    fn check<'a>(&'a self, asks: &'a [Ask<'a>]) -> Deciding<'a> {
        Box::pin(std::future::ready(vec![Err(Unavailable); asks.len()]))
    }

    fn give_back(&self, _asks: &[Ask<'_>]) {}

    fn replicas(&self) -> NonZeroU32 {
        NonZeroU32::MIN
    }
}
