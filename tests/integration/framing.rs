//! Every request of `tests/fixtures/framing/requests.tsv` against its verdict, through the real binary: a raw client on
//! one side, a backend that keeps every byte on the other. Each runs whole, cut in two at several places, and byte by
//! byte when it is short, since a verdict must not depend on how TCP cuts.

mod judge;

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::harness::backend::service;
use super::harness::gateway::Gateway;
use super::harness::raw::{Message, RawClient, Recorder, Reply, find, requests};
use judge::{Seen, Verdict};

/// Longer ones are not sent byte by byte, for time's sake.
const SHORT: usize = 120;
const THREADS: usize = 8;
const TOKEN: &[u8] = b"@TOK@";

/// One row of the table.
struct Case {
    name: String,
    verdict: Verdict,
    /// What may reach the backend.
    counts: String,
    /// With `@TOK@` in it.
    bytes: Vec<u8>,
}

/// One case sent once.
struct Run<'a> {
    case: &'a Case,
    /// Where its bytes are cut.
    cuts: Vec<usize>,
    token: String,
    /// The token of the request that follows on the same connection.
    probe: String,
}

/// What the client saw of a run.
#[derive(Debug, Default)]
struct Outcome {
    replies: Vec<Reply>,
    /// The request that followed was answered.
    probe_answered: bool,
    closed: bool,
    /// What must never be, whatever the verdict.
    broken: Option<String>,
}

#[test]
fn every_request_meets_its_verdict() {
    let recorder = Recorder::start();
    // Any host: it is not routing that has to keep things out here. One worker, so that all share its pool.
    let gateway = Gateway::start_with(&objects(recorder.address), &["--workers", "1"]);
    let cases = cases();
    let counted = |verdict| cases.iter().filter(|case| case.verdict == verdict).count();
    assert_eq!((counted(Verdict::Refuse), counted(Verdict::Accept), counted(Verdict::Either)), (245, 34, 18));
    let runs = plan(&cases);
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut settle = RawClient::connect(gateway.http);
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Some(run) = runs.get(number) else { break };
                    let outcome = send(gateway.http, &mut settle, run);
                    outcomes.lock().unwrap().insert(number, outcome);
                }
            });
        }
    });
    // With the gateway go its connections, and the recording is complete.
    drop(gateway);
    let failures = judge_all(&runs, &outcomes.into_inner().unwrap(), &recorder.finish());
    assert!(failures.is_empty(), "{} of {} runs:\n{}", failures.len(), runs.len(), failures.join("\n"));
}

fn objects(backend: SocketAddr) -> String {
    let ingress = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: all}\nspec: {defaultBackend: \
                   {service: {name: recorder, port: {number: 80}}}}\n";
    service("recorder", &[backend]) + ingress
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/framing/requests.tsv");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|row| {
        let [name, verdict, _level, _rfc, counts, bytes] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not six columns: {row}")
        };
        let writes: Vec<String> = serde_json::from_str(bytes).unwrap();
        let bytes = writes.concat().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        Case { name: name.to_owned(), verdict: Verdict::named(verdict), counts: counts.to_owned(), bytes }
    })
    .collect()
}

/// Every way every case is sent.
fn plan(cases: &[Case]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for case in cases {
        let length = with_token(&case.bytes, "zzzzz").len();
        let in_line_end = find(&case.bytes, b"\r").map_or(1, |at| at + 1);
        let mut ways = vec![vec![], vec![in_line_end], vec![length / 3], vec![length * 2 / 3], vec![length - 1]];
        if length <= SHORT {
            ways.push((1..length).collect());
        }
        for cuts in ways {
            let number = 2 * runs.len();
            runs.push(Run { case, cuts, token: token(number), probe: token(number + 1) });
        }
    }
    runs
}

/// Five characters that stand nowhere else: a `z` and four digits to the base 36.
fn token(number: usize) -> String {
    let digit = |place: u32| char::from_digit((number / 36_usize.pow(place) % 36) as u32, 36).unwrap();
    format!("z{}{}{}{}", digit(3), digit(2), digit(1), digit(0))
}

fn with_token(bytes: &[u8], token: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, TOKEN) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(token.as_bytes());
        rest = &rest[at + TOKEN.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Sends a case, then a request that is right on the same connection, then one on a new connection.
fn send(gateway: SocketAddr, settle: &mut RawClient, run: &Run<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut client = RawClient::connect(gateway);
    let bytes = with_token(&run.case.bytes, &run.token);
    let mut start = 0;
    for end in run.cuts.iter().copied().chain([bytes.len()]) {
        client.send(&bytes[start..end]);
        start = end;
        // What comes later is a read of its own.
        settle.settle();
    }
    client.send(probe(&run.probe).as_bytes());
    loop {
        match client.next(false) {
            Ok(Some(reply)) if reply.text().contains(&run.probe) => {
                outcome.probe_answered = reply.status == 200 && reply.text() == probe_answer(&run.probe);
                if !outcome.probe_answered || !client.received.is_empty() {
                    outcome.broken = Some(format!("the next request was answered with {reply:?}"));
                }
                break;
            }
            Ok(Some(reply)) => outcome.replies.push(reply),
            Ok(None) => {
                outcome.closed = true;
                break;
            }
            Err(error) => {
                outcome.broken = Some(error);
                break;
            }
        }
    }
    let mut fresh = RawClient::connect(gateway);
    fresh.send(probe(&run.probe).as_bytes());
    match fresh.next(false) {
        Ok(Some(reply)) if reply.status == 200 && reply.text() == probe_answer(&run.probe) => {}
        other => outcome.broken = Some(format!("a new connection got {other:?}")),
    }
    outcome
}

fn probe(token: &str) -> String {
    format!("GET /probe/{token} HTTP/1.1\r\nHost: app.example.com\r\nX-Case: {token}\r\n\r\n")
}

fn probe_answer(token: &str) -> String {
    format!("/probe/{token} {token}")
}

/// What is wrong, by name.
fn judge_all(runs: &[Run<'_>], outcomes: &HashMap<usize, Outcome>, recorded: &[Vec<u8>]) -> Vec<String> {
    let owners: HashMap<&str, usize> =
        runs.iter().enumerate().flat_map(|(number, run)| [(&*run.token, number), (&*run.probe, number)]).collect();
    let owner = |bytes: &[u8]| {
        let tokens = bytes.windows(5).filter(|window| window[0] == b'z');
        tokens.filter_map(|token| owners.get(std::str::from_utf8(token).ok()?).copied()).next()
    };
    let mut failures = Vec::new();
    let mut seen: HashMap<usize, Seen> = HashMap::new();
    for connection in recorded {
        let (messages, rest) = requests(connection);
        for (message, bytes) in messages {
            match owner(bytes) {
                Some(number) => seen.entry(number).or_default().whole.push(message),
                None => failures.push(format!("nobody's request reached the backend: {message:?}")),
            }
        }
        match owner(rest) {
            Some(number) => seen.entry(number).or_default().parts.push(rest.to_vec()),
            None if rest.is_empty() => {}
            None => failures.push(format!("nobody's bytes reached the backend: {:?}", String::from_utf8_lossy(rest))),
        }
    }
    for (number, run) in runs.iter().enumerate() {
        let bytes = with_token(&run.case.bytes, &run.token);
        let seen = seen.remove(&number).unwrap_or_default();
        let verdict = judge::judge(run.case, &bytes, &run.probe, &outcomes[&number], seen);
        if let Err(why) = verdict {
            failures.push(format!("{} cut at {:?}: {why}", run.case.name, &run.cuts[..run.cuts.len().min(2)]));
        }
    }
    failures
}

/// S-04: what stands behind a request to upgrade is for whoever the answer makes it for: the next request, if the
/// backend does not agree, and it finds its own way; the backend itself, if it does.
#[test]
fn what_follows_a_request_to_upgrade_waits_for_the_answer() {
    let agrees = |message: &Message| {
        let wants = message.all("upgrade") == ["websocket"] && message.all("connection") == ["Upgrade"];
        match (&*message.target, wants) {
            ("/agrees", true) => {
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_vec()
            }
            ("/declines", true) => b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ndeclined".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain".to_vec(),
        }
    };
    let (socket, other) = (Recorder::answering(agrees), Recorder::start());
    let rule = |host: &str, name: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\nspec: {{rules: [{{host: \
             {host}, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{number: \
             80}}}}}}}}]}}}}]}}\n"
        )
    };
    let objects = service("socket", &[socket.address])
        + &service("other", &[other.address])
        + &rule("socket.example.com", "socket")
        + &rule("other.example.com", "other");
    let gateway = Gateway::start_with(&objects, &["--workers", "1"]);
    let upgrade = |path: &str, fields: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: socket.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{fields}\r\n"
        )
    };
    let next = "GET /next HTTP/1.1\r\nHost: other.example.com\r\nX-Case: next\r\n\r\n";

    let mut client = RawClient::connect(gateway.http);
    client.send([&upgrade("/declines", ""), next].concat().as_bytes());
    assert_eq!(client.reply(false).text(), "declined");
    assert_eq!(client.reply(false).text(), "/next next");
    // A request that is no upgrade by our rules, with one that is behind it: each is what it is.
    client.send(
        [&upgrade("/declines", "Content-Length: 2\r\n"), "hi", &upgrade("/declines", ""), next].concat().as_bytes(),
    );
    assert_eq!(client.reply(false).text(), "plain");
    assert_eq!(client.reply(false).text(), "declined");
    assert_eq!(client.reply(false).text(), "/next next");
    // Other protocols are not asked for.
    client.send(upgrade("/declines", "").replace("websocket", "h2c").as_bytes());
    assert_eq!(client.reply(false).text(), "plain");

    client.send([&upgrade("/agrees", ""), next].concat().as_bytes());
    assert_eq!(client.reply(false).status, 101);
    // To the backend it is two requests, and it answers the second by itself.
    assert_eq!(client.reply(false).text(), "plain");
    drop(client);
    drop(gateway);
    let to_other: Vec<String> =
        other.finish().iter().flat_map(|bytes| requests(bytes).0).map(|(message, _)| message.target).collect();
    assert_eq!(to_other, ["/next", "/next"]);
    let tunnel = socket.finish().into_iter().find(|bytes| bytes.starts_with(b"GET /agrees ")).unwrap();
    assert!(tunnel.ends_with(next.as_bytes()));
}
