//! Headgate from the outside.

// A test that cannot go on stops at the line that says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

/// What tests start and talk to.
mod harness;

/// The real control plane itself: if this fails, read nothing into the failures of the others.
mod cluster_smoke;

/// Declared resources in, table and conditions out: every case under `fixtures/`.
mod golden;
/// The source that watches a cluster, under faults and against the real API server.
mod source_kubernetes;

/// The real binary as the ingress of the real API server.
mod kubernetes;
/// The dependency rule of the crate, and what else of the code can be counted.
mod layering;

/// Back to the cluster, component by component.
mod status;

/// Which request goes where.
mod routing;

/// What the documentation says, done.
mod docs;
/// The commands, apart from what they serve.
mod cli;
/// Many broken objects among good ones.
mod broken;
