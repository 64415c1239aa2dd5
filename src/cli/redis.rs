//! What the command line says of Redis.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{self, Redis};

/// Flags that say where Redis is.
#[derive(Args, Clone)]
pub(super) struct RedisFlags {
    /// Redis, which limits of scope Global count in: redis://HOST:PORT, or rediss:// for TLS; several of a cluster, or a
    /// primary and its replicas, separated by commas.
    #[arg(long, value_name = "URL", env = "HEADGATE_REDIS_URL", hide_env_values = true, value_delimiter = ',')]
    redis_url: Vec<String>,
    /// The certificate authorities that Redis is trusted by, as PEM [default: those of the system].
    #[arg(long, value_name = "FILE", env = "HEADGATE_REDIS_CA_FILE", requires = "redis_url")]
    redis_ca_file: Option<PathBuf>,
    /// How long a request waits for Redis before its limits do what their failureMode says.
    #[arg(long, value_name = "TIME", env = "HEADGATE_REDIS_TIMEOUT", value_parser = config::duration, default_value = "20ms")]
    redis_timeout: Duration,
    /// What every key in Redis begins with: those who share a prefix share counts.
    #[arg(long, value_name = "TEXT", env = "HEADGATE_REDIS_PREFIX", default_value = "headgate", value_parser = config::redis_prefix)]
    redis_prefix: String,
}

/// Environment only: arguments of a process are everybody's to read.
const REDIS_USERNAME: &str = "HEADGATE_REDIS_USERNAME";
const REDIS_PASSWORD: &str = "HEADGATE_REDIS_PASSWORD";

impl RedisFlags {
    /// All of them, if there is a Redis.
    pub(super) fn settings(&self) -> Option<Redis> {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        (!self.redis_url.is_empty()).then(|| Redis {
            urls: self.redis_url.clone(),
            username: given(REDIS_USERNAME),
            password: given(REDIS_PASSWORD),
            ca_file: self.redis_ca_file.clone(),
            timeout: self.redis_timeout,
            prefix: self.redis_prefix.clone(),
        })
    }
}
