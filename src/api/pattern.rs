//! Regular expressions that several fields share.
//!
//! Both the API server (RE2) and this process evaluate them, so they use ASCII classes only and mean the same in both.

use super::{byte_size, duration};

/// A DNS-1123 label: the name of a namespace or a listener.
pub(super) const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// A DNS-1123 subdomain: the name of most objects, and Gateway API's `SectionName`.
pub(super) const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A host name without a wildcard (Gateway API's `PreciseHostname`).
pub(super) const PRECISE_HOSTNAME: &str = SUBDOMAIN;

/// A host name whose first label may be `*` (Gateway API's `Hostname`).
pub(super) const HOSTNAME: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A `token` of RFC 9110 section 5.6.2: a header field name, also a cookie name (RFC 6265 section 4.1.1).
pub(super) const TOKEN: &str = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

/// A header field name, or `*` alone, which [`TOKEN`] already admits.
pub(super) const TOKEN_OR_WILDCARD: &str = TOKEN;

/// A header field value without control characters (RFC 9110 section 5.5), horizontal tab excepted.
pub(super) const HEADER_VALUE: &str = r"^[^\x00-\x08\x0A-\x1F\x7F]*$";

/// An absolute path.
pub(super) const ABSOLUTE_PATH: &str = "^/";

/// The name of a gRPC service, which gRPC's health protocol leaves to the server.
pub(super) const GRPC_SERVICE: &str = "^[A-Za-z0-9._/-]+$";

/// The kind of a referenced object.
pub(super) const KIND: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";

/// An API group, empty for the core group.
pub(super) const API_GROUP: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A `type/subtype` with optional parameters (RFC 9110 section 8.3.1), loosely.
pub(super) const MEDIA_TYPE: &str = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+*-]+([ ]*;[^\x00-\x1F\x7F]*)?$";

/// What a text that should have matched one of our patterns ought to be, for a message to people.
pub(super) fn meaning(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        LABEL => "a name of lower-case letters, digits and '-', beginning and ending with a letter or digit",
        SUBDOMAIN => {
            "a name of lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit"
        }
        HOSTNAME => "a host name in lower case without port, such as shop.example.com or *.example.com",
        TOKEN => "a name of letters, digits and !#$%&'*+.^_`|~-",
        HEADER_VALUE => "a header value, without line breaks and other control characters",
        ABSOLUTE_PATH => "a path that starts with '/'",
        GRPC_SERVICE => "a gRPC service such as shop.v1.Orders",
        KIND => "the kind of an object, such as Service",
        API_GROUP => "an API group such as headgate.dev, or \"\" for the core group",
        MEDIA_TYPE => "a media type such as application/json",
        duration::PATTERN => "a duration: one to four whole numbers, each with a unit of h, m, s or ms, such as 1m30s",
        byte_size::PATTERN => "a size: a whole number with a suffix such as Ki, Mi or Gi, or none for bytes",
        _ => return None,
    })
}
