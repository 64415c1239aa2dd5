//! What Headgate tells about itself: logs and metrics.

mod reason;

pub use reason::Reason;
