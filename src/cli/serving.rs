//! The flags that every way of serving shares.

use std::time::Duration;

use clap::Args;

use crate::config::{self, Listen, Process};
use crate::drain::Grace;
use crate::telemetry::log;

/// Flags of `serve`, `run` and `demo`.
#[derive(Args, Clone)]
pub(super) struct Serving {
    /// Where to listen for HTTP.
    #[arg(long, value_name = "ADDR", env = "HEADGATE_HTTP", default_value = ":8080")]
    pub(super) http: Listen,
    /// Where to listen for HTTPS.
    #[arg(long, value_name = "ADDR", env = "HEADGATE_HTTPS", default_value = ":8443")]
    pub(super) https: Listen,
    /// Where to listen for health, metrics and the API [default: :8081 in a cluster, 127.0.0.1:8081 outside].
    #[arg(long, value_name = "ADDR", env = "HEADGATE_ADMIN")]
    pub(super) admin: Option<Listen>,
    /// How many workers [default: the CPU quota].
    #[arg(long, value_name = "N", env = "HEADGATE_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) workers: Option<u16>,
    /// How long to go on accepting after a signal to stop, while load balancers notice.
    #[arg(long, value_name = "TIME", env = "HEADGATE_DRAIN_DELAY", value_parser = config::duration)]
    pub(super) drain_delay: Option<Duration>,
    /// How long to wait for what is in flight after that.
    #[arg(long, value_name = "TIME", env = "HEADGATE_DRAIN_TIMEOUT", value_parser = config::duration, default_value = "60s")]
    pub(super) drain_timeout: Duration,
    /// How to write log lines [default: human on a terminal, json otherwise].
    #[arg(long, value_name = "FORMAT", env = "HEADGATE_LOG_FORMAT")]
    pub(super) log_format: Option<log::Format>,
}

impl Serving {
    /// The settings, with what differs between a cluster and elsewhere.
    pub(super) fn process(&self, in_cluster: bool) -> Process {
        let admin = if in_cluster { Listen::everywhere(8081) } else { Listen::loopback(8081) };
        let delay = if in_cluster { Duration::from_secs(10) } else { Duration::ZERO };
        Process {
            http: self.http,
            https: self.https,
            admin: self.admin.unwrap_or(admin),
            // The standard library looks at the cgroup's quota.
            workers: self
                .workers
                .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from),
            grace: Grace { delay: self.drain_delay.unwrap_or(delay), timeout: self.drain_timeout },
        }
    }
}

/// The runtime of the control side. The data plane has its own, one per worker.
pub(super) fn control_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("control").enable_all().build()
}
