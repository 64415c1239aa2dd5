//! What is served and what is wrong, as JSON. Fields are added and never change their meaning within a version.

use std::net::SocketAddr;

use serde::Serialize;

use super::State;
use crate::compile::Listed;
use crate::table::Description;

/// An answer with the version of its shape beside its fields.
#[derive(Serialize)]
pub(super) struct Versioned<T> {
    version: &'static str,
    #[serde(flatten)]
    answer: T,
}

impl<T> Versioned<T> {
    pub(super) fn new(answer: T) -> Self {
        Self { version: "v1", answer }
    }
}

/// Which table is served, and where.
#[derive(Serialize)]
pub(super) struct Generation {
    generation: u64,
    /// Grows with every change that was taken in, also with those that changed no table.
    batches: u64,
    listeners: Listeners,
}

#[derive(Serialize)]
struct Listeners {
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
}

pub(super) fn generation(state: &State) -> Versioned<Generation> {
    // In this order: a table may be newer than the number of batches says, and must not be older.
    let batches = (state.readiness)().batches;
    let super::Addresses { http, https, admin } = state.addresses;
    Versioned::new(Generation {
        generation: state.tables.load().generation,
        batches,
        listeners: Listeners { http, https, admin },
    })
}

/// The table in words.
#[derive(Serialize)]
pub(super) struct Routes {
    generation: u64,
    #[serde(flatten)]
    table: Description,
}

pub(super) fn routes(state: &State) -> Versioned<Routes> {
    let table = state.tables.load();
    Versioned::new(Routes { generation: table.generation, table: table.describe() })
}

/// What is wrong with what is declared.
#[derive(Serialize)]
pub(super) struct Problems {
    problems: Vec<Listed>,
}

pub(super) fn problems(state: &State) -> Versioned<Problems> {
    let report = state.reports.borrow().clone();
    Versioned::new(Problems { problems: report.list() })
}
