//! Which addresses of clients may pass.

use std::fmt;
use std::net::IpAddr;

use crate::address::Networks;

/// Which addresses of clients may pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpAccess {
    /// Those that may; everybody when there is no such list.
    pub allow: Option<Networks>,
    /// Those that may not, even if they may by the other list.
    pub deny: Networks,
}

impl IpAccess {
    /// Whether the client may pass.
    pub fn admits(&self, client: IpAddr) -> bool {
        !self.deny.contains(client) && self.allow.as_ref().is_none_or(|allow| allow.contains(client))
    }
}

impl fmt::Display for IpAccess {
    /// `allow 10.0.0.0/8; deny 10.6.6.0/24`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allow, deny } = self;
        if let Some(allow) = allow {
            write!(f, "allow {allow}")?;
        }
        if !deny.is_empty() {
            f.write_str(if allow.is_some() { "; " } else { "" })?;
            write!(f, "deny {deny}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn deny_wins_and_an_address_outside_allow_is_refused() {
        let both =
            IpAccess { allow: Some(networks(&["10.0.0.0/8", "2001:db8::/32"])), deny: networks(&["10.6.6.0/24"]) };
        let only_deny = IpAccess { allow: None, ..both.clone() };
        for (address, by_both, by_deny) in [
            ("10.0.0.1", true, true),
            ("::ffff:10.0.0.1", true, true),
            ("10.6.6.6", false, false),
            ("::ffff:10.6.6.6", false, false),
            ("2001:db8::1", true, true),
            ("192.0.2.1", false, true),
            ("::1", false, true),
        ] {
            let client = address.parse().unwrap();
            assert_eq!((both.admits(client), only_deny.admits(client)), (by_both, by_deny), "{address}");
        }
        assert_eq!(both.to_string(), "allow 10.0.0.0/8, 2001:db8::/32; deny 10.6.6.0/24");
        assert_eq!(only_deny.to_string(), "deny 10.6.6.0/24");
    }
}
