//! Which cluster, and which of its objects.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::sync::mpsc;

use crate::app::trust;
use crate::compile::{self, ClassSelection, Compiled, DEFAULT_CLASS, Externals};
use crate::limit::Presumed;
use crate::source::{Kind, ObjectKey, kubernetes};
use crate::store::Store;

/// Flags that say which cluster.
#[derive(Args, Clone)]
pub(super) struct Cluster {
    /// The kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the pod's service account].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, value_name = "NAME", env = "HEADGATE_CONTEXT")]
    context: Option<String>,
    /// The name of the IngressClass to serve.
    #[arg(long, value_name = "NAME", env = "HEADGATE_INGRESS_CLASS", default_value = DEFAULT_CLASS)]
    pub(super) ingress_class: String,
    /// Watch the objects of this namespace only [default: all].
    #[arg(long, value_name = "NAMESPACE", env = "HEADGATE_WATCH_NAMESPACE")]
    pub(super) watch_namespace: Option<String>,
    /// Headgate's own namespace: the leader's Lease is there, and policies on an IngressClass count only from there
    /// [default: the pod's; for checking, any].
    #[arg(long, value_name = "NAMESPACE", env = "HEADGATE_LEASE_NAMESPACE")]
    pub(super) lease_namespace: Option<String>,
}

impl Cluster {
    /// What the client needs to know of the cluster.
    pub(super) async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(path) => {
                let kubeconfig =
                    Kubeconfig::read_from(path).with_context(|| format!("--kubeconfig {}", path.display()))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.context("the kubeconfig is of no use")?
            }
            None if self.context.is_some() => {
                Config::from_kubeconfig(&options).await.context("the kubeconfig is of no use")?
            }
            None => Config::infer().await.context(
                "no cluster: there is neither a service account nor a kubeconfig; give --kubeconfig FILE, or serve a \
                 folder with `headgate run DIR`",
            )?,
        };
        Ok(kubernetes::bounded(config, &self.watching()))
    }

    /// How to watch it.
    pub(super) fn watching(&self) -> kubernetes::Settings {
        kubernetes::Settings { namespace: self.watch_namespace.clone(), ..kubernetes::Settings::default() }
    }

    /// How to compile what it declares, for a Headgate that runs in this namespace.
    pub(super) fn settings(&self, home: Option<&str>) -> anyhow::Result<compile::Settings> {
        let mut class = ClassSelection::cluster(&self.ingress_class);
        // Where only one namespace is watched, nothing else is served, and a policy there bounds only its own.
        class.home = self.watch_namespace.as_deref().or(home).map(str::to_owned);
        Ok(compile::Settings { class, backend_tls: trust::backends()?, externals: Externals::default() })
    }

    /// A ConfigMap of it, if it is there.
    pub(super) async fn config_map(&self, key: &ObjectKey) -> anyhow::Result<Option<ConfigMap>> {
        let client = Client::try_from(self.config().await?).context("the cluster cannot be spoken to")?;
        let maps = Api::<ConfigMap>::namespaced(client, &key.namespace);
        maps.get_opt(&key.name).await.with_context(|| format!("{key} cannot be read"))
    }

    /// What it declares comes to now.
    pub(super) async fn compile_once(&self) -> anyhow::Result<Compiled> {
        let client = Client::try_from(self.config().await?).context("the cluster cannot be spoken to")?;
        let (sender, mut changes) = mpsc::channel(16);
        let (_wanted, asked) = kubernetes::wanted(1);
        let mut store = Store::awaiting(Kind::LISTED);
        let watching = kubernetes::run(client.clone(), self.watching(), sender, asked);
        let listed = async {
            while !store.is_synced() {
                let Some(batch) = changes.recv().await else { break };
                store.apply_all(batch);
            }
        };
        tokio::select! {
            () = watching => {}
            () = listed => {}
        }
        anyhow::ensure!(store.is_synced(), "the cluster could not be listed: {}", unavailable(&store));
        let dirty = store.take_dirty();
        let mut settings = self.settings(self.lease_namespace.as_deref())?;
        settings.class = settings.class.of_class_in(&self.ingress_class, &store);
        // Whoever serves it may say where Redis is; what is declared is no less right without.
        settings.externals.shared_limits = Some(Arc::new(Presumed));
        let compiled = compile::compile(&store, &settings, Compiled::empty(), &dirty);
        // ConfigMaps, and Secrets of other types than a certificate's, are read once it is known which.
        for key in compiled.referenced_values().iter() {
            if let Some(change) = kubernetes::named(&client, key).await {
                store.apply(change);
            }
        }
        let dirty = store.take_dirty();
        Ok(if dirty.is_empty() { compiled } else { compile::compile(&store, &settings, compiled, &dirty) })
    }
}

fn unavailable(store: &Store) -> String {
    store.unavailable().map(|(kind, reason)| format!("{kind}: {reason}")).collect::<Vec<_>>().join("; ")
}
