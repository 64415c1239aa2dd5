//! `headgate serve`: the ingress of a cluster.

use std::collections::BTreeSet;

use anyhow::{Context, anyhow};
use clap::Args;
use kube::Client;

use super::cluster::Cluster;
use super::serving::{Serving, control_runtime};
use super::{CLEAN, Outcome};
use crate::app::App;
use crate::config::Listen;
use crate::drain::Phase;
use crate::source::{Kind, kubernetes};
use crate::status::address::{Address, Publish, ServiceName};
use crate::status::{self, leader};
use crate::telemetry::log;

/// Secrets that may be asked for between two answers.
const WANTED: usize = 4096;

/// Serve a cluster: watch its objects, route its traffic, write its status.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  headgate serve                                             in a pod\n  headgate serve --kubeconfig ~/.kube/config --publish-address 203.0.113.7\n  headgate serve --publish-service headgate/headgate         Ingress status follows that Service"
)]
pub(super) struct Serve {
    #[command(flatten)]
    cluster: Cluster,
    /// Write the addresses of this Service into the status of Ingresses.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "HEADGATE_PUBLISH_SERVICE", conflicts_with = "publish_address")]
    publish_service: Option<ServiceName>,
    /// Write this IP address or hostname into the status of Ingresses; may be given several times.
    #[arg(long, value_name = "ADDRESS", env = "HEADGATE_PUBLISH_ADDRESS", value_delimiter = ',')]
    publish_address: Vec<Address>,
    #[command(flatten)]
    serving: Serving,
}

impl Serve {
    pub(super) fn run(&self) -> Outcome {
        log::init(self.serving.log_format)?;
        control_runtime()?.block_on(self.serve())?;
        Ok(CLEAN)
    }

    async fn serve(&self) -> anyhow::Result<()> {
        let config = self.cluster.config().await?;
        let home = self.cluster.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("the cluster cannot be spoken to")?;
        let (wanted, asked) = kubernetes::wanted(WANTED);
        let settings = self.cluster.settings(Some(&home))?;
        let app = App::build(self.serving.process(true)?, settings, Kind::LISTED, Some(wanted)).await?;
        let changes = app.changes();
        let mut running = app.spawn();
        tracing::info!(
            http = %format!("http://{}", Listen::shown(running.addresses.http)),
            https = %format!("https://{}", Listen::shown(running.addresses.https)),
            admin = %format!("http://{}", Listen::shown(running.addresses.admin)),
            class = self.cluster.ingress_class,
            "addresses"
        );

        let watching = kubernetes::run(client.clone(), self.cluster.watching(), changes, asked);
        running.essential(async move {
            watching.await;
            Err(anyhow!("nothing takes what the cluster declares any more"))
        });

        let candidate = leader::Settings::new(home, &self.cluster.ingress_class);
        let mut settings = status::Settings::new(&self.cluster.ingress_class, candidate.identity.clone());
        settings.namespace = self.cluster.watch_namespace.clone();
        settings.publish = self.publish();
        let (election, leading) = leader::channel();
        let mut drain = running.drain();
        let elect =
            leader::run(client.clone(), candidate, election, async move { drain.reached(Phase::Leaving).await });
        running.essential(async move {
            // The Lease is given back as soon as a stop begins; there is nothing to do after that.
            elect.await;
            std::future::pending().await
        });
        let mut term = leading.clone();
        let metrics = running.metrics.clone();
        running.essential(async move {
            loop {
                metrics.set_leader(term.holds());
                term.begun().await;
                metrics.set_leader(true);
                term.ended().await;
            }
        });
        let write = status::run(client, settings, running.reports.clone(), leading);
        running.essential(async move {
            write.await;
            std::future::pending().await
        });
        running.until_signalled().await
    }

    fn publish(&self) -> Publish {
        match (&self.publish_service, self.publish_address.as_slice()) {
            (Some(service), _) => Publish::Service(service.clone()),
            (None, []) => Publish::Nothing,
            (None, addresses) => Publish::Addresses(addresses.iter().cloned().collect::<BTreeSet<_>>()),
        }
    }
}
