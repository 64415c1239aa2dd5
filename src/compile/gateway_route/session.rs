//! Clients that stay with the endpoint that served them first.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::super::code::Code;
use super::super::report::Problem;
use crate::api;
use crate::api::gateway_route::{CookieConfig, CookieLifetime, SessionPersistence, SessionPersistenceType};
use crate::source::ObjectKey;
use crate::table::{Carrier, Cookie, Session};

/// Lowers what the rule named so of an object declares.
pub(super) fn lower(
    field: &str,
    object: &ObjectKey,
    rule: &str,
    declared: &SessionPersistence,
    problems: &mut Vec<Problem>,
) -> Option<Session> {
    let SessionPersistence { session_type, session_name, absolute_timeout, idle_timeout, cookie_config } = declared;
    let field = format!("{field}.sessionPersistence");
    let mut limit = |name: &str, declared: &Option<api::Duration>| {
        let declared = declared.as_ref()?;
        // Tickets count in seconds.
        if declared.as_std() < Duration::from_secs(1) {
            let what = format!("{declared} ends a session before it is used");
            let field = format!("{field}.{name}");
            problems.push(Problem::new(Code::InvalidSession, field, what, "use 1s or more, or remove it"));
        }
        Some(declared.as_std())
    };
    let absolute = limit("absoluteTimeout", absolute_timeout);
    let idle = limit("idleTimeout", idle_timeout);
    let CookieConfig { lifetime_type } = cookie_config.clone().unwrap_or_default();
    let permanent = lifetime_type == CookieLifetime::Permanent;
    if permanent && absolute.is_none() {
        let what = "a permanent cookie needs an end";
        problems.push(Problem::new(Code::InvalidSession, format!("{field}.absoluteTimeout"), what, "set it"));
    }
    let name = match session_name {
        Some(name) => name.clone(),
        // Rules differ in it, so that two of one host do not overwrite each other's.
        None => format!("headgate-{:08x}", xxh3_64(format!("{object} {rule}").as_bytes()) >> 32),
    };
    let Ok(header) = name.parse::<http::HeaderName>() else {
        let what = format!("\"{}\" is no name of a cookie or a header", name.escape_debug());
        problems.push(Problem::new(Code::InvalidSession, format!("{field}.sessionName"), what, "use a token"));
        return None;
    };
    let carrier = match session_type {
        SessionPersistenceType::Cookie => {
            Carrier::Cookie(Cookie { name: name.into(), attributes: Cookie::ATTRIBUTES.into() })
        }
        SessionPersistenceType::Header => Carrier::Header(header),
    };
    Some(Session { carrier, absolute, idle, permanent })
}
