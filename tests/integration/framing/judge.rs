//! Whether what became of a request is what its row allows.

use super::{Case, Outcome};
use crate::harness::raw::{Fields, Message, Parsed, parse_request};

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Refuse,
    Accept,
    Either,
}

impl Verdict {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "refuse" => Self::Refuse,
            "accept" => Self::Accept,
            "either" => Self::Either,
            _ => panic!("no verdict: {name}"),
        }
    }
}

/// What reached the backend of a run.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whole requests.
    pub(super) whole: Vec<Message>,
    /// Beginnings of requests, on connections that ended so.
    pub(super) parts: Vec<Vec<u8>>,
}

/// What may become of a request, as the column `counts` says it.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    /// A request without its end.
    incomplete: bool,
    /// What the message is taken for when it is mended.
    mended: Option<Mended>,
    /// Nothing more may be answered on the connection if it is.
    closes: bool,
}

/// From a case's bytes, what they may be read as; a backend sees the whole requests at the beginning of that.
type Mended = fn(&str) -> Vec<String>;

pub(super) fn judge(case: &Case, bytes: &[u8], probe: &str, outcome: &Outcome, seen: Seen) -> Result<(), String> {
    if let Some(broken) = &outcome.broken {
        return Err(broken.clone());
    }
    if !outcome.probe_answered && !outcome.closed {
        return Err("the connection neither closed nor went on".to_owned());
    }
    let Seen { whole, parts } = seen;
    let (probes, whole): (Vec<Message>, Vec<Message>) =
        whole.into_iter().partition(|message| message.target == format!("/probe/{probe}"));
    for message in probes.iter().chain(&whole) {
        sound(message)?;
    }
    // The new connection's, and this one's if it went on.
    if probes.len() != 1 + usize::from(outcome.probe_answered) {
        return Err(format!("{} probes reached the backend", probes.len()));
    }
    answers_match(outcome, &whole)?;
    // Requests that stand before the one in question, and are right.
    let (before, whole): (Vec<Message>, Vec<Message>) =
        whole.into_iter().partition(|message| message.target.starts_with("/ok/"));
    if !before.is_empty() {
        let sent = leading(bytes);
        matches(&sent[..sent.len().min(1)], &before)?;
    }
    match case.verdict {
        Verdict::Accept => accepted(case, bytes, outcome, &whole, &parts),
        Verdict::Either if whole.is_empty() && parts.is_empty() => refused(outcome),
        Verdict::Either => accepted(case, bytes, outcome, &whole, &parts),
        Verdict::Refuse if whole.is_empty() && parts.is_empty() => refused(outcome),
        Verdict::Refuse => {
            let allowed = allowed(&case.counts);
            if whole.is_empty() {
                return match allowed.incomplete {
                    true => refused(outcome),
                    false => Err(format!("the beginning of a request reached the backend: {parts:?}")),
                };
            }
            let Some(mended) = allowed.mended else { return Err(format!("reached the backend: {whole:?}")) };
            if !parts.is_empty() {
                return Err(format!("and bytes after it: {parts:?}"));
            }
            if allowed.closes && !outcome.closed {
                return Err("sanitised, and the connection went on".to_owned());
            }
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            let readings = mended(&text);
            let fits = readings.iter().any(|reading| {
                let reading: Vec<u8> = reading.chars().map(|c| c as u8).collect();
                matches(&leading(&reading), &whole).is_ok()
            });
            if fits { Ok(()) } else { Err(format!("reached the backend as something else: {whole:?}")) }
        }
    }
}

/// Every 200 answers a request that reached the backend, in its words.
fn answers_match(outcome: &Outcome, whole: &[Message]) -> Result<(), String> {
    let given: Vec<String> =
        outcome.replies.iter().filter(|reply| reply.status == 200).map(|reply| reply.text()).collect();
    let mut due: Vec<String> =
        whole.iter().map(|message| format!("{} {}", message.target, message.all("x-case").join(","))).collect();
    for answer in &given {
        match due.iter().position(|due| due == answer) {
            Some(at) => drop(due.remove(at)),
            None => return Err(format!("an answer to nothing that was asked: {answer}")),
        }
    }
    Ok(())
}

fn refused(outcome: &Outcome) -> Result<(), String> {
    match outcome.replies.last() {
        Some(reply) if reply.status < 400 => Err(format!("answered {reply:?}")),
        Some(_) => Ok(()),
        None if outcome.closed => Ok(()),
        None => Err("ignored".to_owned()),
    }
}

fn accepted(case: &Case, bytes: &[u8], outcome: &Outcome, whole: &[Message], parts: &[Vec<u8>]) -> Result<(), String> {
    let statuses: Vec<u16> = outcome.replies.iter().map(|reply| reply.status).collect();
    if case.counts == "status 200/204, 1 reply" {
        return if matches!(statuses[..], [200 | 204]) { Ok(()) } else { Err(format!("answered {statuses:?}")) };
    }
    let sent = leading(bytes);
    if statuses != vec![200; sent.len()] {
        return Err(format!("answered {statuses:?}"));
    }
    if !parts.is_empty() {
        return Err(format!("half a request: {parts:?}"));
    }
    let answered: Vec<String> = outcome.replies.iter().map(|reply| reply.text()).collect();
    let asked: Vec<String> =
        sent.iter().map(|message| format!("{} {}", target(message), message.all("x-case").join(","))).collect();
    if answered != asked {
        return Err(format!("asked {asked:?}, answered {answered:?}"));
    }
    matches(&sent, whole)
}

/// The whole requests that some bytes begin with; empty lines before the first are skipped.
fn leading(bytes: &[u8]) -> Vec<Message> {
    let mut rest = bytes;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    let mut messages = Vec::new();
    while let Parsed::Whole(message, length) = parse_request(rest) {
        messages.push(message);
        rest = &rest[length..];
    }
    messages
}

/// Whether each message arrived, and as itself; the order among connections is not known.
fn matches(sent: &[Message], seen: &[Message]) -> Result<(), String> {
    if sent.len() != seen.len() {
        return Err(format!("sent {}, seen {}: {seen:?}", sent.len(), seen.len()));
    }
    for sent in sent {
        let Some(seen) = seen.iter().find(|seen| seen.target == target(sent)) else {
            return Err(format!("{} did not arrive: {seen:?}", target(sent)));
        };
        let same = sent.method == seen.method
            && sent.body == seen.body
            && seen.one("host").is_some_and(|host| host.eq_ignore_ascii_case(&authority(sent)))
            && end_to_end(sent, false) == end_to_end(seen, true);
        if !same {
            return Err(format!("sent {sent:?}, seen {seen:?}"));
        }
    }
    Ok(())
}

/// The target as a backend has to see it: without scheme and authority.
fn target(message: &Message) -> String {
    match message.target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
        None => message.target.clone(),
    }
}

fn authority(message: &Message) -> String {
    match message.target.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or_default().to_owned(),
        None => message.one("host").unwrap_or_default(),
    }
}

/// What concerns one connection only, as the test understands it.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
];
/// What a proxy says of its own.
const OURS: [&str; 6] =
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip", "x-request-id"];

/// The fields that have to be the same on both sides.
fn end_to_end(message: &Message, seen: bool) -> Fields {
    let nominated = message.all("connection").join(",").to_ascii_lowercase();
    let mut fields: Fields = message
        .fields
        .iter()
        .filter(|(name, _)| {
            let ours = seen && OURS.contains(&&**name);
            let framing = matches!(&**name, "host" | "content-length") || HOP_BY_HOP.contains(&&**name);
            !ours && !framing && !nominated.split(',').any(|option| option.trim() == name)
        })
        .cloned()
        .collect();
    fields.sort();
    fields
}

/// What no request of ours may be, whatever was sent.
fn sound(message: &Message) -> Result<(), String> {
    let hop = message.fields.iter().find(|(name, _)| HOP_BY_HOP.contains(&&**name) && name != "transfer-encoding");
    if let Some((name, _)) = hop {
        return Err(format!("{name} reached the backend: {message:?}"));
    }
    if message.all("host").len() != 1 {
        return Err(format!("not one Host: {message:?}"));
    }
    for name in OURS {
        if message.all(name).len() != 1 {
            return Err(format!("not one {name}: {message:?}"));
        }
    }
    if message.all("x-forwarded-for") != ["127.0.0.1"] || message.all("x-real-ip") != ["127.0.0.1"] {
        return Err(format!("a client said where it comes from: {message:?}"));
    }
    if !message.trailers.is_empty() && message.all("trailer").is_empty() {
        return Err(format!("a trailer that nobody announced: {message:?}"));
    }
    Ok(())
}

/// Reads `counts`.
fn allowed(counts: &str) -> Allowed {
    let (first, mended) = match counts.split_once("; or sanitised: ") {
        Some((first, mended)) => (first, Some(mended)),
        None => (counts, None),
    };
    let incomplete = match first {
        "nothing reaches the backend" => false,
        "nothing reaches the backend, or an incomplete request that is then dropped" => true,
        _ => panic!("unknown: {counts}"),
    };
    let closes = mended.is_some_and(|mended| mended.contains("connection closed after the answer"));
    Allowed { incomplete, mended: mended.map(mending), closes }
}

fn mending(text: &str) -> Mended {
    // The first words say which it is.
    let forms: [(&str, Mended); 21] = [
        ("processed by Transfer-Encoding alone", |text| {
            vec![first(&without_length(text).replace("HTTP/1.0", "HTTP/1.1"))]
        }),
        ("CR replaced by SP", |text| vec![first(&bare_cr_to_space(text))]),
        ("each CR replaced by SP", |text| vec![bare_cr_to_space(text)]),
        ("LF taken as a line end and CRLF sent on", |text| vec![first(&without_length(&line_ends(text)))]),
        ("LF taken as a line end", |text| vec![line_ends(text)]),
        ("LF LF taken as the end of the head", |text| vec![line_ends(text)]),
        ("9112 2.2: a lone LF may end a trailer line", |text| vec![line_ends(text)]),
        ("fold replaced by SP", |text| vec![first(&without_length(&unfold(text)))]),
        ("each fold replaced by SP", |text| vec![unfold(text)]),
        ("empty list elements ignored", |text| vec![first(&without_length(text).replace("chunked,", "chunked"))]),
        ("coding understood, decoded", |text| {
            let head = text.split("Transfer-Encoding").next().unwrap_or_default();
            vec![format!("{head}Content-Length: 5\r\n\r\nhello")]
        }),
        ("one Content-Length of the same value", |text| {
            let twice = "Content-Length: 5\r\nContent-Length: 5\r\n";
            vec![text.replace(twice, "Content-Length: 5\r\n").replace(": 5,", ": 5").replace(": ,5", ": 5")]
        }),
        ("trailer discarded", |text| {
            let end = text.rfind("\r\n0\r\n").map_or(text.len(), |at| at + 5);
            vec![format!("{}\r\n", &text[..end])]
        }),
        ("chunk line ended at the CRLF", |text| vec![text.replace(";a=\"\r\n", "\r\n")]),
        ("word-bounded parsing", |text| {
            let (line, rest) = text.split_once("\r\n").unwrap_or_default();
            let words: Vec<&str> = line.split([' ', '\t', '\u{b}']).filter(|word| !word.is_empty()).collect();
            vec![format!("{}\r\n{rest}", words.join(" "))]
        }),
        ("replaced by SP or removed", |text| vec![text.replace('\0', " "), text.replace('\0', "")]),
        ("not upgraded", as_sent),
        ("option and Connection field consumed", as_sent),
        ("field removed", as_sent),
        ("Host replaced by the target's authority", as_sent),
        ("extension not sent on", as_sent),
    ];
    let found = forms.iter().find(|(words, _)| text.starts_with(words));
    found.unwrap_or_else(|| panic!("no judge for: {text}")).1
}

/// What concerns one connection only is left out of the comparison anyway.
fn as_sent(text: &str) -> Vec<String> {
    vec![text.replace("HTTP/1.0", "HTTP/1.1")]
}

/// Only the first whole request.
fn first(text: &str) -> String {
    let bytes: Vec<u8> = text.chars().map(|c| c as u8).collect();
    match parse_request(&bytes) {
        Parsed::Whole(_, length) => text.chars().take(length).collect(),
        Parsed::Partial | Parsed::Broken(_) => text.to_owned(),
    }
}

fn without_length(text: &str) -> String {
    let lines = text.split_inclusive("\r\n");
    let mut head = true;
    lines
        .filter(|line| {
            head &= *line != "\r\n";
            !(head && line.to_ascii_lowercase().starts_with("content-length:"))
        })
        .collect()
}

fn bare_cr_to_space(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', " ").replace('\n', "\r\n")
}

fn line_ends(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

fn unfold(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(at) = text.find("\r\n ").or_else(|| text.find("\r\n\t")) {
        let end = text[at + 2..].find(|c: char| c != ' ' && c != '\t').map_or(text.len(), |blank| at + 2 + blank);
        text.replace_range(at..end, " ");
    }
    text
}
