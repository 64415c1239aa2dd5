//! `headgate run`: serve a folder, or one URL, without a cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use http::Uri;
use serde_json::{Value, json};

use super::serving::{Serving, control_runtime};
use super::{CLEAN, Outcome, print};
use crate::app::{App, Running, trust};
use crate::compile::{self, ClassSelection, Externals};
use crate::config::Listen;
use crate::limit::Presumed;
use crate::source::{Change, Kind, ObjectKey, decode, file};
use crate::store::Store;
use crate::telemetry::log;

/// Serve the objects in a folder, again on every change; or one URL.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  headgate run routes/\n  headgate run --to http://127.0.0.1:3000\n  headgate run --to http://127.0.0.1:3000 --print > routes/all.yaml"
)]
pub(super) struct Run {
    /// The folder: every .yaml, .yml and .json file below it holds Kubernetes objects.
    #[arg(value_name = "DIR", required_unless_present = "to", conflicts_with = "to")]
    folder: Option<PathBuf>,
    /// Send everything to this URL instead.
    #[arg(long, value_name = "URL")]
    to: Option<Uri>,
    /// Print the objects that --to makes, and serve nothing.
    #[arg(long, requires = "to", conflicts_with = "folder")]
    print: bool,
    #[command(flatten)]
    serving: Serving,
}

impl Run {
    pub(super) fn run(&self) -> Outcome {
        match (&self.to, &self.folder) {
            (Some(to), _) => {
                let objects = control_runtime()?.block_on(objects_for(to))?;
                if self.print {
                    return print(&to_yaml(&objects)?);
                }
                log::init(self.serving.log_format)?;
                control_runtime()?.block_on(async {
                    let app = standalone(&self.serving).await?;
                    let changes = app.changes();
                    let running = app.spawn();
                    changes.send(everything(objects)?).await.context("nothing takes the objects")?;
                    announce(&running);
                    running.until_signalled().await
                })?;
            }
            (None, Some(folder)) => {
                log::init(self.serving.log_format)?;
                control_runtime()?.block_on(async {
                    let running = serve_folder(folder, &self.serving).await?;
                    announce(&running);
                    running.until_signalled().await
                })?;
            }
            (None, None) => bail!("give a folder, or --to URL"),
        }
        Ok(CLEAN)
    }
}

/// Serves a folder; what is returned is on its way to its first table.
pub(super) async fn serve_folder(folder: &Path, serving: &Serving) -> anyhow::Result<Running> {
    if !folder.is_dir() {
        bail!("{} is no folder; `headgate init {}` writes an example there", folder.display(), folder.display());
    }
    let mut app = standalone(serving).await?;
    let changes = app.changes();
    let folder = folder.to_owned();
    app.locate_by({
        let folder = folder.clone();
        move |report| located(&folder, report)
    });
    let mut running = app.spawn();
    running.essential(async move {
        let shown = folder.display().to_string();
        file::run(folder, changes).await.with_context(|| format!("the folder {shown} cannot be watched"))
    });
    Ok(running)
}

/// The problems of a report with the lines of the files they stand in. The folder is read for that: nobody asks often.
fn located(folder: &Path, report: &compile::Report) -> Vec<compile::Listed> {
    let mut read = file::Folder::new(folder);
    match read.refresh() {
        Ok(_) => report.list_at(|object, field| place(&read, object, field)),
        Err(_) => report.list(),
    }
}

/// Where a field of an object stands, `routes/shop.yaml:41:17`.
pub(super) fn place(folder: &file::Folder, object: &ObjectKey, field: &str) -> Option<String> {
    let file::Spot { file, line, column, text: _ } = folder.spot(object, field)?;
    Some(format!("{}:{line}:{column}", file.display()))
}

fn settings() -> anyhow::Result<compile::Settings> {
    Ok(compile::Settings {
        class: ClassSelection::standalone(),
        backend_tls: trust::backends()?,
        externals: Externals::default(),
    })
}

async fn standalone(serving: &Serving) -> anyhow::Result<App> {
    App::build(serving.process(false)?, settings()?, Kind::ALL, None).await
}

/// Says where to find it.
pub(super) fn announce(running: &Running) {
    let addresses = running.addresses;
    tracing::info!(
        http = %format!("http://{}", Listen::shown(addresses.http)),
        https = %format!("https://{}", Listen::shown(addresses.https)),
        admin = %format!("http://{}", Listen::shown(addresses.admin)),
        "addresses"
    );
}

/// The objects that send everything to a URL: a Service, its addresses, and a route.
async fn objects_for(to: &Uri) -> anyhow::Result<Vec<Value>> {
    let host = to.host().context("the URL has no host; write http://127.0.0.1:3000")?;
    let (app_protocol, default_port) = match to.scheme_str() {
        Some("http") | None => ("http", 80),
        Some("https") => ("https", 443),
        Some("h2c") => ("kubernetes.io/h2c", 80),
        Some(other) => bail!("the scheme `{other}` is not served; write http://, https:// or h2c://"),
    };
    if to.path() != "/" && !to.path().is_empty() {
        bail!("the URL has a path; only scheme, host and port are used, so write {host} alone");
    }
    let port = to.port_u16().unwrap_or(default_port);
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> =
        tokio::net::lookup_host((name, port)).await.with_context(|| format!("{name} does not resolve"))?.collect();
    let first = addresses.first().with_context(|| format!("{name} has no address"))?;
    let endpoints: Vec<Value> = addresses
        .iter()
        .filter(|address| address.is_ipv4() == first.is_ipv4())
        .map(|address| json!({"addresses": [address.ip().to_string()]}))
        .collect();
    let backend = if app_protocol == "https" {
        json!({"name": "to", "port": port, "tls": {"hostname": name}})
    } else {
        json!({"name": "to", "port": port})
    };
    Ok(vec![
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "to", "namespace": "default"},
            "spec": {"ports": [{"name": "to", "port": port, "appProtocol": app_protocol}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "to", "namespace": "default", "labels": {"kubernetes.io/service-name": "to"}},
            "addressType": if first.is_ipv4() { "IPv4" } else { "IPv6" },
            "ports": [{"name": "to", "port": port}],
            "endpoints": endpoints,
        }),
        json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "GatewayRoute",
            "metadata": {"name": "to", "namespace": "default"},
            "spec": {"rules": [{"name": "all", "backendRefs": [backend]}]},
        }),
    ])
}

fn to_yaml(objects: &[Value]) -> anyhow::Result<String> {
    let documents: Result<Vec<String>, _> = objects.iter().map(serde_yaml::to_string).collect();
    Ok(documents?.join("---\n"))
}

/// One batch that holds these objects and says that there are no others.
fn everything(objects: Vec<Value>) -> anyhow::Result<Vec<Change>> {
    let mut batch = Vec::new();
    for object in objects {
        let kind = decode::kind_of(&object).map_err(|finding| anyhow::anyhow!(finding.message))?;
        batch.push(
            decode::decode(kind, object, decode::Origin::File).map_err(|finding| anyhow::anyhow!(finding.message))?,
        );
    }
    batch.extend(Kind::ALL.map(Change::Synced));
    Ok(batch)
}

/// What a folder compiles to for a class, for `check` and `explain`, and the folder as it was read.
pub(super) fn compile_folder(path: &Path, class: &str) -> anyhow::Result<(compile::Compiled, file::Folder, Store)> {
    if !path.exists() {
        bail!("{} does not exist", path.display());
    }
    let mut folder = file::Folder::new(path);
    let reading = folder.refresh().with_context(|| format!("{} cannot be read", path.display()))?;
    let mut store = Store::awaiting(Kind::ALL);
    for change in reading.changes {
        store.apply(change);
    }
    let dirty = store.take_dirty();
    let mut settings = settings()?;
    settings.class = settings.class.of_class_in(class, &store);
    // Whoever serves it may say where Redis is; what is declared is no less right without.
    settings.externals.shared_limits = Some(Arc::new(Presumed));
    Ok((compile::compile(&store, &settings, compile::Compiled::empty(), &dirty), folder, store))
}
