//! The API server of the tests, and what is declared to it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::objects::{self, NAMESPACE};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Objects that are being created at once.
const AT_ONCE: usize = 32;

/// A control plane that ends with its owner, and a client of it with all rights.
pub(crate) struct Cluster {
    /// Its input is open as long as the control plane is to run.
    supervisor: Child,
    state: TempDir,
    pub(crate) kubeconfig: PathBuf,
    client: kube::Client,
    /// When a watch was told of each version.
    told: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Cluster {
    /// A new one with Headgate's CRDs in it.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let tests = Path::new(ROOT).join("tests/cluster");
        let bin = std::env::var_os("HEADGATE_TEST_CLUSTER").map_or_else(|| tests.join("bin"), PathBuf::from);
        ensure!(bin.join("kube-apiserver").is_file(), "no API server in {}: run tests/cluster/build.sh", bin.display());
        let state = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut supervisor = Command::new(tests.join("up.sh"))
            .arg("--until-eof")
            .arg(&bin)
            .arg(state.path().join("cluster"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut kubeconfig = String::new();
        BufReader::new(supervisor.stdout.take().context("no output")?).read_line(&mut kubeconfig)?;
        ensure!(!kubeconfig.is_empty(), "the API server does not come up; tests/cluster/up.sh says why");
        let kubeconfig = PathBuf::from(kubeconfig.trim_end());
        for arguments in
            [&["apply", "--server-side", "-f"][..], &["wait", "--for=condition=Established", "--timeout=60s", "-f"]]
        {
            let kubectl = || {
                let mut kubectl = Command::new(bin.join("kubectl"));
                kubectl.args(arguments).arg(Path::new(ROOT).join("crds")).env("KUBECONFIG", &kubeconfig).output()
            };
            let mut done = kubectl()?;
            // It gives up on a CRD that has no status yet.
            for _ in 0..10 {
                if done.status.success() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
                done = kubectl()?;
            }
            ensure!(done.status.success(), "kubectl: {}", String::from_utf8_lossy(&done.stderr));
        }
        let read = Kubeconfig::read_from(&kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let client = kube::Client::try_from(config)?;
        Ok(Self { supervisor, state, kubeconfig, client, told: Arc::default() })
    }

    /// Declares routes, all to this address, and what belongs to them.
    pub(crate) async fn declare(&self, routes: usize, address: SocketAddr) -> anyhow::Result<()> {
        self.create([objects::class()]).await?;
        let of = |number| [objects::service(number), objects::slice(number, address), objects::route(number, None)];
        self.create((0..routes).flat_map(of)).await
    }

    /// A client with all rights.
    pub(crate) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// The path of a kubeconfig for somebody who listens at this address, in clear, and asks for no credentials.
    pub(crate) fn kubeconfig_for(&self, address: SocketAddr) -> anyhow::Result<String> {
        let path = self.state.path().join(format!("kubeconfig-{}", address.port()));
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "relay",
            "clusters": [{"name": "relay", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "relay", "user": {}}],
            "contexts": [{"name": "relay", "context": {"cluster": "relay", "user": "relay"}}],
        });
        fs::write(&path, text.to_string())?;
        Ok(path.display().to_string())
    }

    /// Declares objects that are not there yet.
    async fn create(&self, objects: impl IntoIterator<Item = Value>) -> anyhow::Result<()> {
        let create = |object: Value| async move {
            let object: DynamicObject = serde_json::from_value(object)?;
            self.api(&object)?.create(&PostParams::default(), &object).await?;
            anyhow::Ok(())
        };
        stream::iter(objects).map(create).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Changes an object to be this; the version that it has by that.
    pub(crate) async fn change(&self, object: Value) -> anyhow::Result<String> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        let changed = self.api(&object)?.patch(&name, &PatchParams::default(), &Patch::Merge(&object)).await?;
        changed.metadata.resource_version.context("an object without a version")
    }

    /// Watches all objects of the kind of this one, as the gateway does.
    pub(crate) async fn watch(&self, like: Value) -> anyhow::Result<()> {
        let api = self.api(&serde_json::from_value(like)?)?;
        let told = self.told.clone();
        let (listed, listing) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut listed = Some(listed);
            let mut events = pin!(watcher(api, watcher::Config::default()));
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Apply(object)) => {
                        let now = Instant::now();
                        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                        told.extend(object.metadata.resource_version.map(|version| (version, now)));
                    }
                    Ok(Event::InitDone) => {
                        listed.take().map(|listed| listed.send(()));
                    }
                    Ok(_) | Err(_) => {}
                }
            }
        });
        listing.await.context("the API server cannot be watched")
    }

    /// When the watch told of this version.
    pub(crate) async fn told_at(&self, version: &str) -> anyhow::Result<Instant> {
        let start = Instant::now();
        loop {
            if let Some(told) = self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(version) {
                return Ok(told);
            }
            ensure!(start.elapsed() < Duration::from_secs(10), "the API server never told of a change");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn api(&self, object: &DynamicObject) -> anyhow::Result<Api<DynamicObject>> {
        let types = object.types.as_ref().context("an object without a kind")?;
        let plurals = HashMap::from([("Ingress", "ingresses"), ("IngressClass", "ingressclasses")]);
        let kind = GroupVersionKind::try_from(types)?;
        let resource = match plurals.get(&*kind.kind) {
            Some(plural) => ApiResource::from_gvk_with_plural(&kind, plural),
            None => ApiResource::from_gvk(&kind),
        };
        Ok(match object.metadata.namespace {
            Some(_) => Api::namespaced_with(self.client.clone(), NAMESPACE, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}
