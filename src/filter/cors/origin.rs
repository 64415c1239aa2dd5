//! Origins of pages (RFC 6454 section 6.2).

use std::fmt;

/// The origins that may use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every one, also that of a page without one (`null`).
    Every,
    /// These.
    These(Box<[Origin]>),
}

/// An origin, or all those under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Box<str>,
    host: Host,
    /// The port, unless it is the scheme's own.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// This one.
    Exact(Box<str>),
    /// Those that end so, with a dot in front, and have something before it.
    Under(Box<str>),
    /// Every one.
    Any,
}

/// Why a text is no [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It is not `scheme://host` with a port at most.
    #[error("it is not scheme://host or scheme://host:port")]
    Malformed,
    /// It has a star elsewhere than in place of the first label.
    #[error("only the first label of the host may be *")]
    Star,
}

impl OriginError {
    /// What would be right.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Malformed => "write https://app.example.com, without a path or a final slash",
            Self::Star => "write https://*.example.com",
        }
    }
}

impl Origin {
    /// An origin as it is declared.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(declared: &str) -> Result<Self, OriginError> {
        let (scheme, host, port) = split(declared).ok_or(OriginError::Malformed)?;
        let host = match host.strip_prefix('*') {
            Some("") => Host::Any,
            Some(rest) if !rest.contains('*') && rest.len() > 1 && rest.starts_with('.') => {
                Host::Under(rest.to_ascii_lowercase().into())
            }
            None if !host.contains('*') => Host::Exact(host.to_ascii_lowercase().into()),
            _ => return Err(OriginError::Star),
        };
        Ok(Self { scheme: scheme.to_ascii_lowercase().into(), host, port })
    }

    /// Whether a request's `Origin` is one of these.
    pub fn matches(&self, sent: &str) -> bool {
        let Some((scheme, host, port)) = split(sent) else { return false };
        let host_matches = match &self.host {
            Host::Exact(exact) => host.eq_ignore_ascii_case(exact),
            Host::Under(end) => host
                .len()
                .checked_sub(end.len())
                .and_then(|at| host.split_at_checked(at))
                .is_some_and(|(before, after)| !before.is_empty() && after.eq_ignore_ascii_case(end)),
            Host::Any => true,
        };
        host_matches && port == self.port && scheme.eq_ignore_ascii_case(&self.scheme)
    }
}

/// Scheme, host and port other than the scheme's own.
fn split(origin: &str) -> Option<(&str, &str, Option<u16>)> {
    let (scheme, authority) = origin.split_once("://")?;
    let known = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !known || !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    // A colon before the last bracket belongs to an address of IPv6.
    let colon = authority.rfind(':').filter(|colon| authority.rfind(']').is_none_or(|bracket| bracket < *colon));
    let (host, port) = match colon {
        Some(colon) => {
            let (host, port) = authority.split_at_checked(colon)?;
            let port = port.get(1..).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?;
            (host, Some(port.parse().ok()?))
        }
        None => (authority, None),
    };
    let own = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    is_host(host).then_some((scheme, host, port.filter(|port| own != Some(*port))))
}

fn is_host(host: &str) -> bool {
    let bytes = match host.strip_prefix('[') {
        Some(rest) => return rest.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => host.bytes(),
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*');
    !host.is_empty() && !host.starts_with('.') && bytes.into_iter().all(known)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match host {
            Host::Exact(host) => write!(f, "{scheme}://{host}")?,
            Host::Under(end) => write!(f, "{scheme}://*{end}")?,
            Host::Any => write!(f, "{scheme}://*")?,
        }
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("*"),
            Self::These(origins) => {
                f.write_str(&origins.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
        }
    }
}
