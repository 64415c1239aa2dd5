//! Process settings: what flags and environment say, parsed and checked. Nothing here touches the system.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::drain::Grace;

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
    /// How long stopping may take.
    pub grace: Grace,
}

#[cfg(test)]
mod tests {
    use super::*;

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
