//! What a proxy in front of us says of where a request came from, as far as it is believed.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::framing::Authority;
use crate::address::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What a proxy that is trusted has said of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The client: the last address before those of proxies that are trusted.
    pub(super) client: IpAddr,
    /// The client and every proxy after it, as `X-Forwarded-For` carries them.
    pub(super) chain: HeaderValue,
    /// Whether the client used TLS, if that was said.
    pub(super) secure: Option<bool>,
    /// The host that the client asked for, if that was said.
    pub(super) host: Option<HeaderValue>,
    /// The port that it came to, if that was said.
    pub(super) port: Option<HeaderValue>,
}

impl Told {
    /// Reads what the proxy at `peer` has said.
    pub(super) fn read(headers: &HeaderMap, peer: IpAddr, trusted: &Networks) -> Self {
        let mut client = peer.to_canonical();
        let mut chain = vec![client.to_string()];
        // From the right: each address was written by the one after it, so what stands left of one that is not trusted
        // may be anybody's invention.
        let hops = headers.get_all(X_FORWARDED_FOR).iter().collect::<Vec<_>>();
        let hops = hops.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops {
            let Some(address) = address(hop.trim_ascii()).filter(|_| trusted.contains(client)) else { break };
            client = address;
            chain.insert(0, client.to_string());
        }
        let last = |name: &HeaderName| {
            let last = headers.get_all(name).iter().next_back()?.as_bytes().rsplit(|byte| *byte == b',').next()?;
            std::str::from_utf8(last.trim_ascii()).ok()
        };
        let secure = match last(&X_FORWARDED_PROTO) {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") => Some(true),
            Some(scheme) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws") => Some(false),
            Some(_) | None => None,
        };
        let host = last(&X_FORWARDED_HOST).filter(|host| Authority::parse(host.as_bytes()).is_ok());
        let port = last(&X_FORWARDED_PORT).and_then(|port| port.parse::<u16>().ok());
        Self {
            client,
            chain: HeaderValue::try_from(chain.join(", ")).unwrap_or(HeaderValue::from_static("unknown")),
            secure,
            host: host.and_then(|host| HeaderValue::from_str(host).ok()),
            port: port.map(HeaderValue::from),
        }
    }
}

/// The address in an element of `X-Forwarded-For`; some proxies write a port after it.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let plain = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    plain.or_else(with_port).or_else(in_brackets).map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fields: &[(&'static str, &'static str)], peer: &str) -> Told {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).into_iter().collect();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Told::read(&headers, peer.parse().unwrap(), &trusted)
    }

    #[test]
    fn the_client_is_the_last_that_is_not_trusted() {
        for (fields, client, chain) in [
            (&[][..], "10.0.0.1", "10.0.0.1"),
            (&["192.0.2.7"], "192.0.2.7", "192.0.2.7, 10.0.0.1"),
            (&["1.1.1.1, 192.0.2.7"], "192.0.2.7", "192.0.2.7, 10.0.0.1"),
            (&["1.1.1.1, 192.0.2.7, 10.2.0.1"], "192.0.2.7", "192.0.2.7, 10.2.0.1, 10.0.0.1"),
            (&["1.1.1.1", "192.0.2.7", "10.2.0.1"], "192.0.2.7", "192.0.2.7, 10.2.0.1, 10.0.0.1"),
            (&["10.3.0.1,10.2.0.1"], "10.3.0.1", "10.3.0.1, 10.2.0.1, 10.0.0.1"),
            (&["::ffff:192.0.2.7"], "192.0.2.7", "192.0.2.7, 10.0.0.1"),
            (&["192.0.2.7:4711"], "192.0.2.7", "192.0.2.7, 10.0.0.1"),
            (&["[2001:db9::1]:4711, 2001:db8::1"], "2001:db9::1", "2001:db9::1, 2001:db8::1, 10.0.0.1"),
            // What is no address ends the chain at what stands right of it.
            (&["192.0.2.7, unknown"], "10.0.0.1", "10.0.0.1"),
            (&["192.0.2.7, unknown, 10.2.0.1"], "10.2.0.1", "10.2.0.1, 10.0.0.1"),
            (&["192.0.2.7, "], "10.0.0.1", "10.0.0.1"),
        ] {
            let fields: Vec<_> = fields.iter().map(|value| ("x-forwarded-for", *value)).collect();
            let told = told(&fields, "::ffff:10.0.0.1");
            assert_eq!((told.client.to_string().as_str(), told.chain.to_str().unwrap()), (client, chain), "{fields:?}");
        }
    }

    #[test]
    fn scheme_host_and_port_are_those_that_the_nearest_proxy_said() {
        let said = |fields: &[(&'static str, &'static str)]| {
            let Told { secure, host, port, .. } = told(fields, "10.0.0.1");
            let text = |value: Option<HeaderValue>| value.map(|value| value.to_str().unwrap().to_owned());
            (secure, text(host), text(port))
        };
        let all = [("x-forwarded-proto", "HTTPS"), ("x-forwarded-host", "shop.test:8443"), ("x-forwarded-port", "443")];
        assert_eq!(said(&all), (Some(true), Some("shop.test:8443".into()), Some("443".into())));
        assert_eq!(said(&[("x-forwarded-proto", "https, http")]).0, Some(false));
        assert_eq!(said(&[("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")]).0, Some(false));
        let nonsense = [("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a b"), ("x-forwarded-port", "99999")];
        assert_eq!(said(&nonsense), (None, None, None));
    }
}
