//! Sockets that were listening before we began: systemd's, or those of the process that we replace.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// Names of inherited sockets, separated by colons (sd_listen_fds(3)).
const NAMES: &str = "LISTEN_FDNAMES";

/// What was inherited; empty for what has to be bound.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    pub(super) http: Vec<TcpListener>,
    pub(super) https: Vec<TcpListener>,
    pub(super) admin: Option<TcpListener>,
}

impl Inherited {
    /// What there is. Sockets are told apart by their names, `http`, `https` and `admin`; where they have no such names,
    /// by that order.
    ///
    /// # Errors
    /// When one of them is no TCP socket.
    pub(super) fn take() -> io::Result<Self> {
        let mut inherited = Self::default();
        let mut sockets = ListenFd::from_env();
        let names = std::env::var(NAMES).unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let named = names.iter().any(|name| NAMED.contains(name));
        for number in 0..sockets.len() {
            let Some(listener) = sockets.take_tcp_listener(number)? else { continue };
            let name = if named { names.get(number) } else { NAMED.get(number) };
            match name.copied() {
                Some("http") => inherited.http.push(listener),
                Some("https") => inherited.https.push(listener),
                Some("admin") => inherited.admin = Some(listener),
                Some(_) | None => {
                    tracing::warn!(number, "an inherited socket has no use; name it http, https or admin");
                }
            }
        }
        Ok(inherited)
    }

    /// How many workers it takes to accept on all of them.
    pub(super) fn workers(&self) -> usize {
        self.http.len().max(self.https.len())
    }
}

const NAMED: [&str; 3] = ["http", "https", "admin"];
