//! What a line shows of a request's headers: none but what the client says of itself, unless others are asked for.

use http::HeaderName;
use http::header;

use super::query::REDACTED;

/// What is shown of one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Its value.
    Kept,
    /// That it was there.
    Redacted,
    /// Nothing.
    Dropped,
}

/// What is shown of headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) user_agent: Shown,
    pub(super) referer: Shown,
    /// Those that have a place of their own in no line, in the order in which they were asked for.
    others: Vec<(HeaderName, Shown)>,
}

/// Why a header cannot be shown so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error(
        "header=`{0}`: that is no header's name; write header=X-Tenant, header=X-Api-Key:redact or header=User-Agent:drop"
    )]
    Name(String),
    #[error("header=`{0}`: write keep, redact or drop behind the colon")]
    Shown(String),
    #[error("header=`{0}` carries secrets and is not logged; write header={0}:redact to log that it was there")]
    Secret(HeaderName),
}

impl Default for Headers {
    fn default() -> Self {
        Self { user_agent: Shown::Kept, referer: Shown::Kept, others: Vec::new() }
    }
}

impl Headers {
    /// Takes `X-Tenant`, `X-Api-Key:redact` or `User-Agent:drop` in.
    pub(super) fn add(&mut self, asked: &str) -> Result<(), HeaderError> {
        let (name, shown) = match asked.trim().split_once(':') {
            None | Some((_, "keep")) => (asked, Shown::Kept),
            Some((_, "redact")) => (asked, Shown::Redacted),
            Some((_, "drop")) => (asked, Shown::Dropped),
            Some(_) => return Err(HeaderError::Shown(asked.trim().to_owned())),
        };
        let name = name.trim().split(':').next().unwrap_or_default();
        let name = HeaderName::try_from(name).map_err(|_| HeaderError::Name(name.to_owned()))?;
        if shown == Shown::Kept && is_secret(&name) {
            return Err(HeaderError::Secret(name));
        }
        match name {
            header::USER_AGENT => self.user_agent = shown,
            header::REFERER => self.referer = shown,
            name => {
                self.others.retain(|(known, _)| *known != name);
                if shown != Shown::Dropped {
                    self.others.push((name, shown));
                }
            }
        }
        Ok(())
    }

    /// Those that are to be remembered of each request.
    pub(super) fn others(&self) -> impl Iterator<Item = (&HeaderName, Shown)> {
        self.others.iter().map(|(name, shown)| (name, *shown))
    }

    /// Whether any are.
    pub(super) fn is_usual(&self) -> bool {
        self.others.is_empty()
    }
}

impl Shown {
    /// What is shown of a value.
    pub(super) fn of(self, value: Option<&[u8]>) -> Option<&[u8]> {
        match self {
            Self::Kept => value,
            Self::Redacted => value.map(|_| REDACTED),
            Self::Dropped => None,
        }
    }
}

/// Whether a header exists to carry a secret. There are others, and only who asks for them can know.
fn is_secret(name: &HeaderName) -> bool {
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE].contains(name)
}
