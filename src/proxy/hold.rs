//! Request bodies that are read to their end before a backend is chosen.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http_body::{Body, Frame};

use super::Worker;
use super::attempt::{self, Elapsed};
use super::body::{RequestBody, Upload};
use super::connection::Client;
use super::error::Error;

/// Memory that all workers together may hold bodies in. What is over that is refused, and comes again later.
const MEMORY: u64 = 256 << 20;
/// A body takes its share of that memory in steps of so many bytes.
const STEP: u64 = 64 << 10;

/// The memory that bodies are held in, shared by all workers.
#[derive(Clone, Debug)]
pub struct Memory {
    left: Arc<AtomicU64>,
    /// The process is near to the most that it may have.
    short: Arc<AtomicBool>,
}

/// A part of the memory, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Memory,
    bytes: u64,
}

/// A body that is there.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) data: Bytes,
    pub(super) trailers: Option<HeaderMap>,
    _share: Share,
}

/// Reads a body to its end, which must have come by `due`.
pub(super) async fn hold(
    worker: &Worker,
    client: &Client,
    due: Option<u64>,
    body: RequestBody,
    upload: &Upload,
    headers: &mut HeaderMap,
) -> Result<RequestBody, Error> {
    let now = worker.clock.now();
    let mut deadline = worker.clock.deadline();
    let reading = pin!(read(body, client, upload, Share { memory: worker.memory.clone(), bytes: 0 }));
    let held = match attempt::within(&mut deadline, now, None, due, reading).await {
        Ok(held) => held?,
        Err(Elapsed::Step | Elapsed::Exchange) => return Err(Error::RequestTimeout),
    };
    // Its length is known now, and a backend is told it; what has trailers still goes in pieces.
    if held.trailers.is_none() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(held.data.len()));
    }
    Ok(if held.is_end() { RequestBody::Empty } else { RequestBody::Held(Box::new(held)) })
}

async fn read(mut body: RequestBody, client: &Client, upload: &Upload, mut share: Share) -> Result<Held, Error> {
    // What a length declares is a promise only, so memory is taken as it is filled.
    let mut data = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.map_err(|_| upload.error(client))?.into_data() {
            Ok(piece) => {
                if !share.cover((data.len() + piece.len()) as u64) {
                    return Err(Error::NoMemory);
                }
                data.extend_from_slice(&piece);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Held { data: data.freeze(), trailers, _share: share })
}

impl Held {
    /// A body that is too small to count.
    pub(super) fn small(data: Bytes, memory: Memory) -> Self {
        Self { data, trailers: None, _share: Share { memory, bytes: 0 } }
    }

    /// The next part of it.
    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        if !self.data.is_empty() {
            return Some(Frame::data(std::mem::take(&mut self.data)));
        }
        self.trailers.take().map(Frame::trailers)
    }

    /// Whether there is no next part.
    pub(super) fn is_end(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { left: Arc::new(AtomicU64::new(MEMORY)), short: Arc::default() }
    }
}

impl Memory {
    /// Says whether memory is short, for the whole process.
    pub fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::Relaxed);
    }

    /// Whether it is: nothing more is held then.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes what is missing to so many bytes; false when there is not so much left.
    fn cover(&mut self, bytes: u64) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        if self.memory.is_short() {
            return false;
        }
        let more = (bytes - self.bytes).next_multiple_of(STEP);
        // Nothing else is ordered by this number.
        let taken = self.memory.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(more));
        if taken.is_ok() {
            self.bytes += more;
        }
        taken.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_in_steps_and_given_back() {
        let memory = Memory { left: Arc::new(AtomicU64::new(3 * STEP)), ..Memory::default() };
        let share = || Share { memory: memory.clone(), bytes: 0 };
        let (mut one, mut two) = (share(), share());
        assert!(one.cover(1) && one.cover(STEP) && one.cover(STEP + 1));
        assert!(two.cover(STEP));
        assert!(!two.cover(STEP + 1));
        drop(one);
        assert!(two.cover(3 * STEP));
        memory.set_short(true);
        assert!(two.cover(3 * STEP) && !share().cover(1));
        drop(two);
        assert_eq!(memory.left.load(Ordering::Relaxed), 3 * STEP);
    }
}
