//! The certificate that a client has shown, and how backends are told of it.

use std::cell::OnceCell;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::path::push_component;
use crate::table::CertificateHeaders;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const SSL_CLIENT_CERT: HeaderName = HeaderName::from_static("ssl-client-cert");
const SSL_CLIENT_VERIFY: HeaderName = HeaderName::from_static("ssl-client-verify");
const SSL_CLIENT_SUBJECT_DN: HeaderName = HeaderName::from_static("ssl-client-subject-dn");
const SSL_CLIENT_ISSUER_DN: HeaderName = HeaderName::from_static("ssl-client-issuer-dn");

/// The kinds of attributes that OpenSSL, and so nginx, has short names for; it writes all others as numbers.
const ATTRIBUTES: [(&str, &str); 28] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.18", "postOfficeBox"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.3", "mail"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
];

/// A certificate, and the headers that tell of it, each made when it is first asked for.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    der: CertificateDer<'static>,
    /// In the words of RFC 9440.
    bytes: OnceCell<HeaderValue>,
    /// As PEM, with all that means something in a URL written as `%XX`.
    escaped: OnceCell<HeaderValue>,
    /// Whom it is for, and who signed it.
    names: OnceCell<Option<(HeaderValue, HeaderValue)>>,
}

impl ClientCertificate {
    pub(super) fn new(der: CertificateDer<'static>) -> Self {
        Self { der, bytes: OnceCell::new(), escaped: OnceCell::new(), names: OnceCell::new() }
    }

    fn bytes(&self) -> &HeaderValue {
        self.bytes.get_or_init(|| value(&format!(":{}:", STANDARD.encode(&self.der))))
    }

    fn escaped(&self) -> &HeaderValue {
        self.escaped.get_or_init(|| {
            let text = STANDARD.encode(&self.der);
            let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
            for line in text.as_bytes().chunks(64) {
                pem.push_str(&String::from_utf8_lossy(line));
                pem.push('\n');
            }
            pem.push_str("-----END CERTIFICATE-----\n");
            let mut escaped = Vec::new();
            push_component(&mut escaped, &pem);
            HeaderValue::from_bytes(&escaped).unwrap_or(HeaderValue::from_static(""))
        })
    }

    /// Nothing for one that cannot be read, which no authority signs.
    fn names(&self) -> Option<&(HeaderValue, HeaderValue)> {
        let read = || {
            let (_, certificate) = X509Certificate::from_der(&self.der).ok()?;
            Some((value(&distinguished(certificate.subject())), value(&distinguished(certificate.issuer()))))
        };
        self.names.get_or_init(read).as_ref()
    }
}

/// Tells the backend of the certificate of a request's client, or that it has shown none. What the client said of that itself
/// is gone already ([`crate::table::Access::vouched`]).
pub(super) fn tell(told: CertificateHeaders, certificate: Option<&ClientCertificate>, headers: &mut HeaderMap) {
    match (told, certificate) {
        (CertificateHeaders::ClientCert, Some(certificate)) => {
            headers.insert(CLIENT_CERT, certificate.bytes().clone());
        }
        (CertificateHeaders::ClientCert, None) => {}
        (CertificateHeaders::SslClient { whole }, Some(certificate)) => {
            headers.insert(SSL_CLIENT_VERIFY, HeaderValue::from_static("SUCCESS"));
            if let Some((subject, issuer)) = certificate.names() {
                headers.insert(SSL_CLIENT_SUBJECT_DN, subject.clone());
                headers.insert(SSL_CLIENT_ISSUER_DN, issuer.clone());
            }
            if whole {
                headers.insert(SSL_CLIENT_CERT, certificate.escaped().clone());
            }
        }
        (CertificateHeaders::SslClient { whole: _ }, None) => {
            headers.insert(SSL_CLIENT_VERIFY, HeaderValue::from_static("NONE"));
        }
    }
}

/// A text of visible ASCII.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// A name as RFC 2253 writes it, and as nginx does: the last part first.
fn distinguished(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (number, part) in parts.into_iter().rev().enumerate() {
        for (of_part, attribute) in part.iter().enumerate() {
            text.push_str(match (number, of_part) {
                (0, 0) => "",
                (_, 0) => ",",
                _ => "+",
            });
            self::attribute(&mut text, attribute);
        }
    }
    text
}

fn attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let kind = attribute.attr_type().to_id_string();
    let short = ATTRIBUTES.iter().find(|(number, _)| *number == kind).map(|(_, short)| *short);
    text.push_str(short.unwrap_or(&kind));
    text.push('=');
    let value = attribute.attr_value();
    match characters(value).filter(|_| short.is_some()) {
        Some(characters) => escape_name(text, &characters),
        // What is not known to be a text is written as it is encoded.
        None => {
            text.push('#');
            hexadecimal(text, "", &value.to_der_vec().unwrap_or_default());
        }
    }
}

/// What a value says, if it is a text.
fn characters(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::NumericString | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString | Tag::T61String => {
            Some(bytes.iter().copied().map(char::from).collect())
        }
        Tag::BmpString => {
            let units = bytes.chunks(2).map(|pair| match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                _ => 0xFFFD,
            });
            Some(char::decode_utf16(units).map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        _ => None,
    }
}

/// Escapes what means something in a name (RFC 2253 2.4), and all that is not visible ASCII.
fn escape_name(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (place, byte) in value.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => text.extend(['\\', char::from(byte)]),
            b'#' if place == 0 => text.push_str("\\#"),
            b' ' if place == 0 || place == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => hexadecimal(text, "\\", &[byte]),
        }
    }
}

fn hexadecimal(text: &mut String, before: &str, bytes: &[u8]) {
    for byte in bytes {
        // To write into a text cannot fail.
        let _ = write!(text, "{before}{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_so_that_nothing_in_them_is_taken_for_another_part() {
        for (value, expected) in [
            ("Ann", "Ann"),
            ("a, CN=root", "a\\, CN=root"),
            (" #1 ", "\\ #1\\ "),
            ("#1", "\\#1"),
            (" ", "\\ "),
            ("\"<a>\";b\\c+d", "\\\"\\<a\\>\\\"\\;b\\\\c\\+d"),
            ("J\u{fc}rg\r\nX: y", "J\\C3\\BCrg\\0D\\0AX: y"),
        ] {
            let mut text = String::new();
            escape_name(&mut text, value);
            assert_eq!(text, expected, "{value:?}");
        }
    }
}
