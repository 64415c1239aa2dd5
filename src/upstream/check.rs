//! Checks: what an endpoint is asked on a schedule, and what its answers come to.

mod ask;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

pub use ask::{CheckError, GrpcFault};

/// What is asked of an endpoint, and what is made of its answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Check {
    /// What it is asked.
    pub question: Question,
    /// The time from one question to the next.
    pub interval: Duration,
    /// How long an answer may take, the connection included.
    pub timeout: Duration,
    /// So many good answers in a row and it is used again.
    pub healthy_after: u32,
    /// So many bad answers in a row and it is not used.
    pub unhealthy_after: u32,
}

/// What an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// What a GET is answered with.
    Http {
        /// What is asked for.
        path: Arc<str>,
        /// Statuses of a good answer, first and last of each range.
        expected: Arc<[(u16, u16)]>,
    },
    /// Whether a service is SERVING, by gRPC's health protocol (`grpc.health.v1.Health/Check`).
    Grpc {
        /// The service's name; empty is the server as a whole.
        service: Arc<str>,
    },
    /// Whether it takes a connection, the TLS handshake included where TLS is spoken.
    Tcp,
}

/// What an endpoint's answers so far come to. It begins as well, since it was declared to be ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    failing: bool,
    /// Answers in a row that speak against what it is now.
    against: u32,
}

impl Course {
    /// Takes an answer in; whether the endpoint is failing from now on, when that has changed by it.
    pub fn take(&mut self, check: &Check, good: bool) -> Option<bool> {
        if good != self.failing {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let enough = if self.failing { check.healthy_after } else { check.unhealthy_after };
        if self.against < enough {
            return None;
        }
        *self = Self { failing: !self.failing, against: 0 };
        Some(self.failing)
    }

    /// Whether it is failing.
    pub fn is_failing(&self) -> bool {
        self.failing
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { question, interval, timeout, healthy_after, unhealthy_after } = self;
        write!(f, "{question} every {interval:?}, {timeout:?} each, ")?;
        match question {
            Question::Http { expected, .. } => {
                f.write_str("wants ")?;
                for (number, range) in expected.iter().enumerate() {
                    let separator = if number == 0 { "" } else { ", " };
                    match range {
                        (first, last) if first == last => write!(f, "{separator}{first}")?,
                        (first, last) => write!(f, "{separator}{first}-{last}")?,
                    }
                }
            }
            Question::Grpc { .. } => f.write_str("wants SERVING")?,
            Question::Tcp => f.write_str("wants it taken")?,
        }
        write!(f, "; out after {unhealthy_after}, back after {healthy_after}")
    }
}

impl fmt::Display for Question {
    /// `asks for /healthz`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { path, .. } => write!(f, "asks for {path}"),
            Self::Grpc { service } if service.is_empty() => f.write_str("asks by gRPC for the server's health"),
            Self::Grpc { service } => write!(f, "asks by gRPC for the health of {service}"),
            Self::Tcp => f.write_str("makes a connection"),
        }
    }
}

/// Whether a status is in one of the ranges.
fn is_expected(expected: &[(u16, u16)], status: StatusCode) -> bool {
    expected.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
}

/// The statuses that are good when nothing is said.
pub const DEFAULT_EXPECTED: RangeInclusive<u16> = 200..=299;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(healthy_after: u32, unhealthy_after: u32) -> Check {
        Check {
            question: Question::Http { path: "/healthz".into(), expected: [(200, 299), (404, 404)].into() },
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            healthy_after,
            unhealthy_after,
        }
    }

    #[test]
    fn it_takes_some_answers_in_a_row_to_change() {
        let check = check(2, 3);
        let mut course = Course::default();
        let answers = [false, false, true, false, false, false, true, false, true, true, true];
        let told: Vec<_> = answers.iter().map(|good| course.take(&check, *good)).collect();
        let mut expected = vec![None; answers.len()];
        expected[5] = Some(true);
        expected[9] = Some(false);
        assert_eq!(told, expected);
        assert!(!course.is_failing());
    }

    #[test]
    fn statuses_are_ranges_with_both_ends() {
        let expected = [(200, 299), (404, 404)];
        let good = |status| is_expected(&expected, StatusCode::from_u16(status).unwrap());
        assert_eq!([199, 200, 299, 300, 404, 405].map(good), [false, true, true, false, true, false]);
    }

    #[test]
    fn it_says_what_it_does() {
        let asks = |question| Check { question, ..check(1, 1) }.to_string();
        assert_eq!(
            check(1, 1).to_string(),
            "asks for /healthz every 5s, 1s each, wants 200-299, 404; out after 1, back after 1"
        );
        assert_eq!(
            asks(Question::Grpc { service: "shop.Orders".into() }),
            "asks by gRPC for the health of shop.Orders every 5s, 1s each, wants SERVING; out after 1, back after 1"
        );
        assert_eq!(
            asks(Question::Tcp),
            "makes a connection every 5s, 1s each, wants it taken; out after 1, back after 1"
        );
    }
}
