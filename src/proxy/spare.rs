//! Memory that the connections of a worker use in turn: one at rest has none of it, and the allocator would give each
//! request another piece, which the processor would have to fetch.

use std::cell::{Cell, RefCell};
use std::fmt;

use http::request::Parts;
use http::{Method, Uri};

use super::framing::Memory;
use crate::upstream::KEPT_FIELDS;

/// How many pieces of each kind are kept, and how large one may be.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 32 * 1024;

/// All of it.
#[derive(Default)]
pub(super) struct Spare {
    head: Cell<Memory>,
    out: RefCell<Vec<Vec<u8>>>,
    #[expect(clippy::vec_box, reason = "a request moves about while it is under way, and carries a pointer only")]
    parts: RefCell<Vec<Box<Parts>>>,
}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare").finish_non_exhaustive()
    }
}

impl Spare {
    /// What a head of HTTP/1.1 is looked at with.
    pub(super) fn take_head(&self) -> Memory {
        self.head.take()
    }

    pub(super) fn give_head(&self, memory: Memory) {
        self.head.set(memory);
    }

    /// Parts of a request that say nothing.
    pub(super) fn take_parts(&self) -> Box<Parts> {
        self.parts.borrow_mut().pop().unwrap_or_else(blank)
    }

    /// Takes those of a head that nobody needs any more.
    pub(super) fn give_parts(&self, mut parts: Box<Parts>) {
        let mut kept = self.parts.borrow_mut();
        if kept.len() < KEPT && parts.headers.capacity() <= KEPT_FIELDS {
            clear(&mut parts);
            kept.push(parts);
        }
    }

    /// What goes out is put together in this.
    pub(super) fn take_out(&self) -> Vec<u8> {
        self.out.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_out(&self, mut memory: Vec<u8>) {
        let mut kept = self.out.borrow_mut();
        if kept.len() < KEPT && (1..=KEPT_BYTES).contains(&memory.capacity()) {
            memory.clear();
            kept.push(memory);
        }
    }
}

fn blank() -> Box<Parts> {
    Box::new(http::Request::new(()).into_parts().0)
}

/// Takes everything out of parts but their memory.
fn clear(parts: &mut Parts) {
    let Parts { method, uri, headers, extensions, .. } = parts;
    *method = Method::GET;
    *uri = Uri::default();
    headers.clear();
    extensions.clear();
}
