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

/// Where a session's ticket travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// In a cookie that we set.
    Cookie(Box<str>),
    /// In a header of the response that the client repeats.
    Header(HeaderName),
}

impl fmt::Display for Session {
    /// `keeps clients by cookie cart, at most 1h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { carrier, absolute, idle, permanent } = self;
        match carrier {
            Carrier::Cookie(name) => write!(f, "keeps clients by cookie {name}")?,
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
