//! What is made of a request and of an answer; hyper's server is the oracle for both.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::Waker;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::ReadBuf;

use super::*;
use crate::proxy::clock::Clock;

/// A client's end that has sent these pieces, and takes what it is sent.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) pieces: VecDeque<Vec<u8>>,
    pub(super) ended: bool,
    pub(super) sent: Vec<u8>,
    /// How many bytes one write takes.
    pub(super) takes: Option<usize>,
    /// How many more are taken however many one write takes.
    pub(super) left: Option<usize>,
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.pieces.pop_front() else {
            return if self.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !rest.is_empty() {
            self.pieces.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let most = self.left.take().or(self.takes).unwrap_or(buf.len());
        if most == 0 {
            return Poll::Pending;
        }
        let taken = most.min(buf.len());
        self.sent.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn pipe(bytes: &[u8], step: usize) -> Pipe {
    Pipe { pieces: bytes.chunks(step.max(1)).map(<[u8]>::to_vec).collect(), ended: true, ..Pipe::default() }
}

/// A request as whoever answers it sees it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Seen {
    fn new(parts: Parts) -> Self {
        let Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, headers, body: Vec::new(), trailers: None }
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.body.extend_from_slice(&data),
            Err(frame) => self.trailers = frame.into_trailers().ok(),
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn wire(pipe: Pipe) -> Wire<Pipe> {
    Wire::new(pipe, &[], Rc::default(), Rc::default(), &Clock::new())
}

/// The requests up to the first that is refused.
fn ours(pipe: Pipe) -> Vec<Seen> {
    let mut wire = wire(pipe);
    let mut all = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Ok(Some(request))) = wire.poll_head(&mut cx) {
        let Request { parts, persistent, received, .. } = request;
        if received.refusal.is_some() {
            break;
        }
        let mut seen = Seen::new(*parts);
        while !wire.is_received() {
            match wire.poll_body(wire.turn(), &mut cx) {
                Poll::Ready(Some(Ok(frame))) => seen.take(frame),
                Poll::Ready(None) => {}
                Poll::Ready(Some(Err(_))) | Poll::Pending => return all,
            }
        }
        all.push(seen);
        if !persistent {
            break;
        }
    }
    all
}

fn hypers(pipe: Pipe) -> Vec<Seen> {
    let all = Rc::new(RefCell::new(Vec::new()));
    let seen = all.clone();
    block_on(async {
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let all = seen.clone();
            async move {
                let (parts, mut body) = request.into_parts();
                let mut seen = Seen::new(parts);
                while let Some(frame) = body.frame().await {
                    seen.take(frame?);
                }
                all.borrow_mut().push(seen);
                Ok::<_, hyper::Error>(Response::new(Full::<Bytes>::default()))
            }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(pipe), service)
            .await;
    });
    all.take()
}

/// Bytes that a failed case shows as text.
#[derive(Clone)]
struct Sent(Vec<u8>);

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Requests of which all are sound.
fn requests() -> impl Strategy<Value = Sent> {
    let line = prop_oneof![
        Just("GET / HTTP/1.1"),
        Just("PUT /a/b%20c;d?e=f&g HTTP/1.1"),
        Just("DELETE http://b:81/x HTTP/1.1"),
        Just("OPTIONS * HTTP/1.1"),
        Just("BREW /pot HTTP/1.1"),
        Just("GET /old HTTP/1.0"),
    ];
    let field = prop_oneof![
        Just("X-A: b"),
        Just("x-a:c \t "),
        Just("Empty:"),
        Just("Connection: close"),
        Just("connection: keep-alive"),
        Just("Cookie: a=b; \u{fc}"),
        Just("Accept: */*"),
    ];
    let framed = prop_oneof![
        3 => Just((String::new(), String::new())),
        2 => "[a-z]{0,20}".prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        3 => (prop::collection::vec("[a-z]{1,20}", 0..4), "(;x=y)?", "(X-T: 1\r\nX-U:2 \r\n)?").prop_map(
            |(chunks, extension, trailers)| {
                let mut body: String =
                    chunks.iter().map(|chunk| format!("{:x}{extension}\r\n{chunk}\r\n", chunk.len())).collect();
                body += &format!("0\r\n{trailers}\r\n");
                ("Transfer-Encoding: chunked\r\n".to_owned(), body)
            }
        ),
    ];
    let one = (line, prop::collection::vec(field, 0..4), framed).prop_map(|(line, fields, (framing, body))| {
        // Chunks came with HTTP/1.1.
        let line = if framing.starts_with("Transfer") { line.replace("1.0", "1.1") } else { line.to_owned() };
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{line}\r\nHost: a\r\n{fields}{framing}\r\n{body}")
    });
    prop::collection::vec(one, 1..4).prop_map(|all| Sent(all.concat().into_bytes()))
}

/// An answer, and what it answers.
#[derive(Clone, Debug)]
struct Case {
    method: Method,
    version: Version,
    persistent: bool,
    takes_trailers: bool,
    status: StatusCode,
    fields: Vec<(&'static str, &'static str)>,
    frames: Vec<Vec<u8>>,
    /// The length is known from the start, as a field or because all of it is there.
    length: Option<bool>,
    trailers: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let fields = prop::sample::subsequence(
        vec![
            ("x-a", "b"),
            ("set-cookie", "a=b"),
            ("date", "Thu, 26 Nov 2026 00:00:00 GMT"),
            ("connection", "close"),
            ("trailer", "X-T"),
        ],
        0..3,
    );
    let sizes = prop::sample::select(vec![1usize, 5, 200, SMALL, SMALL + 1, 3 * SMALL]);
    (
        prop::sample::select(vec![Method::GET, Method::GET, Method::POST, Method::HEAD]),
        prop::sample::select(vec![Version::HTTP_11, Version::HTTP_11, Version::HTTP_10]),
        (any::<bool>(), any::<bool>(), any::<bool>()),
        prop::sample::select(vec![200u16, 200, 200, 404, 204, 304, 503]),
        fields,
        prop::collection::vec(sizes.prop_map(|size| vec![b'x'; size]), 0..4),
        prop::option::of(any::<bool>()),
    )
        .prop_map(|(method, version, (persistent, takes_trailers, trailers), status, fields, frames, length)| {
            let status = StatusCode::from_u16(status).unwrap();
            Case { method, version, persistent, takes_trailers, status, fields, frames, length, trailers }
        })
}

type TestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

impl Case {
    fn request(&self) -> String {
        let Self { method, version, persistent, takes_trailers, .. } = self;
        let connection = match (*version == Version::HTTP_10, persistent) {
            (true, true) => "Connection: keep-alive\r\n",
            (false, false) => "Connection: close\r\n",
            _ => "",
        };
        let te = if *takes_trailers { "TE: trailers\r\n" } else { "" };
        format!("{method} / {version:?}\r\nHost: a\r\n{connection}{te}\r\n")
    }

    fn answer(&self) -> Response<TestBody> {
        // What has no body comes without one.
        let bodiless = matches!(self.status.as_u16(), 204 | 304) || self.method == Method::HEAD;
        let frames: Vec<Bytes> =
            if bodiless { Vec::new() } else { self.frames.iter().cloned().map(Bytes::from).collect() };
        let total: usize = frames.iter().map(Bytes::len).sum();
        let body = match self.length {
            Some(true) => Full::new(frames.concat().into()).map_err(|never| match never {}).boxed_unsync(),
            _ => {
                let trailers = HeaderMap::from_iter(
                    ["x-t", "x-u"].map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))),
                );
                let trailers = Some(Frame::trailers(trailers)).filter(|_| self.trailers && self.length.is_none());
                let frames = frames.into_iter().map(Frame::data).chain(trailers.filter(|_| !bodiless));
                StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync()
            }
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = self.status;
        for (name, value) in &self.fields {
            answer.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        if self.length == Some(false) && self.status != StatusCode::NO_CONTENT {
            answer.headers_mut().insert("content-length", HeaderValue::from(total));
        }
        answer
    }

    /// What we send, when a write takes this much; and whether the connection goes on.
    fn ours(&self, takes: usize) -> (Vec<u8>, bool) {
        let wire = RefCell::new(wire(Pipe { takes: Some(takes), ..pipe(self.request().as_bytes(), 1000) }));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(Some(request))) = wire.borrow_mut().poll_head(&mut cx) else {
            panic!("no request");
        };
        let asked = answer::Asked {
            method: &self.method,
            version: self.version,
            persistent: request.persistent,
            takes_trailers: request.takes_trailers,
        };
        let (answer, date) = (RefCell::new(Some(self.answer())), Date::default());
        let (sending, after) =
            Sending::begin(&mut wire.borrow_mut().out().own, &answer, asked, (&date, 1_795_651_201_000));
        block_on(poll_fn(|cx| sending.poll(&wire, &answer, cx))).unwrap();
        let (io, _) = wire.borrow_mut().take_io();
        (io.unwrap().sent, after.persistent)
    }

    fn hypers(&self) -> Vec<u8> {
        let answer = self.answer();
        let answer = RefCell::new(Some(answer));
        let mut pipe = pipe(self.request().as_bytes(), 1000);
        block_on(async {
            let service = hyper::service::service_fn(|_: http::Request<hyper::body::Incoming>| {
                let answer = answer.take().unwrap();
                async move { Ok::<_, Infallible>(answer) }
            });
            hyper::server::conn::http1::Builder::new()
                .half_close(true)
                .serve_connection(TokioIo::new(&mut pipe), service)
                .await
                .unwrap();
        });
        pipe.sent
    }
}

/// The lines of a head in order, without the moment in it, and what follows.
fn parsed(sent: &[u8]) -> (Vec<String>, Sent) {
    let end = memchr::memmem::find(sent, b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&sent[..end]).into_owned();
    let mut lines: Vec<String> = head.split("\r\n").map(ToOwned::to_owned).collect();
    for line in &mut lines {
        if line.starts_with("date: ") && !line.ends_with("00:00:00 GMT") {
            *line = "date: now".to_owned();
        }
    }
    lines[1..].sort();
    (lines, Sent(sent[end + 4..].to_vec()))
}

impl PartialEq for Sent {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn sound_requests_read_as_hyper_reads_them(Sent(bytes) in requests(), step in 1usize..200) {
        let hypers = hypers(pipe(&bytes, step));
        let ours = ours(pipe(&bytes, step));
        prop_assert!(!ours.is_empty());
        prop_assert_eq!(ours, hypers);
    }

    /// hyper may go on where we stop, and never reads otherwise what both take.
    #[test]
    fn whatever_is_taken_reads_as_hyper_reads_it(
        Sent(mut bytes) in requests(),
        step in 1usize..200,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3, prop::sample::select(&b"\r\n :;,0129afAF\0\t-+x"[..])), 1..4),
    ) {
        for (at, what, byte) in changes {
            let at = at.index(bytes.len().max(1)).min(bytes.len());
            match what {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ => if let Some(old) = bytes.get_mut(at) { *old = byte },
            }
        }
        let ours = ours(pipe(&bytes, step));
        let hypers = hypers(pipe(&bytes, step));
        prop_assert!(ours.len() <= hypers.len(), "{ours:#?}\n{hypers:#?}");
        prop_assert_eq!(&ours[..], &hypers[..ours.len()]);
    }

    #[test]
    fn answers_are_written_as_hyper_writes_them(case in cases(), takes in prop::sample::select(vec![1usize, 100, 100_000])) {
        let (ours, persistent) = case.ours(takes);
        let hypers = case.hypers();
        let ((mut head, body), (mut hypers_head, hypers_body)) = (parsed(&ours), parsed(&hypers));
        prop_assert_eq!(persistent, !head.iter().any(|line| line == "connection: close"));
        let says = |head: &[String], name: &str| head.iter().any(|line| line.starts_with(name));
        if !says(&head, "transfer-encoding") {
            // It mentions trailers, depending on the order of the fields, where there is no place for them.
            hypers_head.retain(|line| !line.starts_with("trailer"));
        }
        if case.version == Version::HTTP_10 && !persistent {
            // It does not say that it closes, or even promises to go on where the end of the connection ends the body.
            head.retain(|line| line != "connection: close");
            hypers_head.retain(|line| !line.starts_with("connection: "));
        }
        prop_assert_eq!(&head, &hypers_head);
        // The case of hexadecimal digits is all that differs.
        prop_assert_eq!(Sent(body.0.to_ascii_lowercase()), Sent(hypers_body.0.to_ascii_lowercase()));
    }
}

#[test]
fn small_parts_of_a_body_go_out_with_the_head_in_one_call() {
    let case = Case {
        method: Method::GET,
        version: Version::HTTP_11,
        persistent: true,
        takes_trailers: false,
        status: StatusCode::OK,
        fields: Vec::new(),
        frames: vec![vec![b'x'; 100]; 3],
        length: None,
        trailers: false,
    };
    // A second call would find that nothing is taken any more.
    let wire = RefCell::new(wire(Pipe { takes: Some(0), left: Some(usize::MAX), ..Pipe::default() }));
    let asked = answer::Asked { method: &case.method, version: case.version, persistent: true, takes_trailers: false };
    let (answer, date) = (RefCell::new(Some(case.answer())), Date::default());
    let (sending, _) = Sending::begin(&mut wire.borrow_mut().out().own, &answer, asked, (&date, 0));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(sending.poll(&wire, &answer, &mut cx), Poll::Ready(Ok(()))));
}
