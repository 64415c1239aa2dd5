//! An issuer of tokens: what makes a token one of its own.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::claims::Claims;
use super::extract::Sources;
use super::key_set::{self, Fingerprint, KeySet};
use super::remote::RemoteKeys;
use super::token::Token;

/// The last second of the year 9999; a time beyond it is a mistake or a trick.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// An issuer of tokens.
#[derive(Debug)]
pub struct Provider {
    /// `namespace/route/provider`, as metrics and logs name it.
    pub name: Arc<str>,
    /// How its tokens are recognised.
    pub rules: TokenRules,
    /// Its keys.
    pub keys: KeySource,
    /// Where its tokens are looked for.
    pub sources: Sources,
    /// Claims that the backend gets as headers.
    pub claim_headers: Box<[ClaimHeader]>,
    /// Whether the backend gets the token itself.
    pub forward_token: bool,
    pub(super) fingerprint: Fingerprint,
}

/// What a token must be beside signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// The issuer it must name.
    pub issuer: Option<Box<str>>,
    /// The audiences of which it must name one, unless there are none.
    pub audiences: Box<[Box<str>]>,
    /// What it may be signed with.
    pub algorithms: Box<[Algorithm]>,
    /// By how many seconds the issuer's clock may differ from ours.
    pub clock_skew: u64,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// Here.
    Fixed(Arc<KeySet>),
    /// At the issuer's.
    Remote(Arc<RemoteKeys>),
}

/// A claim that the backend gets as a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimHeader {
    /// Which claim, as [`Claims::value`] finds it.
    pub claim: Box<str>,
    /// The header.
    pub header: HeaderName,
}

/// A token that is right, and what is made of it for every request that brings it.
#[derive(Debug)]
pub struct Verified {
    /// What it says.
    pub claims: Claims,
    /// What the backend is told of it.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    /// The first second in which it is valid, tolerance included.
    from: u64,
    /// The first second in which it is not valid any more, tolerance included.
    until: u64,
}

/// Why a token is not right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It is no token, or asks for something that a token must not ask for.
    Malformed,
    /// It is signed with another algorithm than those allowed.
    Algorithm,
    /// There is no such key.
    UnknownKey,
    /// The keys have not been fetched yet.
    NoKeys,
    /// It was not signed with the key.
    Signature,
    /// It is another issuer's.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// It is not valid any more, or does not say until when it is.
    Expired,
    /// It is not valid yet.
    NotYet,
}

impl Provider {
    /// An issuer; the name must tell it from every other.
    pub fn new(
        name: Arc<str>,
        rules: TokenRules,
        keys: KeySource,
        sources: Sources,
        claim_headers: Box<[ClaimHeader]>,
        forward_token: bool,
    ) -> Self {
        let TokenRules { issuer, audiences, algorithms, clock_skew } = &rules;
        let clock_skew = clock_skew.to_string();
        let mut texts: Vec<&[u8]> = vec![name.as_bytes(), clock_skew.as_bytes()];
        texts.push(if issuer.is_some() { b"issuer" } else { b"" });
        texts.push(issuer.as_deref().unwrap_or_default().as_bytes());
        let list = |kind: &'static str, list: &mut dyn Iterator<Item = &'_ str>| {
            let joined = list.map(|item| format!("{}:{item}", item.len())).collect::<Vec<_>>().join(",");
            key_set::fingerprint(&[kind.as_bytes(), joined.as_bytes()])
        };
        let lists = [
            list("audiences", &mut audiences.iter().map(|audience| &**audience)),
            list("algorithms", &mut algorithms.iter().map(|algorithm| algorithm.as_str())),
            list("claims", &mut claim_headers.iter().flat_map(|it| [&*it.claim, it.header.as_str()])),
        ];
        texts.extend(lists.iter().map(<[u8; 32]>::as_slice));
        let fingerprint = key_set::fingerprint(&texts);
        Self { name, rules, keys, sources, claim_headers, forward_token, fingerprint }
    }

    /// What a verification is remembered under beside the token itself: it changes with everything that decides on it.
    pub(super) fn identity(&self) -> Option<(Fingerprint, Fingerprint)> {
        Some((self.fingerprint, self.keys.fingerprint()?))
    }

    /// Whether a token is right at this second. This is the only way to [`Claims`].
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn verify(&self, text: &str, now: u64) -> Result<Verified, Refusal> {
        let token = Token::parse(text).ok_or(Refusal::Malformed)?;
        let TokenRules { issuer, audiences, algorithms, clock_skew } = &self.rules;
        if !algorithms.contains(&token.algorithm) {
            return Err(Refusal::Algorithm);
        }
        // Before the signature, since it costs nothing and is what tells the tokens of several issuers apart.
        if issuer.is_some() && token.claims.get("iss").and_then(Value::as_str) != issuer.as_deref() {
            return Err(Refusal::Issuer);
        }
        let keys = self.keys.current().ok_or(Refusal::NoKeys)?;
        let mut candidates = keys.candidates(token.algorithm, token.key_id.as_deref()).peekable();
        if candidates.peek().is_none() {
            return Err(Refusal::UnknownKey);
        }
        if !candidates.any(|key| key.verify(token.algorithm, token.message.as_bytes(), token.signature)) {
            return Err(Refusal::Signature);
        }
        // From here on the issuer has said all of it.
        let from = match token.claims.get("nbf") {
            Some(time) => seconds(time).ok_or(Refusal::NotYet)?.saturating_sub(*clock_skew),
            None => 0,
        };
        let until = seconds(token.claims.get("exp").ok_or(Refusal::Expired)?).ok_or(Refusal::Expired)?;
        let until = until.saturating_add(*clock_skew);
        if now < from {
            return Err(Refusal::NotYet);
        }
        if now >= until {
            return Err(Refusal::Expired);
        }
        if !is_for_one_of(&token.claims, audiences) {
            return Err(Refusal::Audience);
        }
        let claims = Claims::verified(token.claims);
        let headers = self.claim_headers.iter().filter_map(|ClaimHeader { claim, header }| {
            // What cannot stand in a header is not passed on in part.
            Some((header.clone(), HeaderValue::from_bytes(claims.get(claim)?.as_bytes()).ok()?))
        });
        Ok(Verified { headers: headers.collect(), claims, from, until })
    }
}

impl KeySource {
    /// The keys as of now; none before they have been fetched for the first time.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(keys) => Some(keys.clone()),
            Self::Remote(remote) => remote.current(),
        }
    }

    /// The same, of which no count is taken: workers would write it in turns.
    fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Fixed(keys) => Some(*keys.fingerprint()),
            Self::Remote(remote) => remote.fingerprint(),
        }
    }
}

impl Verified {
    /// Whether it is still right at this second.
    pub(super) fn holds(&self, now: u64) -> bool {
        (self.from..self.until).contains(&now)
    }
}

impl Refusal {
    /// The value of the metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::NoKeys => "no_keys",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet_valid",
        }
    }

    /// A few words for the client (RFC 6750 3: `error_description`).
    pub fn description(self) -> &'static str {
        match self {
            Self::Malformed => "the token is malformed",
            Self::Algorithm => "the token's algorithm is not accepted",
            Self::UnknownKey => "the token's key is not known",
            Self::NoKeys => "the issuer's keys are not available",
            Self::Signature => "the token's signature is wrong",
            Self::Issuer => "the token is from another issuer",
            Self::Audience => "the token is for another audience",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
        }
    }
}

/// A NumericDate (RFC 7519 2), which may have a fraction.
fn seconds(time: &Value) -> Option<u64> {
    if let Some(whole) = time.as_u64() {
        return (whole as f64 <= LAST_SECOND).then_some(whole);
    }
    let time = time.as_f64()?;
    // In range, so nothing but the fraction is lost.
    (0.0..=LAST_SECOND).contains(&time).then_some(time as u64)
}

/// Whether `aud` names one of these; one of a wrong shape names none.
fn is_for_one_of(claims: &Map<String, Value>, audiences: &[Box<str>]) -> bool {
    let wanted = |audience: &str| audiences.iter().any(|wanted| **wanted == *audience);
    match claims.get("aud") {
        None => audiences.is_empty(),
        Some(Value::String(one)) => audiences.is_empty() || wanted(one),
        Some(Value::Array(many)) => {
            many.iter().all(Value::is_string)
                && (audiences.is_empty() || many.iter().filter_map(Value::as_str).any(wanted))
        }
        Some(_) => false,
    }
}
