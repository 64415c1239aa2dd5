//! What Headgate tells about itself: logs and metrics.

pub mod log;
mod metrics;
mod reason;

pub use metrics::*;
pub use reason::Reason;
