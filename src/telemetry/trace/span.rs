//! An exchange as spans, before it is encoded.

use std::net::SocketAddr;
use std::time::Duration;

use super::Caller;
use crate::telemetry::access_log::QueryShown;
use crate::telemetry::{Entry, Reason, TraceIds};

/// What an exchange that is recorded needs to know of its trace while it is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The trace, and the span of the exchange.
    pub ids: TraceIds,
    /// The caller's span.
    pub parent: Option<[u8; 8]>,
    /// The endpoints that were asked.
    pub calls: Vec<Call>,
}

/// One endpoint that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its span.
    pub span: [u8; 8],
    /// When it was asked, in microseconds since 1970.
    pub began: u64,
    /// Its address, once it has been asked.
    pub endpoint: Option<SocketAddr>,
    /// How long its head was waited for.
    pub waited: Duration,
    /// The status of its answer; none when there was no answer.
    pub status: Option<u16>,
}

impl Traced {
    /// An exchange with this place in its caller's trace.
    pub fn below(caller: Caller, ids: TraceIds) -> Self {
        Self { ids, parent: caller.ids.map(|ids| ids.span), calls: Vec::new() }
    }
}

/// An exchange that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub(super) traced: Traced,
    pub(super) began: u64,
    pub(super) duration: Duration,
    pub(super) method: String,
    pub(super) template: String,
    pub(super) scheme: &'static str,
    pub(super) host: String,
    pub(super) path: String,
    /// As it may be shown.
    pub(super) query: Option<String>,
    pub(super) protocol: &'static str,
    pub(super) status: u16,
    pub(super) reason: Reason,
    pub(super) client: String,
    pub(super) peer: String,
    pub(super) user_agent: Option<String>,
    pub(super) route: String,
    pub(super) rule: String,
    pub(super) service: String,
    pub(super) request_id: String,
}

impl Finished {
    /// The exchange that the access log would tell so, with its place in the trace. `template` is the declared path
    /// that it matched; empty when it matched none.
    pub fn new(entry: &Entry<'_>, traced: Traced, template: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let query = entry.query.map(|query| {
            let mut shown = Vec::new();
            QueryShown::Redacted.pieces(query, |piece| shown.extend_from_slice(piece));
            text(&shown)
        });
        Self {
            traced,
            began: entry.began,
            duration: entry.duration,
            method: entry.method.to_owned(),
            template: text(template),
            scheme: entry.scheme(),
            host: text(entry.host),
            path: text(entry.path),
            query,
            protocol: match entry.protocol() {
                "HTTP/2.0" => "2",
                other => other.strip_prefix("HTTP/").unwrap_or(other),
            },
            status: entry.status,
            reason: entry.reason,
            client: text(entry.client_ip),
            peer: text(entry.peer_ip),
            user_agent: entry.user_agent.map(text),
            route: text(entry.route),
            rule: text(entry.rule),
            service: text(entry.service),
            request_id: text(entry.request_id),
        }
    }
}
