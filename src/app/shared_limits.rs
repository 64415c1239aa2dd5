//! The store of limits that replicas share.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::trust;
use crate::config::Redis;
use crate::limit::redis::{Addresses, Lack, Observer, RedisStore, Settings};
use crate::telemetry::{Metrics, StoreMetrics};

/// A store in Redis, for so many workers. Whether it can be reached shows later: a process starts without it.
pub(super) fn open(redis: &Redis, workers: usize, metrics: &Metrics) -> anyhow::Result<Arc<RedisStore>> {
    let settings = settings(redis)?;
    let observer = Counting(metrics.store().context("metrics of the store of shared limits")?);
    Ok(Arc::new(RedisStore::new(settings, workers, Box::new(observer))?))
}

/// What the flags say of Redis.
///
/// # Errors
/// When they do not fit together, or name a file that is none.
pub(crate) fn settings(redis: &Redis) -> anyhow::Result<Settings> {
    if redis.timeout.is_zero() {
        anyhow::bail!("--redis-timeout 0s leaves no time to ask; write 20ms or another time");
    }
    let Redis { urls, username, password, ca_file, timeout, prefix } = redis;
    let addresses = Addresses { urls: urls.clone(), username: username.clone(), password: password.clone() };
    let (servers, secure, login) = addresses.parse().context("--redis-url")?;
    let roots = match ca_file {
        None if secure => Some(trust::system()),
        None => None,
        Some(file) => {
            let shown = file.display();
            if !secure {
                anyhow::bail!("--redis-ca-file {shown} is of no use with redis://; write rediss:// to speak TLS");
            }
            let pem = fs::read(file).with_context(|| format!("--redis-ca-file {shown} cannot be read"))?;
            Some(authorities(&pem).with_context(|| format!("--redis-ca-file {shown}"))?)
        }
    };
    let tls = roots.map(client).transpose()?;
    Ok(Settings { servers, tls, login, prefix: prefix.as_str().into(), deadline: *timeout })
}

fn authorities(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.context("a certificate cannot be read")?).context("a certificate is no authority")?;
    }
    if roots.is_empty() {
        anyhow::bail!("no certificate is in it; write the authority's as PEM");
    }
    Ok(roots)
}

fn client(roots: RootCertStore) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS to Redis cannot be set up")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The store has never heard of metrics.
struct Counting(StoreMetrics);

impl Observer for Counting {
    fn decided(&self, after: Duration) {
        self.0.decided(after);
    }

    fn lacked(&self, lack: Lack) {
        self.0.lacked(lack.as_str());
    }

    fn stands(&self, up: bool) {
        self.0.set_up(up);
    }

    fn shared_by(&self, replicas: u32) {
        self.0.set_replicas(replicas);
    }
}
