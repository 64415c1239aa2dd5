//! What the tests start, drive and look at.

pub(crate) mod backend;
pub(crate) mod certs;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod collector;
pub(crate) mod endpoint;
pub(crate) mod fickle;
pub(crate) mod gateway;
pub(crate) mod handover;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod load;
pub(crate) mod mistakes;
pub(crate) mod mixture;
pub(crate) mod objects;
pub(crate) mod raw;
pub(crate) mod raw_h2;
pub(crate) mod redis;
pub(crate) mod run;
pub(crate) mod size;
pub(crate) mod spoof;
pub(crate) mod traffic;
pub(crate) mod watch_faults;
