//! Who is asking: what tokens and passwords prove, and how.
//!
//! It knows headers and bytes, and nothing of routes or of how a refusal looks in HTTP. Nothing here makes [`Claims`]
//! but [`Provider::verify`], so whoever holds one holds what an issuer has signed.
//!
//! ```text
//!   request ── Sources::find ──> token ── TokenCache ──────────────────────┐
//!                                  │                                       ├─> Verified ── TokenRequirement::permits
//!                                  └─> Provider::verify (keys: KeySource) ─┘
//! ```

mod algorithm;
mod basic;
mod cache;
mod claims;
mod explain;
mod extract;
mod json;
mod key;
mod key_set;
mod provider;
mod remote;
mod requirement;
mod token;

pub use algorithm::{Algorithm, KeyType};
pub use basic::{BasicRequirement, Credentials, PasswordCache, Users, UsersError};
pub use cache::TokenCache;
pub use claims::Claims;
pub use extract::{Found, Place, Sources};
pub use key::KeyFault;
pub(crate) use key_set::{Fingerprint, fingerprint};
pub use key_set::{KeySet, KeySetError, Origin};
pub use provider::{ClaimHeader, KeySource, Provider, Refusal, TokenRules, Verified};
pub use remote::{RemoteKeys, RemoteSettings};
pub use requirement::{Lack, RequiredClaim, Requirement, Reserved, TokenRequirement};
pub use token::MAX_TOKEN;

#[cfg(test)]
mod tests;
