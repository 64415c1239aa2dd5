//! Asking an endpoint once.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, uri};
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::super::pool::{self, ConnectError, Stream};
use super::super::{ProxyProtocol, Transport};
use super::{Check, Question, is_expected};

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
    /// An answer to a gRPC call that is not the good one.
    #[error("{0}")]
    Grpc(GrpcFault),
    /// No answer in time.
    #[error("no answer in {0:?}")]
    Timeout(Duration),
    /// The request cannot be written.
    #[error("no request can be made: {0}")]
    Request(#[from] http::Error),
}

/// What is wrong with an answer to a question by gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcFault {
    /// HTTP/1.1 was agreed on, over which there is no gRPC.
    NotHttp2,
    /// The call ended with another status than OK; `None` where there was none.
    Status(Option<Box<str>>),
    /// The service is not SERVING; the number says what it is.
    NotServing(u64),
    /// No message of the health protocol.
    Malformed,
}

/// The longest message of an answer that is read; a whole one has 7 bytes.
const LONGEST_MESSAGE: usize = 1024;
/// What a message's prefix takes: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// The field `service` of a HealthCheckRequest, a string, and `status` of a HealthCheckResponse, a number.
const SERVICE: u8 = 1 << 3 | 2;
const STATUS: u8 = 1 << 3;
/// `ServingStatus.SERVING`.
const SERVING: u64 = 1;

impl Check {
    /// Asks once. `host` is the authority that the request names; the connection speaks for us alone.
    ///
    /// # Errors
    /// When there is no good answer; it says why.
    pub async fn ask(
        &self,
        transport: &Transport,
        announces: Option<ProxyProtocol>,
        address: SocketAddr,
        host: &str,
    ) -> Result<(), CheckError> {
        let asked = async {
            let (stream, is_http2) = pool::connect(transport, announces, address).await?;
            match &self.question {
                Question::Http { path, expected } => {
                    let status = if is_http2 {
                        get_http2(stream, transport, host, path).await?
                    } else {
                        get_http1(stream, host, path).await?
                    };
                    if is_expected(expected, status) { Ok(()) } else { Err(CheckError::Status(status)) }
                }
                // In clear text there is nothing to agree on: who is asked by gRPC speaks HTTP/2.
                Question::Grpc { .. } if !is_http2 && matches!(transport, Transport::Tls(_)) => {
                    Err(CheckError::Grpc(GrpcFault::NotHttp2))
                }
                Question::Grpc { service } => call(stream, transport, host, service).await,
                Question::Tcp => Ok(()),
            }
        };
        tokio::time::timeout(self.timeout, asked).await.unwrap_or(Err(CheckError::Timeout(self.timeout)))
    }
}

/// The status of the answer to a GET.
async fn get_http1(stream: Stream, host: &str, path: &str) -> Result<StatusCode, CheckError> {
    let request = Request::builder().uri(path).header(header::HOST, host).header(header::CONNECTION, "close");
    let request = request.header(header::USER_AGENT, "headgate").body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    Ok(driven(connection, sender.send_request(request)).await?.status())
}

/// The same over HTTP/2.
async fn get_http2(stream: Stream, transport: &Transport, host: &str, path: &str) -> Result<StatusCode, CheckError> {
    let request = Request::builder().uri(http2_uri(transport, host, path)?).header(header::USER_AGENT, "headgate");
    let request = request.body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    Ok(driven(connection, sender.send_request(request)).await?.status())
}

/// Asks by gRPC whether the service is SERVING.
async fn call(stream: Stream, transport: &Transport, host: &str, service: &str) -> Result<(), CheckError> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(http2_uri(transport, host, "/grpc.health.v1.Health/Check")?)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "headgate")
        .body(Full::new(Bytes::from(question(service))))?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let answer = async { read(sender.send_request(request).await?).await };
    driven(connection, answer).await
}

/// What an answer by gRPC comes to.
async fn read(answer: Response<Incoming>) -> Result<(), CheckError> {
    let (parts, body) = answer.into_parts();
    if parts.status != StatusCode::OK {
        return Err(CheckError::Status(parts.status));
    }
    let fault = |fault| Err(CheckError::Grpc(fault));
    let body = match Limited::new(body, LONGEST_MESSAGE).collect().await {
        Ok(body) => body,
        Err(error) if error.is::<LengthLimitError>() => return fault(GrpcFault::Malformed),
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(error) => return Err(CheckError::Http(*error)),
            Err(_) => return fault(GrpcFault::Malformed),
        },
    };
    // A call that fails at once has its status in the head.
    let status = |fields: &HeaderMap<HeaderValue>| fields.get("grpc-status").cloned();
    let status = body.trailers().and_then(status).or_else(|| status(&parts.headers));
    match status {
        Some(status) if status == "0" => {}
        status => {
            let told = status.map(|status| String::from_utf8_lossy(status.as_bytes()).escape_debug().to_string());
            return fault(GrpcFault::Status(told.map(String::into_boxed_str)));
        }
    }
    match serving_status(&body.to_bytes()) {
        Some(SERVING) => Ok(()),
        Some(other) => fault(GrpcFault::NotServing(other)),
        None => fault(GrpcFault::Malformed),
    }
}

/// A HealthCheckRequest for this service, in the frame of a gRPC message.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(SERVICE);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], &message].concat()
}

/// The status that a HealthCheckResponse names, in its frame; 0 (UNKNOWN) is left out on the wire.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (prefix, message) = framed.split_first_chunk::<PREFIX>()?;
    let [0, length @ ..] = prefix else { return None };
    if usize::try_from(u32::from_be_bytes(*length)).ok()? != message.len() {
        return None;
    }
    match message {
        [] => Some(0),
        [STATUS, value @ ..] => varint(value),
        _ => None,
    }
}

/// The number that begins here, as Protocol Buffers write them.
fn varint(bytes: &[u8]) -> Option<u64> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let digits = bytes.get(..length).filter(|digits| digits.len() <= 9)?;
    Some(digits.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f)))
}

fn http2_uri(transport: &Transport, host: &str, path: &str) -> Result<Uri, http::Error> {
    let scheme = if matches!(transport, Transport::Tls(_)) { uri::Scheme::HTTPS } else { uri::Scheme::HTTP };
    Uri::builder().scheme(scheme).authority(host).path_and_query(path).build()
}

/// What `answer` comes to, doing the connection's work meanwhile. The connection is driven by this future alone, and
/// closed when the answer is there.
async fn driven<T, E>(
    connection: impl Future<Output = hyper::Result<()>>,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let driving = async {
        // A connection that ends has said all; the answer's future tells what that was.
        let _ = connection.await;
        std::future::pending::<T>().await
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        answer = driving => Ok(answer),
    }
}

impl fmt::Display for GrpcFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp2 => f.write_str("HTTP/1.1 was agreed on, over which there is no gRPC"),
            Self::Status(Some(status)) => write!(f, "grpc-status {status}"),
            Self::Status(None) => f.write_str("no grpc-status"),
            Self::NotServing(0) => f.write_str("it says UNKNOWN"),
            Self::NotServing(2) => f.write_str("it says NOT_SERVING"),
            Self::NotServing(3) => f.write_str("it says SERVICE_UNKNOWN"),
            Self::NotServing(other) => write!(f, "it says {other}, not SERVING"),
            Self::Malformed => f.write_str("no message of gRPC's health protocol"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_written_as_the_protocol_has_them() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = question(&"x".repeat(200));
        assert_eq!((long[4], &long[5..8]), (203, &[0x0a, 0xc8, 0x01][..]));
    }

    #[test]
    fn answers_are_read_as_the_protocol_has_them() {
        let of = serving_status;
        assert_eq!(of(&[0, 0, 0, 0, 2, 0x08, 1]), Some(SERVING));
        assert_eq!(of(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(of(&[0, 0, 0, 0, 3, 0x08, 0x80, 0x01]), Some(128));
        let malformed: [&[u8]; 7] = [
            &[],
            &[0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 0x08, 1],
            &[0, 0, 0, 0, 3, 0x08, 1],
            &[0, 0, 0, 0, 1, 0x08],
            &[0, 0, 0, 0, 2, 0x10, 1],
            &[0, 0, 0, 0, 2, 0x08, 0x80],
        ];
        assert!(malformed.iter().all(|answer| of(answer).is_none()));
    }
}
