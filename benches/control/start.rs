//! A start with all that a large cluster declares, and all of it listed again.

use super::Row;
use super::cluster::Cluster;
use super::gateway::Gateway;
use super::objects;
use super::relay::Relay;
use super::traffic::backend;

/// As many as a large cluster has.
pub(crate) const ROUTES: usize = 20_000;

pub(crate) fn measure(routes: usize) -> anyhow::Result<Vec<Row>> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(run(routes))
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
        first.row("  peak / settled, at the start"),
        again.row("  peak / settled, when all is listed again"),
    ])
}
