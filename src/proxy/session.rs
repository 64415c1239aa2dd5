//! Clients that stay with an endpoint: reading the ticket that a request brings, and giving one with the response.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use crate::table::{Backend, Carrier, Cookie, Route, Session, Target, cookie};
use crate::upstream::session::Ticket;
use crate::upstream::{Cluster, Endpoint};

/// A client's session, as its request tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pinned {
    pub(super) endpoint: Endpoint,
    ticket: Ticket,
}

/// Looks for the backend and the endpoint that a request's ticket names; `None` when it brings none that is any good. The
/// time is that of the workers' clock and that of the wall.
pub(super) fn find<'r>(
    session: &Session,
    route: &'r Route,
    headers: &HeaderMap,
    (now, wall): (u64, u64),
) -> Option<(usize, &'r Backend, Pinned)> {
    let text = match &session.carrier {
        Carrier::Cookie(cookie) => cookie::first(headers, &cookie.name)?,
        Carrier::Header(name) => headers.get(name)?.as_bytes(),
    };
    for (number, backend) in route.backends.iter().enumerate() {
        let Target::Cluster(cluster) = &backend.target else { continue };
        // A backend that is to get nothing, or nothing any more, gets nothing of those either who have been there.
        if backend.weight == 0 || backend.fallback && !route.backends.falls_back(now) {
            continue;
        }
        let Some(ticket) = cluster.session_key.as_ref().and_then(|key| key.open(text)) else { continue };
        if is_over(session, ticket, seconds(wall)) {
            return None;
        }
        if let Some(endpoint) = cluster.endpoint_of(ticket.endpoint) {
            return Some((number, backend, Pinned { endpoint, ticket }));
        }
    }
    None
}

/// Gives the client a ticket for the endpoint that has served it, unless it has a good one.
pub(super) fn give(
    session: &Session,
    cluster: &Cluster,
    pinned: Option<&Pinned>,
    endpoint: &Endpoint,
    secure: bool,
    now: u64,
    headers: &mut HeaderMap,
) {
    let Some(key) = &cluster.session_key else { return };
    let now = seconds(now);
    let kept = pinned.filter(|pinned| pinned.endpoint == *endpoint).map(|pinned| pinned.ticket);
    let ticket = match kept {
        // A session that ends for want of requests has to be told of each; a tenth of that time is near enough.
        Some(ticket) => match session.idle {
            Some(idle) if u64::from(now.saturating_sub(ticket.used)) * 10 >= idle.as_secs() => {
                Ticket { used: now, ..ticket }
            }
            Some(_) | None => return,
        },
        None => Ticket { endpoint: key.id(endpoint.address), began: now, used: now },
    };
    let text = key.seal(ticket);
    match &session.carrier {
        Carrier::Header(name) => {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
        Carrier::Cookie(Cookie { name, attributes }) => {
            let mut cookie = format!("{name}={text}; {attributes}");
            if secure && !attributes.ends_with("; Secure") {
                cookie += "; Secure";
            }
            if session.permanent
                && let Some(absolute) = session.absolute
            {
                let left = absolute.as_secs().saturating_sub(u64::from(now.saturating_sub(ticket.began)));
                cookie += &format!("; Max-Age={left}");
            }
            if let Ok(value) = HeaderValue::try_from(cookie) {
                headers.append(header::SET_COOKIE, value);
            }
        }
    }
}

fn is_over(session: &Session, ticket: Ticket, now: u32) -> bool {
    let older = |limit: Option<Duration>, since: u32| {
        limit.is_some_and(|limit| u64::from(now.saturating_sub(since)) >= limit.as_secs().max(1))
    };
    older(session.absolute, ticket.began) || older(session.idle, ticket.used)
}

/// Seconds since 1970 from milliseconds; enough for the next eighty years.
fn seconds(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds / 1000).unwrap_or(u32::MAX)
}
