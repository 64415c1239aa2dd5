//! The life of a request, from its head to the head of its response, as one straight line:
//! read → find → filter → select → send → filter → answer.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode, Version, request};
use http_body::Body;

use super::again::Again;
use super::answer::{Answer, Given};
use super::attempt::{self, Attempt};
use super::body::{Incoming, RequestBody, ResponseBody};
use super::caught::caught;
use super::compressed::compress;
use super::connection::Client;
use super::error::Error;
use super::forward::{self, Origin};
use super::framing::{Authority, Received, Refusal};
use super::identity::Known;
use super::limits::{self, Look};
use super::marks::Marks;
use super::mirror::Mirrored;
use super::record::Record;
use super::{
    Worker, client_certificate, error_page, external_auth, grpc_web, hash, hold, identity, pressure, session, upgrade,
};
use crate::field_kinds::FieldKinds;
use crate::filter::{self, Filter, Flow, Matched, Reply, ReplyReason, RequestParts, Rewritten};
use crate::path::normalise;
use crate::table::{ClientValidation, KeySource, Match, RequestHead, Route, Table, Target};
use crate::telemetry::Reason;
use crate::upstream::content_length;

/// Gives one request its answer. Whatever goes wrong becomes a response; nothing here fails or panics.
pub(super) async fn answer(
    worker: &Rc<Worker>,
    client: Rc<Client>,
    parts: &mut request::Parts,
    body: Incoming,
    mut received: Received,
    answer: &Answer,
) {
    let client = client.as_told(&worker.trust, &parts.headers);
    let mut record = Record::begin(worker.clone(), client.clone(), parts.method.clone());
    received.upgrade = received.upgrade && forward::is_websocket(&parts.method, parts.version, &parts.headers);
    // Before anything of ours is added, so that a client can have nothing of ours dropped; and before anything is
    // looked at, so that routes, filters and the backend see the same head.
    forward::clean_request(&mut parts.headers, parts.version, received.kinds);
    let request_id = forward::request_id(&mut parts.headers, received.kinds, || worker.new_request_id());
    record.note(parts, received.kinds, &request_id);
    let table = worker.table();

    let mut marks = Marks::default();

    let outcome =
        caught(pin!(exchange(worker, &client, &table, parts, body, received, &mut marks, &mut record, answer))).await;
    let outcome = outcome.unwrap_or_else(|| {
        tracing::error!(request_id = ?request_id, "an exchange has panicked: please report it, with what was written of it");
        Err(Error::Internal)
    });
    let given = outcome.unwrap_or_else(|error| {
        record.answered(error.status(), error.reason());
        answer.give(error.response(Some(&request_id), record.trace()))
    });
    record.limits(&marks.limits);
    if let Some(pages) = marks.pages {
        // What panics here costs the page.
        let _ = caught(Box::pin(error_page::put(worker, pages, parts, &mut record, answer, &given)).as_mut()).await;
    }
    answer.edit(&given, |response| {
        let headers = response.headers_mut();
        marks.put(worker, headers);
        let mut request_id = request_id;
        // No other answer will have it, so HTTP/2 need not make room for it among what both sides remember (RFC 7541 6.2.3).
        request_id.set_sensitive(!client.is_http1());
        headers.insert(forward::X_REQUEST_ID, request_id);
        if (worker.is_leaving() || client.is_outdated())
            && client.is_http1()
            && response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.body_mut().record(record);
    });
}

/// The straight line.
#[allow(clippy::too_many_arguments, reason = "a struct of them would be copied into the future once more")]
async fn exchange<'t>(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    table: &'t Table,
    parts: &mut request::Parts,
    body: Incoming,
    received: Received,
    marks: &mut Marks<'t>,
    record: &mut Record,
    answer: &Answer,
) -> Result<Given, Error> {
    if worker.pressure.turns_away(|below| worker.random_below(below)) {
        // Boxed, since it is rare and would make the future of every exchange larger.
        Box::pin(pressure::pause(worker)).await;
        return Err(Error::Overloaded);
    }
    if let Some(refusal) = received.refusal {
        return Err(Error::Framing(refusal));
    }
    let asked = Asked::read(parts, received.kinds)?;
    if asked.is_asterisk() {
        return Ok(answer.give(asterisk(record)));
    }
    forward::set_origin(
        &mut parts.headers,
        &Origin {
            ip: &client.ip_text,
            chain: &client.chain,
            secure: client.secure(),
            host: client.host.as_ref().unwrap_or(&asked.authority),
            port: &client.port_text,
        },
    );
    let path = normalise(asked.target.path(), false).map_err(|_| Error::BadRequest("malformed or unsafe path"))?;
    let query = asked.target.query();
    let head = RequestHead {
        method: &parts.method,
        path: &path,
        query,
        headers: &parts.headers,
        secure: client.tls.is_some(),
    };
    let Match { route, path: pattern, params, prefix } = table.find(asked.host(), &head).ok_or(Error::NoRoute)?;
    record.route(route, pattern, parts);
    marks.pages = route.error_pages.as_deref();
    let due = route.timeouts.request.map(|limit| attempt::after(worker.clock.now(), limit));
    let validation = route.access.client_validation.as_deref();
    if let Some(tls) = &client.tls {
        let host = table.certificates.policy(asked.host());
        if host.validation.is_some_and(ClientValidation::is_closed) {
            return Err(Error::RouteRefused(StatusCode::INTERNAL_SERVER_ERROR));
        }
        if !tls.gives(host, validation) {
            if tls.is_outdated(&table.certificates) {
                client.outdate();
            }
            return Err(Error::Misdirected);
        }
    }
    // The steps from here on, with their numbers, are those that `filter` lists.
    // 1.
    if route.https_redirect && !client.secure() {
        return Ok(answer.give(reply(redirect_to_tls(worker, &asked), record)));
    }
    // Who spoke TLS to somebody in front of us has shown us nothing.
    if client.tls.is_none() && validation.is_some_and(|validation| validation.required) {
        return Err(Error::InClear);
    }
    // 2.
    let is_outside = route.access.ip.as_ref().is_some_and(|access| !access.admits(client.ip()));
    if is_outside && !route.access.either {
        return Err(Error::IpDenied);
    }
    let must_prove = is_outside || !route.access.either;
    // 3.
    if let Some(cors) = &route.access.cors {
        if filter::preflight(&parts.method, &parts.headers).is_some() {
            return Ok(answer.give(reply(cors.answer(&parts.headers), record)));
        }
        marks.cors = Some((cors, cors.allowed(&parts.headers)));
    }
    // 4. A backend can have limits of its own, so which one it will be is settled here.
    let pinned = route
        .session
        .as_ref()
        .and_then(|session| session::find(session, route, &parts.headers, (worker.clock.now(), worker.clock.wall())));
    let (chosen, pinned) = match pinned {
        Some((number, backend, pinned)) => (Some((number, backend)), Some(pinned)),
        None => (route.backends.choose(|below| worker.random_below(below), worker.clock.now()), None),
    };
    let limits = route.limits_for(chosen.map(|(_, backend)| backend));
    let (ip, at) = (client.ip(), record.start());
    if let Some(limits) = limits {
        marks.limits.of(limits);
        let headers = &parts.headers;
        let source = KeySource { ip, host: asked.host(), headers, query, params, route: &route.id, claims: None };
        let look = Look { worker, limits, phase: limits::Phase::Anonymous, head, source, at };
        if let Err(refused) = look.pass(&mut marks.limits).await {
            return limits::answer(refused, limits, record).map(|response| answer.give(response));
        }
        record.enters(marks.limits.take_places());
    }
    // 5.
    route.access.vouched.strip(&mut parts.headers);
    if let Some(told) = route.access.certificate {
        let shown = client.tls.as_ref().and_then(|tls| tls.certificate.as_deref());
        client_certificate::tell(told, shown, &mut parts.headers);
    }
    let known = match &route.requirement {
        Some(requirement) if must_prove => {
            match identity::check(worker, client.secure(), requirement, &mut parts.headers, query).await {
                Ok(known) => {
                    known.claims().into_iter().for_each(|claims| record.identified(claims));
                    known
                }
                Err(denied) => return Ok(answer.give(denied.response(&parts.headers, record))),
            }
        }
        Some(_) | None => Known::default(),
    };
    if let Some(service) = route.access.external_auth.as_ref().filter(|_| !must_prove) {
        service.auth.pass_on(None, &mut parts.headers);
    } else if let Some(service) = &route.access.external_auth {
        let target = target(&asked.target, &path, query, None, known.query.as_deref())?;
        let (method, authority, host) = (&parts.method, &asked.authority, asked.host());
        let question = external_auth::Asked { method, authority, host, target: &target };
        // Boxed, since it is rare and would make the future of every exchange larger.
        let (headers, cookies) = (&mut parts.headers, &mut marks.cookies);
        let refusal = Box::pin(external_auth::ask(worker, table, service, question, headers, cookies, record)).await?;
        if let Some(refusal) = refusal {
            return Ok(answer.give(refusal));
        }
    }
    // 6.
    if let Some(limits) = limits.filter(|limits| limits.needs_identity()) {
        let headers = &parts.headers;
        let head = RequestHead { method: &parts.method, path: &path, query, headers, secure: client.tls.is_some() };
        let source =
            KeySource { ip, host: asked.host(), headers, query, params, route: &route.id, claims: known.claims() };
        let look = Look { worker, limits, phase: limits::Phase::Identified, head, source, at };
        if let Err(refused) = look.pass(&mut marks.limits).await {
            return limits::answer(refused, limits, record).map(|response| answer.give(response));
        }
        record.enters(marks.limits.take_places());
    }
    // 7.
    let bounds = route.access.body;
    if bounds.most.is_some_and(|most| body.size_hint().lower() > most) {
        return Err(Error::BodyTooLarge);
    }
    let (mut body, upload) = RequestBody::begin(body, worker, route, record);
    if let Some(upload) = upload.as_deref().filter(|_| bounds.held) {
        body = Box::pin(hold::hold(worker, client, due, body, upload, &mut parts.headers)).await?;
    }
    let wish = route.compression.as_ref().map(|compression| compression.wish(&parts.method, &parts.headers));
    // 8.
    let matched = Matched { params, prefix };
    let mut rewritten = Rewritten::default();
    let filtering = Filtering { asked: &asked, path: &path, query, secure: client.secure(), matched: &matched };
    if let Some(early) = filtering.request(&route.filters, &mut parts.headers, &mut rewritten) {
        return early.map(|early| answer.give(reply(early, record)));
    }
    if !route.mirrors.is_empty() && !received.upgrade {
        let host = rewritten.host.as_ref().unwrap_or(&asked.authority);
        let target = || target(&asked.target, &path, query, rewritten.path.as_deref(), known.query.as_deref()).ok();
        if let Some(copy) = Mirrored::draw(worker, route, &parts.method, target, &parts.headers, host) {
            body.mirror(copy);
        }
    }
    // 9.
    let (number, backend) = chosen.ok_or(Error::Unresolved(StatusCode::INTERNAL_SERVER_ERROR))?;
    record.backend(number, &backend.name);
    if let Some(early) = filtering.request(&backend.filters, &mut parts.headers, &mut rewritten) {
        return early.map(|early| answer.give(reply(early, record)));
    }
    let cluster = match &backend.target {
        Target::Cluster(cluster) => cluster,
        Target::Unresolved(status) => return Err(Error::Unresolved(*status)),
    };

    let key = route
        .hash_on
        .as_ref()
        .and_then(|on| hash::key(on, client.ip(), &parts.headers, query, &params, known.claims()));
    let web = if backend.grpc { grpc_web::Call::read(&parts.method, &parts.headers) } else { None };
    if let Some(call) = web {
        call.request(&mut parts.headers, &mut body)?;
    }
    // Nobody else can have changed what was sent, so it mostly stands there already.
    if !asked.is_sent || rewritten.host.is_some() {
        parts.headers.insert(header::HOST, rewritten.host.clone().unwrap_or_else(|| asked.authority.clone()));
    }
    let target = target(&asked.target, &path, query, rewritten.path.as_deref(), known.query.as_deref())?;

    let mut attempt = Attempt {
        worker,
        client,
        route,
        cluster,
        key,
        method: &parts.method,
        target,
        headers: &mut parts.headers,
        says_length: received.kinds.has(FieldKinds::LENGTH),
        record,
        due,
        speaks_for: cluster.announces.map(|_| Rc::new(client.announced())),
        pinned,
        again: Again::default(),
    };
    if received.upgrade {
        // Boxed, since it is rare and would make the future of every exchange larger.
        let mut response = Box::pin(upgrade::forward(&mut attempt)).await?;
        filtering.response(route, &backend.filters, response.headers_mut());
        return Ok(answer.give(response));
    }
    let given = attempt::forward(&mut attempt, body, upload, answer).await?;
    answer.edit(&given, |response| {
        filtering.response(route, &backend.filters, response.headers_mut());
    });
    if let Some(call) = web {
        answer.replace(&given, |response| call.response(response));
    } else if let (Some(compression), Some(wish)) = (&route.compression, wish) {
        answer.replace(&given, |response| compress(worker, compression, wish, response));
    }
    Ok(given)
}

/// Who and what was asked for.
struct Asked {
    /// The authority as sent.
    authority: HeaderValue,
    /// That is how it stands in `Host`.
    is_sent: bool,
    /// How many bytes of it are the host, without a final dot.
    host_length: usize,
    /// The host, when it was not sent in lower case.
    lower: Option<String>,
    /// The port that the authority names.
    port: Option<u16>,
    /// Path and query as sent.
    target: PathAndQuery,
    method_is_options: bool,
}

impl Asked {
    fn read(parts: &request::Parts, kinds: FieldKinds) -> Result<Self, Error> {
        const BAD_HOST: Error = Error::BadRequest("exactly one valid host is required");
        match parts.method {
            Method::CONNECT => return Err(Error::Framing(Refusal::Connect)),
            Method::TRACE => return Err(Error::Framing(Refusal::Trace)),
            _ => {}
        }
        // HTTP/1.1 was held to both when its head was looked at.
        if parts.version == Version::HTTP_2 {
            let path = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
            if parts.uri.path().is_empty() || (!path.starts_with('/') && path != "*") {
                return Err(Error::BadRequest("a path is required"));
            }
            if kinds.has(FieldKinds::LENGTH) && content_length(&parts.headers).is_err() {
                return Err(Error::BadRequest("malformed or repeated Content-Length"));
            }
        }
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        let sent = (hosts.next(), hosts.next());
        let (authority, is_sent) = match (parts.uri.authority(), sent) {
            (_, (_, Some(_))) => return Err(BAD_HOST),
            // In HTTP/1.1 the target's wins (RFC 9112 3.2.2); in HTTP/2 all have been brought together in `Host`.
            (Some(authority), (host, None)) => {
                match host.filter(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())) {
                    Some(host) => (host.clone(), true),
                    None => (HeaderValue::try_from(authority.as_str()).map_err(|_| BAD_HOST)?, false),
                }
            }
            (None, (Some(host), None)) => (host.clone(), true),
            (None, (None, None)) => return Err(BAD_HOST),
        };
        let parsed = Authority::parse(authority.as_bytes()).map_err(|_| BAD_HOST)?;
        let port = parsed.port;
        let host = parsed.host.strip_suffix('.').unwrap_or(parsed.host);
        let lower = host.bytes().any(|byte| byte.is_ascii_uppercase()).then(|| host.to_ascii_lowercase());
        let host_length = host.len();
        let target = match parts.uri.path_and_query() {
            // `http://host?query` has no path of its own (RFC 9112 3.2.1).
            Some(query) if query.as_str().starts_with('?') => {
                PathAndQuery::try_from(format!("/{query}")).map_err(|_| Error::BadRequest("malformed target"))?
            }
            // An empty one reads like `/` and would be written as nothing.
            Some(target) if target.as_str() != "/" => target.clone(),
            _ => PathAndQuery::from_static("/"),
        };
        Ok(Self {
            authority,
            is_sent,
            host_length,
            lower,
            port,
            target,
            method_is_options: parts.method == Method::OPTIONS,
        })
    }

    /// The host alone: lower-case, without port and final dot.
    fn host(&self) -> &str {
        match &self.lower {
            Some(lower) => lower,
            None => self.authority.to_str().ok().and_then(|text| text.get(..self.host_length)).unwrap_or_default(),
        }
    }

    fn is_asterisk(&self) -> bool {
        self.method_is_options && self.target.path() == "*"
    }
}

/// `OPTIONS *` asks about the server, and that is us (RFC 9110 9.3.7).
fn asterisk(record: &mut Record) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(header::ALLOW, allow);
    record.answered(StatusCode::NO_CONTENT, Reason::DirectResponse);
    response
}

/// The same address over TLS. A client that named our clear port gets our TLS port, any other the default one.
fn redirect_to_tls(worker: &Worker, asked: &Asked) -> Reply {
    let port = match (asked.port, worker.https_port()) {
        (Some(port), tls) if port != 80 && tls != 443 => format!(":{tls}"),
        _ => String::new(),
    };
    let location = format!("https://{}{port}{}", asked.host(), asked.target);
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/"));
    Reply {
        status: StatusCode::PERMANENT_REDIRECT,
        headers: vec![(header::LOCATION, location)],
        body: Bytes::new(),
        reason: ReplyReason::Redirect,
    }
}

/// A filter's answer as a response.
fn reply(reply: Reply, record: &mut Record) -> Response<ResponseBody> {
    let Reply { status, headers, body, reason } = reply;
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().append(name, value);
    }
    let reason = match reason {
        ReplyReason::Redirect => Reason::Redirect,
        ReplyReason::DirectResponse => Reason::DirectResponse,
        ReplyReason::Preflight => Reason::Preflight,
        ReplyReason::Refused => Reason::RouteRefused,
        ReplyReason::BadPath => Reason::BadRequest,
    };
    record.answered(status, reason);
    response
}

/// What all filters of an exchange look at.
struct Filtering<'a> {
    asked: &'a Asked,
    path: &'a str,
    query: Option<&'a str>,
    secure: bool,
    matched: &'a Matched<'a>,
}

impl Filtering<'_> {
    /// Runs the filters on the request; `Some` is an early end.
    fn request(
        &self,
        filters: &[Filter],
        headers: &mut HeaderMap,
        rewritten: &mut Rewritten,
    ) -> Option<Result<Reply, Error>> {
        for filter in filters {
            let mut parts = RequestParts {
                headers,
                secure: self.secure,
                host: self.asked.host(),
                port: self.asked.port,
                path: self.path,
                query: self.query,
                rewritten,
            };
            match filter.on_request(&mut parts, self.matched) {
                Flow::Continue => {}
                Flow::Respond(reply) => {
                    return Some(match reply.reason {
                        ReplyReason::Redirect | ReplyReason::DirectResponse | ReplyReason::Preflight => Ok(reply),
                        ReplyReason::Refused => Err(Error::RouteRefused(reply.status)),
                        ReplyReason::BadPath => Err(Error::BadRequest("malformed or unsafe path")),
                    });
                }
            }
        }
        None
    }

    /// Runs the backend's filters on the response, then the rule's.
    fn response(&self, route: &Arc<Route>, backend: &[Filter], headers: &mut HeaderMap) {
        for filter in backend.iter().chain(&route.filters) {
            filter.on_response(headers, self.matched);
        }
    }
}

/// The target that goes upstream: what was matched, or what filters made of it, with the query as sent.
fn target(
    sent: &PathAndQuery,
    path: &str,
    query: Option<&str>,
    rewritten: Option<&str>,
    // What is left of the query, when something of it must not go on.
    left: Option<&str>,
) -> Result<PathAndQuery, Error> {
    let path = rewritten.unwrap_or(path);
    if path == sent.path() && left.is_none() {
        return Ok(sent.clone());
    }
    let target = match left.or(query).filter(|query| left.is_none() || !query.is_empty()) {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    PathAndQuery::try_from(target).map_err(|_| Error::BadRequest("malformed path"))
}
