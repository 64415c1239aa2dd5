//! How a client stays with the endpoint that served it first.

use std::fmt;
use std::time::Duration;

use http::HeaderName;

/// How a client stays with its endpoint, for as long as that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Where its ticket travels.
    pub carrier: Carrier,
    /// How long a session lasts, however busy it is.
    pub absolute: Option<Duration>,
    /// How long it lasts without a request.
    pub idle: Option<Duration>,
    /// Whether a browser keeps the cookie when it is closed, until the session is over.
    pub permanent: bool,
}

/// A cookie for a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: Box<str>,
    /// What a browser is told of it beside its name, value and age (RFC 6265 4.1.1).
    pub attributes: Box<str>,
}

impl Cookie {
    /// What a cookie is told when nothing else is asked for.
    pub const ATTRIBUTES: &'static str = "Path=/; HttpOnly; SameSite=Lax";
}

/// Where a session's ticket travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// In a cookie that we set.
    Cookie(Cookie),
    /// In a header of the response that the client repeats.
    Header(HeaderName),
}

impl fmt::Display for Session {
    /// `keeps clients by cookie cart, at most 1h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { carrier, absolute, idle, permanent } = self;
        match carrier {
            Carrier::Cookie(Cookie { name, attributes }) if **attributes == *Cookie::ATTRIBUTES => {
                write!(f, "keeps clients by cookie {name}")?;
            }
            Carrier::Cookie(Cookie { name, attributes }) => write!(f, "keeps clients by cookie {name} ({attributes})")?,
            Carrier::Header(name) => write!(f, "keeps clients by header {name}")?,
        }
        if let Some(absolute) = absolute {
            write!(f, ", at most {absolute:?}")?;
        }
        if let Some(idle) = idle {
            write!(f, ", {idle:?} without a request")?;
        }
        if *permanent {
            f.write_str(", also when the browser is closed")?;
        }
        Ok(())
    }
}
