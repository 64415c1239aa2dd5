use http::request::Parts;
use proptest::prelude::*;

use super::super::tests::Pipe;
use super::*;

struct Rig {
    wire: Wire<Pipe>,
    clock: Clock,
}

/// What comes out of a wire.
#[derive(Debug, PartialEq)]
enum Seen {
    Request(String),
    Data(String),
    Trailers(usize),
    Refused(Refusal),
    End,
    Broken(io::ErrorKind),
}

fn request(text: &str) -> Seen {
    Seen::Request(text.to_owned())
}

impl Rig {
    fn new(already: &[u8]) -> Self {
        let clock = Clock::new();
        let wire = Wire::new(Pipe::default(), already, Rc::default(), Rc::default(), &clock);
        Self { wire, clock }
    }

    fn pipe(&mut self) -> &mut Pipe {
        self.wire.io.as_mut().unwrap()
    }

    fn send(&mut self, bytes: &str) {
        self.pipe().pieces.push_back(bytes.as_bytes().to_vec());
    }

    /// The next thing that comes; `None` while there is nothing.
    fn next(&mut self) -> Option<Seen> {
        let mut cx = Context::from_waker(Waker::noop());
        if !self.wire.is_received() {
            return match self.wire.poll_body(self.wire.turn, &mut cx) {
                Poll::Pending => None,
                Poll::Ready(None) => self.next(),
                Poll::Ready(Some(Err(error))) => Some(Seen::Broken(error.kind())),
                Poll::Ready(Some(Ok(frame))) => Some(match frame.into_data() {
                    Ok(data) => Seen::Data(String::from_utf8(data.to_vec()).unwrap()),
                    Err(frame) => Seen::Trailers(frame.into_trailers().unwrap().len()),
                }),
            };
        }
        match self.wire.poll_head(&mut cx) {
            Poll::Pending => None,
            Poll::Ready(Ok(None)) => Some(Seen::End),
            Poll::Ready(Err(error)) => Some(Seen::Broken(error.kind())),
            Poll::Ready(Ok(Some(request))) => {
                if let Some(refusal) = self.wire.refusal.get() {
                    assert_eq!(request.received.refusal, Some(refusal));
                    return Some(Seen::Refused(refusal));
                }
                let Parts { method, uri, headers, .. } = *request.parts;
                let upgrade = if request.received.upgrade { " upgrade" } else { "" };
                Some(Seen::Request(format!("{method} {uri} {}{upgrade}", headers["host"].to_str().unwrap())))
            }
        }
    }

    /// Everything that comes now, up to what ends the connection.
    fn all(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        while let Some(seen) = self.next() {
            let last = matches!(seen, Seen::Refused(_) | Seen::End | Seen::Broken(_));
            match (all.last_mut(), seen) {
                // How a body was cut says nothing.
                (Some(Seen::Data(so_far)), Seen::Data(more)) => so_far.push_str(&more),
                (_, seen) => all.push(seen),
            }
            if last {
                break;
            }
        }
        all
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKS: &str = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n";
const UPGRADE: &str = "GET /w HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const BAD_HEAD: &str = "GET /d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
const BAD_CHUNK: &str = "POST /e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n";
const WAITS: &str = "PUT /f HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

fn hello() -> Seen {
    Seen::Data("hello".to_owned())
}

#[test]
fn requests_behind_each_other_come_in_order() {
    let mut rig = Rig::new(b"");
    rig.send(&[GET, POST, CHUNKS, GET, "\r\n", GET].concat());
    rig.pipe().ended = true;
    let (get, post, chunks) = (|| request("GET /a a"), request("POST /b a"), request("POST /c a"));
    assert_eq!(rig.all(), [get(), post, hello(), chunks, hello(), Seen::Trailers(1), get(), get(), Seen::End]);
}

#[test]
fn what_was_read_before_is_looked_at_as_well() {
    let all = [GET, POST].concat();
    let (before, after) = all.split_at(GET.len() + 30);
    let mut rig = Rig::new(before.as_bytes());
    rig.send(after);
    assert_eq!(rig.all(), [request("GET /a a"), request("POST /b a"), hello()]);
    assert_eq!(Rig::new(BAD_HEAD.as_bytes()).all(), [Seen::Refused(Refusal::Coding)]);
}

#[test]
fn nothing_follows_what_was_refused() {
    let mut rig = Rig::new(b"");
    rig.send(&[GET, BAD_HEAD, GET].concat());
    assert_eq!(rig.all(), [request("GET /a a"), Seen::Refused(Refusal::Coding)]);
    assert!(!rig.wire.is_received());
    // No client can say what stands in for its request.
    let mut rig = Rig::new(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(rig.all(), [Seen::Refused(Refusal::Target)]);
}

#[test]
fn a_malformed_body_ends_in_an_error() {
    let mut rig = Rig::new(b"");
    rig.send(BAD_CHUNK);
    assert_eq!(rig.all(), [request("POST /e a"), hello(), Seen::Broken(io::ErrorKind::InvalidData)]);
    assert_eq!(rig.wire.refusal.get(), Some(Refusal::Chunk));
}

#[test]
fn a_body_that_ends_with_its_connection_is_not_whole() {
    for sent in [POST, CHUNKS] {
        let mut rig = Rig::new(b"");
        rig.send(&sent[..sent.find("llo").unwrap()]);
        rig.pipe().ended = true;
        assert_eq!(rig.all()[1..], [Seen::Data("he".to_owned()), Seen::Broken(io::ErrorKind::UnexpectedEof)]);
    }
}

#[test]
fn what_is_left_of_a_request_does_not_get_the_next_ones_body() {
    let mut rig = Rig::new([POST, POST].concat().as_bytes());
    assert_eq!(rig.next(), Some(request("POST /b a")));
    let first = rig.wire.turn;
    assert_eq!(rig.next(), Some(hello()));
    assert!(rig.wire.is_end(first));
    assert_eq!(rig.next(), Some(request("POST /b a")));
    assert!(!rig.wire.is_end(rig.wire.turn));
    let late = rig.wire.poll_body(first, &mut Context::from_waker(Waker::noop()));
    assert!(matches!(late, Poll::Ready(Some(Err(_)))) && rig.wire.is_end(first));
    assert_eq!(rig.next(), Some(hello()));
}

#[test]
fn what_comes_behind_a_request_to_upgrade_is_there_for_whatever_follows() {
    let mut rig = Rig::new([UPGRADE, GET].concat().as_bytes());
    assert_eq!(rig.all(), [request("GET /w a upgrade"), request("GET /a a")], "refused");
    let mut rig = Rig::new([UPGRADE, "\u{0} not HTTP"].concat().as_bytes());
    assert_eq!(rig.next(), Some(request("GET /w a upgrade")));
    let (_, early) = rig.wire.take_io();
    assert_eq!(&*early, b"\0 not HTTP", "granted");
}

#[test]
fn who_waits_is_told_to_go_on_once_and_only_when_the_body_is_wanted() {
    let mut rig = Rig::new(WAITS.as_bytes());
    assert_eq!(rig.next(), Some(request("PUT /f a")));
    assert_eq!(rig.pipe().sent, b"");
    assert_eq!(rig.next(), None);
    assert_eq!(rig.next(), None);
    assert_eq!(rig.pipe().sent, CONTINUE);
    rig.send("hello");
    assert_eq!(rig.next(), Some(hello()));
    // Who does not wait for it does not need it.
    let mut rig = Rig::new([WAITS, "hello"].concat().as_bytes());
    assert_eq!(rig.all(), [request("PUT /f a"), hello()]);
    assert_eq!(rig.pipe().sent, b"");
    // Who has an answer already may send the body or not, so nothing after it can be trusted.
    let mut rig = Rig::new(WAITS.as_bytes());
    assert_eq!(rig.next(), Some(request("PUT /f a")));
    rig.wire.begin_answer();
    assert!(!rig.wire.discard(&mut Context::from_waker(Waker::noop())));
    assert_eq!(rig.pipe().sent, b"");
}

#[test]
fn what_is_there_of_an_unwanted_body_is_read_past() {
    let mut cx = Context::from_waker(Waker::noop());
    for (sent, received) in [(POST, true), (CHUNKS, true), (&POST[..POST.len() - 1], false), (BAD_CHUNK, false)] {
        let mut rig = Rig::new(sent.as_bytes());
        assert!(matches!(rig.next(), Some(Seen::Request(_))));
        assert_eq!(rig.wire.discard(&mut cx), received, "{sent}");
    }
    let mut rig = Rig::new(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    assert!(matches!(rig.next(), Some(Seen::Request(_))));
    for _ in 0..100 {
        rig.send(&"x".repeat(10_000));
    }
    assert!(!rig.wire.discard(&mut cx), "too much of it");
    assert!(rig.pipe().pieces.len() > 80);
}

#[test]
fn a_client_that_goes_away_is_seen_and_one_that_asks_ahead_is_not_taken_for_it() {
    let mut cx = Context::from_waker(Waker::noop());
    let mut rig = Rig::new(GET.as_bytes());
    assert_eq!(rig.next(), Some(request("GET /a a")));
    rig.send(GET);
    assert!(rig.wire.poll_gone(&mut cx).is_pending());
    rig.pipe().ended = true;
    assert!(rig.wire.poll_gone(&mut cx).is_ready());
    // Nobody can ask so far ahead that it costs memory.
    let mut rig = Rig::new(GET.as_bytes());
    assert_eq!(rig.next(), Some(request("GET /a a")));
    for _ in 0..1000 {
        rig.send(&"x".repeat(10_000));
    }
    assert!(rig.wire.poll_gone(&mut cx).is_pending());
    assert!(rig.wire.held.len() < 2 * MOST_AHEAD, "{}", rig.wire.held.len());
}

#[test]
fn a_head_has_ten_seconds_however_it_trickles() {
    let mut rig = Rig::new(b"");
    let start = rig.clock.now();
    assert_eq!(rig.next(), None);
    for (second, byte) in GET.chars().take(10).enumerate() {
        rig.clock.advance(start + 1000 * second as u64);
        rig.send(&byte.to_string());
        assert_eq!(rig.next(), None, "{second}");
    }
    rig.clock.advance(start + 10_000);
    assert_eq!(rig.next(), Some(Seen::Broken(io::ErrorKind::TimedOut)));
}

#[test]
fn silence_between_requests_ends_the_connection_after_a_minute() {
    let mut rig = Rig::new(GET.as_bytes());
    let start = rig.clock.now();
    assert_eq!(rig.next(), Some(request("GET /a a")));
    // An answer may take its time.
    assert!(rig.wire.poll_gone(&mut Context::from_waker(Waker::noop())).is_pending());
    rig.clock.advance(start + 600_000);
    assert!(rig.wire.poll_gone(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(rig.next(), None);
    rig.clock.advance(start + 659_999);
    assert_eq!(rig.next(), None);
    rig.clock.advance(start + 660_000);
    assert_eq!(rig.next(), Some(Seen::End));
}

#[test]
fn a_body_may_be_slow_and_not_silent() {
    let (head, body) = POST.split_at(POST.len() - 5);
    let mut rig = Rig::new(head.as_bytes());
    let start = rig.clock.now();
    assert_eq!(rig.next(), Some(request("POST /b a")));
    assert_eq!(rig.next(), None);
    for (number, byte) in body.chars().take(4).enumerate() {
        rig.clock.advance(start + 29_000 * (number as u64 + 1));
        rig.send(&byte.to_string());
        assert_eq!(rig.all(), [Seen::Data(byte.to_string())]);
    }
    rig.clock.advance(start + 4 * 29_000 + 30_000);
    assert_eq!(rig.next(), Some(Seen::Broken(io::ErrorKind::TimedOut)));
}

#[test]
fn a_client_that_takes_nothing_for_half_a_minute_is_given_up() {
    let mut rig = Rig::new(b"");
    let mut cx = Context::from_waker(Waker::noop());
    let start = rig.clock.now();
    rig.pipe().takes = Some(0);
    rig.wire.out().own.extend_from_slice(b"response");
    assert!(rig.wire.poll_flush(&mut cx).is_pending());
    rig.clock.advance(start + 29_000);
    // What it takes gives it time again.
    rig.pipe().left = Some(3);
    assert!(rig.wire.poll_flush(&mut cx).is_pending());
    rig.clock.advance(start + 58_000);
    assert!(rig.wire.poll_flush(&mut cx).is_pending());
    rig.clock.advance(start + 59_000);
    assert!(matches!(rig.wire.poll_flush(&mut cx), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut));
}

#[test]
fn a_wire_at_rest_has_no_memory_of_its_own() {
    let mut rig = Rig::new([GET, POST].concat().as_bytes());
    assert_eq!(rig.all().len(), 3);
    rig.wire.out().own.extend_from_slice(b"response");
    assert!(rig.wire.poll_flush(&mut Context::from_waker(Waker::noop())).is_ready());
    rig.wire.rest();
    assert_eq!((rig.wire.held.capacity(), rig.wire.out.own.capacity()), (0, 0));
    let Inbound::Head(head) = &rig.wire.inbound else { panic!("{:?}", rig.wire.inbound) };
    assert_eq!(head.fields().len(), 0);
    // What it had is there for the next one.
    assert!(rig.wire.out().own.capacity() >= 8);
}

proptest! {
    /// Whatever TCP makes of the bytes: the same comes out, the same is refused.
    #[test]
    fn where_reads_are_cut_does_not_matter(
        parts in prop::collection::vec(prop::sample::select(vec![GET, POST, CHUNKS, UPGRADE, BAD_HEAD, BAD_CHUNK, "\r\n", "\n", "x", "0\r\n"]), 1..6),
        cuts in prop::collection::vec(1usize..40, 1..60),
    ) {
        let all = parts.concat();
        let mut whole = Rig::new(b"");
        whole.send(&all);
        let mut cut = Rig::new(b"");
        let mut rest = all.as_str();
        let mut cuts = cuts.into_iter().cycle();
        let mut seen = Vec::new();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
            rest = after;
            cut.send(piece);
            if !matches!(seen.last(), Some(Seen::Refused(_) | Seen::Broken(_))) {
                for more in cut.all() {
                    match (seen.last_mut(), more) {
                        (Some(Seen::Data(so_far)), Seen::Data(more)) => so_far.push_str(&more),
                        (_, more) => seen.push(more),
                    }
                }
            }
        }
        prop_assert_eq!(whole.all(), seen);
    }
}
