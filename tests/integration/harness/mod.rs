//! What the tests start, drive and look at.

pub(crate) mod cluster;
pub(crate) mod watch_faults;
