//! What Headgate tells about itself: logs, the access log, live requests, metrics and traces.

pub mod access_log;
pub(crate) mod hexadecimal;
pub mod log;
mod metrics;
mod reason;
pub mod tap;
pub mod trace;

pub use access_log::{AccessLog, Entry, Remaining, TraceIds, Try, Values, WorkerLog};
pub use metrics::{
    CertificateExpiry, Copied, EndpointState, Exchange, HandshakeFailure, LimitLabels, Metrics, ObjectCount,
    ObjectState, Protocol, RouteLabels, ServiceSample, StoreMetrics, TEXT_FORMAT, Text, WorkerMetrics,
};
pub use reason::Reason;
pub use tap::Tap;
pub use trace::Tracer;
