//! The consistent-hash ring.

/// Points on a circle of hashes, each owned by an endpoint.
#[derive(Debug)]
pub struct Ring {}
