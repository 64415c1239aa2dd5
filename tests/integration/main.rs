//! Headgate from the outside.

// A test that cannot go on stops at the line that says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
// What a test spawns ends with its runtime, and a table of cases is as complex as the cases are.
#![allow(clippy::disallowed_methods, clippy::type_complexity)]

/// What tests start and talk to.
mod harness;

/// The real control plane itself: if this fails, read nothing into the failures of the others.
mod cluster_smoke;

/// Declared resources in, table and conditions out: every case under `fixtures/`.
mod golden;
/// The source that watches a cluster, under faults and against the real API server.
mod source_kubernetes;

/// How endpoints are spoken to, pooled, chosen and tried again.
mod upstream;
/// Bodies and protocols that flow.
mod streaming;
/// Endpoints that come, go and close their connections.
mod endpoints;
/// Stopping.
mod drain;
/// More than there is room for, and slower than there is time for.
mod limits;
/// The real binary as the ingress of the real API server.
mod kubernetes;
/// The dependency rule of the crate, and what else of the code can be counted.
mod layering;

/// Back to the cluster, component by component.
mod status;

/// Which request goes where.
mod routing;
