//! The keys of one issuer, as of one moment.

use aws_lc_rs::digest;
use serde_json::Value;

use super::algorithm::{Algorithm, KeyType};
use super::key::{Key, KeyFault};

/// Keys beyond this many are more than any issuer has, and each may have to be tried.
const KEYS: usize = 100;
/// How many keys are tried for a token that does not say which one it was signed with.
const TRIED: usize = 8;

/// What tells apart things that must not be taken for each other, even by somebody who may choose them.
pub(crate) type Fingerprint = [u8; 32];

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Box<[Key]>,
    fingerprint: Fingerprint,
}

/// Where a set comes from, which decides what may be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A Secret: it may hold a key that both sides have.
    Secret,
    /// The route itself, or a ConfigMap: many may read it.
    Public,
    /// The issuer's own address, which anybody may ask: what cannot be used is passed over, for it may be for others.
    Remote,
}

/// Why there is no key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// A key of it cannot be used.
    #[error("key {number} {fault}")]
    Key {
        /// Counted from 1.
        number: usize,
        /// Why.
        fault: KeyFault,
    },
    /// An HMAC key where everybody can read it.
    #[error("key {0} is an HMAC key, with which whoever can read it can sign tokens")]
    PublicSecret(usize),
    /// Nothing in it can be used.
    #[error("no key in it can be used for {0}")]
    NoKey(String),
    /// It is no set.
    #[error("it is neither a JSON Web Key Set nor PEM")]
    NoSet,
    /// It holds too many.
    #[error("it holds more than {KEYS} keys")]
    TooMany,
}

impl KeySetError {
    /// What would be right.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Key { fault, .. } => fault.remedy(),
            Self::PublicSecret(_) => "put it in a Secret, and refer to that with valueRef",
            Self::NoKey(_) => "add a key of that kind, or list the algorithms of the keys that there are",
            Self::NoSet => "write {\"keys\": [...]}, or public keys in PEM",
            Self::TooMany => "leave out the keys that nothing is signed with any more",
        }
    }
}

impl KeySet {
    /// Reads a JSON Web Key Set, a single key of that form, keys in PEM, or, from a Secret when nothing but HMAC is asked
    /// for, a key byte by byte.
    ///
    /// # Errors
    /// When it cannot be used, or a key in it is too weak.
    pub fn read(text: &[u8], algorithms: &[Algorithm], origin: Origin) -> Result<Self, KeySetError> {
        let usable = |key: Key| match algorithms.iter().any(|algorithm| key.fits(*algorithm)) {
            true => Ok(key),
            false => Err(KeyFault::NoAlgorithm(key.key_type)),
        };
        let looks_like = |mark: &[u8]| memchr::memmem::find(text, mark).is_some();
        let found: Vec<Result<Key, KeyFault>> = if text.trim_ascii_start().starts_with(b"{") {
            let value: Value = serde_json::from_slice(text).map_err(|_| KeySetError::NoSet)?;
            let object = value.as_object().ok_or(KeySetError::NoSet)?;
            match object.get("keys") {
                Some(Value::Array(keys)) if keys.len() > KEYS => return Err(KeySetError::TooMany),
                Some(Value::Array(keys)) => keys
                    .iter()
                    .map(|key| Key::from_jwk(key.as_object().ok_or(KeyFault::Malformed("it is no object"))?))
                    .collect(),
                Some(_) => return Err(KeySetError::NoSet),
                None if object.contains_key("kty") => vec![Key::from_jwk(object)],
                None => return Err(KeySetError::NoSet),
            }
        } else if looks_like(b"-----BEGIN ") {
            Key::from_pem(text)
        } else if origin == Origin::Secret && algorithms.iter().all(|a| a.key_type() == KeyType::Hmac) {
            vec![Key::hmac(text)]
        } else {
            return Err(KeySetError::NoSet);
        };
        let mut keys = Vec::new();
        for (index, key) in found.into_iter().enumerate() {
            let number = index + 1;
            match key {
                Ok(key) if key.key_type == KeyType::Hmac && origin == Origin::Public => {
                    return Err(KeySetError::PublicSecret(number));
                }
                Ok(key) if key.key_type == KeyType::Hmac && origin == Origin::Remote => {}
                Ok(key) => match usable(key) {
                    Ok(key) => keys.push(key),
                    // A set may well have keys of other kinds beside those that are asked for.
                    Err(_) if origin == Origin::Remote => {}
                    Err(fault) => return Err(KeySetError::Key { number, fault }),
                },
                Err(_) if origin == Origin::Remote => {}
                Err(fault) => return Err(KeySetError::Key { number, fault }),
            }
        }
        if keys.is_empty() {
            let names: Vec<_> = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
            return Err(KeySetError::NoKey(names.join(", ")));
        }
        Ok(Self { keys: keys.into(), fingerprint: fingerprint(&[text]) })
    }

    /// The keys that a token of this algorithm may have been signed with. A name that the token gives is only ever
    /// compared: where keys have names it must be one of them, and a key without one has nothing to be asked for by.
    pub(super) fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        let named = |key: &&Key| id.is_some() && key.id.as_deref() == id;
        let any = self.keys.iter().any(|key| named(&key));
        self.keys
            .iter()
            .filter(move |key| key.fits(algorithm))
            .filter(move |key| match id {
                Some(_) if any => key.id.as_deref() == id,
                Some(_) => key.id.is_none(),
                None => true,
            })
            .take(TRIED)
    }

    /// Equal for equal sets.
    pub(super) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// A fingerprint of texts, each on its own.
pub(crate) fn fingerprint(texts: &[&[u8]]) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in texts {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text);
    }
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}
