//! Why a batch of spans was not taken.

use std::io;

use http::StatusCode;

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    /// Nobody is there.
    #[error("the collector cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// It accepts and does not answer.
    #[error("the collector does not answer in time")]
    Silent,
    /// The connection broke.
    #[error("the collector's connection: {0}")]
    Http(#[from] hyper::Error),
    /// It answers with an error.
    #[error("the collector answered {0}")]
    Status(StatusCode),
    /// It answers with an error in gRPC's words.
    #[error("the collector answered with gRPC status {0}")]
    Grpc(String),
    /// What was set makes no request.
    #[error("no request can be made of what is set: {0}")]
    Request(#[source] http::Error),
}
