//! What the tests start, drive and look at.

pub(crate) mod cluster;
