//! Asking an endpoint whether it is well.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode, Uri, header, uri};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::Transport;
use super::pool::{self, ConnectError};

/// What is asked of an endpoint, and what is made of its answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Check {
    /// What is asked for with GET.
    pub path: Arc<str>,
    /// Statuses of a good answer, first and last of each range.
    pub expected: Arc<[(u16, u16)]>,
    /// The time from one question to the next.
    pub interval: Duration,
    /// How long an answer may take, the connection included.
    pub timeout: Duration,
    /// So many good answers in a row and it is used again.
    pub healthy_after: u32,
    /// So many bad answers in a row and it is not used.
    pub unhealthy_after: u32,
}

/// Why an answer was not a good one.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No answer.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// Another status.
    #[error("status {0}")]
    Status(StatusCode),
    /// No answer in time.
    #[error("no answer in {0:?}")]
    Timeout(Duration),
    /// The request cannot be written.
    #[error("no request can be made: {0}")]
    Request(#[from] http::Error),
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

impl Check {
    /// Asks once. `host` is the authority that the request names.
    ///
    /// # Errors
    /// When there is no good answer; it says why.
    pub async fn ask(&self, transport: &Transport, address: SocketAddr, host: &str) -> Result<(), CheckError> {
        match tokio::time::timeout(self.timeout, self.exchange(transport, address, host)).await {
            Ok(Ok(status)) if self.is_expected(status) => Ok(()),
            Ok(Ok(status)) => Err(CheckError::Status(status)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(CheckError::Timeout(self.timeout)),
        }
    }

    async fn exchange(&self, transport: &Transport, address: SocketAddr, host: &str) -> Result<StatusCode, CheckError> {
        let (stream, is_http2) = pool::connect(transport, address).await?;
        let request = Request::builder().method(Method::GET).header(header::USER_AGENT, "headgate");
        // The connection is driven by this future alone, and closed when the status is known.
        if is_http2 {
            let scheme = if matches!(transport, Transport::Tls(_)) { uri::Scheme::HTTPS } else { uri::Scheme::HTTP };
            let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(&*self.path).build()?;
            let request = request.uri(uri).body(Empty::<bytes::Bytes>::new())?;
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            driven(connection, sender.send_request(request)).await
        } else {
            let request = request.uri(&*self.path).header(header::HOST, host).header(header::CONNECTION, "close");
            let request = request.body(Empty::<bytes::Bytes>::new())?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            driven(connection, sender.send_request(request)).await
        }
    }

    fn is_expected(&self, status: StatusCode) -> bool {
        self.expected.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
    }
}

/// The status of an answer, doing the connection's work meanwhile.
async fn driven<B>(
    connection: impl Future<Output = hyper::Result<()>>,
    answer: impl Future<Output = hyper::Result<http::Response<B>>>,
) -> Result<StatusCode, CheckError> {
    let driving = async {
        // A connection that ends has said all; the answer's future tells what that was.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        answer = answer => Ok(answer?.status()),
        () = driving => Err(CheckError::Timeout(Duration::ZERO)),
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, expected, interval, timeout, healthy_after, unhealthy_after } = self;
        write!(f, "asks for {path} every {interval:?}, {timeout:?} each, wants ")?;
        for (number, range) in expected.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            match range {
                (first, last) if first == last => write!(f, "{separator}{first}")?,
                (first, last) => write!(f, "{separator}{first}-{last}")?,
            }
        }
        write!(f, "; out after {unhealthy_after}, back after {healthy_after}")
    }
}

/// The statuses that are good when nothing is said.
pub const DEFAULT_EXPECTED: RangeInclusive<u16> = 200..=299;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(healthy_after: u32, unhealthy_after: u32) -> Check {
        Check {
            path: "/healthz".into(),
            expected: [(200, 299), (404, 404)].into(),
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
        let check = check(1, 1);
        let good = |status| check.is_expected(StatusCode::from_u16(status).unwrap());
        assert_eq!([199, 200, 299, 300, 404, 405].map(good), [false, true, true, false, true, false]);
        assert_eq!(
            check.to_string(),
            "asks for /healthz every 5s, 1s each, wants 200-299, 404; out after 1, back after 1"
        );
    }
}
