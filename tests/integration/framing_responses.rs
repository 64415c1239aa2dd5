//! Backends that answer wrongly: whatever a backend sends, nobody but the client that asked gets any of it.
//!
//! Two clients take turns on one worker, and so on one pool. One gets the scripted answer; then each asks for something
//! ordinary, which has to be answered with its own nonce.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::harness::backend::service;
use super::harness::gateway::Gateway;
use super::harness::raw::{Parsed, RawClient, Reply, find, parse_request};

/// Stands for the nonce of the request in what a script answers.
const NONCE: &str = "@nonce";
/// What a second response on the heels of the first would bring to whoever asks next.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON";

/// A scripted answer.
struct Script {
    name: &'static str,
    method: &'static str,
    /// What the origin writes, one write each.
    writes: Vec<String>,
    /// The origin closes after that.
    close: bool,
    client_sees: Sees,
}

/// What the client that asked may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sees {
    /// 502.
    Bad,
    /// This status, and the nonce as the body.
    Nonce(u16),
    /// This status, and no body.
    Empty(u16),
    /// A response that breaks off, perhaps before its first byte.
    Aborted,
    /// `Bad`, `Aborted` or `Nonce(200)`: it can be read in one way only, and no rule says that it must be.
    Harmless,
}

fn scripts() -> Vec<Script> {
    use Sees::{Aborted, Bad, Empty, Harmless, Nonce};
    let ok = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let long = "x".repeat(70 * 1024);
    let many = "X-A: b\r\n".repeat(120);
    let storm = "HTTP/1.1 102 Processing\r\n\r\n".repeat(500);
    let get = |name, writes: &[&str], client_sees| Script {
        name,
        method: "GET",
        writes: writes.iter().map(|write| (*write).to_owned()).collect(),
        close: false,
        client_sees,
    };
    let closing = |name, writes: &[&str], client_sees| Script { close: true, ..get(name, writes, client_sees) };
    let by = |method, script: Script| Script { method, ..script };
    let chunked = "Transfer-Encoding: chunked\r\n";
    let length = "Content-Length: 6\r\n";
    let chunks = "6\r\n@nonce\r\n0\r\n\r\n";
    vec![
        // Two lengths.
        get("length and coding", &[&ok(&format!("{length}{chunked}"), chunks)], Bad),
        get("coding and length", &[&ok(&format!("{chunked}{length}"), chunks)], Bad),
        get("two lengths", &[&ok("Content-Length: 6\r\nContent-Length: 7\r\n", "@nonceX")], Bad),
        get("the same length twice", &[&ok("Content-Length: 6\r\nContent-Length: 6\r\n", NONCE)], Bad),
        get("a list of lengths", &[&ok("Content-Length: 6, 6\r\n", NONCE)], Bad),
        get("length with a plus", &[&ok("Content-Length: +6\r\n", NONCE)], Bad),
        get("length below zero", &[&ok("Content-Length: -6\r\n", NONCE)], Bad),
        get("length with a letter", &[&ok("Content-Length: 6x\r\n", NONCE)], Bad),
        get("length in hexadecimal", &[&ok("Content-Length: 0x6\r\n", NONCE)], Bad),
        get("length of twenty digits", &[&ok("Content-Length: 18446744073709551622\r\n", NONCE)], Bad),
        get("no length in the field", &[&ok("Content-Length: \r\n", NONCE)], Bad),
        get("length with zeros in front", &[&ok("Content-Length: 006\r\n", NONCE)], Bad),
        // Codings.
        get("two codings", &[&ok("Transfer-Encoding: gzip, chunked\r\n", chunks)], Bad),
        get("chunked is not last", &[&ok("Transfer-Encoding: chunked, gzip\r\n", chunks)], Bad),
        get("chunked twice", &[&ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunks)], Bad),
        get(
            "chunked, then another field",
            &[&ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", chunks)],
            Bad,
        ),
        get("an unknown coding", &[&ok("Transfer-Encoding: xchunked\r\n", chunks)], Bad),
        get("identity", &[&ok("Transfer-Encoding: identity\r\n", NONCE)], Bad),
        get(
            "coding in HTTP/1.0",
            &["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n@nonce\r\n0\r\n\r\n"],
            Bad,
        ),
        // Heads.
        get(
            "101 that nobody asked for",
            &["HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n@nonce"],
            Bad,
        ),
        get("version 2.0", &["HTTP/2.0 200 OK\r\nContent-Length: 6\r\n\r\n@nonce"], Bad),
        closing("HTTP/0.9", &["@nonce"], Bad),
        get("NUL in a value", &[&ok(&format!("X-A: a\0b\r\n{length}"), NONCE)], Bad),
        get("NUL in a name", &[&ok(&format!("X\0A: b\r\n{length}"), NONCE)], Bad),
        get("CR in a value", &[&ok(&format!("X-A: a\rb\r\n{length}"), NONCE)], Bad),
        get("a folded line", &[&ok(&format!("X-A: a\r\n b\r\n{length}"), NONCE)], Bad),
        get("space before a colon", &[&ok(&format!("X-A : b\r\n{length}"), NONCE)], Bad),
        get("space in a name", &[&ok(&format!("X A: b\r\n{length}"), NONCE)], Bad),
        get("no colon", &[&ok(&format!("X-A\r\n{length}"), NONCE)], Bad),
        get("two status lines", &[&ok("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n", NONCE)], Bad),
        get("a status of two digits", &["HTTP/1.1 20 OK\r\nContent-Length: 6\r\n\r\n@nonce"], Bad),
        get("a status of letters", &["HTTP/1.1 abc OK\r\nContent-Length: 6\r\n\r\n@nonce"], Bad),
        get("not HTTP", &["SSH-2.0-OpenSSH_9.2\r\n\r\n"], Bad),
        closing("no end of the head", &["HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-A: @nonce"], Bad),
        closing("nothing at all", &[], Bad),
        get("a head of 70 KiB", &[&ok(&format!("X-A: {long}\r\n{length}"), NONCE)], Bad),
        get("120 fields", &[&ok(&format!("{many}{length}"), NONCE)], Bad),
        get("line ends without CR", &["HTTP/1.1 200 OK\nContent-Length: 6\n\n@nonce"], Harmless),
        get("an empty line first", &["\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n@nonce"], Harmless),
        get("no reason phrase", &["HTTP/1.1 200\r\nContent-Length: 6\r\n\r\n@nonce"], Harmless),
        // Bodies.
        closing("a body cut short", &["HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n@nonce"], Aborted),
        closing("chunks cut short", &[&ok(chunked, "6\r\n@nonce\r\n")], Aborted),
        closing("a chunk cut short", &[&ok(chunked, "60\r\n@nonce")], Aborted),
        get("a chunk size that is none", &[&ok(chunked, "6\r\n@nonce\r\nzz\r\n")], Aborted),
        get(
            "a chunk size beyond 64 bits",
            &[&ok(chunked, "6\r\n@nonce\r\n10000000000000006\r\n@nonce\r\n0\r\n\r\n")],
            Aborted,
        ),
        get("a chunk longer than it says", &[&ok(chunked, "2\r\n@nonce\r\n0\r\n\r\n")], Aborted),
        get("chunks with bare LF", &[&ok(chunked, "6\n@nonce\n0\n\n")], Harmless),
        get("a chunk extension", &[&ok(chunked, "6;a=b\r\n@nonce\r\n0\r\n\r\n")], Nonce(200)),
        closing("a body up to the end", &["HTTP/1.0 200 OK\r\n\r\n@nonce"], Nonce(200)),
        closing("a body up to the end in HTTP/1.1", &["HTTP/1.1 200 OK\r\n\r\n@nonce"], Nonce(200)),
        get(
            "forbidden trailers",
            &[&ok(
                &format!("{chunked}Trailer: Set-Cookie, Content-Length\r\n"),
                "6\r\n@nonce\r\n0\r\nSet-Cookie: leaked\r\nContent-Length: 4242\r\nHost: leaked\r\n\r\n",
            )],
            Nonce(200),
        ),
        get(
            "hop-by-hop fields",
            &[&ok(
                &format!(
                    "{length}Connection: X-Leaked\r\nX-Leaked: leaked\r\nKeep-Alive: leaked\r\nProxy-Connection: leaked\r\nUpgrade: leaked\r\nTE: leaked\r\n"
                ),
                NONCE,
            )],
            Nonce(200),
        ),
        // More than was asked for.
        get("bytes after a body", &[&ok(length, &format!("{NONCE}POISON"))], Nonce(200)),
        get("a second response with the first", &[&ok(length, &format!("{NONCE}{POISON}"))], Nonce(200)),
        get("a second response after the first", &[&ok(length, NONCE), POISON], Nonce(200)),
        get("a second response after chunks", &[&ok(chunked, &format!("{chunks}{POISON}"))], Nonce(200)),
        get("a line end after a body", &[&ok(length, &format!("{NONCE}\r\n"))], Nonce(200)),
        by("HEAD", get("a body after HEAD", &[&ok(length, POISON)], Empty(200))),
        by("HEAD", get("chunks after HEAD", &[&ok(chunked, &format!("6\r\nPOISON\r\n0\r\n\r\n{POISON}"))], Empty(200))),
        by(
            "HEAD",
            get("two lengths after HEAD", &["HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 7\r\n\r\n"], Bad),
        ),
        get("204 with a body", &[&format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}")], Empty(204)),
        get(
            "204 with a length and a body",
            &["HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nPOISON"],
            Empty(204),
        ),
        get("304 with a body", &[&format!("HTTP/1.1 304 Not Modified\r\n\r\n{POISON}")], Empty(304)),
        get(
            "304 with chunks",
            &["HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nPOISON\r\n0\r\n\r\n"],
            Empty(304),
        ),
        get("205 with a body", &["HTTP/1.1 205 Reset Content\r\nContent-Length: 6\r\n\r\n@nonce"], Nonce(205)),
        // Interim responses.
        get("500 interim responses", &[&format!("{storm}{}", ok(length, NONCE))], Nonce(200)),
        get(
            "early hints",
            &["HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n", &ok(length, NONCE)],
            Nonce(200),
        ),
        get("100 that nobody asked for", &["HTTP/1.1 100 Continue\r\n\r\n", &ok(length, NONCE)], Nonce(200)),
        get(
            "100 with a body",
            &[&format!("HTTP/1.1 100 Continue\r\nContent-Length: 6\r\n\r\nPOISON{}", ok(length, NONCE))],
            Bad,
        ),
        closing("100 and no more", &["HTTP/1.1 100 Continue\r\n\r\n"], Bad),
        // A request whose end the origin does not wait for.
        by("POST", get("an answer before the end of the request", &[&ok(length, NONCE)], Nonce(200))),
        by(
            "POST",
            get(
                "a refusal before the end of the request",
                &["HTTP/1.1 413 Content Too Large\r\nContent-Length: 6\r\n\r\n@nonce"],
                Nonce(413),
            ),
        ),
        by(
            "POST",
            closing(
                "a refusal that closes",
                &["HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 6\r\n\r\n@nonce"],
                Nonce(413),
            ),
        ),
    ]
}

#[test]
fn nobody_gets_what_another_asked_for() {
    let scripts = Arc::new(scripts());
    assert!(scripts.len() >= 40);
    let origin = Origin::start(scripts.clone());
    let gateway = Gateway::start_with(&objects(origin.address), &["--workers", "1"]);
    let mut clients = [Client::new(gateway.http, "a"), Client::new(gateway.http, "b")];
    let mut failures = Vec::new();
    // Twice, so that every script also meets a connection that has served before.
    for round in 0..2 {
        for (number, script) in scripts.iter().enumerate() {
            let (asking, other) = if number % 2 == round { (0, 1) } else { (1, 0) };
            let result = clients[asking].script(number, script);
            // What the origin wrote has arrived; the next request cannot overtake it.
            origin.written.recv().unwrap();
            // A second time, if the request went out again on a new connection.
            origin.written.try_iter().for_each(drop);
            let mut results = vec![result];
            for _ in 0..2 {
                results.push(clients[other].ordinary());
                results.push(clients[asking].ordinary());
            }
            failures.extend(results.into_iter().filter_map(Result::err).map(|why| format!("{}: {why}", script.name)));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), scripts.len(), failures.join("\n"));
    // Every client reused what others had used: there was something to poison.
    let (connections, requests) = (origin.connections.load(Ordering::SeqCst), origin.requests.load(Ordering::SeqCst));
    assert!(connections < requests / 2, "{connections} connections for {requests} requests");
}

fn objects(backend: SocketAddr) -> String {
    let ingress = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: all}\nspec: {defaultBackend: \
                   {service: {name: origin, port: {number: 80}}}}\n";
    service("origin", &[backend]) + ingress
}

/// One of those that take turns.
struct Client {
    gateway: SocketAddr,
    connection: RawClient,
    name: &'static str,
    asked: usize,
}

impl Client {
    fn new(gateway: SocketAddr, name: &'static str) -> Self {
        Self { gateway, connection: RawClient::connect(gateway), name, asked: 0 }
    }

    /// Six characters that no other request has.
    fn nonce(&mut self) -> String {
        self.asked += 1;
        format!("{}{:05}", self.name, self.asked)
    }

    fn ordinary(&mut self) -> Result<(), String> {
        let nonce = self.nonce();
        let reply = self.ask("GET", &format!("/ordinary/{nonce}"), "", false)?;
        if reply.status == 200 && reply.text() == nonce {
            Ok(())
        } else {
            Err(format!("{nonce} was answered with {} {:?}", reply.status, reply.text()))
        }
    }

    fn script(&mut self, number: usize, script: &Script) -> Result<(), String> {
        let nonce = self.nonce();
        // A body that does not end: the answer cannot wait for it.
        let body = if script.method == "POST" { "Content-Length: 1000\r\n\r\nbeginning" } else { "" };
        let reply = self.ask(script.method, &format!("/script/{number}/{nonce}"), body, script.method == "HEAD");
        if script.method == "POST" {
            self.connection = RawClient::connect(self.gateway);
        }
        if self.connection.closed && reply.is_err() && matches!(script.client_sees, Sees::Aborted | Sees::Harmless) {
            return Ok(());
        }
        let reply = reply?;
        let text = reply.text();
        let leaked = reply.fields.iter().any(|(_, value)| find(value, b"leaked").is_some());
        if leaked || text.contains("POISON") {
            return Err(format!("got more than was asked for: {reply:?}"));
        }
        let bad = reply.status == 502 && reply.whole;
        let aborted = !reply.whole;
        let whole = |status| reply.status == status && reply.whole && text == nonce;
        let right = match script.client_sees {
            Sees::Bad => bad,
            Sees::Nonce(status) => whole(status),
            Sees::Empty(status) => reply.status == status && reply.body.is_empty(),
            Sees::Aborted => aborted,
            Sees::Harmless => bad || aborted || whole(200),
        };
        if right { Ok(()) } else { Err(format!("expected {:?}, got {reply:?}", script.client_sees)) }
    }

    fn ask(&mut self, method: &str, path: &str, body: &str, head: bool) -> Result<Reply, String> {
        let rest = if body.is_empty() { "\r\n" } else { body };
        let request = format!("{method} {path} HTTP/1.1\r\nHost: app.example.com\r\n{rest}");
        if self.connection.closed {
            self.connection = RawClient::connect(self.gateway);
        }
        self.connection.send(request.as_bytes());
        match self.connection.next(head)? {
            Some(reply) => {
                let closes = reply.all("connection").iter().any(|option| option == "close");
                if closes && !self.connection.read_to_end() {
                    return Err("said that it closes, and did not".to_owned());
                }
                Ok(reply)
            }
            None => Err("closed without an answer".to_owned()),
        }
    }
}

/// A backend that answers by script.
struct Origin {
    address: SocketAddr,
    /// A script has been written.
    written: Receiver<()>,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Origin {
    fn start(scripts: Arc<Vec<Script>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (written, receiver) = channel();
        let (connections, requests): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let counts = (connections.clone(), requests.clone());
        let written = Arc::new(Mutex::new(written));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counts.0.fetch_add(1, Ordering::SeqCst);
                let (scripts, written, requests) = (scripts.clone(), written.clone(), counts.1.clone());
                std::thread::spawn(move || serve(stream, &scripts, &written, &requests));
            }
        });
        Self { address, written: receiver, connections, requests }
    }
}

fn serve(mut stream: TcpStream, scripts: &[Script], written: &Mutex<Sender<()>>, requests: &AtomicUsize) {
    stream.set_nodelay(true).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        received.extend_from_slice(&buffer[..read]);
        // The head is enough: some scripts do not wait for more.
        while let Some(end) = find(&received, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).into_owned();
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut path = target.split('/').skip(1);
            let (kind, rest): (_, Vec<&str>) = (path.next().unwrap_or_default(), path.collect());
            requests.fetch_add(1, Ordering::SeqCst);
            match (kind, &rest[..]) {
                ("ordinary", [nonce]) => {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{nonce}", nonce.len());
                    let _ = stream.write_all(answer.as_bytes());
                }
                ("script", [number, nonce]) => {
                    let script = &scripts[number.parse::<usize>().unwrap()];
                    for write in &script.writes {
                        let _ = stream.write_all(write.replace(NONCE, nonce).as_bytes());
                    }
                    if script.close {
                        let _ = stream.shutdown(std::net::Shutdown::Write);
                    }
                    let _ = written.lock().unwrap().send(());
                }
                _ => panic!("asked for {target}"),
            }
            match parse_request(&received) {
                Parsed::Whole(_, length) => drop(received.drain(..length)),
                // The rest of a body that nobody waits for.
                Parsed::Partial | Parsed::Broken(_) => {
                    while let Ok(1..) = stream.read(&mut buffer) {}
                    return;
                }
            }
        }
    }
}
