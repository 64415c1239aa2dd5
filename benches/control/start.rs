//! A start with all that a large cluster declares, and all of it listed again.

use clap::Args;

use super::Row;
use super::cluster::Cluster;
use super::gateway::{Gateway, Memory};
use super::memory::megabytes;
use super::objects;
use super::relay::Relay;
use super::traffic::backend;

#[derive(Args, Clone)]
pub(crate) struct Plan {
    /// Routes, each with a Service and an EndpointSlice of its own; half of them Ingresses.
    #[arg(long, default_value_t = Self::default().routes)]
    routes: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { routes: 20_000 }
    }
}

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(run(plan.routes))
}

async fn run(routes: usize) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::start().await?;
    cluster.declare(routes, backend("a").await?).await?;
    let relay = Relay::start(cluster.client()).await?;
    let kubeconfig = cluster.kubeconfig_for(relay.address)?;
    let gateway = Gateway::start(&["serve", "--kubeconfig", &kubeconfig, "--lease-namespace", objects::NAMESPACE])?;
    let listed = relay.listed()?;
    let late = gateway.ready_at.saturating_duration_since(listed);
    let first = gateway.memory()?;
    relay.end_watches();
    relay.listed_again(listed).await?;
    let again = gateway.memory()?;
    let row = |what: &str, memory: Memory| Row {
        what: what.to_owned(),
        figure: format!("{:.2}", memory.peak as f64 / memory.settled as f64),
        goal: "1.4",
        more: format!("peak {} MB, settled {} MB", megabytes(memory.peak), megabytes(memory.settled)),
    };
    Ok(vec![
        Row {
            what: format!("ready with {routes} routes after the last list has arrived"),
            figure: format!("{:.1} s", late.as_secs_f64()),
            goal: "2 s",
            more: format!(
                "{:.1} s after its start; the server makes the lists on the same cores",
                gateway.ready_after().as_secs_f64()
            ),
        },
        row("  peak / settled, at the start", first),
        row("  peak / settled, when all is listed again", again),
    ])
}
