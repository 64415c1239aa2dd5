//! The answer to a scrape. What is counted by route may be tens of megabytes of text; it is written piece by piece, as it
//! is sent, so that a scrape takes the memory of the numbers and of one piece.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use super::family;
use super::histogram::{DURATION, DurationSample};
use super::ledger::{RuleNames, RuleTotals, Totals};
use super::lines::Lines;
use super::route::{BytesSample, WAITS};
use super::show::listener;

/// How long a piece is, about: a tenth of a millisecond's work, and a handful of writes to a socket.
const PIECE: usize = 64 * 1024;

/// Everything that was counted at one moment in Prometheus' text format, piece by piece.
pub struct Text {
    rules: Vec<(RuleNames, RuleTotals)>,
    bytes: Vec<(Arc<str>, [BytesSample; 2])>,
    waits: [(ByService, Lines<1>); WAITS],
    requests: Lines<7>,
    durations: Lines<5>,
    received: Lines<2>,
    sent: Lines<2>,
    /// What is not counted by route, already written.
    rest: String,
    part: Part,
    /// The place within the part.
    next: usize,
}

type ByService = Vec<(Arc<str>, DurationSample)>;

/// What is written, in this order.
#[derive(Clone, Copy)]
enum Part {
    Requests,
    Durations,
    /// The first, second or third of them.
    Waits(usize),
    Received,
    Sent,
    Rest,
    Over,
}

impl Text {
    /// What was counted by route, and after it the rest.
    pub(super) fn new(totals: Totals, rest: String) -> Self {
        let Totals { rules, bytes, waits } = totals;
        let [answers, connects, others] = waits.map(|by_service| by_service.into_iter().collect());
        let lines = |family| Lines::histogram(family, &DURATION);
        Self {
            rules: rules.into_iter().collect(),
            bytes: bytes.into_iter().collect(),
            waits: [
                (answers, lines(&family::UPSTREAM_DURATION)),
                (connects, lines(&family::CONNECT_DURATION)),
                (others, lines(&family::POOL_WAIT)),
            ],
            requests: Lines::new(&family::REQUESTS),
            durations: Lines::histogram(&family::REQUEST_DURATION, &DURATION),
            received: Lines::new(&family::REQUEST_BYTES),
            sent: Lines::new(&family::RESPONSE_BYTES),
            rest,
            part: Part::Requests,
            next: 0,
        }
    }

    /// Writes the lines of one rule, service or route; none when the part has no more.
    fn write(&mut self, out: &mut String) -> Option<()> {
        let next = self.next;
        match self.part {
            Part::Requests => {
                let ((route, rule), totals) = self.rules.get(next)?;
                requests(&mut self.requests, [route, rule], totals, out);
            }
            Part::Durations => {
                let ((route, rule), totals) = self.rules.get(next)?;
                durations(&mut self.durations, [route, rule], totals, out);
            }
            Part::Waits(which) => {
                let (by_service, lines) = self.waits.get_mut(which)?;
                let (service, times) = by_service.get(next)?;
                if times.count() > 0 {
                    lines.times([service], times, out);
                }
            }
            Part::Received => {
                let (route, counted) = self.bytes.get(next)?;
                bytes(&mut self.received, route, counted.map(|bytes| bytes.received), out);
            }
            Part::Sent => {
                let (route, counted) = self.bytes.get(next)?;
                bytes(&mut self.sent, route, counted.map(|bytes| bytes.sent), out);
            }
            Part::Rest if self.rest.is_empty() => return None,
            Part::Rest => out.push_str(&mem::take(&mut self.rest)),
            Part::Over => return None,
        }
        self.next += 1;
        Some(())
    }
}

impl Iterator for Text {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        // A rule's lines are some thousands of bytes and go beyond the end of the piece.
        let mut out = String::with_capacity(PIECE + PIECE / 4);
        while out.len() < PIECE {
            if self.write(&mut out).is_none() {
                self.next = 0;
                self.part = match self.part {
                    Part::Requests => Part::Durations,
                    Part::Durations => Part::Waits(0),
                    Part::Waits(which) if which + 1 < WAITS => Part::Waits(which + 1),
                    Part::Waits(_) => Part::Received,
                    Part::Received => Part::Sent,
                    Part::Sent => Part::Rest,
                    Part::Rest | Part::Over => {
                        self.part = Part::Over;
                        break;
                    }
                };
            }
        }
        (!out.is_empty()).then(|| out.into())
    }
}

fn requests(lines: &mut Lines<7>, [route, rule]: [&str; 2], totals: &RuleTotals, out: &mut String) {
    for (series, count) in totals.requests.iter().filter(|(_, count)| *count > 0) {
        match series {
            Some(series) => {
                let mut code = itoa::Buffer::new();
                let (listener, code) = (listener(series.labels.secure), code.format(series.labels.code));
                let labels = [listener, route, rule, &series.service, series.labels.method, code, series.labels.reason];
                lines.count(labels, *count, out);
            }
            None => lines.count(["", route, rule, "", "", "", ""], *count, out),
        }
    }
}

fn durations(lines: &mut Lines<5>, [route, rule]: [&str; 2], totals: &RuleTotals, out: &mut String) {
    for (series, times) in totals.durations.iter().filter(|(_, times)| times.count() > 0) {
        match series {
            Some(series) => {
                let (listener, class) = (listener(series.labels.secure), format!("{}xx", series.labels.code));
                lines.times([listener, route, rule, &series.service, &class], times, out);
            }
            None => lines.times(["", route, rule, "", ""], times, out),
        }
    }
}

fn bytes(lines: &mut Lines<2>, route: &str, [clear, secure]: [u64; 2], out: &mut String) {
    for (listener, count) in [(listener(false), clear), (listener(true), secure)] {
        if count > 0 {
            lines.count([listener, route], count, out);
        }
    }
}
