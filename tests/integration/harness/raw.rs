//! Both ends of a proxy byte by byte: what a lenient HTTP library would smooth over is what some tests are about.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Nothing that is waited for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(8);

/// A message's fields in the order they came; values without the white space around them.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// A whole request, as it stands on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Fields,
    /// The body, chunks put together.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
}

/// What stands at the beginning of some bytes.
#[derive(Debug)]
pub(crate) enum Parsed<T> {
    /// A whole one, and how long it is.
    Whole(T, usize),
    /// The beginning of one.
    Partial,
    /// None.
    Broken(&'static str),
}

impl Message {
    /// The values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        values(&self.fields, name)
    }

    /// The value of a field that is there once at most.
    pub(crate) fn one(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() < 2, "{name} twice: {self:?}");
        all.pop()
    }
}

fn values(fields: &Fields, name: &str) -> Vec<String> {
    fields
        .iter()
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        .collect()
}

/// Reads a request as strictly as a proxy has to write it.
pub(crate) fn parse_request(bytes: &[u8]) -> Parsed<Message> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Parsed::Partial };
    let mut lines = split_lines(&bytes[..end]).into_iter();
    let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else { return Parsed::Broken("request line") };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || method.is_empty() || !target.bytes().all(|b| b.is_ascii_graphic())
    {
        return Parsed::Broken("request line");
    }
    let Some(fields) = lines.map(parse_field).collect::<Option<Fields>>() else { return Parsed::Broken("field") };
    let (lengths, codings) = (values(&fields, "content-length"), values(&fields, "transfer-encoding"));
    let rest = &bytes[end + 4..];
    let (body, trailers, length) = match (&lengths[..], &codings[..]) {
        ([], []) => (Vec::new(), Vec::new(), 0),
        ([length], []) => {
            let Ok(length) = length.parse() else { return Parsed::Broken("Content-Length") };
            let Some(body) = rest.get(..length) else { return Parsed::Partial };
            (body.to_vec(), Vec::new(), length)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => match parse_chunks(rest) {
            Parsed::Whole((body, trailers), length) => (body, trailers, length),
            Parsed::Partial => return Parsed::Partial,
            Parsed::Broken(why) => return Parsed::Broken(why),
        },
        _ => return Parsed::Broken("framed in two ways"),
    };
    let message = Message { method: method.to_owned(), target: target.to_owned(), fields, body, trailers };
    Parsed::Whole(message, end + 4 + length)
}

/// The lines of a head, without their ends; a stray CR or LF stays inside and makes its line no field.
fn split_lines(head: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(end) = find(rest, b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    lines
}

fn parse_field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f);
    let well = !name.is_empty() && name.iter().all(is_token) && value.iter().all(is_text);
    well.then(|| (String::from_utf8_lossy(name).to_ascii_lowercase(), value.trim_ascii().to_vec()))
}

fn parse_chunks(bytes: &[u8]) -> Parsed<(Vec<u8>, Fields)> {
    let mut rest = bytes;
    let mut body = Vec::new();
    loop {
        let Some(end) = find(rest, b"\r\n") else { return Parsed::Partial };
        let size = std::str::from_utf8(&rest[..end]).ok().filter(|size| size.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            return Parsed::Broken("chunk size");
        };
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        let (Some(data), Some(end)) = (rest.get(..size), rest.get(size..size + 2)) else { return Parsed::Partial };
        if end != b"\r\n" {
            return Parsed::Broken("chunk end");
        }
        body.extend_from_slice(data);
        rest = &rest[size + 2..];
    }
    let mut trailers = Fields::new();
    loop {
        let Some(end) = find(rest, b"\r\n") else { return Parsed::Partial };
        let line = &rest[..end];
        rest = &rest[end + 2..];
        if line.is_empty() {
            return Parsed::Whole((body, trailers), bytes.len() - rest.len());
        }
        match parse_field(line) {
            Some(field) => trailers.push(field),
            None => return Parsed::Broken("trailer"),
        }
    }
}

/// Where `wanted` first stands in `bytes`.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A response as a client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to the end that its framing announces.
    pub(crate) whole: bool,
}

impl Reply {
    /// The values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        values(&self.fields, name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn unbounded(&self, head: bool) -> bool {
        !head
            && !matches!(self.status, 101 | 204 | 304)
            && self.all("content-length").is_empty()
            && self.all("transfer-encoding").is_empty()
    }
}

/// Reads one final response; those of status 1xx before it, other than 101, are passed over. `head` says whether the
/// request was a HEAD.
pub(crate) fn parse_reply(bytes: &[u8], head: bool) -> Parsed<Reply> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Parsed::Partial };
    let mut lines = split_lines(&bytes[..end]).into_iter();
    let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    let Some(status) = status.and_then(|rest| rest.get(..3)?.parse::<u16>().ok()) else {
        return Parsed::Broken("status line");
    };
    let Some(fields) = lines.map(parse_field).collect::<Option<Fields>>() else { return Parsed::Broken("field") };
    let start = end + 4;
    if (100..200).contains(&status) && status != 101 {
        return match parse_reply(&bytes[start..], head) {
            Parsed::Whole(reply, length) => Parsed::Whole(reply, start + length),
            other => other,
        };
    }
    let (lengths, codings) = (values(&fields, "content-length"), values(&fields, "transfer-encoding"));
    let rest = &bytes[start..];
    let part = |body: &[u8]| Reply { status, fields: fields.clone(), body: body.to_vec(), whole: false };
    let whole = |body: Vec<u8>, length: usize| {
        Parsed::Whole(Reply { status, fields: fields.clone(), body, whole: true }, start + length)
    };
    if head || matches!(status, 101 | 204 | 304) {
        return whole(Vec::new(), 0);
    }
    match (&lengths[..], &codings[..]) {
        ([], [coding]) if coding == "chunked" => match parse_chunks(rest) {
            Parsed::Whole((body, _), length) => whole(body, length),
            Parsed::Partial => Parsed::Whole(part(rest), bytes.len()),
            Parsed::Broken(why) => Parsed::Broken(why),
        },
        ([length], []) => match length.parse::<usize>().ok() {
            Some(length) if rest.len() >= length => whole(rest[..length].to_vec(), length),
            Some(_) => Parsed::Whole(part(rest), bytes.len()),
            None => Parsed::Broken("Content-Length"),
        },
        // To the end of the connection.
        ([], []) => whole(rest.to_vec(), rest.len()),
        _ => Parsed::Broken("framed in two ways"),
    }
}

/// A client's connection, in bytes.
pub(crate) struct RawClient {
    stream: TcpStream,
    /// What has come and has not been taken.
    pub(crate) received: Vec<u8>,
    /// The other side has closed.
    pub(crate) closed: bool,
}

impl RawClient {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: Vec::new(), closed: false }
    }

    /// Sends; a connection that the other side has closed swallows it.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads once; `false` when nothing more will come, or nothing came for so long that nothing will.
    pub(crate) fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.closed = true,
            Ok(read) => {
                self.received.extend_from_slice(&buffer[..read]);
                return true;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.closed = true,
        }
        false
    }

    /// Reads until the other side closes; `false` if it does not.
    pub(crate) fn read_to_end(&mut self) -> bool {
        while self.read() {}
        self.closed
    }

    /// The next response; `None` when the connection ends. Anything that is no response, and silence, is an error.
    pub(crate) fn next(&mut self, head: bool) -> Result<Option<Reply>, String> {
        loop {
            match parse_reply(&self.received, head) {
                // Without a length, the body goes on to the end of the connection.
                Parsed::Whole(reply, length) if self.closed || (reply.whole && !reply.unbounded(head)) => {
                    self.received.drain(..length);
                    return Ok(Some(reply));
                }
                Parsed::Broken(why) => return Err(format!("{why}: {:?}", String::from_utf8_lossy(&self.received))),
                Parsed::Whole(..) | Parsed::Partial => {}
            }
            if self.closed {
                let rest = String::from_utf8_lossy(&self.received);
                return if rest.is_empty() { Ok(None) } else { Err(format!("ends in {rest:?}")) };
            }
            if !self.read() && !self.closed {
                return Err("neither answered nor closed".to_owned());
            }
        }
    }

    /// The next response, which has to come.
    pub(crate) fn reply(&mut self, head: bool) -> Reply {
        self.next(head).unwrap().expect("closed without an answer")
    }

    /// Waits until the other side, if it has one thread and serves what comes first first, has read what was sent to it
    /// by others before: the answer to a request that it answers by itself.
    pub(crate) fn settle(&mut self) {
        self.send(b"OPTIONS * HTTP/1.1\r\nHost: settle\r\n\r\n");
        assert_eq!(self.reply(false).status, 204);
    }
}

/// A backend that keeps every byte of every connection and answers each whole request with what `answer` makes of it.
/// A connection on which something else than a request comes gets no answer any more.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<Vec<JoinHandle<Vec<u8>>>>>,
    done: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Recorder {
    /// Answers 200 with the request's target and its `X-Case`.
    pub(crate) fn start() -> Self {
        Self::answering(|message| {
            let body = format!("{} {}", message.target, message.all("x-case").join(","));
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        })
    }

    /// Answers with these bytes.
    pub(crate) fn answering(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections: Arc<Mutex<Vec<JoinHandle<Vec<u8>>>>> = Arc::default();
        let done = Arc::new(AtomicBool::new(false));
        let answer = Arc::new(answer);
        let accepting = {
            let (connections, done) = (connections.clone(), done.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                    let (stream, answer) = (stream.unwrap(), answer.clone());
                    connections.lock().unwrap().push(std::thread::spawn(move || record(stream, &*answer)));
                }
            })
        };
        Self { address, connections, done, accepting }
    }

    /// What came on each connection, once all have ended; whoever talks to it must have gone.
    pub(crate) fn finish(self) -> Vec<Vec<u8>> {
        self.done.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.accepting.join().unwrap();
        let connections = std::mem::take(&mut *self.connections.lock().unwrap());
        connections.into_iter().map(|connection| connection.join().unwrap()).collect()
    }
}

fn record(mut stream: TcpStream, answer: &dyn Fn(&Message) -> Vec<u8>) -> Vec<u8> {
    stream.set_nodelay(true).unwrap();
    let mut all = Vec::new();
    let mut at = 0;
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        all.extend_from_slice(&buffer[..read]);
        while let Parsed::Whole(message, length) = parse_request(&all[at..]) {
            at += length;
            let _ = stream.write_all(&answer(&message));
        }
    }
    all
}

/// The requests on a connection, each with its bytes, and what stands behind the last whole one.
pub(crate) fn requests(mut bytes: &[u8]) -> (Vec<(Message, &[u8])>, &[u8]) {
    let mut messages = Vec::new();
    while let Parsed::Whole(message, length) = parse_request(bytes) {
        messages.push((message, &bytes[..length]));
        bytes = &bytes[length..];
    }
    (messages, bytes)
}
