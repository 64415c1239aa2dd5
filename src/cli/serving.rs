//! The flags that every way of serving shares.

use std::time::Duration;

use clap::Args;

use super::redis::RedisFlags;
use crate::address::{Network, Trust};
use crate::config::{self, Listen, Process};
use crate::drain::Grace;
use crate::telemetry::{access_log, log, trace};

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
    #[command(flatten)]
    pub(super) redis: RedisFlags,
    /// The zone this replica runs in: endpoints meant for it are preferred where a Service's trafficDistribution asks for
    /// that.
    #[arg(long, value_name = "NAME", env = "HEADGATE_ZONE")]
    pub(super) zone: Option<String>,
    /// How long to go on accepting after a signal to stop, while load balancers notice.
    #[arg(long, value_name = "TIME", env = "HEADGATE_DRAIN_DELAY", value_parser = config::duration)]
    pub(super) drain_delay: Option<Duration>,
    /// How long to wait for what is in flight after that.
    #[arg(long, value_name = "TIME", env = "HEADGATE_DRAIN_TIMEOUT", value_parser = config::duration, default_value = "60s")]
    pub(super) drain_timeout: Duration,
    /// What to log of each request: off, json, combined, nginx or text:TEMPLATE, with any of file=PATH, status=5xx,
    /// min-duration=500ms, sample=1%, query=keep|redact|drop, jwt-sub=keep|drop and header=NAME:keep|redact|drop, separated
    /// by commas [default: json for serve, off for run and demo].
    #[arg(long, value_name = "WHAT", env = "HEADGATE_ACCESS_LOG")]
    pub(super) access_log: Option<access_log::Setting>,
    /// Where to export traces by OTLP, http://collector:4318 say; OpenTelemetry's own variables (OTEL_…) say the rest, and
    /// this as well.
    #[arg(long, value_name = "URL", env = "HEADGATE_OTLP_ENDPOINT")]
    pub(super) otlp_endpoint: Option<String>,
    /// Proxies whose X-Forwarded-For, -Proto, -Host and -Port are believed; none when omitted.
    #[arg(long, value_name = "CIDR,...", env = "HEADGATE_TRUSTED_PROXIES", value_delimiter = ',', value_parser = config::network)]
    pub(super) trusted_proxies: Vec<Network>,
    /// Load balancers that begin every connection with the PROXY protocol, version 1 or 2; none when omitted.
    #[arg(long, value_name = "CIDR,...", env = "HEADGATE_PROXY_PROTOCOL_FROM", value_delimiter = ',', value_parser = config::network)]
    pub(super) proxy_protocol_from: Vec<Network>,
    /// How much memory the counts of local rate limits may take; about a million keys fit into 64Mi.
    #[arg(long, value_name = "SIZE", env = "HEADGATE_RATE_LIMIT_MEMORY", value_parser = config::size, default_value = "64Mi")]
    pub(super) rate_limit_memory: usize,
    /// How to write log lines [default: human on a terminal, json otherwise].
    #[arg(long, value_name = "FORMAT", env = "HEADGATE_LOG_FORMAT")]
    pub(super) log_format: Option<log::Format>,
}

impl Serving {
    /// The settings, with what differs between a cluster and elsewhere.
    ///
    /// # Errors
    /// When one of OpenTelemetry's variables makes no sense.
    pub(super) fn process(&self, in_cluster: bool) -> Result<Process, trace::SettingError> {
        let admin = if in_cluster { Listen::everywhere(8081) } else { Listen::loopback(8081) };
        let delay = if in_cluster { Duration::from_secs(10) } else { Duration::ZERO };
        Ok(Process {
            http: self.http,
            https: self.https,
            admin: self.admin.unwrap_or(admin),
            // The standard library looks at the cgroup's quota.
            workers: self
                .workers
                .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from),
            redis: self.redis.settings(),
            // In a pod, what goes to standard output is collected; on a terminal it is in the way.
            access_log: match &self.access_log {
                Some(asked) => asked.clone(),
                None if in_cluster => access_log::Setting::json(),
                None => access_log::Setting::Off,
            },
            traces: trace::Setting::read(self.otlp_endpoint.as_deref(), &|name| std::env::var(name).ok())?,
            zone: self.zone.clone().filter(|zone| !zone.is_empty()),
            limit_memory: self.rate_limit_memory,
            replaceable: !in_cluster,
            grace: Grace { delay: self.drain_delay.unwrap_or(delay), timeout: self.drain_timeout },
            trust: Trust {
                proxies: self.trusted_proxies.iter().copied().collect(),
                proxy_protocol: self.proxy_protocol_from.iter().copied().collect(),
            },
        })
    }
}

/// The runtime of the control side. The data plane has its own, one per worker.
pub(super) fn control_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        // A folder is read on a thread for what takes long, and what is read is dropped by others: the allocator gives the
        // memory back when the thread ends.
        .thread_keep_alive(Duration::from_secs(1))
        .enable_all()
        .build()
}
