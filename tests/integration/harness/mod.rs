//! What the tests start, drive and look at.

pub(crate) mod cluster;
pub(crate) mod backend;
pub(crate) mod kept;
pub(crate) mod endpoint;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod objects;
pub(crate) mod watch_faults;
