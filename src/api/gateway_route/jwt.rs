//! Tokens: who issues them, and what a rule asks of them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{CaCertificateRef, Duration, LocalObjectKind, pattern};

/// An issuer of JSON Web Tokens and how its tokens are found and checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.remoteJWKS) != has(self.localJWKS)")
    .message("set exactly one of remoteJWKS and localJWKS"))]
pub struct JwtProvider {
    /// Name by which rules refer to this issuer.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::SUBDOMAIN))]
    pub name: String,
    /// The iss claim a token must have, exactly; not checked when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: Option<String>,
    /// Values of which the aud claim must have at least one; not checked when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 1, max = 2048)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub audiences: Vec<String>,
    /// Algorithms a token may be signed with: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256,
    /// ES384, EdDSA. What the token says about itself does not extend this list. Keys of HS algorithms shorter than 32
    /// bytes are refused.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub algorithms: Vec<JwtAlgorithm>,
    /// Keys fetched from the issuer over HTTPS.
    #[serde(rename = "remoteJWKS", skip_serializing_if = "Option::is_none")]
    pub remote_jwks: Option<RemoteJwks>,
    /// Keys held in the cluster.
    #[serde(rename = "localJWKS", skip_serializing_if = "Option::is_none")]
    pub local_jwks: Option<LocalJwks>,
    /// Where tokens are looked for; when omitted, in the Authorization header after "Bearer ". The first place that has
    /// one counts, headers before cookies before params.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extract_from: Option<TokenSource>,
    /// Claims passed to the backend as headers. A header of the same name sent by the client is always removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["header"])
    )]
    pub claim_to_headers: Vec<ClaimToHeader>,
    /// Passes the token itself on to the backend. When false it is removed from the request once checked.
    #[serde(default)]
    pub forward_token: bool,
    /// Difference between the clocks of issuer and gateway that is tolerated in exp and nbf.
    #[serde(default = "default_clock_skew")]
    pub clock_skew: Duration,
}

/// Signature algorithms of RFC 7518 and RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "each is the algorithm of that name")]
pub enum JwtAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// A JSON Web Key Set behind a URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteJwks {
    /// Address of the key set; over https only.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https://[^\x00-\x20\x7F]+$"))]
    pub uri: String,
    /// How long fetched keys are used before they are fetched again. A token with an unknown key asks for an earlier
    /// fetch.
    #[serde(default = "default_cache_duration")]
    pub cache_duration: Duration,
    /// How long one fetch may take.
    #[serde(default = "default_fetch_timeout")]
    pub timeout: Duration,
    /// Authorities that may have signed the server's certificate; those of the system when omitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateRef>,
}

/// Keys that are not fetched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.inline) != has(self.valueRef)")
    .message("set exactly one of inline and valueRef"))]
pub struct LocalJwks {
    /// The Secret or ConfigMap that holds the keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_ref: Option<JwksObjectRef>,
    /// The keys themselves: a JSON Web Key Set, or public keys in PEM. Keys of HS algorithms are refused here, since
    /// whoever may read the route could then sign tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub inline: Option<String>,
}

/// A value of a Secret or ConfigMap that holds keys: a JSON Web Key Set, public keys in PEM, or, when every algorithm of
/// the provider is an HS one, the key itself, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwksObjectRef {
    /// API group of the referent. Only the core group, written as the empty string, is supported.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = pattern::API_GROUP))]
    pub group: String,
    /// Kind of the referent: Secret or ConfigMap. Keys of HS algorithms belong in a Secret.
    #[serde(default = "secret")]
    pub kind: LocalObjectKind,
    /// Name of the referent.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the referent; the route's own when omitted. Another namespace must allow the reference with a
    /// ReferenceGrant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::LABEL))]
    pub namespace: Option<String>,
    /// Key under which the referent holds the key set.
    #[serde(default = "jwks")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Where a token may be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.headers) || has(self.cookies) || has(self.params)")
    .message("extractFrom needs at least one of headers, cookies and params"))]
pub struct TokenSource {
    /// Headers that may hold a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub headers: Vec<TokenHeader>,
    /// Names of cookies that may hold a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 1, max = 256), regex(pattern = pattern::TOKEN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub cookies: Vec<String>,
    /// Names of query parameters that may hold a token. Addresses end up in logs: prefer another place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 1, max = 256)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub params: Vec<String>,
}

/// A header that may hold a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenHeader {
    /// Name of the header, in any case.
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub name: String,
    /// What stands before the token in the value and is cut off, such as "Bearer "; nothing when omitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub value_prefix: Option<String>,
}

/// A claim passed to the backend as a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimToHeader {
    /// Name of the claim; a dot leads into nested objects, as in tenant.id.
    #[schemars(length(min = 1, max = 256))]
    pub claim: String,
    /// Name of the header.
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::TOKEN))]
    pub header: String,
}

/// What a rule asks of a request's token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtRequirement {
    /// Names of jwtProviders of the route. A token of any of them is accepted.
    #[schemars(
        length(min = 1, max = 8),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub providers: Vec<String>,
    /// Lets requests without a token through. An invalid token is refused all the same.
    #[serde(default)]
    pub optional: bool,
    /// Refuses requests that came in clear, since whoever can read the token on its way can use it. Set to false only
    /// where something in front of the gateway ends TLS.
    #[serde(rename = "requireTLS", default = "yes")]
    pub require_tls: bool,
    /// Scopes that the token's scope or scp claim must all contain; otherwise the answer is 403.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 256)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub required_scopes: Vec<String>,
    /// Claims that the token must all have; otherwise the answer is 403.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub required_claims: Vec<RequiredClaim>,
}

/// A claim that a token must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequiredClaim {
    /// Name of the claim; a dot leads into nested objects, as in tenant.id.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Values of which the claim must be one or, if it is a list, contain one.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(max = 1024)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub values: Vec<String>,
}

fn default_clock_skew() -> Duration {
    Duration::from_millis(30_000)
}

fn default_cache_duration() -> Duration {
    Duration::from_millis(600_000)
}

fn default_fetch_timeout() -> Duration {
    Duration::from_millis(3_000)
}

fn yes() -> bool {
    true
}

fn secret() -> LocalObjectKind {
    LocalObjectKind::Secret
}

fn jwks() -> String {
    "jwks".to_owned()
}
