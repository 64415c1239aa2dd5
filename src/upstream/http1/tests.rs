//! What goes out and what is made of what comes in; hyper's client is the oracle for the latter.

use std::collections::VecDeque;
use std::future::poll_fn;

use http::uri::PathAndQuery;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;

use super::*;

/// An endpoint that answers as soon as it has been sent something, in these pieces, and then closes.
#[derive(Debug, Default)]
struct Endpoint {
    pieces: VecDeque<Vec<u8>>,
    sent: Vec<u8>,
    reader: Option<Waker>,
    /// How many bytes one write takes.
    takes: Option<usize>,
}

impl Endpoint {
    fn answering(bytes: &[u8], step: usize) -> Self {
        Self { pieces: bytes.chunks(step.max(1)).map(<[u8]>::to_vec).collect(), ..Self::default() }
    }
}

impl AsyncRead for Endpoint {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.sent.is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endpoint {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let taken = self.takes.unwrap_or(buf.len()).min(buf.len());
        self.sent.extend_from_slice(&buf[..taken]);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A response as somebody who asked sees it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

type Nothing = Empty<Bytes>;

/// The response, and the connection after it.
fn ours(endpoint: Endpoint, method: &Method) -> Result<(Seen, Http1<Endpoint, Nothing>), Error> {
    let mut http1 = Http1::new(endpoint);
    let headers = HeaderMap::from_iter([(http::header::HOST, http::HeaderValue::from_static("a"))]);
    http1.begin(&Head { method, target: &PathAndQuery::from_static("/"), headers: &headers }, Nothing::new());
    block_on(async {
        let (status, headers, _) = poll_fn(|cx| http1.poll_response(cx)).await?;
        let mut seen = Seen { status: status.as_u16(), headers, body: Vec::new(), trailers: None };
        while let Some(frame) = poll_fn(|cx| http1.poll_frame(cx)).await {
            match frame?.into_data() {
                Ok(data) => seen.body.extend_from_slice(&data),
                Err(trailers) => seen.trailers = trailers.into_trailers().ok(),
            }
        }
        Ok((seen, http1))
    })
}

fn hypers(endpoint: Endpoint, method: &Method) -> Option<Seen> {
    block_on(async {
        let io = TokioIo::new(endpoint);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
        let request =
            http::Request::builder().method(method).uri("/").header("host", "a").body(Nothing::new()).unwrap();
        let asked = async move {
            let (parts, mut body) = sender.send_request(request).await.ok()?.into_parts();
            let mut seen =
                Seen { status: parts.status.as_u16(), headers: parts.headers, body: Vec::new(), trailers: None };
            while let Some(frame) = body.frame().await {
                match frame.ok()?.into_data() {
                    Ok(data) => seen.body.extend_from_slice(&data),
                    Err(trailers) => seen.trailers = trailers.into_trailers().ok(),
                }
            }
            Some(seen)
        };
        let (_, seen) = tokio::join!(connection, asked);
        seen
    })
}

/// Bytes that a failed case shows as text.
#[derive(Clone)]
struct Wire(Vec<u8>);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Responses of which most are sound.
fn responses() -> impl Strategy<Value = (Wire, Method)> {
    let status = prop_oneof![
        8 => Just("HTTP/1.1 200 OK"),
        1 => Just("HTTP/1.0 200 OK"),
        1 => Just("HTTP/1.1 204 No Content"),
        1 => Just("HTTP/1.1 304 Not Modified"),
        1 => Just("HTTP/1.1 404 "),
        1 => Just("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK"),
    ];
    let field = prop_oneof![
        Just("X-A: b"),
        Just("x-a:c "),
        Just("Connection: close"),
        Just("Set-Cookie: a=b; \u{fc}"),
        Just("Content-Type: text/plain"),
    ];
    let framed = prop_oneof![
        4 => "[a-z]{0,20}".prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        4 => (prop::collection::vec("[a-z]{1,20}", 0..4), "(;x=y)?", "(X-T: 1\r\nX-U:2\r\n)?").prop_map(
            |(chunks, extension, trailers)| {
                let mut body: String =
                    chunks.iter().map(|chunk| format!("{:x}{extension}\r\n{chunk}\r\n", chunk.len())).collect();
                body += &format!("0\r\n{trailers}\r\n");
                ("Transfer-Encoding: chunked\r\n".to_owned(), body)
            }
        ),
        1 => "[a-z]{0,20}".prop_map(|body| (String::new(), body)),
    ];
    let method = prop_oneof![5 => Just(Method::GET), 1 => Just(Method::HEAD)];
    (status, prop::collection::vec(field, 0..4), framed, method).prop_map(
        |(status, fields, (framing, body), method)| {
            // Chunks came with HTTP/1.1.
            let status = if framing.starts_with("Transfer") { status.replace("1.0", "1.1") } else { status.to_owned() };
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            (Wire(format!("{status}\r\n{fields}{framing}\r\n{body}").into_bytes()), method)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn sound_responses_read_as_hyper_reads_them((Wire(bytes), method) in responses(), step in 1usize..200) {
        let hypers = hypers(Endpoint::answering(&bytes, step), &method);
        let ours = ours(Endpoint::answering(&bytes, step), &method).ok().map(|(seen, _)| seen);
        prop_assert!(ours.is_some());
        prop_assert_eq!(ours, hypers);
    }

    #[test]
    fn whatever_is_taken_reads_as_hyper_reads_it(
        (Wire(mut bytes), method) in responses(),
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
        if let Ok((seen, _)) = ours(Endpoint::answering(&bytes, step), &method) {
            prop_assert_eq!(Some(seen), hypers(Endpoint::answering(&bytes, step), &method));
        }
    }

    #[test]
    fn a_connection_is_used_again_only_if_nothing_is_left_on_it((Wire(mut bytes), method) in responses(), rest in "[A-Z]{0,3}") {
        let length = bytes.len();
        bytes.extend_from_slice(rest.as_bytes());
        let (seen, http1) = ours(Endpoint::answering(&bytes, length + 3), &method).unwrap();
        let until_close = !seen.headers.contains_key("content-length")
            && !seen.headers.contains_key("transfer-encoding")
            && method == Method::GET
            && !matches!(seen.status, 204 | 304);
        let closes = seen.headers.get_all("connection").iter().any(|value| value == "close")
            || bytes.starts_with(b"HTTP/1.0")
            || until_close;
        // What the answer to a HEAD, a 204 or a 304 brings along is left over as well.
        let mut heads = memchr::memmem::find_iter(&bytes, b"\r\n\r\n").skip(usize::from(bytes.starts_with(b"HTTP/1.1 103")));
        let head = heads.next().map_or(0, |at| at + 4);
        let bodiless = method == Method::HEAD || matches!(seen.status, 204 | 304);
        let left = if bodiless { bytes.len() > head } else { !rest.is_empty() };
        prop_assert_eq!(http1.is_at_rest(), !closes && !left);
    }
}

/// What is sent for a request with these fields and this body.
fn sent(
    method: Method,
    fields: &'static [(&'static str, &'static str)],
    frames: Vec<Frame<Bytes>>,
    takes: usize,
) -> String {
    let headers = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let head = Head { method: &method, target: &PathAndQuery::from_static("/p?q"), headers: &headers };
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let endpoint = Endpoint { takes: Some(takes), ..Endpoint::answering(answer, 100) };
    let frames = frames.into_iter().map(Ok::<_, std::convert::Infallible>);
    let body = StreamBody::new(futures_util::stream::iter(frames));
    block_on(async {
        if body.is_end_stream() {
            unreachable!("a stream does not know its end");
        }
        let mut http1 = Http1::new(endpoint);
        http1.begin(&head, body);
        poll_fn(|cx| http1.poll_response(cx)).await.unwrap();
        assert!(http1.is_at_rest());
        String::from_utf8(http1.io.sent).unwrap()
    })
}

#[test]
fn a_request_goes_out_as_its_fields_say_however_little_a_write_takes() {
    let data = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
    for takes in [1, 2, 7, 1000] {
        let fields = &[("host", "a"), ("content-length", "11"), ("te", "trailers")];
        assert_eq!(
            sent(Method::POST, fields, vec![data("hello "), data(""), data("world")], takes),
            "POST /p?q HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\nhello world"
        );
        let trailers =
            ["x-sum", "x-unsaid"].map(|name| (HeaderName::from_static(name), http::HeaderValue::from_static("1")));
        let trailers = Frame::trailers(HeaderMap::from_iter(trailers));
        assert_eq!(
            sent(
                Method::PUT,
                &[("trailer", "x-other, X-Sum")],
                vec![data("hello "), data(""), data("worldworld"), trailers],
                takes
            ),
            "PUT /p?q HTTP/1.1\r\ntrailer: x-other, X-Sum\r\ntransfer-encoding: chunked\r\n\r\n\
             6\r\nhello \r\na\r\nworldworld\r\n0\r\nx-sum: 1\r\n\r\n"
        );
    }
}

#[test]
fn a_request_without_a_body_says_so_where_one_is_expected() {
    for (method, fields) in [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "content-length: 0\r\n")] {
        let (_, http1) =
            ours(Endpoint::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 99), &method).unwrap();
        let sent = String::from_utf8(http1.io.sent).unwrap();
        assert_eq!(sent, format!("{method} / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
    }
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_breaks_off() {
    for body in ["shor", "too long"] {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_LENGTH, http::HeaderValue::from_static("5"))]);
        let frame = Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(body.as_bytes())));
        let target = PathAndQuery::from_static("/");
        let mut http1 = Http1::new(Endpoint::default());
        let body = StreamBody::new(futures_util::stream::iter([frame]));
        http1.begin(&Head { method: &Method::POST, target: &target, headers: &headers }, body);
        let error = block_on(poll_fn(|cx| http1.poll_response(cx))).unwrap_err();
        assert!(matches!(error, Error::Request(_)), "{error}");
        assert!(!http1.is_at_rest());
    }
}

#[test]
fn a_response_says_its_length_in_one_way() {
    let read = |version: &str, fields: &str| {
        let head = format!("HTTP/{version} 200 OK\r\n{fields}\r\n");
        head::read(&Bytes::from(head), false).map(|answer| (answer.body, answer.persistent))
    };
    for (fields, body) in [
        ("", head::Body::UntilClose),
        ("Content-Length: 0\r\n", head::Body::Length(0)),
        ("Content-Length: 42 \r\n", head::Body::Length(42)),
        ("Transfer-Encoding: Chunked\r\n", head::Body::Chunked),
    ] {
        assert_eq!(read("1.1", fields), Ok((body, body != head::Body::UntilClose)), "{fields:?}");
    }
    assert_eq!(read("1.1", "Content-Length: 1\r\nConnection: a, Close\r\n"), Ok((head::Body::Length(1), false)));
    assert_eq!(read("1.0", "Content-Length: 1\r\n"), Ok((head::Body::Length(1), false)));
    assert_eq!(read("1.0", "Content-Length: 1\r\nConnection: keep-alive\r\n"), Ok((head::Body::Length(1), true)));
    for fields in [
        "Content-Length: \r\n",
        "Content-Length: 042\r\n",
        "Content-Length: +42\r\n",
        "Content-Length: 42, 42\r\n",
        "Content-Length: 1234567890123456789\r\n",
        "Content-Length: 42\r\nContent-Length: 42\r\n",
        "Content-Length: 42\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 42\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
    ] {
        assert!(read("1.1", fields).is_err(), "{fields:?}");
    }
    assert!(read("1.0", "Transfer-Encoding: chunked\r\n").is_err());
}
