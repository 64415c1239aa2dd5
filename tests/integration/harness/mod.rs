//! What the tests start, drive and look at.

pub(crate) mod cluster;
pub(crate) mod backend;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod raw;
pub(crate) mod watch_faults;
pub(crate) mod raw_h2;
