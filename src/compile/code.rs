//! The stable codes of problems, and the reasons under which conditions show them.

use std::fmt;

/// Whether a problem spoils something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Something declared is not served as declared.
    Error,
    /// All is served; something is likely not what was meant.
    Warning,
}

/// Which condition a reason speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aspect {
    Accepted,
    ResolvedRefs,
    Programmed,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $severity:ident, $reason:ident, $title:literal;)*) => {
        /// Which kind of problem. The number never changes its meaning, so that it can be looked up and filtered by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// `HG1203`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $number,)*
                }
            }

            /// A few words for a heading.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }

            /// Whether it spoils something.
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }

            /// The reason under which a condition shows it.
            pub fn reason(self) -> Reason {
                match self {
                    $(Self::$name => Reason::$reason,)*
                }
            }
        }
    };
}

codes! {
    // The object as a whole.
    /// It does not decode, or it breaks a rule of its schema.
    Invalid = "HG1001", Error, Invalid, "object breaks a rule of its schema";
    /// Something that nothing reads, such as a mistyped field or annotation.
    UnknownField = "HG1002", Warning, Invalid, "declared without effect";
    /// A field whose behaviour this version does not have.
    Unsupported = "HG1003", Error, UnsupportedValue, "field is not supported yet";
    /// Without a cluster: its class is not the one served, so nobody serves it.
    OtherClass = "HG1004", Warning, Invalid, "class is not served here";
    /// Two rules of one object have one name.
    DuplicateRule = "HG1005", Error, Invalid, "two rules have one name";
    /// An annotation of ingress-nginx that nothing reads, or not all of it.
    IngressNginx = "HG1006", Warning, Invalid, "annotation of ingress-nginx has no effect";
    /// An annotation of ingress-nginx without which too many would be let in.
    Unguarded = "HG1007", Error, UnsupportedValue, "ingress-nginx would have kept requests out";
    /// A setting of ingress-nginx's controller, for who moves from there.
    NginxSetting = "HG1008", Warning, Invalid, "setting of ingress-nginx has no effect";

    // What a rule matches.
    /// A host that is none.
    InvalidHost = "HG1101", Error, Invalid, "invalid host";
    /// A path, expression or template that cannot be matched.
    InvalidPath = "HG1102", Error, Invalid, "invalid path";
    /// A condition on method, headers or query that cannot be matched.
    InvalidMatch = "HG1103", Error, Invalid, "invalid match";
    /// An older object has the same match on the same host.
    PathTaken = "HG1104", Error, Conflicted, "match belongs to another object";
    /// Older objects have every match of the object on that host.
    HostTaken = "HG1105", Error, HostnameConflict, "host belongs to another object";
    /// A path parameter that not every path of the rule has.
    UnknownParameter = "HG1106", Error, Invalid, "path parameter is not in every path";
    /// A listener that does not exist.
    UnknownListener = "HG1107", Error, NoMatchingListener, "listener does not exist";

    // Backends.
    /// The Service does not exist.
    ServiceNotFound = "HG1201", Error, BackendNotFound, "Service does not exist";
    /// The other namespace has not allowed the reference.
    NotPermitted = "HG1202", Error, RefNotPermitted, "reference is not permitted";
    /// The Service has no such port.
    PortNotFound = "HG1203", Error, InvalidPort, "backend port does not exist";
    /// The Service stands for a name outside, which is off by default.
    ExternalName = "HG1204", Error, UnsupportedProtocol, "ExternalName is off";
    /// A backend of a kind that is not served.
    InvalidKind = "HG1205", Error, InvalidKind, "kind cannot be a backend";
    /// A Service port's protocol that is not known; HTTP/1.1 is spoken.
    UnknownProtocol = "HG1206", Warning, UnsupportedProtocol, "unknown application protocol";
    /// A rule without paths in an Ingress without a default backend.
    NoDefaultBackend = "HG1207", Error, BackendNotFound, "no default backend";
    /// Weights that leave nobody to answer.
    InvalidWeight = "HG1208", Error, Invalid, "no backend has a share";

    // Certificates.
    /// The Secret does not exist, or is not of type `kubernetes.io/tls`.
    CertificateNotFound = "HG1301", Error, CertificateNotFound, "Secret does not exist";
    /// The Secret's certificate or key cannot be used.
    InvalidCertificate = "HG1302", Error, InvalidCertificate, "certificate cannot be used";
    /// A TLS entry that names no Secret.
    NoSecret = "HG1303", Warning, CertificateNotFound, "TLS entry names no Secret";
    /// The certificate is not valid for the host.
    NameNotCovered = "HG1304", Warning, InvalidCertificate, "certificate does not cover the host";
    /// An older object has given another certificate for the host.
    CertificateTaken = "HG1305", Warning, HostnameConflict, "host has another certificate";
    /// The Secret has become unusable, and what it held before is still served.
    StaleCertificate = "HG1306", Error, InvalidCertificate, "an earlier certificate is still served";
    /// There is nothing where the certificates of authorities ought to be.
    AuthoritiesNotFound = "HG1307", Error, InvalidCaCertificate, "authorities do not exist";
    /// The certificates of authorities cannot be read.
    InvalidAuthorities = "HG1308", Error, InvalidCaCertificate, "authorities cannot be used";
    /// Some of the authorities cannot be used; the others are.
    UnusableAuthority = "HG1309", Warning, InvalidCaCertificate, "some authorities cannot be used";
    /// An older object asks for other certificates of the host's clients.
    ValidationTaken = "HG1310", Error, HostnameConflict, "host has another client validation";

    // What a rule does.
    /// A filter that cannot be applied.
    InvalidFilter = "HG1401", Error, Invalid, "invalid filter";
    /// Filters that cannot stand together.
    IncompatibleFilters = "HG1402", Error, IncompatibleFilters, "filters exclude each other";
    /// A way of balancing that cannot be applied.
    InvalidLoadBalancer = "HG1403", Error, Invalid, "invalid load balancer";
    /// A time limit that cannot be applied.
    InvalidTimeout = "HG1404", Error, Invalid, "invalid timeout";
    /// Settings of TLS towards clients or backends that cannot be applied.
    InvalidTls = "HG1405", Error, Invalid, "invalid TLS setting";
    /// A network in CIDR notation that is none.
    InvalidNetwork = "HG1406", Error, Invalid, "invalid network";
    /// A compression that cannot be applied.
    InvalidCompression = "HG1407", Error, Invalid, "invalid compression";

    // Backends in trouble.
    /// A retry that cannot be applied.
    InvalidRetry = "HG1801", Error, Invalid, "invalid retry";
    /// A circuit breaker that cannot be applied.
    InvalidBreaker = "HG1802", Error, Invalid, "invalid circuit breaker";
    /// A health check, or a way of leaving endpoints out, that cannot be applied.
    InvalidHealth = "HG1803", Error, Invalid, "invalid health setting";
    /// A setting that comes to nothing beside the others.
    NoEffect = "HG1804", Warning, Invalid, "setting without effect";
    /// A session persistence that cannot be applied.
    InvalidSession = "HG1805", Error, Invalid, "invalid session persistence";

    // Who is asking.
    /// An issuer, or what a rule asks of tokens and passwords, that makes no sense.
    InvalidIdentity = "HG1901", Error, Invalid, "invalid check of who is asking";
    /// The keys of an issuer have never been fetched.
    KeysUnavailable = "HG1902", Error, JwksUnavailable, "keys cannot be fetched";
    /// The keys of an issuer cannot be fetched any more, and those fetched before are still used.
    StaleKeys = "HG1903", Warning, JwksUnavailable, "earlier keys are still used";
    /// There is nothing where the keys ought to be.
    KeysNotFound = "HG1904", Error, JwksUnavailable, "keys do not exist";
    /// The keys cannot be read, or are too weak.
    InvalidKeys = "HG1905", Error, JwksUnavailable, "keys cannot be used";
    /// There is nothing where the passwords ought to be.
    PasswordsNotFound = "HG1906", Error, SecretNotFound, "passwords do not exist";
    /// The passwords cannot be read.
    InvalidPasswords = "HG1907", Error, InvalidSecret, "passwords cannot be used";
    /// Passwords are kept in a way that is quick to guess.
    WeakPasswords = "HG1908", Warning, InvalidSecret, "passwords are quick to guess";
    /// A rule that takes tokens and passwords over TLS only is served in clear only.
    OnlyInClear = "HG1909", Warning, Invalid, "every request will be refused";

    // Policies.
    /// What a policy attaches to does not exist.
    TargetNotFound = "HG1501", Error, TargetNotFound, "target does not exist";
    /// An older policy attaches to the same target.
    TargetTaken = "HG1502", Error, Conflicted, "target has another policy";
    /// A limit, or the answer to requests over it, that cannot be applied.
    InvalidLimit = "HG1503", Error, Invalid, "invalid limit";
    /// A limit that is counted in Redis, and there is none.
    NoSharedStore = "HG1504", Error, Invalid, "no Redis is configured";
    /// A rule whose policy cannot be enforced; it is not served as if it had no limits.
    PolicyRefused = "HG1505", Error, Invalid, "limits of the rule cannot be enforced";
    /// A policy that would bound every namespace's requests comes from a namespace that may not.
    ClassNotPermitted = "HG1506", Error, Invalid, "policy may not limit the whole class";
    /// Redis is away, and a policy counts there.
    StoreAway = "HG1507", Warning, StoreUnavailable, "shared limits cannot be counted now";

    // Endpoints.
    /// Endpoints given by name and not by address.
    NamedEndpoints = "HG1601", Warning, UnsupportedProtocol, "endpoints by name are ignored";
    /// An endpoint with an address that no backend can have.
    RefusedAddress = "HG1602", Warning, Invalid, "endpoint address is refused";

    // The cluster.
    /// A kind that is not installed, that RBAC forbids, or that the API server does not answer for.
    KindUnavailable = "HG1701", Error, Invalid, "kind cannot be watched";
    /// A mistake of ours, met in compiling an object.
    Internal = "HG1702", Error, Invalid, "object cannot be compiled";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a condition is as it is; the words are Gateway API's where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// All is well with what is declared.
    Accepted,
    /// Something declared has no meaning.
    Invalid,
    /// Something declared has a meaning that this version does not have.
    UnsupportedValue,
    /// Older objects have the host.
    HostnameConflict,
    /// A listener that does not exist.
    NoMatchingListener,
    /// Filters that cannot stand together.
    IncompatibleFilters,
    /// An older object has the match.
    Conflicted,
    /// What a policy attaches to does not exist.
    TargetNotFound,
    /// All references resolve.
    ResolvedRefs,
    /// A backend does not exist.
    BackendNotFound,
    /// A backend has no such port.
    InvalidPort,
    /// A reference into a namespace that has not allowed it.
    RefNotPermitted,
    /// A reference to a kind that cannot be referred to.
    InvalidKind,
    /// A certificate's Secret does not exist.
    CertificateNotFound,
    /// A certificate's Secret cannot be used.
    InvalidCertificate,
    /// Certificates of authorities are not there, or cannot be used.
    InvalidCaCertificate,
    /// The keys of an issuer are not there, or cannot be used.
    JwksUnavailable,
    /// A Secret does not exist, or lacks what is wanted of it.
    SecretNotFound,
    /// What a Secret holds cannot be used.
    InvalidSecret,
    /// A backend that is reached in a way that is not spoken.
    UnsupportedProtocol,
    /// What is declared is served.
    Programmed,
    /// Requests are counted where they should be.
    Enforced,
    /// The store that requests are counted in is away.
    StoreUnavailable,
}

impl Reason {
    /// The word in `status.conditions[].reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Invalid => "Invalid",
            Self::UnsupportedValue => "UnsupportedValue",
            Self::HostnameConflict => "HostnameConflict",
            Self::NoMatchingListener => "NoMatchingListener",
            Self::IncompatibleFilters => "IncompatibleFilters",
            Self::Conflicted => "Conflicted",
            Self::TargetNotFound => "TargetNotFound",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::BackendNotFound => "BackendNotFound",
            Self::InvalidPort => "InvalidPort",
            Self::RefNotPermitted => "RefNotPermitted",
            Self::InvalidKind => "InvalidKind",
            Self::CertificateNotFound => "CertificateNotFound",
            Self::InvalidCertificate => "InvalidCertificate",
            Self::InvalidCaCertificate => "InvalidCACertificate",
            Self::JwksUnavailable => "JWKSUnavailable",
            Self::SecretNotFound => "SecretNotFound",
            Self::InvalidSecret => "InvalidSecret",
            Self::UnsupportedProtocol => "UnsupportedProtocol",
            Self::Programmed => "Programmed",
            Self::Enforced => "Enforced",
            Self::StoreUnavailable => "StoreUnavailable",
        }
    }

    /// Whether it speaks of what is declared itself, and not of what that refers to.
    pub(super) fn concerns_acceptance(self) -> bool {
        self.aspect() == Aspect::Accepted
    }

    pub(super) fn aspect(self) -> Aspect {
        match self {
            Self::Accepted
            | Self::Invalid
            | Self::UnsupportedValue
            | Self::HostnameConflict
            | Self::NoMatchingListener
            | Self::IncompatibleFilters
            | Self::Conflicted
            | Self::TargetNotFound => Aspect::Accepted,
            Self::ResolvedRefs
            | Self::BackendNotFound
            | Self::InvalidPort
            | Self::RefNotPermitted
            | Self::InvalidKind
            | Self::CertificateNotFound
            | Self::InvalidCertificate
            | Self::InvalidCaCertificate
            | Self::JwksUnavailable
            | Self::SecretNotFound
            | Self::InvalidSecret
            | Self::UnsupportedProtocol => Aspect::ResolvedRefs,
            Self::Programmed | Self::Enforced | Self::StoreUnavailable => Aspect::Programmed,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
