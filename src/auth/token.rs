//! A token as it stands, before anything in it is believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json;

/// Longer tokens are not looked at.
pub const MAX_TOKEN: usize = 8 * 1024;
/// Longer names of keys are not looked for.
const MAX_KEY_ID: usize = 256;

/// A token in its parts.
#[derive(Debug)]
pub(super) struct Token<'t> {
    /// What it says that it is signed with. What it may be signed with, the provider says.
    pub(super) algorithm: Algorithm,
    /// What it says that the key is called.
    pub(super) key_id: Option<String>,
    /// What it claims.
    pub(super) claims: Map<String, Value>,
    /// What is signed.
    pub(super) message: &'t str,
    /// The signature, as sent.
    pub(super) signature: &'t str,
}

impl<'t> Token<'t> {
    /// Takes a token apart; `None` when it is none, or asks for something that a token must not ask for.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        if text.len() > MAX_TOKEN {
            return None;
        }
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        // A part of nothing: unsigned, or without claims. A fourth part: an encrypted token.
        if signature.is_empty() || claims.is_empty() || claims.contains('.') {
            return None;
        }
        let part = |part: &str| json::object(&URL_SAFE_NO_PAD.decode(part).ok()?);
        let header = part(header)?;
        let algorithm = Algorithm::named(header.get("alg")?.as_str()?)?;
        // A token that brings its key or says where to fetch it would be signed by whoever sent it. One with critical
        // extensions must be refused by whoever does not know them (RFC 7515 4.1.11), and we know none.
        if ["jwk", "jku", "x5u", "x5c", "crit", "b64", "enc", "zip"].iter().any(|name| header.contains_key(*name)) {
            return None;
        }
        if !header.get("typ").is_none_or(is_access_token) || header.contains_key("cty") {
            return None;
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_KEY_ID => Some(id.clone()),
            Some(_) => return None,
        };
        Some(Self { algorithm, key_id, claims: part(claims)?, message, signature })
    }
}

/// Whether a token of this type is one to be let in by: others of the same issuer, such as a logout token or a proof of
/// possession, are signed with the same keys (RFC 8725 3.11).
fn is_access_token(declared: &Value) -> bool {
    declared.as_str().is_some_and(|name| {
        let name = name
            .get(.."application/".len())
            .filter(|prefix| prefix.eq_ignore_ascii_case("application/"))
            .map_or(name, |prefix| name.get(prefix.len()..).unwrap_or_default());
        ["jwt", "at+jwt", "jose"].iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}
