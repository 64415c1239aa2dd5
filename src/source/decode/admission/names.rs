//! The forms of names that Kubernetes knows.

use std::net::IpAddr;

/// RFC 1123 label: lower-case letters, digits and inner dashes, at most 63.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_element(text)
}

/// RFC 1123 subdomain: labels with dots between them, at most 253 in all. As in Kubernetes a single label is not
/// bounded by 63.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_element)
}

/// RFC 1035 label: a label that begins with a letter.
pub(super) fn is_service_name(text: &str) -> bool {
    is_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// A host of an Ingress: a subdomain, or one behind `*.`, and no IP address.
pub(super) fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_err() && is_subdomain(text.strip_prefix("*.").unwrap_or(text))
}

fn is_element(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}
