//! Where Redis is and how long it may take, parsed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use rustls::ClientConfig;

/// Where Redis is, who we are there, and how long it may take.
#[derive(Clone)]
pub struct Settings {
    /// One server; or some of those of a cluster; or a primary and its replicas, of which the one that can be written is
    /// used.
    pub servers: Vec<Server>,
    /// How to speak TLS; in clear without.
    pub tls: Option<Arc<ClientConfig>>,
    /// User, password and number of the database.
    pub login: RedisConnectionInfo,
    /// What every key begins with.
    pub prefix: Box<str>,
    /// How long a request waits for a decision.
    pub deadline: Duration,
}

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server {
    /// Its name or address.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
}

/// Redis as the command line gives it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// One URL for each server. Never shown: they may hold a password.
    pub urls: Vec<String>,
    /// Who we are, if the URLs do not say.
    pub username: Option<String>,
    /// How we prove it, if the URLs do not say.
    pub password: Option<String>,
}

/// What is wrong with an address of Redis. It does not repeat the URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is none.
    #[error("URL {0} is none of Redis; write redis://HOST:PORT, or rediss://HOST:PORT for TLS")]
    NoUrl(usize),
    /// It asks to trust everybody.
    #[error("URL {0} ends in #insecure, which is not supported; name the authority with --redis-ca-file")]
    Insecure(usize),
    /// Several URLs that are not of one kind.
    #[error(
        "URL {0} differs from the first one in its scheme, user, password or database; all servers are of one kind"
    )]
    Differs(usize),
}

impl Addresses {
    /// The servers, whether to speak TLS to them, and who we are there.
    ///
    /// # Errors
    /// When a URL is none, or when they differ in more than host and port.
    pub fn parse(&self) -> Result<(Vec<Server>, bool, RedisConnectionInfo), AddressError> {
        let Self { urls, username, password } = self;
        let mut servers = Vec::new();
        let mut first: Option<(bool, RedisConnectionInfo)> = None;
        for (index, url) in urls.iter().enumerate() {
            let number = index + 1;
            if url.ends_with("#insecure") {
                return Err(AddressError::Insecure(number));
            }
            // The crate knows the scheme for TLS only when it brings TLS along, and TLS is ours.
            let (secure, url) = match url.strip_prefix("rediss://") {
                Some(rest) => (true, format!("redis://{rest}")),
                None => (false, url.clone()),
            };
            let info = url.into_connection_info().map_err(|_| AddressError::NoUrl(number))?;
            let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err(AddressError::NoUrl(number)) };
            servers.push(Server { host: host.as_str().into(), port: *port });
            let login = info.redis_settings();
            match &first {
                None => first = Some((secure, login.clone())),
                Some((same, other))
                    if *same == secure
                        && other.db() == login.db()
                        && other.username() == login.username()
                        && other.password() == login.password() => {}
                Some(_) => return Err(AddressError::Differs(number)),
            }
        }
        let Some((secure, mut login)) = first else { return Err(AddressError::NoUrl(1)) };
        if let Some(username) = username.as_ref().filter(|_| login.username().is_none()) {
            login = login.set_username(username);
        }
        if let Some(password) = password.as_ref().filter(|_| login.password().is_none()) {
            login = login.set_password(password);
        }
        Ok((servers, secure, login.set_lib_name("headgate", env!("CARGO_PKG_VERSION"))))
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").field("urls", &self.urls.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(urls: &[&str]) -> Result<(Vec<Server>, bool, RedisConnectionInfo), AddressError> {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        Addresses { urls, username: Some("env".to_owned()), password: Some("secret".to_owned()) }.parse()
    }

    #[test]
    fn addresses_of_servers() {
        let (servers, secure, login) = parse(&["redis://10.0.0.1", "redis://[::1]:7000"]).unwrap();
        let shown: Vec<String> = servers.iter().map(Server::to_string).collect();
        assert_eq!((shown.join(" ").as_str(), secure), ("10.0.0.1:6379 [::1]:7000", false));
        assert_eq!((login.username(), login.password(), login.db()), (Some("env"), Some("secret"), 0));
        let (_, secure, login) = parse(&["rediss://us%40er:pass@redis:1/3"]).unwrap();
        assert_eq!(
            (secure, login.username(), login.password(), login.db()),
            (true, Some("us@er"), Some("pass"), 3),
            "what the URL says wins"
        );
    }

    #[test]
    fn wrong_addresses() {
        for (urls, error) in [
            (&["http://a"][..], AddressError::NoUrl(1)),
            (&["redis://a", "unix:///run/redis"], AddressError::NoUrl(2)),
            (&["redis://a", ""], AddressError::NoUrl(2)),
            (&["rediss://a#insecure"], AddressError::Insecure(1)),
            (&["redis://a", "rediss://b"], AddressError::Differs(2)),
            (&["redis://:x@a", "redis://:y@b"], AddressError::Differs(2)),
            (&[], AddressError::NoUrl(1)),
        ] {
            assert_eq!(parse(urls).map(|_| ()), Err(error), "{urls:?}");
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        let addresses = Addresses {
            urls: vec!["redis://:hunter2@a:b".to_owned()],
            username: None,
            password: Some("hunter2".to_owned()),
        };
        let error = addresses.parse().unwrap_err();
        assert!(!format!("{addresses:?} {error:?} {error}").contains("hunter2"));
    }
}
