//! Networks of addresses: what lists of CIDR notation become.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The addresses that begin with the same bits. One of IPv4 inside IPv6 (`::ffff:10.0.0.0/104`) is one of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its first address, in canonical form.
    first: IpAddr,
    /// How many bits all its addresses begin with.
    length: u8,
}

/// A set of addresses, made of networks. Looking into it costs a few comparisons, however many networks there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    declared: Box<[Network]>,
    /// First and last addresses of what the networks cover, in order and apart from each other.
    ranges: Box<[(IpAddr, IpAddr)]>,
}

/// Whose word about where a connection or a request comes from is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Proxies whose `X-Forwarded-For`, `-Proto`, `-Host` and `-Port` are believed.
    pub proxies: Networks,
    /// Load balancers that begin every connection with the PROXY protocol.
    pub proxy_protocol: Networks,
}

/// Why a text is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is neither an address nor an address and a length.
    #[error("\"{}\" is no address and no network", .0.escape_debug())]
    Malformed(Box<str>),
    /// The length is longer than an address of the family.
    #[error("{0} has a prefix longer than {1} bits")]
    Length(Box<str>, u8),
    /// Bits after the prefix are set, so it is not sure what was meant.
    #[error("{0} is an address inside the network {1}")]
    Inside(Box<str>, Network),
}

impl NetworkError {
    /// What would be right.
    pub fn remedy(&self) -> String {
        match self {
            Self::Malformed(_) => "write 10.0.0.0/8, 2001:db8::/32, or a single address".to_owned(),
            Self::Length(_, most) => format!("use a prefix of 0 to {most}"),
            Self::Inside(text, network) => {
                let address = text.split_once('/').map_or(&**text, |(address, _)| address);
                format!("write {network} for the network, or {address} for the one address")
            }
        }
    }
}

// === impl Network ===

impl Network {
    /// The addresses that begin like this one, as far as `length` bits.
    fn around(address: IpAddr, length: u8) -> Self {
        let first = match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Self { first, length }
    }

    /// Its last address.
    fn last(self) -> IpAddr {
        let rest = u32::from(self.length);
        match self.first {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() | u32::MAX.checked_shr(rest).unwrap_or(0)).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() | u128::MAX.checked_shr(rest).unwrap_or(0)).into(),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError::Malformed(text.into());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            // `+1` and `08` are numbers for Rust, and for nobody else's networks.
            Some(length) if length.starts_with('+') || (length.len() > 1 && length.starts_with('0')) => {
                return Err(malformed());
            }
            Some(length) => length.parse().map_err(|_| malformed())?,
            None => most,
        };
        if length > most {
            return Err(NetworkError::Length(text.into(), most));
        }
        let (address, length) = match address {
            // The 96 bits before the IPv4 address are the same for all of them.
            IpAddr::V6(_) if address.to_canonical().is_ipv4() && length >= 96 => (address.to_canonical(), length - 96),
            _ => (address, length),
        };
        let network = Self::around(address, length);
        if network.first != address {
            return Err(NetworkError::Inside(text.into(), network));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.first.is_ipv4() { 32 } else { 128 };
        if self.length == whole { self.first.fmt(f) } else { write!(f, "{}/{}", self.first, self.length) }
    }
}

// === impl Networks ===

impl Networks {
    /// Whether the address is in one of the networks. One of IPv4 inside IPv6 is one of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, last)| address <= *last)
    }

    /// Whether there is no network in it.
    pub fn is_empty(&self) -> bool {
        self.declared.is_empty()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let declared: Box<[Network]> = networks.into_iter().collect();
        // Every address of IPv4 is less than any of IPv6, so no range covers both.
        let mut sorted: Vec<_> = declared.iter().map(|network| (network.first, network.last())).collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match ranges.last_mut() {
                Some((_, covered)) if first <= *covered => *covered = last.max(*covered),
                _ => ranges.push((first, last)),
            }
        }
        Self { declared, ranges: ranges.into() }
    }
}

impl fmt::Display for Networks {
    /// `10.0.0.0/8, 2001:db8::/32`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, network) in self.declared.iter().enumerate() {
            f.write_str(if number > 0 { ", " } else { "" })?;
            network.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Result<String, String> {
        text.parse::<Network>().map(|network| network.to_string()).map_err(|error| error.remedy())
    }

    #[test]
    fn networks_as_people_write_them() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("::1", "::1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.7", "10.0.0.7"),
        ] {
            assert_eq!(network(text), Ok(shown.to_owned()), "{text}");
        }
        let malformed = "write 10.0.0.0/8, 2001:db8::/32, or a single address";
        for text in
            ["", "10.0.0.0/", "10.0.0.0/x", "10.0/8", "010.0.0.0/8", "a", "10.0.0.0/+8", "10.0.0.0/08", "fe80::1%1"]
        {
            assert_eq!(network(text), Err(malformed.to_owned()), "{text}");
        }
        assert_eq!(network("10.0.0.0/33"), Err("use a prefix of 0 to 32".to_owned()));
        assert_eq!(network("::/129"), Err("use a prefix of 0 to 128".to_owned()));
        let inside = "write 10.1.0.0/16 for the network, or 10.1.2.3 for the one address";
        assert_eq!(network("10.1.2.3/16"), Err(inside.to_owned()));
    }

    #[test]
    fn an_address_of_one_family_is_in_no_network_of_the_other() {
        let all: Networks = ["::/0".parse().unwrap()].into_iter().collect();
        assert!(all.contains("::1".parse().unwrap()));
        assert!(!all.contains("10.0.0.1".parse().unwrap()));
        assert!(!all.contains("::ffff:10.0.0.1".parse().unwrap()));
        let ten: Networks = ["10.0.0.0/8".parse().unwrap()].into_iter().collect();
        assert!(ten.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!Networks::default().contains("10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn a_set_holds_what_one_of_its_networks_holds(
            networks in prop::collection::vec((0u32..64, 0u8..=32), 0..8),
            address in 0u32..64,
        ) {
            // Few addresses, spread over all bits, so that networks meet.
            let spread = |number: u32| Ipv4Addr::from_bits(number.wrapping_mul(0x0410_4105));
            let networks: Vec<_> =
                networks.into_iter().map(|(number, length)| Network::around(spread(number).into(), length)).collect();
            let address = spread(address);
            let plain = networks.iter().any(|network| {
                let IpAddr::V4(first) = network.first else { return false };
                (first.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(network.length)
            });
            prop_assert_eq!(Networks::from_iter(networks).contains(address.into()), plain);
        }
    }
}
