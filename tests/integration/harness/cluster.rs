//! The real control plane: etcd, kube-apiserver, and the controllers that fill EndpointSlices from Pods,
//! clear namespaces and collect garbage.
//!
//! A test process has one, started by the first test that asks for it; a test gets a namespace of its own
//! in it. `tests/cluster/up.sh` runs it and watches a pipe that this process holds open: however the
//! process ends, a panic and a SIGKILL included, the pipe closes and the control plane goes with it.
//!
//! There is no kubelet and no scheduler, so a Pod is what the test says it is ([`Cluster::pod`]).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{reflector, watcher};
use serde_json::json;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The Node that every Pod of [`Cluster::pod`] is bound to: the EndpointSlice controller leaves out Pods
/// whose Node it cannot find.
const NODE: &str = "node-1";
/// Far longer than any controller here takes, on the slowest machine; only a failing test waits it out.
const PATIENCE: Duration = Duration::from_secs(60);

/// The control plane of this test process.
pub(crate) struct Cluster {
    /// Holds the pipe whose end takes the control plane down; never waited for.
    _supervisor: Child,
    bin: PathBuf,
    state: PathBuf,
    kubeconfig: PathBuf,
    namespaces: AtomicU32,
}

impl Cluster {
    /// The control plane, with Headgate's CRDs in it. Takes about 4 seconds the first time.
    ///
    /// # Panics
    ///
    /// When it cannot be started; each test that needs it then fails at once with the same reason.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        match SHARED.get_or_init(Self::start) {
            Ok(cluster) => cluster,
            Err(reason) => panic!("{reason}"),
        }
    }

    fn start() -> Result<Self, String> {
        let root = Path::new(ROOT);
        let bin =
            std::env::var_os("HEADGATE_TEST_CLUSTER").map_or_else(|| root.join("tests/cluster/bin"), PathBuf::from);
        if !bin.join("kube-apiserver").is_file() {
            return Err(format!(
                "no test control plane in {}: build it and run the tests with tests/run",
                bin.display()
            ));
        }
        let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster.{}", std::process::id()));
        let mut supervisor = Command::new(root.join("tests/cluster/up.sh"))
            .arg("--until-eof")
            .args([&bin, &state])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("tests/cluster/up.sh does not start: {error}"))?;
        let mut kubeconfig = String::new();
        let stdout = supervisor.stdout.take().expect("it was asked for");
        BufReader::new(stdout).read_line(&mut kubeconfig).map_err(|error| error.to_string())?;
        if kubeconfig.is_empty() {
            return Err("the test control plane did not come up; tests/cluster/up.sh says why on stderr".to_owned());
        }
        let cluster = Self {
            _supervisor: supervisor,
            bin,
            state,
            kubeconfig: PathBuf::from(kubeconfig.trim_end()),
            namespaces: AtomicU32::new(0),
        };
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}).to_string());
        cluster.install_crds(&root.join("crds"))?;
        Ok(cluster)
    }

    /// What an administrator would do, and with nothing to complain about: a warning of the API server
    /// means that a schema is not what it seems.
    fn install_crds(&self, folder: &Path) -> Result<(), String> {
        if !folder.is_dir() {
            return Ok(());
        }
        let folder = folder.to_str().expect("Cargo gave it as a string");
        let applied = self.kubectl(&["apply", "--server-side", "-f", folder]);
        if !applied.status.success() || !applied.stderr.is_empty() {
            let complaint = String::from_utf8_lossy(&applied.stderr);
            return Err(format!("the API server on {folder}: {complaint}"));
        }
        let established = ["wait", "--for=condition=Established", "--timeout=60s", "-f", folder];
        self.kubectl_ok(&established);
        Ok(())
    }

    /// An administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// A client with an administrator's rights, for the runtime that calls this.
    pub(crate) async fn client(&self) -> kube::Client {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// Runs kubectl as an administrator, whatever comes of it.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_with(&self.kubeconfig(), args)
    }

    /// Runs kubectl as whoever the kubeconfig names ([`Self::token_for`]).
    pub(crate) fn kubectl_with(&self, kubeconfig: &Path, args: &[&str]) -> Output {
        self.command(kubeconfig, args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs kubectl as an administrator and returns what it printed.
    ///
    /// # Panics
    ///
    /// When kubectl fails, with what it said.
    pub(crate) fn kubectl_ok(&self, args: &[&str]) -> String {
        printed(self.kubectl(args), args)
    }

    fn command(&self, kubeconfig: &Path, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(self.bin.join("kubectl"));
        command.args(args).env("KUBECONFIG", kubeconfig).env("KUBECACHEDIR", self.state.join("kubectl-cache"));
        command
    }

    /// A new, empty namespace whose name begins with `prefix`.
    pub(crate) fn namespace(&self, prefix: &str) -> String {
        let name = format!("{prefix}-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        self.kubectl_ok(&["create", "namespace", &name]);
        name
    }

    /// Declares the objects of a YAML or JSON stream, by server-side apply, and returns what kubectl printed.
    /// Objects without a namespace go to `default`.
    ///
    /// # Panics
    ///
    /// When the API server refuses one, with its reason.
    pub(crate) fn apply(&self, yaml: &str) -> String {
        let args = ["apply", "--server-side", "-f", "-"];
        let mut kubectl = self
            .command(&self.kubeconfig, &args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // kubectl reads all of its input before it says anything, so neither side waits for the other.
        kubectl.stdin.take().expect("it was asked for").write_all(yaml.as_bytes()).unwrap();
        printed(kubectl.wait_with_output().unwrap(), &args)
    }

    /// A kubeconfig that speaks as this ServiceAccount, which is made if it is missing and may do only what
    /// the test lets it (RBAC is on).
    pub(crate) fn token_for(&self, service_account: &str, namespace: &str) -> PathBuf {
        self.apply(
            &json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": service_account, "namespace": namespace},
            })
            .to_string(),
        );
        let token = self.kubectl_ok(&["create", "token", service_account, "-n", namespace]);
        let mut kubeconfig = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        for user in &mut kubeconfig.auth_infos {
            user.auth_info.as_mut().unwrap().token = Some(token.trim_end().to_owned().into());
        }
        let path = self.state.join(format!("kubeconfig.{namespace}.{service_account}"));
        std::fs::write(&path, serde_yaml::to_string(&kubeconfig).unwrap()).unwrap();
        path
    }

    /// A running Pod at `ip`, as a kubelet would report it. For one with named ports, declare it with
    /// [`Self::apply`] (bound to [`NODE`]) and call [`Self::pod_status`].
    pub(crate) fn pod(&self, namespace: &str, name: &str, labels: &[(&str, &str)], ip: &str, ready: bool) {
        let labels: serde_json::Map<_, _> = labels.iter().map(|&(key, value)| (key.to_owned(), value.into())).collect();
        self.apply(
            &json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": labels},
                "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "none"}]},
            })
            .to_string(),
        );
        self.pod_status(namespace, name, ip, ready);
    }

    /// Reports that the Pod runs at `ip` and passes or fails its readiness probe.
    pub(crate) fn pod_status(&self, namespace: &str, name: &str, ip: &str, ready: bool) {
        let ready = if ready { "True" } else { "False" };
        let status = json!({"status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": ready}],
        }});
        let patch = status.to_string();
        self.kubectl_ok(&["patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch]);
    }

    /// Waits until the ready addresses in the Service's EndpointSlices are exactly these.
    ///
    /// # Panics
    ///
    /// When that does not come to pass within a minute, with the addresses there are.
    pub(crate) async fn ready_endpoints(&self, namespace: &str, service: &str, addresses: &[&str]) {
        let want: BTreeSet<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        let api = kube::Api::<EndpointSlice>::namespaced(self.client().await, namespace);
        let of_service = watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
        let (slices, writer) = reflector::store();
        let mut changes = pin!(reflector(writer, watcher(api, of_service)));
        let found = tokio::time::timeout(PATIENCE, async {
            while changes.try_next().await.unwrap().is_some() {
                let slices = slices.state();
                if slices.iter().flat_map(|slice| ready_addresses(slice)).collect::<BTreeSet<_>>() == want {
                    break;
                }
            }
        });
        if found.await.is_err() {
            let slices: Vec<_> = slices.state().iter().flat_map(|slice| ready_addresses(slice)).collect();
            panic!("Service {namespace}/{service} has the ready endpoints {slices:?}, not {want:?}");
        }
    }
}

fn ready_addresses(slice: &EndpointSlice) -> impl Iterator<Item = String> {
    // "A nil value should be interpreted as "true"" (discovery.k8s.io/v1, EndpointConditions.ready).
    let ready = slice
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false));
    ready.flat_map(|endpoint| endpoint.addresses.iter().cloned())
}

fn printed(output: Output, args: &[&str]) -> String {
    let Output { status, stdout, stderr } = output;
    assert!(status.success(), "kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
