//! The PROXY protocol towards endpoints (HAProxy's `proxy-protocol.txt`): a connection begins by saying for whom it was
//! made.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What version 2 begins with.
pub(crate) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 and its commands: the sender itself, or somebody else.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Families of addresses of version 2; both with TCP.
const UNSPECIFIED: u8 = 0;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

/// Whom a connection to an endpoint speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The client's address; port 0 where it is not known.
    pub source: SocketAddr,
    /// The address that the client has connected to.
    pub destination: SocketAddr,
}

impl ProxyProtocol {
    /// What a connection begins with that speaks for somebody, or for us alone.
    pub fn header(self, announced: Option<&Announced>) -> Vec<u8> {
        let Some((source, destination)) = announced.map(Announced::in_one_family) else {
            return match self {
                Self::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
                Self::V2 => [&SIGNATURE[..], &[LOCAL, UNSPECIFIED, 0, 0]].concat(),
            };
        };
        let ports = [source.port(), destination.port()];
        match self {
            Self::V1 => {
                let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
                let [from, to] = ports;
                format!("PROXY {family} {} {} {from} {to}\r\n", source.ip(), destination.ip()).into_bytes()
            }
            Self::V2 => {
                let (family, mut addresses) = match (source.ip(), destination.ip()) {
                    (IpAddr::V4(source), IpAddr::V4(destination)) => {
                        (TCP4, [source.octets(), destination.octets()].concat())
                    }
                    (source, destination) => (TCP6, [octets(source), octets(destination)].concat()),
                };
                addresses.extend(ports.into_iter().flat_map(u16::to_be_bytes));
                let length = u16::try_from(addresses.len()).unwrap_or(u16::MAX).to_be_bytes();
                [&SIGNATURE[..], &[PROXY, family], &length, &addresses].concat()
            }
        }
    }
}

impl Announced {
    /// Both addresses, of IPv4 where both are, of IPv6 otherwise.
    fn in_one_family(&self) -> (SocketAddr, SocketAddr) {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let both = (canonical(self.source), canonical(self.destination));
        if both.0.is_ipv4() == both.1.is_ipv4() {
            return both;
        }
        let six = |address: SocketAddr| SocketAddr::new(octets(address.ip()).into(), address.port());
        (six(both.0), six(both.1))
    }
}

/// The sixteen bytes of an address.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

impl fmt::Display for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "PROXY protocol v1",
            Self::V2 => "PROXY protocol v2",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(source: &str, destination: &str) -> Announced {
        Announced { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn lines_of_version_1() {
        let line = |source, destination| {
            String::from_utf8(ProxyProtocol::V1.header(Some(&announced(source, destination)))).unwrap()
        };
        assert_eq!(line("192.0.2.7:4711", "10.0.0.1:443"), "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n");
        assert_eq!(line("[2001:db8::7]:1", "[2001:db8::1]:2"), "PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n");
        // A socket of both families, and a client of the other one behind a proxy.
        assert_eq!(line("[::ffff:192.0.2.7]:1", "[::ffff:10.0.0.1]:2"), "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n");
        assert_eq!(line("192.0.2.7:1", "[2001:db8::1]:2"), "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n");
        assert_eq!(ProxyProtocol::V1.header(None), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn headers_of_version_2() {
        let header = |source, destination| {
            let header = ProxyProtocol::V2.header(Some(&announced(source, destination)));
            header.strip_prefix(&SIGNATURE).unwrap().to_vec()
        };
        let four = [0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        assert_eq!(header("192.0.2.7:4711", "10.0.0.1:443"), four);
        let six = header("[2001:db8::7]:4711", "[2001:db8::1]:443");
        assert_eq!((&six[..4], six.len()), (&[0x21, 0x21, 0, 36][..], 40));
        assert_eq!((&six[4..8], six[19], &six[36..]), (&[0x20, 1, 0xd, 0xb8][..], 7, &[0x12, 0x67, 1, 187][..]));
        assert_eq!(ProxyProtocol::V2.header(None).strip_prefix(&SIGNATURE).unwrap(), [0x20, 0, 0, 0]);
    }
}
