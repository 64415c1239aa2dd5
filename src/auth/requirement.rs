//! What a route asks to know of who is asking.

use std::fmt;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::basic::BasicRequirement;
use super::claims::Claims;
use super::provider::Provider;
use crate::filter::Title;

/// What a client must prove of itself, and how.
#[derive(Debug)]
pub enum Requirement {
    /// With a token.
    Token(TokenRequirement),
    /// With name and password.
    Basic(BasicRequirement),
}

/// The token that a route asks for.
#[derive(Debug)]
pub struct TokenRequirement {
    /// Whose tokens are accepted.
    pub providers: Box<[Arc<Provider>]>,
    /// Whether a request without a token is let through.
    pub optional: bool,
    /// Whether a request in clear is refused.
    pub require_tls: bool,
    /// Scopes that it must have, all of them.
    pub scopes: Box<[Box<str>]>,
    /// Claims that it must have, all of them.
    pub claims: Box<[RequiredClaim]>,
}

/// A claim that a token must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaim {
    /// Which, as [`Claims::value`] finds it.
    pub name: Box<str>,
    /// The values of which it must have one.
    pub values: Box<[Box<str>]>,
}

/// Headers that only the gateway may set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved(Box<[HeaderName]>);

/// What a token that is right lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A scope.
    Scope,
    /// A claim.
    Claim,
}

// === impl TokenRequirement ===

impl TokenRequirement {
    /// Whether what a token says is enough.
    ///
    /// # Errors
    /// When it lacks something.
    pub fn permits(&self, claims: &Claims) -> Result<(), Lack> {
        if !self.scopes.iter().all(|scope| claims.has_scope(scope)) {
            return Err(Lack::Scope);
        }
        let has = |required: &RequiredClaim| {
            claims.value(&required.name).is_some_and(|claim| match claim {
                Value::Array(values) => values.iter().any(|value| required.accepts(value)),
                one => required.accepts(one),
            })
        };
        if self.claims.iter().all(has) { Ok(()) } else { Err(Lack::Claim) }
    }

    /// What a client is told whose token lacks something (RFC 6750 3.1).
    pub fn challenge(&self, lack: Lack) -> HeaderValue {
        const PLAIN: HeaderValue = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
        // Only what RFC 6750 allows in a scope can stand between quotes.
        let plain = |scope: &str| scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        match lack {
            Lack::Scope if self.scopes.iter().all(|scope| plain(scope)) => {
                let text = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", self.scopes.join(" "));
                HeaderValue::try_from(text).unwrap_or(PLAIN)
            }
            Lack::Scope | Lack::Claim => PLAIN,
        }
    }
}

impl RequiredClaim {
    fn accepts(&self, value: &Value) -> bool {
        let is = |text: &str| self.values.iter().any(|wanted| **wanted == *text);
        match value {
            Value::String(text) => is(text),
            Value::Bool(value) => is(if *value { "true" } else { "false" }),
            Value::Number(number) => is(&number.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }
}

// === impl Reserved ===

impl Reserved {
    /// These headers.
    pub fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut folded: Vec<HeaderName> = Vec::new();
        for name in names {
            for name in [fold(&name), name] {
                if !folded.contains(&name) {
                    folded.push(name);
                }
            }
        }
        Self(folded.into())
    }

    /// Drops these headers, and those that a backend might take for one of them, from what a client sent.
    ///
    /// Names with anything but letters, digits and dashes have been dropped from every request and its trailers before
    /// this, so the spelling with dashes is the only other one that can be left.
    pub fn strip(&self, headers: &mut HeaderMap) {
        for name in &self.0 {
            headers.remove(name);
        }
    }

    /// Their names.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The name as those read it who make one character of all that is no letter or digit.
fn fold(name: &HeaderName) -> HeaderName {
    let folded: String = name
        .as_str()
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character } else { '-' })
        .collect();
    HeaderName::try_from(folded).unwrap_or_else(|_| name.clone())
}

// === impl Display ===

impl fmt::Display for Requirement {
    /// `jwt: a token of shop/shop/main, with scope orders.read`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => write!(f, "jwt: {token}"),
            Self::Basic(basic) => write!(f, "basicAuth: {basic}"),
        }
    }
}

impl fmt::Display for TokenRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { providers, optional, require_tls, scopes, claims } = self;
        for (index, provider) in providers.iter().enumerate() {
            let algorithms: Vec<_> = provider.rules.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
            let or = if index == 0 { "a token of " } else { " or " };
            write!(f, "{or}{} ({})", provider.name, algorithms.join(", "))?;
        }
        if *optional {
            f.write_str(", or none")?;
        }
        if !scopes.is_empty() {
            write!(f, ", with scope {}", scopes.join(" "))?;
        }
        for RequiredClaim { name, values } in claims {
            write!(f, ", with {name} {}", values.join(" or "))?;
        }
        let headers = || providers.iter().flat_map(|provider| provider.claim_headers.iter());
        for header in headers() {
            write!(f, "; {} from {}", Title(&header.header), header.claim)?;
        }
        if !*require_tls {
            f.write_str("; also in clear")?;
        }
        Ok(())
    }
}
