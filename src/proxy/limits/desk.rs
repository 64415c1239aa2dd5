//! What a worker has at hand for its limits.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::limit::{Ask, LocalStore};
use crate::table::{KeySource, OnMissing, RateLimit};

/// Texts for headers are cut from pieces of so many bytes.
const PIECE: usize = 4096;
/// Room that the text of one request is sure to have.
const ROOM: usize = 256;

/// What a worker has at hand for its limits. Memory is used again and again, so that a request costs none.
pub(in super::super) struct Desk {
    /// The worker's number.
    pub(super) index: usize,
    /// The counts of this process.
    pub(super) local: Arc<LocalStore>,
    key: RefCell<Vec<u8>>,
    texts: RefCell<BytesMut>,
}

impl Desk {
    /// For the worker of this number.
    pub(in super::super) fn new(index: usize, local: Arc<LocalStore>) -> Self {
        Self { index, local, key: RefCell::default(), texts: RefCell::default() }
    }

    /// Asks `store` about a request by the key that it has at this limit.
    pub(super) fn with_key<T>(
        &self,
        rate: &RateLimit,
        source: &KeySource<'_>,
        store: impl FnOnce(Ask<'_>) -> T,
    ) -> Result<T, OnMissing> {
        let mut key = self.key.borrow_mut();
        rate.write_key(source, &mut key)?;
        Ok(store(rate.ask(&key)))
    }

    /// A text that `write` writes.
    pub(super) fn text(&self, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        let mut texts = self.texts.borrow_mut();
        if !texts.try_reclaim(PIECE) && texts.capacity() < ROOM {
            *texts = BytesMut::with_capacity(PIECE);
        }
        write(&mut texts);
        texts.split().freeze()
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("index", &self.index).finish_non_exhaustive()
    }
}
