//! HTTP/2 requests that would become something else in HTTP/1.1: what a backend sees is what the client said, or
//! nothing.

use super::harness::backend::service;
use super::harness::gateway::Gateway;
use super::harness::raw::{Message, Recorder, requests};
use super::harness::raw_h2::{Fate, Field, RawH2};

/// One request on a connection of its own, and what may become of it.
struct Case {
    name: &'static str,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Parts of a body; none means that the head ends the stream.
    data: Vec<&'static [u8]>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    verdict: Verdict,
}

#[derive(Clone, Debug)]
enum Verdict {
    /// Nothing reaches the backend.
    Refused,
    /// The end of it is wrong, and what comes before may be under way by then: it breaks off, or arrives without what
    /// is too much.
    Cut,
    /// This reaches it: method, target, Host, and fields as they must be there.
    Passed(&'static str, &'static str, &'static str, Vec<(&'static str, Vec<&'static str>)>),
}

use Verdict::{Cut, Passed, Refused};

const HOST: &str = "app.example.com";

/// A GET with these pseudo-fields changed, and these fields after them. A value of `-` leaves one out.
fn get(name: &'static str, changes: &[(&str, &str)], fields: &[(&str, &str)], verdict: Verdict) -> Case {
    let mut pseudo = vec![(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/p")];
    for change in changes {
        match pseudo.iter_mut().find(|(name, _)| *name == change.0) {
            Some(field) => *field = *change,
            None => pseudo.push(*change),
        }
    }
    pseudo.retain(|(_, value)| *value != "-");
    let all = pseudo.iter().chain(fields).map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    Case { name, fields: all.collect(), data: vec![], trailers: vec![], verdict }
}

fn raw(name: &'static str, fields: &[(&str, &str)], verdict: Verdict) -> Case {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    Case { name, fields: fields.collect(), data: vec![], trailers: vec![], verdict }
}

fn post(name: &'static str, length: &[&str], data: &[&'static [u8]], verdict: Verdict) -> Case {
    let lengths: Vec<(&str, &str)> = length.iter().map(|length| ("content-length", *length)).collect();
    Case { data: data.to_vec(), ..get(name, &[(":method", "POST")], &lengths, verdict) }
}

fn passed(target: &'static str) -> Verdict {
    Passed("GET", target, HOST, vec![])
}

fn cases() -> Vec<Case> {
    let seen = |name, values: &[&'static str]| Passed("GET", "/p", HOST, vec![(name, values.to_vec())]);
    let body = |length: &'static str| Passed("POST", "/p", HOST, vec![("content-length", vec![length])]);
    let big = "x".repeat(33 * 1024);
    let mut cases = vec![
        get("ordinary", &[], &[("x-a", "b")], seen("x-a", &["b"])),
        get("query", &[(":path", "/p?a=/../b?c")], &[], passed("/p?a=/../b?c")),
        get("host as well", &[], &[("host", HOST)], passed("/p")),
        get(
            "host in capitals as well",
            &[],
            &[("host", "APP.EXAMPLE.COM")],
            Passed("GET", "/p", "APP.EXAMPLE.COM", vec![]),
        ),
        get("host alone", &[(":authority", "-")], &[("host", HOST)], passed("/p")),
        get("another host", &[], &[("host", "evil.example.net")], Refused),
        get("host with another port", &[], &[("host", "app.example.com:81")], Refused),
        get("two hosts", &[], &[("host", HOST), ("host", HOST)], Refused),
        get("no host at all", &[(":authority", "-")], &[], Refused),
        get("an empty authority", &[(":authority", "")], &[], Refused),
        get("an empty host", &[(":authority", "-")], &[("host", "")], Refused),
        get("user information", &[(":authority", "app.example.com@evil.example.net")], &[], Refused),
        get("authority with a path", &[(":authority", "app.example.com/x")], &[], Refused),
        get("authority with a space", &[(":authority", "app.example.com x")], &[], Refused),
        get("authority with a comma", &[(":authority", "app.example.com,evil.example.net")], &[], Refused),
        get("authority with CRLF", &[(":authority", "app.example.com\r\nX-A: b")], &[], Refused),
        get("authority with a bad port", &[(":authority", "app.example.com:8x")], &[], Refused),
        get("no path", &[(":path", "-")], &[], Refused),
        get("no path and host alone", &[(":path", "-"), (":authority", "-")], &[("host", HOST)], Refused),
        get("an empty path", &[(":path", "")], &[], Refused),
        get("a query without a path", &[(":path", "?x")], &[], Refused),
        get("a path without slash", &[(":path", "p")], &[], Refused),
        get("a path with scheme and host", &[(":path", "http://evil.example.net/p")], &[], Refused),
        get("a path that names a host", &[(":path", "//evil.example.net/p")], &[], passed("/evil.example.net/p")),
        get("a path of an asterisk", &[(":path", "*")], &[], Refused),
        get("a path with a space", &[(":path", "/p HTTP/1.1")], &[], Refused),
        get(
            "a path with a whole request",
            &[(":path", "/p HTTP/1.1\r\nHost: evil.example.net\r\n\r\nGET /smuggled")],
            &[],
            Refused,
        ),
        get("a path with CR", &[(":path", "/p\rx")], &[], Refused),
        get("a path with LF", &[(":path", "/p\nx")], &[], Refused),
        get("a path with NUL", &[(":path", "/p\0x")], &[], Refused),
        get("a path with a tab", &[(":path", "/p\tx")], &[], Refused),
        get("a query with a space", &[(":path", "/p?a b")], &[], Refused),
        // The URI type drops a fragment: what is matched and what is forwarded are the same.
        get("a path with a fragment", &[(":path", "/p#x")], &[], passed("/p")),
        get("a path with a backslash", &[(":path", "/p\\x")], &[], Refused),
        get("a path with an encoded slash", &[(":path", "/p%2fx")], &[], Refused),
        get("dot segments", &[(":path", "/a/../p")], &[], passed("/p")),
        get("a method with a space", &[(":method", "GET /x HTTP/1.1")], &[], Refused),
        get("a method with CRLF", &[(":method", "GET\r\nX-A: b")], &[], Refused),
        get("an empty method", &[(":method", "")], &[], Refused),
        get("no method", &[(":method", "-")], &[], Refused),
        get("no scheme", &[(":scheme", "-")], &[], Refused),
        get("a scheme with CRLF", &[(":scheme", "http\r\nx: y")], &[], Refused),
        get("a scheme with a host", &[(":scheme", "http://evil.example.net")], &[], Refused),
        get("TRACE", &[(":method", "TRACE")], &[], Refused),
        raw("CONNECT", &[(":method", "CONNECT"), (":authority", "app.example.com:443")], Refused),
        get("CONNECT with a path", &[(":method", "CONNECT")], &[], Refused),
        get("extended CONNECT", &[(":method", "CONNECT"), (":protocol", "websocket")], &[], Refused),
        get("a protocol without CONNECT", &[(":protocol", "websocket")], &[], Refused),
        get("a pseudo-field of a response", &[(":status", "200")], &[], Refused),
        get("an unknown pseudo-field", &[(":x", "y")], &[], Refused),
        get("pseudo-fields after others", &[(":path", "-")], &[("x-a", "b"), (":path", "/p")], Refused),
        get("two paths", &[], &[(":path", "/q")], Refused),
        get("two methods", &[], &[(":method", "POST")], Refused),
        get("two authorities", &[], &[(":authority", "evil.example.net")], Refused),
        get("transfer-encoding", &[], &[("transfer-encoding", "chunked")], Refused),
        get("transfer-encoding identity", &[], &[("transfer-encoding", "identity")], Refused),
        get("connection", &[], &[("connection", "x-a")], Refused),
        get("connection: close", &[], &[("connection", "close")], Refused),
        get("keep-alive", &[], &[("keep-alive", "timeout=5")], Refused),
        get("proxy-connection", &[], &[("proxy-connection", "keep-alive")], Refused),
        get("upgrade", &[], &[("upgrade", "h2c")], Refused),
        get("upgrade to websocket", &[], &[("upgrade", "websocket")], Refused),
        get("te: gzip", &[], &[("te", "gzip")], Refused),
        // To HTTP/1.1 the hop ends here.
        get("te: trailers", &[], &[("te", "trailers")], seen("te", &[])),
        get("http2-settings", &[], &[("http2-settings", "AAMAAABk")], seen("http2-settings", &[])),
        get("a name in capitals", &[], &[("X-A", "b")], Refused),
        get("an empty name", &[], &[("", "b")], Refused),
        get("a name with a colon", &[], &[("x:a", "b")], Refused),
        get("a name with a space", &[], &[("x a", "b")], Refused),
        get("a name with CRLF", &[], &[("x-a: b\r\nx-b", "c")], Refused),
        get("a name with NUL", &[], &[("x\0a", "b")], Refused),
        get("a value with CRLF", &[], &[("x-a", "b\r\nx-b: c")], Refused),
        get(
            "a value with a whole request",
            &[],
            &[("x-a", "b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")],
            Refused,
        ),
        get("a value with CR", &[], &[("x-a", "b\rc")], Refused),
        get("a value with LF", &[], &[("x-a", "b\nc")], Refused),
        get("a value with NUL", &[], &[("x-a", "b\0c")], Refused),
        get("a cookie in pieces", &[], &[("cookie", "a=b"), ("cookie", "c=d")], seen("cookie", &["a=b; c=d"])),
        get("expect", &[], &[("expect", "100-continue")], seen("expect", &[])),
        get("a head of 33 KiB", &[], &[("x-a", &big)], Refused),
        get("a length without a body", &[], &[("content-length", "5")], Refused),
        get("a length of none", &[], &[("content-length", "0")], seen("content-length", &["0"])),
        post("a body", &["5"], &[b"hello"], body("5")),
        post("a body in pieces", &["5"], &[b"he", b"llo"], body("5")),
        post(
            "a body without a length",
            &[],
            &[b"hello"],
            Passed("POST", "/p", HOST, vec![("transfer-encoding", vec!["chunked"])]),
        ),
        post("a body longer than it says", &["3"], &[b"hello"], Cut),
        post("a body longer than it says, in pieces", &["3"], &[b"hel", b"loGET /smuggled HTTP/1.1\r\n\r\n"], Cut),
        post("a body shorter than it says", &["9"], &[b"hello"], Cut),
        post("a body that says that there is none", &["0"], &[b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"], Cut),
        post("two lengths", &["5", "6"], &[b"hello"], Refused),
        post("the same length twice", &["5", "5"], &[b"hello"], Refused),
        post("a list of lengths", &["5, 5"], &[b"hello"], Refused),
        post("a length with a plus", &["+5"], &[b"hello"], Refused),
        post("a length with zeros in front", &["005"], &[b"hello"], Refused),
        post("a length below zero", &["-5"], &[b"hello"], Refused),
        post("an empty length", &[""], &[b"hello"], Refused),
        post("a length beyond 64 bits", &["18446744073709551621"], &[b"hello"], Refused),
        post("a length and a coding", &["5"], &[b"hello"], Refused),
    ];
    if let Some(case) = cases.last_mut() {
        case.fields.push((b"transfer-encoding".to_vec(), b"chunked".to_vec()));
    }
    let trailer = |name: &'static str, trailer: (&str, &str), verdict| Case {
        trailers: vec![(trailer.0.as_bytes().to_vec(), trailer.1.as_bytes().to_vec())],
        ..post(name, &[], &[b"hello"], verdict)
    };
    let plain = || Passed("POST", "/p", HOST, vec![("x-a", vec![]), ("host", vec![HOST])]);
    cases.extend([
        trailer("a trailer", ("x-a", "b"), plain()),
        trailer("a trailer that names a host", ("host", "evil.example.net"), plain()),
        trailer("a trailer with a length", ("content-length", "42"), Cut),
        trailer("a trailer with a coding", ("transfer-encoding", "chunked"), Cut),
        trailer("a trailer with a pseudo-field", (":path", "/q"), Cut),
        trailer("a trailer with CRLF", ("x-a", "b\r\n\r\nGET /smuggled HTTP/1.1\r\n"), Cut),
    ]);
    cases
}

#[test]
fn a_backend_sees_what_was_said_or_nothing() {
    let recorder = Recorder::start();
    let ingress = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: all}\nspec: {defaultBackend: \
                   {service: {name: recorder, port: {number: 80}}}}\n";
    let gateway = Gateway::start_with(&(service("recorder", &[recorder.address]) + ingress), &["--workers", "1"]);
    let cases = cases();
    let mut failures = Vec::new();
    let mut fates = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let token = format!("case-{number}.");
        let mut fields: Vec<Field<'_>> = case.fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        fields.push((b"x-case", token.as_bytes()));
        let mut connection = RawH2::connect(gateway.http);
        let has_more = !case.data.is_empty() || !case.trailers.is_empty();
        let stream = connection.headers(&fields, !has_more);
        for (part, data) in case.data.iter().enumerate() {
            connection.data(stream, data, part + 1 == case.data.len() && case.trailers.is_empty());
        }
        if !case.trailers.is_empty() {
            let trailers: Vec<Field<'_>> = case.trailers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            connection.trailers(stream, &trailers);
        }
        let fate = connection.fate(stream);
        // Unless the connection has ended, the next stream on it is served.
        if !matches!(fate, Fate::Ended(_)) {
            let next = get("next", &[(":path", "/next")], &[], Refused);
            let mut fields: Vec<Field<'_>> = next.fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            fields.push((b"x-case", b"next"));
            let stream = connection.headers(&fields, true);
            let after = connection.fate(stream);
            if after != Fate::Answered(200, b"/next next".to_vec()) && !matches!(after, Fate::Ended(Some(_))) {
                failures.push(format!("{}: the next stream got {after:?}", case.name));
            }
        }
        fates.push(fate);
    }
    drop(gateway);
    let recorded = recorder.finish();
    let parsed: Vec<_> = recorded.iter().map(|connection| requests(connection)).collect();
    for ((number, case), fate) in cases.iter().enumerate().zip(&fates) {
        let token = format!("case-{number}.");
        let of_case = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&token);
        let whole: Vec<&Message> = parsed
            .iter()
            .flat_map(|(whole, _)| whole)
            .filter(|(_, bytes)| of_case(bytes))
            .map(|(message, _)| message)
            .collect();
        let parts = parsed.iter().filter(|(_, rest)| of_case(rest)).count();
        if let Err(why) = judge(&case.verdict, fate, &whole, parts) {
            failures.push(format!("{}: {why}", case.name));
        }
    }
    for (message, _) in parsed.iter().flat_map(|(whole, _)| whole) {
        if message.all("x-case").len() != 1 {
            failures.push(format!("nobody's request reached the backend: {message:?}"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// Just what its own head announces, and nothing behind it.
fn is_trimmed(message: &Message) -> bool {
    let length = message.one("content-length").and_then(|length| length.parse().ok());
    message.method == "POST"
        && message.target == "/p"
        && message.one("host").as_deref() == Some(HOST)
        && message.trailers.is_empty()
        && b"hello".starts_with(&message.body)
        && length.unwrap_or(5) == message.body.len()
}

fn judge(verdict: &Verdict, fate: &Fate, whole: &[&Message], parts: usize) -> Result<(), String> {
    match (verdict, whole) {
        (Refused | Cut, []) if matches!(fate, Fate::Answered(200, _)) => Err("answered 200".to_owned()),
        (Refused, []) if parts == 0 => Ok(()),
        (Cut, []) => Ok(()),
        (Cut, [message]) if is_trimmed(message) => Ok(()),
        (Refused | Cut, _) => Err(format!("reached the backend: {whole:?}, and {parts} beginnings")),
        (Passed(method, target, host, fields), [message]) => {
            if !matches!(fate, Fate::Answered(200, _)) {
                return Err(format!("{fate:?}"));
            }
            let right = message.method == *method
                && message.target == *target
                && message.one("host").as_deref() == Some(*host)
                && message.trailers.is_empty()
                && (message.body.is_empty() || message.body == b"hello")
                && fields.iter().all(|(name, values)| message.all(name) == *values);
            if right { Ok(()) } else { Err(format!("reached the backend as {message:?}")) }
        }
        (Passed(..), _) => Err(format!("{fate:?}, and {} reached the backend", whole.len())),
    }
}
