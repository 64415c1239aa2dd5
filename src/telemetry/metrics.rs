//! stub
use crate::slot::Slot;
use super::Reason;
/// x
#[derive(Debug)]
pub struct Exchange<'a> { pub secure: bool, pub route: Option<Slot>, pub backend: Option<u16>, pub method: &'a http::Method, pub status: http::StatusCode, pub reason: Reason, pub seconds: f64, pub upstream_seconds: f64, pub sent: u64, pub received: u64 }
/// x
#[derive(Debug)]
pub struct WorkerMetrics;
#[allow(missing_docs)]
impl WorkerMetrics { pub fn began(&self, _secure: bool){} pub fn record(&self, _e: &Exchange<'_>){} pub fn connection_opened(&self, _secure: bool){} pub fn connection_closed(&self, _secure: bool){} pub fn handshake_failed(&self){} pub fn set_pool(&self, _connects: u64, _reuses: u64, _idle: u64){} }
/// x
#[derive(Clone, Debug)] pub struct Metrics;
#[allow(missing_docs)]
impl Metrics { pub fn new(_w: usize) -> Self { Self } pub fn worker(&self, _i: usize) -> WorkerMetrics { WorkerMetrics } pub fn set_routes(&self, _l: std::sync::Arc<[RouteLabels]>) {} }
#[allow(missing_docs)]
#[derive(Debug)] pub struct RouteLabels { pub slot: Slot, pub route: String, pub rule: String, pub services: Vec<String> }
