//! Headgate is the ingress of a Kubernetes cluster in one process. It watches what people declare, compiles it
//! into an immutable route table, and serves traffic from it: no template, no reload, no subprocess.
//!
//! ```text
//!    declared                      |  compiled                        |  running
//!                                  |                                  |
//!   source::kubernetes ─┐          |                                  |  proxy (one per core)
//!                       ├─> store ─┼─> compile ─> table ── publish ───┼─> listener → connection → exchange
//!   source::file ───────┘          |      │       (immutable)         |                    │
//!                                  |      └─> report                  |   table → filter → upstream → backend
//!   status  <──────────────────────┼───────────┘                      |
//!                                  |                                  |
//!       speaks Kubernetes          |   the only place that knows both |  has never heard of Kubernetes
//! ```
//!
//! Left of `compile` speaks Kubernetes. Right of `compile` has never heard of it. `compile` is pure and is the only
//! module that imports both sides. A test (`tests/integration/layering.rs`) holds every `use` line to that rule.
//!
//! The words of this code: a *source* yields *declared resources*; the *store* holds them; *compile* turns them into a
//! *table* of one *generation* and a *report* of *problems*; to *publish* makes a table the current one; a *route* is one
//! compiled rule; a *filter* is a step on it; a *cluster* is the group behind a backend and an *endpoint* one address in
//! it; an *exchange* is one request and its response; a *worker* is one core's copy of the data plane; to *drain* is to
//! stop taking, finish, then stop.
//!
//! The modules follow in reading order.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]
// What a test spawns ends with its runtime.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

// What users declare, and where it comes from.
pub mod api;
pub mod source;
pub mod store;

// From declared to compiled.
pub mod compile;

// What is compiled.
pub mod address;
pub mod auth;
mod field_kinds;
pub mod filter;
mod hash;
pub mod limit;
pub mod path;
pub mod persistent;
mod scan;
pub mod slot;
pub mod table;
pub mod upstream;

// What runs.
pub mod drain;
pub mod proxy;
pub mod snapshot;

// What looks out and reports back.
pub mod admin;
pub mod status;
pub mod telemetry;

// What puts it together.
pub mod app;
pub mod cli;
pub mod config;
