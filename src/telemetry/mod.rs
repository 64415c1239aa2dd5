//! What Headgate tells about itself: logs and metrics.

pub mod log;
mod metrics;
mod reason;

pub use metrics::{
    CertificateExpiry, EndpointState, Exchange, Metrics, ObjectCount, ObjectState, RouteLabels, ServiceSample,
    StoreMetrics, TEXT_FORMAT, WorkerMetrics,
};
pub use reason::Reason;
