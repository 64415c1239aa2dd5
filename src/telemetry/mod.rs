//! What Headgate tells about itself: logs and metrics.

pub mod log;
mod metrics;
mod reason;

pub use metrics::{
    CertificateExpiry, EndpointCount, EndpointState, Exchange, Metrics, ObjectCount, ObjectState, RouteLabels,
    StoreMetrics, TEXT_FORMAT, WorkerMetrics,
};
pub use reason::Reason;
