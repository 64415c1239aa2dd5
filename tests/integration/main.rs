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

/// How endpoints are spoken to, pooled, chosen and tried again.
mod upstream;
