//! One fetch of a key set: a GET over HTTPS, and nothing beyond what that takes.

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::auth::RemoteSettings;

/// Larger sets are not read: a hundred keys with their certificates take less.
const MAX_SIZE: usize = 256 * 1024;

/// The set as it stands at its address, or what went wrong, for people. The caller sees to the time.
pub(super) async fn fetch(settings: &RemoteSettings) -> Result<Vec<u8>, String> {
    let uri = &settings.uri;
    let host = uri.host().ok_or("the address has no host")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let tcp = connect(bare, uri.port_u16().unwrap_or(443), settings.allow_loopback).await?;
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| format!("{bare} is no host name"))?;
    let tls =
        TlsConnector::from(settings.tls.clone()).connect(name, tcp).await.map_err(|error| format!("TLS: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(|error| described(&error))?;
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("headgate/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let mut exchange = pin!(async {
        let response = sender.send_request(request).await.map_err(|error| described(&error))?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => {
                return Err(format!("the answer is {status}; redirects are not followed"));
            }
            status => return Err(format!("the answer is {status}")),
        }
        let body = Limited::new(response.into_body(), MAX_SIZE).collect().await;
        body.map(|body| body.to_bytes().to_vec()).map_err(|error| format!("the answer cannot be read: {error}"))
    });
    tokio::select! {
        set = &mut exchange => set,
        // What it has read is still to be had.
        _ = connection => exchange.await,
    }
}

/// A connection to the first address that takes one.
async fn connect(host: &str, port: u16, allow_loopback: bool) -> Result<TcpStream, String> {
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|error| format!("{host}: {error}"))?;
    let mut failure = format!("{host} has no address");
    for address in addresses {
        if let Some(why) = refused(address.ip(), allow_loopback) {
            failure = format!("{host} is at {}, which is {why}", address.ip());
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failure = format!("{}: {error}", SocketAddr::new(address.ip(), port)),
        }
    }
    Err(failure)
}

/// Why no issuer can have an address: whoever may declare a route must not be able to have this machine's own services
/// or the cloud's metadata asked.
fn refused(ip: IpAddr, allow_loopback: bool) -> Option<&'static str> {
    match ip.to_canonical() {
        ip if ip.is_unspecified() => Some("unspecified"),
        ip if ip.is_multicast() => Some("a multicast address"),
        ip if ip.is_loopback() && !allow_loopback => Some("this machine itself"),
        IpAddr::V4(ip) if ip.is_link_local() || ip.is_broadcast() => Some("no issuer's"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("no issuer's"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn described(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_issuer_is_where_nobody_may_be_asked() {
        for (ip, allow_loopback, allowed) in [
            ("192.0.2.1", false, true),
            ("10.0.0.1", false, true),
            ("2001:db8::1", false, true),
            ("127.0.0.1", false, false),
            ("127.0.0.1", true, true),
            ("::1", false, false),
            ("::ffff:127.0.0.1", false, false),
            ("169.254.169.254", true, false),
            ("::ffff:169.254.169.254", true, false),
            ("fe80::1", true, false),
            ("0.0.0.0", true, false),
            ("224.0.0.1", true, false),
        ] {
            assert_eq!(refused(ip.parse().unwrap(), allow_loopback).is_none(), allowed, "{ip}");
        }
    }
}
