//! What one worker counts for one route.

use std::hint::black_box;
use std::num::NonZeroU64;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use http::{Method, StatusCode};

use super::cells::{Cell, Counter, Keyed};
use super::histogram::{DURATION, DurationHistogram, DurationSample, HistogramSample, nanoseconds};
use super::worker::Exchange;
use crate::telemetry::Reason;

/// What an exchange may wait for: an answer, a new connection, a connection that others have. They are counted by service.
pub(super) const WAITS: usize = 3;

/// What is counted per route. What an ordinary exchange counts is close together: with many routes none of it is in a
/// cache.
#[derive(Debug)]
#[repr(C)]
pub(super) struct RouteCells {
    /// Whose cells these are; 0 is nobody's, and what they are while they change hands.
    serial: AtomicU64,
    /// Bytes of bodies to and from clients, in clear and over TLS.
    bytes: [BytesCells; 2],
    requests: Keyed<Counter>,
    durations: Keyed<DurationHistogram>,
    answers: Keyed<DurationHistogram>,
    /// The waits that are not for an answer.
    others: OnceLock<Box<[Keyed<DurationHistogram>; WAITS - 1]>>,
}

#[derive(Debug, Default)]
struct BytesCells {
    sent: Counter,
    received: Counter,
}

/// What a route's cells held at some moment, or those of several workers together.
#[derive(Clone, Debug, Default)]
pub(super) struct RouteSample {
    pub(super) bytes: [BytesSample; 2],
    pub(super) requests: Vec<(CellKey, u64)>,
    pub(super) durations: Vec<(CellKey, DurationSample)>,
    pub(super) waits: [Vec<(CellKey, DurationSample)>; WAITS],
}

/// Which cell of a route, for [`Labels::unpack`]; none for what had no room of its own.
pub(super) type CellKey = Option<NonZeroU64>;

/// Bytes of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BytesSample {
    pub(super) sent: u64,
    pub(super) received: u64,
}

// === impl RouteCells ===

impl Default for RouteCells {
    fn default() -> Self {
        Self {
            serial: AtomicU64::new(0),
            bytes: Default::default(),
            requests: Keyed::new(8),
            durations: Keyed::new(2),
            answers: Keyed::new(1),
            others: OnceLock::new(),
        }
    }
}

impl RouteCells {
    /// Makes the cells this owner's, clean if they were another's; false when a later owner has them. An exchange may
    /// outlive its route, and must neither be counted for the next one nor wipe its cells.
    pub(super) fn adopt(&self, serial: u64) -> bool {
        let held = self.serial.load(Ordering::Relaxed);
        if held < serial {
            // A reader that sees any of the zeros also sees that the owner has changed: the fence pairs with the one
            // in `sample`.
            self.serial.store(0, Ordering::Relaxed);
            fence(Ordering::Release);
            self.clear();
            self.serial.store(serial, Ordering::Release);
        }
        held <= serial
    }

    fn clear(&self) {
        for BytesCells { sent, received } in &self.bytes {
            sent.clear();
            received.clear();
        }
        self.requests.clear();
        self.durations.clear();
        self.answers.clear();
        self.others.get().into_iter().flat_map(|others| others.iter()).for_each(Keyed::clear);
    }

    /// Reads a word of each place that an ordinary exchange is counted in, for the processor to fetch it.
    pub(super) fn expect(&self) {
        black_box((self.serial.load(Ordering::Relaxed), self.durations.glance(), self.answers.glance()));
    }

    /// Counts an exchange; for the one writer only.
    pub(super) fn record(&self, exchange: &Exchange<'_>) {
        let [clear, secure] = &self.bytes;
        let bytes = if exchange.secure { secure } else { clear };
        bytes.sent.add(exchange.sent);
        bytes.received.add(exchange.received);
        let key = Key::default().listener(exchange.secure).backend(exchange.backend);
        self.requests.at(key.method(exchange.method).code(exchange.status).reason(exchange.reason).pack()).add(1);
        self.durations.at(key.class(exchange.status).pack()).observe(&DURATION, nanoseconds(exchange.duration));
        let key = Key::default().backend(exchange.backend);
        let [answer, others @ ..] = exchange.waits();
        if answer > 0 {
            self.answers.at(key.pack()).observe(&DURATION, answer);
        }
        if others.iter().any(|wait| *wait > 0) {
            let cells = self.others.get_or_init(|| Box::new(std::array::from_fn(|_| Keyed::new(1))));
            for (keyed, wait) in cells.iter().zip(others).filter(|(_, wait)| *wait > 0) {
                keyed.at(key.pack()).observe(&DURATION, wait);
            }
        }
    }

    /// What the cells hold, if they are this owner's from the beginning to the end of the reading.
    pub(super) fn sample(&self, serial: u64) -> Option<RouteSample> {
        if self.serial.load(Ordering::Acquire) != serial {
            return None;
        }
        let sample = self.read();
        fence(Ordering::Acquire);
        (self.serial.load(Ordering::Relaxed) == serial).then_some(sample)
    }

    /// What the cells hold, whoever has them.
    pub(super) fn read(&self) -> RouteSample {
        let histograms = |keyed: &Keyed<DurationHistogram>| {
            let samples = keyed.iter().map(|(key, histogram)| (key, histogram.sample()));
            samples.filter(|(_, sample)| sample.count() > 0).collect()
        };
        RouteSample {
            bytes: self
                .bytes
                .each_ref()
                .map(|cells| BytesSample { sent: cells.sent.get(), received: cells.received.get() }),
            requests: self
                .requests
                .iter()
                .map(|(key, counter)| (key, counter.get()))
                .filter(|(_, count)| *count > 0)
                .collect(),
            durations: histograms(&self.durations),
            waits: {
                let [connects, pool] =
                    self.others.get().map_or_else(Default::default, |others| others.each_ref().map(histograms));
                [histograms(&self.answers), connects, pool]
            },
        }
    }
}

// === impl RouteSample ===

impl RouteSample {
    /// Adds what another worker has counted for the same route.
    pub(super) fn add(&mut self, other: Self) {
        let Self { bytes, requests, durations, waits } = other;
        for (total, more) in self.bytes.iter_mut().zip(bytes) {
            total.sent = total.sent.wrapping_add(more.sent);
            total.received = total.received.wrapping_add(more.received);
        }
        merge(&mut self.requests, requests, |total, more| *total = total.wrapping_add(*more));
        merge(&mut self.durations, durations, HistogramSample::add);
        for (totals, more) in self.waits.iter_mut().zip(waits) {
            merge(totals, more, HistogramSample::add);
        }
    }
}

/// Most routes have a handful of cells, so that a search from the beginning is the shortest.
fn merge<T>(totals: &mut Vec<(CellKey, T)>, more: Vec<(CellKey, T)>, add: impl Fn(&mut T, &T)) {
    for (key, value) in more {
        match totals.iter_mut().find(|(known, _)| *known == key) {
            Some((_, total)) => add(total, &value),
            None => totals.push((key, value)),
        }
    }
}

/// The labels of a cell within its route, as one number: each part has bits of its own.
#[derive(Clone, Copy, Debug, Default)]
struct Key(u64);

const BACKEND: u32 = 1;
const METHOD: u32 = 18;
const CODE: u32 = 22;
const REASON: u32 = 32;
/// Set in every key, since 0 is no key.
const PRESENT: NonZeroU64 = match NonZeroU64::new(1 << 63) {
    Some(bit) => bit,
    None => NonZeroU64::MIN,
};

impl Key {
    fn listener(self, secure: bool) -> Self {
        Self(self.0 | u64::from(secure))
    }

    fn backend(self, backend: Option<u16>) -> Self {
        Self(self.0 | backend.map_or(0, |backend| u64::from(backend) + 1) << BACKEND)
    }

    fn method(self, method: &Method) -> Self {
        let known = match *method {
            Method::GET => 1,
            Method::HEAD => 2,
            Method::POST => 3,
            Method::PUT => 4,
            Method::DELETE => 5,
            Method::CONNECT => 6,
            Method::OPTIONS => 7,
            Method::TRACE => 8,
            Method::PATCH => 9,
            // Clients may invent methods, and must not invent series.
            _ => 0,
        };
        Self(self.0 | known << METHOD)
    }

    fn code(self, status: StatusCode) -> Self {
        Self(self.0 | u64::from(status.as_u16()) << CODE)
    }

    /// Only the first digit of the code.
    fn class(self, status: StatusCode) -> Self {
        Self(self.0 | u64::from(status.as_u16() / 100) << CODE)
    }

    fn reason(self, reason: Reason) -> Self {
        Self(self.0 | (reason as u64) << REASON)
    }

    fn pack(self) -> NonZeroU64 {
        PRESENT | self.0
    }
}

/// The labels of a cell within its route. Only those that the cell is counted by mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels {
    pub(super) secure: bool,
    pub(super) backend: Option<u16>,
    pub(super) method: &'static str,
    /// The whole code, or its first digit.
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

impl Labels {
    /// From the number that a cell is kept by.
    pub(super) fn unpack(key: NonZeroU64) -> Self {
        const METHODS: [&str; 10] =
            ["OTHER", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        // The mask leaves no more bits than the number has.
        let bits = |from: u32, to: u32| ((key.get() >> from) & ((1 << (to - from)) - 1)) as usize;
        Self {
            secure: bits(0, BACKEND) == 1,
            backend: bits(BACKEND, METHOD).checked_sub(1).and_then(|backend| u16::try_from(backend).ok()),
            method: METHODS.get(bits(METHOD, CODE)).copied().unwrap_or("OTHER"),
            code: u16::try_from(bits(CODE, REASON)).unwrap_or_default(),
            reason: Reason::ALL.get(bits(REASON, 40)).copied().map_or("", Reason::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_out_of_a_key_as_they_went_in() {
        for reason in Reason::ALL {
            for (secure, backend) in [(false, None), (true, Some(0)), (false, Some(u16::MAX))] {
                let key = Key::default()
                    .listener(secure)
                    .backend(backend)
                    .method(&Method::PATCH)
                    .code(StatusCode::from_u16(999).unwrap())
                    .reason(reason);
                let labels = Labels { secure, backend, method: "PATCH", code: 999, reason: reason.as_str() };
                assert_eq!(Labels::unpack(key.pack()), labels);
            }
        }
    }

    #[test]
    fn nine_methods_have_a_name_and_all_others_share_one() {
        let label = |method: &str| {
            Labels::unpack(Key::default().method(&Method::from_bytes(method.as_bytes()).unwrap()).pack()).method
        };
        for known in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] {
            assert_eq!(label(known), known);
        }
        assert_eq!([label("PROPFIND"), label("get"), label("X")], ["OTHER"; 3]);
    }
}
