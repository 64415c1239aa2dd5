//! stub
use std::net::SocketAddr;
use crate::{snapshot::Reader, table::Table, compile::Report, telemetry::Metrics, drain::*};
/// x
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Addresses { pub http: SocketAddr, pub https: SocketAddr, pub admin: SocketAddr }
/// x
pub type Ready = Box<dyn Fn() -> Result<(), String> + Send + Sync>;
#[allow(missing_docs)]
pub struct State { pub tables: Reader<Table>, pub reports: tokio::sync::watch::Receiver<std::sync::Arc<Report>>, pub metrics: Metrics, pub readiness: Ready, pub addresses: Addresses }
#[allow(missing_docs)]
pub async fn serve(_l: tokio::net::TcpListener, _s: State, mut drain: Drain) -> std::io::Result<()> { drain.reached(Phase::Ended).await; Ok(()) }
