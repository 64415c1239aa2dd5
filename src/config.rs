//! Process settings: what flags and environment say, parsed and checked. Nothing here touches the system.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::address::{Network, NetworkError, Trust};
use crate::drain::Grace;
use crate::telemetry::{access_log, trace};

/// An address to listen on: `:8080` for every address, or `127.0.0.1:8080`, or `[::1]:8080`. Port 0 lets the system
/// choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address; `None` is every one of both families.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl Listen {
    /// The same port on loopback.
    pub const fn loopback(port: u16) -> Self {
        Self { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port }
    }

    /// Every address.
    pub const fn everywhere(port: u16) -> Self {
        Self { ip: None, port }
    }

    /// As a person would open it: every address is shown as loopback.
    pub fn shown(address: SocketAddr) -> SocketAddr {
        let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
        SocketAddr::new(ip, address.port())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, ":{}", self.port),
        }
    }
}

/// It is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address to listen on; write `:8080`, `127.0.0.1:8080` or `[::1]:8080`")]
pub struct ListenError(String);

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let wrong = || ListenError(text.to_owned());
        if let Some(port) = text.strip_prefix(':') {
            return Ok(Self { ip: None, port: port.parse().map_err(|_| wrong())? });
        }
        let address: SocketAddr = text.parse().map_err(|_| wrong())?;
        Ok(Self { ip: Some(address.ip()), port: address.port() })
    }
}

/// A time as people write it: `250ms`, `10s`, `2m`, `1h`, or several of these in a row (GEP-2257).
///
/// # Errors
/// What is wrong and what would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    crate::api::Duration::from_str(text).map(|duration| duration.as_std()).map_err(|error| error.to_string())
}

/// A size as Kubernetes writes it: `64Mi`, `1Gi`, `500k`.
///
/// # Errors
/// What is wrong and what would be right.
pub fn size(text: &str) -> Result<usize, String> {
    let size = crate::api::ByteSize::from_str(text).map_err(|error| error.to_string())?;
    usize::try_from(size.bytes()).map_err(|_| format!("`{text}` is more than this machine can address"))
}

/// A network as people write it, or a single address.
///
/// # Errors
/// What is wrong and what would be right.
pub fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error: NetworkError| format!("{error}; {}", error.remedy()))
}

/// What every way of serving shares.
#[derive(Clone, Debug)]
pub struct Process {
    /// Where to listen in clear.
    pub http: Listen,
    /// Where to listen for TLS.
    pub https: Listen,
    /// Where to listen for health, metrics and the API.
    pub admin: Listen,
    /// How many workers.
    pub workers: usize,
    /// Where limits are counted that replicas share.
    pub redis: Option<Redis>,
    /// What is logged of each request.
    pub access_log: access_log::Setting,
    /// How traces are exported, if they are.
    pub traces: Option<trace::Setting>,
    /// The zone of the cluster that this runs in.
    pub zone: Option<String>,
    /// Whether SIGUSR2 may have another process take over.
    pub replaceable: bool,
    /// How long stopping may take.
    pub grace: Grace,
    /// How many bytes the counts of local limits may take.
    pub limit_memory: usize,
    /// Whose word about a client's address is taken.
    pub trust: Trust,
}

/// Where Redis is, and how to be let in.
#[derive(Clone, Default)]
pub struct Redis {
    /// One URL for each server; they may hold passwords.
    pub urls: Vec<String>,
    /// Who we are, unless the URLs say.
    pub username: Option<String>,
    /// How we prove it, unless the URLs say.
    pub password: Option<String>,
    /// The authorities that servers are trusted by; those of the system without.
    pub ca_file: Option<PathBuf>,
    /// How long a request waits for a decision.
    pub timeout: Duration,
    /// What every key begins with.
    pub prefix: String,
}

impl fmt::Debug for Redis {
    /// Nothing of URLs, users and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { urls, username: _, password: _, ca_file, timeout, prefix } = self;
        let mut shown = f.debug_struct("Redis");
        shown.field("urls", &urls.len()).field("ca_file", ca_file).field("timeout", timeout).field("prefix", prefix);
        shown.finish_non_exhaustive()
    }
}

/// What keys in Redis may begin with. Braces would decide which server of a cluster holds them.
///
/// # Errors
/// What is wrong and what would be right.
pub fn redis_prefix(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
        return Err("write 1 to 64 letters, digits, or any of -_.:/".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_keys() {
        assert_eq!(redis_prefix("team-a/headgate"), Ok("team-a/headgate".to_owned()));
        for wrong in ["", "a{b}", "a b", &"x".repeat(65)] {
            assert!(redis_prefix(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        let secret = || Some("hunter2".to_owned());
        let urls = vec!["redis://:hunter2@redis:6379".to_owned()];
        let redis = Redis { urls, username: secret(), password: secret(), ..Redis::default() };
        assert!(!format!("{redis:?}").contains("hunter2"));
    }

    #[test]
    fn addresses_to_listen_on() {
        assert_eq!(":8080".parse(), Ok(Listen::everywhere(8080)));
        assert_eq!("127.0.0.1:0".parse(), Ok(Listen::loopback(0)));
        assert_eq!("[::1]:443".parse::<Listen>().unwrap().to_string(), "[::1]:443");
        for wrong in ["", "8080", "localhost:80", ":99999", "1.2.3.4"] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
    }
}
