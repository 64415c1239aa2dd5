//! What requests are told apart by.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{HeaderMap, HeaderName};

use crate::auth::Claims;
use crate::filter::Title;
use crate::path::Params;
use crate::table::{RouteId, cookie, query};

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address, as far as so many bits.
    ClientIp {
        /// Of an IPv4 address.
        v4: u8,
        /// Of an IPv6 address.
        v6: u8,
    },
    /// The first value of a header.
    Header(HeaderName, OnMissing),
    /// A cookie.
    Cookie(Box<str>, OnMissing),
    /// The first value of a query parameter.
    QueryParam(Box<str>, OnMissing),
    /// A parameter of the path template.
    PathParam(Box<str>, OnMissing),
    /// A claim of the verified token, by the way to it.
    JwtClaim(Box<str>, OnMissing),
    /// The host.
    Host,
    /// The rule.
    Route,
}

/// What happens to a request without a part of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// The limit does not apply to it.
    Skip,
    /// All such requests share one count.
    Shared,
    /// It is refused.
    Reject,
}

/// What keys are made of.
#[derive(Clone, Copy)]
pub struct KeySource<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// The host, lower-case and without port.
    pub host: &'a str,
    /// The headers, before any filter has changed them.
    pub headers: &'a HeaderMap,
    /// The query as sent.
    pub query: Option<&'a str>,
    /// The parameters of the path template.
    pub params: Params<'a>,
    /// The route.
    pub route: &'a RouteId,
    /// What is known of who asks, once it is.
    pub claims: Option<&'a Claims>,
}

impl KeyPart {
    /// What happens to a request without it.
    pub fn on_missing(&self) -> OnMissing {
        match self {
            Self::ClientIp { .. } | Self::Host | Self::Route => OnMissing::Shared,
            Self::Header(_, missing)
            | Self::Cookie(_, missing)
            | Self::QueryParam(_, missing)
            | Self::PathParam(_, missing)
            | Self::JwtClaim(_, missing) => *missing,
        }
    }

    /// The value that a request has.
    pub(super) fn read<'a>(&self, source: &KeySource<'a>) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::ClientIp { v4, v6 } => Some(address(source.ip, *v4, *v6).to_string().into_bytes().into()),
            Self::Header(name, _) => source.headers.get(name).map(|value| value.as_bytes().into()),
            Self::Cookie(name, _) => cookie::first(source.headers, name).map(Cow::Borrowed),
            // Spelt with or without percent-encodings, it is the same client.
            Self::QueryParam(name, _) => query::first(source.query, name).map(|raw| match query::decode(raw) {
                Cow::Borrowed(text) => text.as_bytes().into(),
                Cow::Owned(text) => text.into_bytes().into(),
            }),
            Self::PathParam(name, _) => source.params.get(name).map(|value| value.as_bytes().into()),
            Self::JwtClaim(path, _) => source.claims?.get(path).map(|text| match text {
                Cow::Borrowed(text) => text.as_bytes().into(),
                Cow::Owned(text) => text.into_bytes().into(),
            }),
            Self::Host => Some(source.host.as_bytes().into()),
            Self::Route => Some(source.route.to_string().into_bytes().into()),
        }
    }

    /// Appends the value in a form in which no two lists of values look alike; `Err` says that it is missing, and what
    /// happens then.
    fn write(&self, source: &KeySource<'_>, key: &mut Vec<u8>) -> Result<(), OnMissing> {
        match self {
            // In place, since these are in nearly every key.
            Self::ClientIp { v4, v6 } => match address(source.ip, *v4, *v6) {
                IpAddr::V4(ip) => append(key, &[&ip.octets()]),
                IpAddr::V6(ip) => append(key, &[&ip.octets()]),
            },
            Self::Route => {
                let RouteId { kind, namespace, name, rule } = source.route;
                let parts = [kind.as_bytes(), b" ", namespace.as_bytes(), b"/", name.as_bytes(), b" ", rule.as_bytes()];
                append(key, &parts);
            }
            Self::Header(..)
            | Self::Cookie(..)
            | Self::QueryParam(..)
            | Self::PathParam(..)
            | Self::JwtClaim(..)
            | Self::Host => match self.read(source) {
                Some(value) => append(key, &[&value]),
                None if self.on_missing() == OnMissing::Shared => key.extend(MISSING.to_be_bytes()),
                None => return Err(self.on_missing()),
            },
        }
        Ok(())
    }
}

impl super::RateLimit {
    /// Puts the key of a request in place of what `key` holds; `Err` when a part is missing that must not be.
    ///
    /// # Errors
    /// What then happens: the limit does not apply, or the request is refused.
    pub fn write_key(&self, source: &KeySource<'_>, key: &mut Vec<u8>) -> Result<(), OnMissing> {
        key.clear();
        self.key.iter().try_for_each(|part| part.write(source, key))
    }
}

/// The length of a value that is not there; none is as long.
const MISSING: u32 = u32::MAX;

/// Appends one value, given in pieces: its length, then itself.
fn append(key: &mut Vec<u8>, pieces: &[&[u8]]) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    key.extend(u32::try_from(length).unwrap_or(MISSING - 1).to_be_bytes());
    pieces.iter().for_each(|piece| key.extend_from_slice(piece));
}

/// The first bits of an address; one of IPv4 inside IPv6 is one of IPv4.
fn address(ip: IpAddr, v4: u8, v6: u8) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(v4)).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6)).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

impl fmt::Debug for KeySource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySource").field("ip", &self.ip).field("host", &self.host).finish_non_exhaustive()
    }
}

impl fmt::Display for KeyPart {
    /// `PathParam id`, `ClientIP/32/64`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp { v4, v6 } => write!(f, "ClientIP/{v4}/{v6}"),
            Self::Header(name, _) => write!(f, "Header {}", Title(name)),
            Self::Cookie(name, _) => write!(f, "Cookie {name}"),
            Self::QueryParam(name, _) => write!(f, "QueryParam {name}"),
            Self::PathParam(name, _) => write!(f, "PathParam {name}"),
            Self::JwtClaim(path, _) => write!(f, "JWTClaim {path}"),
            Self::Host => f.write_str("Host"),
            Self::Route => f.write_str("Route"),
        }
    }
}
