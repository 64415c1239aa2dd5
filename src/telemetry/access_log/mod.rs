//! The access log: one line per exchange, made where the exchange ends and written elsewhere.
//!
//! ```text
//!   worker ── WorkerLog::record ──> its chunk of lines ── full, or a tenth of a second old ──> writer thread ──> file
//!      ^                                                                                          │
//!      └───────────────────────────── the same chunk, empty again ────────────────────────────────┘
//! ```
//!
//! A worker encodes a line straight into a chunk of memory that it owns: a line costs no allocation and no system call,
//! and nothing is shared but one hand-over per some hundred lines. A worker has a fixed number of chunks. While all of
//! them wait for a slow disk or a blocked pipe, lines are dropped and counted: a request never waits for its line.

mod entry;
mod escape;
mod field;
mod headers;
mod json;
mod query;
mod queue;
mod setting;
mod stamp;
mod text;
mod writer;

pub use entry::{Entry, Remaining, TraceIds, Try, Values};
pub use queue::{AccessLog, WorkerLog, Writing};
pub use setting::{Setting, SettingError};

pub(crate) use escape::is_all_plain;
pub(super) use json::plain as encode_json;
pub(super) use query::QueryShown;
pub(super) use stamp::Stamp;

#[cfg(test)]
mod tests;
