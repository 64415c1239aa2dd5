//! What is remembered of an exchange for those who tell of it later: copied into memory that is used again. Keeping a
//! piece of the request's head instead would keep the whole buffer that the head was read into.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request};

use crate::table::{PathMatch, Route};
use crate::telemetry::trace::Traced;
use crate::telemetry::{Try, Values, access_log};

/// What is remembered of one exchange.
#[derive(Debug)]
pub(super) struct Noted {
    text: Vec<u8>,
    places: [Option<(u32, u32)>; PARTS],
    /// Where the headers are that the access log asks for.
    headers: Vec<Option<(u32, u32)>>,
    pub(super) began: u64,
    pub(super) version: Version,
    /// Bytes of the head, as HTTP/1.1 would write it, where that was asked for.
    pub(super) head: u64,
    pub(super) tries: Vec<Try>,
    /// Its place in a trace, when traces are exported.
    pub(super) traced: Option<Traced>,
    /// What is left at the tightest limit that was asked.
    pub(super) remaining: Option<u32>,
    /// What the rule says of its requests being logged.
    pub(super) wanted: Option<bool>,
}

/// A piece of text that is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Host,
    Path,
    Query,
    UserAgent,
    Referer,
    RequestId,
    Route,
    Rule,
    Template,
    Policy,
    Limit,
    Subject,
    Service,
}

const PARTS: usize = Part::Service as usize + 1;

/// Memory of exchanges that are over, for those to come.
#[derive(Debug, Default)]
pub(super) struct Notes {
    #[expect(clippy::vec_box, reason = "an exchange moves about while it is under way, and carries a pointer only")]
    free: RefCell<Vec<Box<Noted>>>,
}

/// Memory that is kept for later; more is there only while more exchanges are under way.
const KEPT: usize = 256;
/// What is longer was a head of unusual length.
const USUAL: usize = 4096;

impl Notes {
    /// Begins to remember a request whose head was complete so many microseconds after 1970.
    pub(super) fn begin(&self, began: u64, parts: &request::Parts, request_id: &HeaderValue) -> Box<Noted> {
        let mut noted = self.free.borrow_mut().pop().unwrap_or_default();
        let headers = &parts.headers;
        noted.began = began;
        noted.version = parts.version;
        let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
        let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str().as_bytes()));
        noted.note(Part::Host, host.unwrap_or_default());
        noted.note(Part::Path, parts.uri.path().as_bytes());
        for (part, text) in [
            (Part::Query, parts.uri.query().map(str::as_bytes)),
            (Part::UserAgent, headers.get(header::USER_AGENT).map(HeaderValue::as_bytes)),
            (Part::Referer, headers.get(header::REFERER).map(HeaderValue::as_bytes)),
        ] {
            if let Some(text) = text {
                noted.note(part, text);
            }
        }
        noted.note(Part::RequestId, request_id.as_bytes());
        noted
    }

    /// Takes the memory back.
    pub(super) fn end(&self, mut noted: Box<Noted>) {
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT && noted.text.capacity() <= USUAL {
            noted.clear();
            free.push(noted);
        }
    }
}

impl Default for Noted {
    fn default() -> Self {
        Self {
            text: Vec::with_capacity(USUAL / 8),
            places: [None; PARTS],
            headers: Vec::new(),
            began: 0,
            version: Version::HTTP_11,
            head: 0,
            tries: Vec::with_capacity(1),
            traced: None,
            remaining: None,
            wanted: None,
        }
    }
}

impl Noted {
    fn clear(&mut self) {
        let Self { text, places, headers, began: _, version: _, head: _, tries, traced, remaining, wanted } = self;
        text.clear();
        *places = [None; PARTS];
        headers.clear();
        tries.clear();
        *traced = None;
        *remaining = None;
        *wanted = None;
    }

    fn note(&mut self, part: Part, bytes: &[u8]) {
        let from = self.text.len();
        self.text.extend_from_slice(bytes);
        if let (Ok(from), Ok(to)) = (u32::try_from(from), u32::try_from(self.text.len()))
            && let Some(place) = self.places.get_mut(part as usize)
        {
            *place = Some((from, to));
        }
    }

    /// Remembers these headers; of one that was sent several times, the first value.
    pub(super) fn headers<'n>(&mut self, names: impl Iterator<Item = &'n HeaderName>, sent: &HeaderMap) {
        for name in names {
            let from = self.text.len();
            let place = sent.get(name).and_then(|value| {
                self.text.extend_from_slice(value.as_bytes());
                Some((u32::try_from(from).ok()?, u32::try_from(self.text.len()).ok()?))
            });
            self.headers.push(place);
        }
    }

    /// Remembers how long the head is as HTTP/1.1 writes it, give or take what was dropped from it.
    pub(super) fn measure(&mut self, method: &Method, parts: &request::Parts) {
        let target = parts.uri.path_and_query().map_or(1, |target| target.as_str().len());
        let fields: usize =
            parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
        self.head = (method.as_str().len() + target + "  HTTP/1.1\r\n\r\n".len() + fields) as u64;
    }

    /// Whether nothing of the text has to be escaped in a line of a log.
    pub(super) fn is_plain(&self) -> bool {
        access_log::is_all_plain(&self.text)
    }

    /// The headers that were remembered, in their order.
    pub(super) fn values(&self) -> Values<'_> {
        Values { text: &self.text, places: &self.headers }
    }

    /// A piece of text, if there is one.
    pub(super) fn part(&self, part: Part) -> Option<&[u8]> {
        let (from, to) = (*self.places.get(part as usize)?)?;
        self.text.get(from as usize..to as usize)
    }

    /// It belongs to this route.
    pub(super) fn route(&mut self, route: &Route) {
        let from = self.text.len();
        self.text.extend_from_slice(route.id.namespace.as_bytes());
        self.text.push(b'/');
        self.note(Part::Route, route.id.name.as_bytes());
        // The piece begins with the namespace.
        if let (Ok(from), Some(Some(place))) = (u32::try_from(from), self.places.get_mut(Part::Route as usize)) {
            place.0 = from;
        }
        self.note(Part::Rule, route.id.rule.as_bytes());
        self.wanted = route.observe.access_log;
    }

    /// This condition on the path was met.
    pub(super) fn template(&mut self, path: &PathMatch) {
        let from = self.text.len();
        path.write_template(&mut self.text);
        if let (Ok(from), Ok(to)) = (u32::try_from(from), u32::try_from(self.text.len()))
            && let Some(place) = self.places.get_mut(Part::Template as usize)
        {
            *place = Some((from, to));
        }
    }

    /// It goes, or was to go, to this backend.
    pub(super) fn service(&mut self, name: &str) {
        self.note(Part::Service, name.as_bytes());
    }

    /// So much is left at the tightest limit that was asked.
    pub(super) fn limited(&mut self, policy: &str, limit: &str, remaining: u32) {
        self.note(Part::Policy, policy.as_bytes());
        self.note(Part::Limit, limit.as_bytes());
        self.remaining = Some(remaining);
    }

    /// Whoever has signed the caller's token says that it is this one.
    pub(super) fn subject(&mut self, subject: &str) {
        self.note(Part::Subject, subject.as_bytes());
    }

    /// An endpoint was asked.
    pub(super) fn tried(&mut self, endpoint: SocketAddr, waited: Duration, status: Option<u16>) {
        self.tries.push(Try { endpoint, waited, status });
    }
}
