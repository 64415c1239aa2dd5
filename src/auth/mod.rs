//! Who is asking: what tokens and passwords prove, and how.
//!
//! It knows headers and bytes, and nothing of routes or of how a refusal looks in HTTP. Nothing here makes [`Claims`]
//! but a verification, so whoever holds one holds what an issuer has signed.

mod claims;

pub use claims::Claims;
