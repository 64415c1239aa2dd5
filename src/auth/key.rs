//! Keys that signatures are checked with, from JWK, PEM or plain bytes, and what makes one too weak.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde_json::{Map, Value};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_SIG_ED25519};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::algorithm::{Algorithm, KeyType};

/// The shortest HMAC key: as long as what the shortest of its algorithms gives (RFC 7518 3.2).
const HMAC_BYTES: usize = 32;
/// The shortest RSA modulus (RFC 7518 3.3), and the longest that is worth the time it takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    /// The name that a token may ask for it by.
    pub(super) id: Option<Box<str>>,
    pub(super) key_type: KeyType,
    /// The only algorithm it is for, when it says so.
    only: Option<Algorithm>,
    key: DecodingKey,
}

/// Why a key cannot be used. None of it holds anything of the key itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It is easily guessed.
    #[error("is an HMAC key of {0} bytes")]
    ShortSecret(usize),
    /// It is easily broken, or takes too long to use.
    #[error("is an RSA key of {0} bits")]
    RsaSize(usize),
    /// It is a kind of key that no algorithm of ours uses.
    #[error("is of a kind that is not supported")]
    Unsupported,
    /// It says that it is for something else.
    #[error("is not for checking signatures")]
    OtherUse,
    /// Whoever has it can sign.
    #[error("is a private key")]
    Private,
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Malformed(&'static str),
    /// No algorithm of the provider works with it.
    #[error("is a {0} key, which none of the algorithms uses")]
    NoAlgorithm(KeyType),
}

impl KeyFault {
    /// What would be right.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::ShortSecret(_) => "use 32 random bytes or more, as from `openssl rand 32`",
            Self::RsaSize(_) => "use an RSA key of 2048 to 8192 bits, or an elliptic curve",
            Self::Unsupported => "use RSA, P-256, P-384, Ed25519 or HMAC",
            Self::OtherUse => "use a key whose use is sig and whose key_ops are verify, or leave both out",
            Self::Private => "put only the public key there",
            Self::Malformed(_) => "write a JSON Web Key Set, or public keys in PEM",
            Self::NoAlgorithm(_) => "list an algorithm of that kind, or use another key",
        }
    }
}

impl Key {
    /// Whether a signature of this algorithm can be checked with it.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.key_type == algorithm.key_type() && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether this is the signature of the message.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        self.fits(algorithm)
            && jsonwebtoken::crypto::verify(signature, message, &self.key, algorithm.library()).unwrap_or(false)
    }

    /// A secret that both sides have.
    pub(super) fn hmac(secret: &[u8]) -> Result<Self, KeyFault> {
        if secret.len() < HMAC_BYTES {
            return Err(KeyFault::ShortSecret(secret.len()));
        }
        Ok(Self { id: None, key_type: KeyType::Hmac, only: None, key: DecodingKey::from_secret(secret) })
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyFault> {
        let modulus = without_zeros(modulus);
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(KeyFault::RsaSize(bits));
        }
        let exponent = without_zeros(exponent);
        if exponent.len() > 8 || exponent.last().is_none_or(|last| last % 2 == 0) || exponent == [1] {
            return Err(KeyFault::Malformed("its exponent is none"));
        }
        let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self { id: None, key_type: KeyType::Rsa, only: None, key })
    }

    fn curve(key_type: KeyType, point: &[u8]) -> Result<Self, KeyFault> {
        let (length, key) = match key_type {
            KeyType::P256 => (65, DecodingKey::from_ec_der(point)),
            KeyType::P384 => (97, DecodingKey::from_ec_der(point)),
            KeyType::Ed25519 => (32, DecodingKey::from_ed_der(point)),
            KeyType::Hmac | KeyType::Rsa => return Err(KeyFault::Unsupported),
        };
        if point.len() != length {
            return Err(KeyFault::Malformed("its point is not one of its curve"));
        }
        Ok(Self { id: None, key_type, only: None, key })
    }

    /// A JSON Web Key (RFC 7517).
    pub(super) fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyFault> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let part = |name: &'static str| bytes(name).ok_or(KeyFault::Malformed("a part is missing or no base64url"));
        let kind = text("kty").ok_or(KeyFault::Malformed("it has no kty"))?;
        let verifies = |ops: &Value| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify"));
        if jwk.get("use").is_some_and(|it| it != "sig") || jwk.get("key_ops").is_some_and(|ops| !verifies(ops)) {
            return Err(KeyFault::OtherUse);
        }
        if kind != "oct" && jwk.contains_key("d") {
            return Err(KeyFault::Private);
        }
        let mut key = match (kind, text("crv")) {
            ("oct", _) => Self::hmac(&part("k")?)?,
            ("RSA", _) => Self::rsa(&part("n")?, &part("e")?)?,
            ("EC", Some("P-256")) => Self::curve(KeyType::P256, &point(&part("x")?, &part("y")?))?,
            ("EC", Some("P-384")) => Self::curve(KeyType::P384, &point(&part("x")?, &part("y")?))?,
            ("OKP", Some("Ed25519")) => Self::curve(KeyType::Ed25519, &part("x")?)?,
            _ => return Err(KeyFault::Unsupported),
        };
        key.id = match jwk.get("kid") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id.as_str().into()),
            Some(_) => return Err(KeyFault::Malformed("its kid is no text")),
        };
        key.only = match jwk.get("alg") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => {
                let only = Algorithm::named(name).ok_or(KeyFault::Unsupported)?;
                if only.key_type() != key.key_type {
                    return Err(KeyFault::Malformed("its alg and kty do not agree"));
                }
                Some(only)
            }
            Some(_) => return Err(KeyFault::Malformed("its alg is no text")),
        };
        Ok(key)
    }

    /// Every public key in a PEM text.
    pub(super) fn from_pem(pem: &[u8]) -> Vec<Result<Self, KeyFault>> {
        <(SectionKind, Vec<u8>)>::pem_slice_iter(pem)
            .map(|section| {
                let (kind, der) = section.map_err(|_| KeyFault::Malformed("it is no PEM"))?;
                match kind {
                    SectionKind::PublicKey => {
                        let (_, info) = SubjectPublicKeyInfo::from_der(&der)
                            .map_err(|_| KeyFault::Malformed("its PEM holds no public key"))?;
                        Self::from_info(&info)
                    }
                    SectionKind::Certificate => {
                        let (_, certificate) = X509Certificate::from_der(&der)
                            .map_err(|_| KeyFault::Malformed("its PEM holds no X.509 certificate"))?;
                        Self::from_info(certificate.public_key())
                    }
                    SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                        Err(KeyFault::Private)
                    }
                    _ => Err(KeyFault::Unsupported),
                }
            })
            .collect()
    }

    fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyFault> {
        let algorithm = &info.algorithm;
        if algorithm.algorithm == OID_SIG_ED25519 {
            return Self::curve(KeyType::Ed25519, &info.subject_public_key.data);
        }
        match info.parsed() {
            Ok(PublicKey::RSA(key)) => Self::rsa(key.modulus, key.exponent),
            Ok(PublicKey::EC(point)) => {
                let curve = algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
                let key_type = match curve {
                    Some(curve) if curve == OID_EC_P256 => KeyType::P256,
                    Some(curve) if curve == OID_NIST_EC_P384 => KeyType::P384,
                    _ => return Err(KeyFault::Unsupported),
                };
                Self::curve(key_type, point.data())
            }
            Ok(_) | Err(_) => Err(KeyFault::Unsupported),
        }
    }
}

/// An uncompressed point of a curve (SEC 1 2.3.3).
fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4][..], x, y].concat()
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

impl std::fmt::Debug for Key {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("key_type", &self.key_type).finish_non_exhaustive()
    }
}
