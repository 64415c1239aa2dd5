//! What a client is given so that it finds its endpoint again: an opaque ticket that every replica can read.
//!
//! A ticket names an endpoint by a keyed hash of its address, so that it tells nobody the address, and is signed, so that
//! nobody can make it last longer. The key is made of what all replicas know and clients do not.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;

/// What the key of a cluster's tickets is made of.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Secret(Arc<str>);

impl Secret {
    /// From a text that is the same on every replica.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The key of a cluster's tickets.
#[derive(Debug)]
pub struct SessionKey(hmac::Key);

/// What a ticket says. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which endpoint, by [`SessionKey::id`].
    pub endpoint: u64,
    /// When the session began.
    pub began: u32,
    /// When it was last used, as far as the client has been told.
    pub used: u32,
}

impl SessionKey {
    /// The key that a secret makes.
    pub fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.0.as_bytes()))
    }

    /// What an endpoint is called in tickets.
    pub fn id(&self, address: SocketAddr) -> u64 {
        self.hash(format!("endpoint {address}").as_bytes())
    }

    /// The ticket as clients carry it.
    pub fn seal(&self, ticket: Ticket) -> String {
        let Ticket { endpoint, began, used } = ticket;
        let said = format!("{endpoint:016x}{began:08x}{used:08x}");
        let signature = self.hash(said.as_bytes());
        format!("{said}{signature:016x}")
    }

    /// What a client carries as a ticket, if it is one of ours.
    pub fn open(&self, text: &[u8]) -> Option<Ticket> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 48 && text.is_ascii())?;
        let number = |from: usize, to: usize| u64::from_str_radix(text.get(from..to)?, 16).ok();
        // A guess at 64 bits gains a longer session at best, so how long the comparison takes is no secret.
        if number(32, 48)? != self.hash(text.get(..32)?.as_bytes()) {
            return None;
        }
        let short = |from, to| u32::try_from(number(from, to)?).ok();
        Some(Ticket { endpoint: number(0, 16)?, began: short(16, 24)?, used: short(24, 32)? })
    }

    fn hash(&self, said: &[u8]) -> u64 {
        let tag = hmac::sign(&self.0, said);
        tag.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_by_whoever_has_the_secret_and_by_nobody_else() {
        let (ours, theirs) = (SessionKey::new(&Secret::new("a")), SessionKey::new(&Secret::new("b")));
        let address = "10.1.2.3:8080".parse().unwrap();
        let ticket = Ticket { endpoint: ours.id(address), began: 1_700_000_000, used: 1_700_000_060 };
        let text = ours.seal(ticket);
        assert_eq!(SessionKey::new(&Secret::new("a")).open(text.as_bytes()), Some(ticket));
        assert_ne!(ours.id(address), theirs.id(address));
        assert_eq!(theirs.open(text.as_bytes()), None);
        for changed in [text.replacen('6', "7", 1), text[1..].to_owned(), String::new(), format!("{text}0")] {
            assert_eq!(ours.open(changed.as_bytes()), None, "{changed}");
        }
        assert_eq!(ours.open(&[0xff; 48]), None);
        assert_eq!(format!("{:?}", Secret::new("a")), "Secret(..)");
    }
}
