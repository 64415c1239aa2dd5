//! Hosts: which router answers for the host that was asked for.

use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use super::router::HostRouter;
use crate::hash::BuildXxh3;

/// A declared host, or a family of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostKey {
    /// This host.
    Exact(Arc<str>),
    /// Hosts with exactly one label before this suffix.
    Wildcard(Arc<str>),
    /// Hosts with two or more labels before this suffix.
    Subdomains(Arc<str>),
    /// Every host that nothing else claims, and requests without one.
    Any,
}

/// What is wrong with a declared host; [`Self::remedy`] says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// It is an IP address.
    #[error("`{0}` is an IP address, not a host name")]
    Address(Box<str>),
    /// It has a port.
    #[error("`{0}` has a port")]
    Port(Box<str>),
    /// It is a lone star.
    #[error("`*` alone is not a host")]
    LoneStar,
    /// A star stands elsewhere than alone in the first label.
    #[error("`{0}` has a `*` that is not its whole first label")]
    Star(Box<str>),
    /// It is not a DNS name.
    #[error("`{0}` is not a DNS name")]
    Name(Box<str>),
}

impl HostKeyError {
    /// What would be right.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Address(_) => "leave the host out; a request for an address goes to the rules without a host",
            Self::Port(_) => "leave the port out; a host answers on the ports of its listeners",
            Self::LoneStar => "leave the host out to match every host",
            Self::Star(_) => "write the star alone before the first dot, as in `*.example.com`",
            Self::Name(_) => {
                "write labels of 1 to 63 letters, digits and inner hyphens with single dots between them, 253 characters at most"
            }
        }
    }
}

impl HostKey {
    /// The host of an Ingress rule: `*.` stands for exactly one label, and no host at all for every host.
    pub fn parse_ingress(declared: &str) -> Result<Self, HostKeyError> {
        match parse(declared)? {
            _ if declared.is_empty() => Ok(Self::Any),
            (name, true) => Ok(Self::Wildcard(name)),
            (name, false) => Ok(Self::Exact(name)),
        }
    }

    /// A hostname of a GatewayRoute, as HTTPRoute has them: `*.` stands for one label or more.
    pub fn parse_hostname(declared: &str) -> Result<Vec<Self>, HostKeyError> {
        match parse(declared)? {
            _ if declared.is_empty() => Err(HostKeyError::Name(declared.into())),
            (suffix, true) => Ok(vec![Self::Wildcard(suffix.clone()), Self::Subdomains(suffix)]),
            (name, false) => Ok(vec![Self::Exact(name)]),
        }
    }

    /// The name without the labels that a star stands for; none for [`Self::Any`].
    fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Exact(name) | Self::Wildcard(name) | Self::Subdomains(name) => Some(name),
            Self::Any => None,
        }
    }
}

impl fmt::Display for HostKey {
    /// `shop.example.com`, `*.example.com`, `*.*.example.com` for two labels and more, `*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Subdomains(suffix) => write!(f, "*.*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// The name in lower case, and whether a star stood before it.
fn parse(declared: &str) -> Result<(Arc<str>, bool), HostKeyError> {
    let lower = declared.to_ascii_lowercase();
    let (name, star) = lower.strip_prefix("*.").map_or((&*lower, false), |suffix| (suffix, true));
    if declared == "*" {
        return Err(HostKeyError::LoneStar);
    }
    if name.contains('*') {
        return Err(HostKeyError::Star(declared.into()));
    }
    if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(HostKeyError::Address(declared.into()));
    }
    if let Some((_, port)) = name.split_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(HostKeyError::Port(declared.into()));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !declared.is_empty() && (name.len() > 253 || !name.split('.').all(is_label)) {
        return Err(HostKeyError::Name(declared.into()));
    }
    Ok((name.into(), star))
}

/// Into how many parts the hosts are split, and each part into shards: replacing one host copies one shard and the counts
/// of the shards beside it and of the parts, so that it costs the same among ten thousand hosts as among ten.
const PARTS: usize = 64;

/// The routers of all hosts, copied on write.
#[derive(Clone)]
pub struct Hosts {
    parts: Arc<[Part]>,
    any: Option<Arc<HostRouter>>,
    /// How many wildcards there are; without any, an unknown host costs one look-up.
    wildcards: usize,
}

type Part = Arc<[Shard]>;

/// The names of a shard by their hashes. A handful: a map of them would be looked for in three places, each of which is cold
/// where there are many hosts.
type Shard = Arc<[Named]>;

/// A name, and what is declared for it.
#[derive(Clone, Debug)]
struct Named {
    hash: u64,
    name: Arc<str>,
    claims: Claims,
}

/// What is declared for a name, and for what stands below it.
#[derive(Clone, Debug, Default)]
struct Claims {
    exact: Option<Arc<HostRouter>>,
    wildcard: Option<Arc<HostRouter>>,
    subdomains: Option<Arc<HostRouter>>,
}

impl Default for Hosts {
    fn default() -> Self {
        let empty: Shard = Arc::default();
        let part: Part = (0..PARTS).map(|_| empty.clone()).collect();
        Self { parts: (0..PARTS).map(|_| part.clone()).collect(), any: None, wildcards: 0 }
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, router)| (key.to_string(), router))).finish()
    }
}

impl Hosts {
    /// The router for a host, which is lower-case, without port and without a final dot: that of the host itself, else
    /// of the longest wildcard, else of no host at all. An address or an empty host goes to the last.
    pub fn find(&self, host: &str) -> Option<&HostRouter> {
        if let Some(router) = self.claims(host).and_then(|claims| claims.exact.as_ref()) {
            return Some(router);
        }
        let wildcard = if self.wildcards == 0 || is_address(host) { None } else { self.find_wildcard(host) };
        wildcard.map(|(_, router)| router).or(self.any.as_ref()).map(Arc::as_ref)
    }

    /// Which of the declared hosts answers for a host, by the rules of [`Self::find`].
    pub fn key(&self, host: &str) -> Option<HostKey> {
        if self.claims(host).is_some_and(|claims| claims.exact.is_some()) {
            return Some(HostKey::Exact(host.into()));
        }
        let wildcard = if is_address(host) { None } else { self.find_wildcard(host) };
        wildcard.map(|(key, _)| key(host)).or_else(|| self.any.as_ref().map(|_| HostKey::Any))
    }

    /// The router of a declared host.
    pub fn get(&self, key: &HostKey) -> Option<&Arc<HostRouter>> {
        let Some(name) = key.name() else { return self.any.as_ref() };
        let claims = self.claims(name)?;
        match key {
            HostKey::Exact(_) => claims.exact.as_ref(),
            HostKey::Wildcard(_) => claims.wildcard.as_ref(),
            HostKey::Subdomains(_) => claims.subdomains.as_ref(),
            HostKey::Any => None,
        }
    }

    /// Every declared host, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (HostKey, &Arc<HostRouter>)> {
        let shards = self.parts.iter().flat_map(|part| part.iter());
        let named = shards.flat_map(|shard| shard.iter()).flat_map(|Named { hash: _, name, claims }| {
            let exact = claims.exact.as_ref().map(|router| (HostKey::Exact(name.clone()), router));
            let wildcard = claims.wildcard.as_ref().map(|router| (HostKey::Wildcard(name.clone()), router));
            let subdomains = claims.subdomains.as_ref().map(|router| (HostKey::Subdomains(name.clone()), router));
            [exact, wildcard, subdomains].into_iter().flatten()
        });
        named.chain(self.any.iter().map(|router| (HostKey::Any, router)))
    }

    /// These hosts with some of them put in, replaced or taken out; the others are shared, not copied.
    pub fn with(&self, changes: impl IntoIterator<Item = (HostKey, Option<Arc<HostRouter>>)>) -> Self {
        let mut hosts = self.clone();
        for (key, router) in changes {
            hosts.set(&key, router);
        }
        hosts
    }

    fn set(&mut self, key: &HostKey, router: Option<Arc<HostRouter>>) {
        let Some(name) = key.name() else {
            self.any = router;
            return;
        };
        let hash = hash_of(name);
        let (part, shard) = place_of(hash);
        // Each is copied once; from then on it is ours alone.
        let Some(part) = Arc::make_mut(&mut self.parts).get_mut(part) else { return };
        let Some(shard) = Arc::make_mut(part).get_mut(shard) else { return };
        let place = match shard.iter().position(|named| named.hash == hash && named.name == *name) {
            Some(place) => place,
            None => {
                let place = shard.partition_point(|named| named.hash < hash);
                let new = Named { hash, name: Arc::clone(name), claims: Claims::default() };
                let (before, after) = shard.split_at(place);
                *shard = before.iter().cloned().chain([new]).chain(after.iter().cloned()).collect();
                place
            }
        };
        let Some(Named { claims, .. }) = Arc::make_mut(shard).get_mut(place) else { return };
        let claim = match key {
            HostKey::Exact(_) | HostKey::Any => &mut claims.exact,
            HostKey::Wildcard(_) => &mut claims.wildcard,
            HostKey::Subdomains(_) => &mut claims.subdomains,
        };
        let added = usize::from(router.is_some());
        let former = std::mem::replace(claim, router);
        if matches!(key, HostKey::Wildcard(_) | HostKey::Subdomains(_)) {
            self.wildcards = self.wildcards + added - usize::from(former.is_some());
        }
        if claims.exact.is_none() && claims.wildcard.is_none() && claims.subdomains.is_none() {
            *shard = shard.iter().filter(|named| named.name != *name).cloned().collect();
        }
    }

    fn claims(&self, name: &str) -> Option<&Claims> {
        let hash = hash_of(name);
        let (part, shard) = place_of(hash);
        let shard = self.parts.get(part)?.get(shard)?;
        let first = shard.partition_point(|named| named.hash < hash);
        let mut same = shard.get(first..)?.iter().take_while(|named| named.hash == hash);
        same.find(|named| *named.name == *name).map(|named| &named.claims)
    }

    fn find_wildcard(&self, host: &str) -> Option<(impl Fn(&str) -> HostKey + use<>, &Arc<HostRouter>)> {
        let mut one_label = true;
        for dot in memchr::memchr_iter(b'.', host.as_bytes()) {
            // An empty first label is not a label.
            if dot > 0
                && let Some(claims) = self.claims(host.get(dot + 1..).unwrap_or_default())
                && let Some(router) = if one_label { &claims.wildcard } else { &claims.subdomains }
            {
                let key = move |host: &str| {
                    let suffix = host.get(dot + 1..).unwrap_or_default().into();
                    if one_label { HostKey::Wildcard(suffix) } else { HostKey::Subdomains(suffix) }
                };
                return Some((key, router));
            }
            one_label = false;
        }
        None
    }
}

fn hash_of(name: &str) -> u64 {
    BuildXxh3.hash_one(name)
}

/// A part and a shard of it.
fn place_of(hash: u64) -> (usize, usize) {
    let bits = hash as usize;
    (bits % PARTS, bits / PARTS % PARTS)
}

/// Whether a host is an address whose dots could pass for those of a name; few names end in a digit and get parsed.
fn is_address(host: &str) -> bool {
    host.starts_with('[') || (host.ends_with(|last: char| last.is_ascii_digit()) && host.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests;
