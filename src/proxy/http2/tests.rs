//! What is made of frames, one by one.

mod exchanges;

use std::task::Waker;

use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::connection::{ALLOWANCE, INITIAL, MAX_STREAMS};
use super::exchange::{Sending, Stream};
use super::frame::Head;
use super::streams::WINDOW;
use super::*;
use crate::proxy::date::Date;
use crate::proxy::framing::{MAX_HEAD, Refusal};

/// Fields of a GET and of a POST of `/` at `a`.
const GET: &[u8] = b"\x82\x86\x84\x41\x01a";
const POST: &[u8] = b"\x83\x86\x84\x41\x01a";
/// Flags of a head that is whole, and of one that is the whole request.
const WHOLE: u8 = frame::END_HEADERS;
const ALL: u8 = frame::END_HEADERS | frame::END_STREAM;

fn written(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, kind, flags, stream, payload);
    bytes
}

fn get(stream: u32) -> Vec<u8> {
    written(frame::HEADERS, ALL, stream, GET)
}

fn post(stream: u32) -> Vec<u8> {
    written(frame::HEADERS, WHOLE, stream, POST)
}

fn update(stream: u32, more: u32) -> Vec<u8> {
    written(frame::WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_settings(&mut bytes, settings);
    bytes
}

fn feed(connection: &mut Connection, bytes: &[u8]) -> Result<(), Code> {
    connection.receive(&mut BytesMut::from(bytes), &mut Scratch::default())
}

/// The frames that are to go out, which have gone out then.
fn sent(connection: &mut Connection) -> Vec<(Head, Vec<u8>)> {
    let (mut frames, mut bytes) = (Vec::new(), Vec::new());
    while !connection.unwritten().is_empty() {
        assert!(matches!(connection.unwritten().poll_write(&mut bytes, &mut waiting()), Poll::Ready(Ok(()))));
    }
    let mut rest = &bytes[..];
    while let Some(head) = Head::read(rest) {
        let (payload, next) = rest[frame::HEAD..].split_at(head.length);
        frames.push((head, payload.to_vec()));
        rest = next;
    }
    assert!(rest.is_empty(), "half of a frame");
    frames
}

/// A connection that both sides have begun.
fn begun() -> Connection {
    let mut connection = Connection::new(Rc::default(), 0);
    feed(&mut connection, PREFACE).unwrap();
    feed(&mut connection, &settings(&[])).unwrap();
    let kinds: Vec<u8> = sent(&mut connection).iter().map(|(head, _)| head.kind).collect();
    assert_eq!(kinds, [frame::SETTINGS, frame::WINDOW_UPDATE, frame::SETTINGS]);
    connection
}

fn waiting() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Goes,
    /// This stream ends, and the connection goes on.
    Reset(u32, Code),
    /// The connection ends.
    Ends(Code),
}

#[test]
fn frames_are_taken_for_what_they_are() {
    use Outcome::{Ends, Goes, Reset};
    let closed = [get(1), written(frame::RST_STREAM, 0, 1, &8u32.to_be_bytes())].concat();
    let data = |flags, stream, payload: &[u8]| written(frame::DATA, flags, stream, payload);
    let headers = |flags, stream, payload: &[u8]| written(frame::HEADERS, flags, stream, payload);
    let trailers = b"\x00\x01a\x01b";
    let with_length = [POST, b"\x5c\x015"].concat();
    let cases = [
        ("a request", get(1), Goes),
        ("padded", headers(ALL | frame::PADDED, 1, &[b"\x02", GET, b"xx"].concat()), Goes),
        ("with a priority", headers(ALL | frame::PRIORITISED, 1, &[b"\0\0\0\x05\x10", GET].concat()), Goes),
        (
            "a priority of itself",
            headers(ALL | frame::PRIORITISED, 1, &[b"\0\0\0\x01\x10", GET].concat()),
            Ends(Code::Protocol),
        ),
        ("half of a priority", headers(ALL | frame::PRIORITISED, 1, b"\0\0\0\x05"), Ends(Code::FrameSize)),
        ("padded by too much", headers(ALL | frame::PADDED, 1, b"\x02\x82"), Ends(Code::Protocol)),
        ("without its length of padding", headers(ALL | frame::PADDED, 1, b""), Ends(Code::FrameSize)),
        ("on stream 0", headers(ALL, 0, GET), Ends(Code::Protocol)),
        ("on an even stream", headers(ALL, 2, GET), Ends(Code::Protocol)),
        ("on a lower stream", [get(3), get(1)].concat(), Ends(Code::StreamClosed)),
        ("on a stream that is over", [closed.clone(), get(1)].concat(), Ends(Code::StreamClosed)),
        ("no HPACK", headers(ALL, 1, b"\x80"), Ends(Code::Compression)),
        ("no request", headers(ALL, 1, b"\x82"), Reset(1, Code::Protocol)),
        (
            "a head in two frames",
            [headers(frame::END_STREAM, 1, &GET[..2]), written(frame::CONTINUATION, WHOLE, 1, &GET[2..])].concat(),
            Goes,
        ),
        (
            "something in a head",
            [headers(frame::END_STREAM, 1, &GET[..2]), update(0, 1)].concat(),
            Ends(Code::Protocol),
        ),
        (
            "another stream in a head",
            [headers(frame::END_STREAM, 1, &GET[..2]), written(frame::CONTINUATION, WHOLE, 3, &GET[2..])].concat(),
            Ends(Code::Protocol),
        ),
        ("a continuation of nothing", written(frame::CONTINUATION, WHOLE, 1, GET), Ends(Code::Protocol)),
        ("a body", [post(1), data(frame::END_STREAM, 1, b"hello")].concat(), Goes),
        ("a padded body", [post(1), data(frame::END_STREAM | frame::PADDED, 1, b"\x01hix")].concat(), Goes),
        ("a body padded by too much", [post(1), data(frame::PADDED, 1, b"\x01")].concat(), Ends(Code::Protocol)),
        ("a body on stream 0", data(0, 0, b"x"), Ends(Code::Protocol)),
        ("a body of nothing", data(0, 1, b"x"), Ends(Code::Protocol)),
        ("a body after the end", [get(1), data(0, 1, b"x")].concat(), Reset(1, Code::StreamClosed)),
        ("a body after a reset", [closed.clone(), data(0, 1, b"x")].concat(), Reset(1, Code::StreamClosed)),
        (
            "as long as it says",
            [headers(WHOLE, 1, &with_length), data(0, 1, b"hell"), data(frame::END_STREAM, 1, b"o")].concat(),
            Goes,
        ),
        (
            "longer than it says",
            [headers(WHOLE, 1, &with_length), data(0, 1, b"hello!")].concat(),
            Reset(1, Code::Protocol),
        ),
        (
            "shorter than it says",
            [headers(WHOLE, 1, &with_length), data(frame::END_STREAM, 1, b"hell")].concat(),
            Reset(1, Code::Protocol),
        ),
        (
            "shorter than it says, with trailers",
            [headers(WHOLE, 1, &with_length), headers(ALL, 1, trailers)].concat(),
            Reset(1, Code::Protocol),
        ),
        ("a length of nothing", headers(ALL, 1, &with_length), Reset(1, Code::Protocol)),
        ("trailers", [post(1), headers(ALL, 1, trailers)].concat(), Goes),
        ("trailers that do not end it", [post(1), headers(WHOLE, 1, trailers)].concat(), Reset(1, Code::Protocol)),
        ("trailers with a path", [post(1), headers(ALL, 1, b"\x84")].concat(), Reset(1, Code::Protocol)),
        ("trailers after the end", [get(1), headers(ALL, 1, trailers)].concat(), Reset(1, Code::StreamClosed)),
        ("a reset", closed.clone(), Goes),
        ("a reset of nothing", written(frame::RST_STREAM, 0, 1, &[0; 4]), Ends(Code::Protocol)),
        ("a short reset", [get(1), written(frame::RST_STREAM, 0, 1, &[0; 3])].concat(), Ends(Code::FrameSize)),
        ("a ping", written(frame::PING, 0, 0, &[1; 8]), Goes),
        ("a short ping", written(frame::PING, 0, 0, &[1; 7]), Ends(Code::FrameSize)),
        ("a ping of a stream", written(frame::PING, 0, 1, &[1; 8]), Ends(Code::Protocol)),
        ("settings of a stream", written(frame::SETTINGS, 0, 1, &[]), Ends(Code::Protocol)),
        ("half of a setting", written(frame::SETTINGS, 0, 0, &[0; 5]), Ends(Code::FrameSize)),
        ("an answer to settings with some", written(frame::SETTINGS, frame::ACK, 0, &[0; 6]), Ends(Code::FrameSize)),
        ("an unknown setting", settings(&[(0x99, 1)]), Goes),
        ("half a push", settings(&[(frame::ENABLE_PUSH, 2)]), Ends(Code::Protocol)),
        ("a window too large", settings(&[(frame::INITIAL_WINDOW_SIZE, 1 << 31)]), Ends(Code::FlowControl)),
        (
            "a window that grows too large",
            [get(1), update(1, frame::HIGHEST - INITIAL), settings(&[(frame::INITIAL_WINDOW_SIZE, INITIAL + 1)])]
                .concat(),
            Ends(Code::FlowControl),
        ),
        ("frames too small", settings(&[(frame::MAX_FRAME_SIZE, 16_383)]), Ends(Code::Protocol)),
        ("frames too large", settings(&[(frame::MAX_FRAME_SIZE, 1 << 24)]), Ends(Code::Protocol)),
        ("more of a window", [get(1), update(1, 9), update(0, 9)].concat(), Goes),
        ("nothing of a window", update(0, 0), Ends(Code::Protocol)),
        ("nothing of a stream's window", [get(1), update(1, 0)].concat(), Reset(1, Code::Protocol)),
        ("too much of a window", update(0, frame::HIGHEST), Ends(Code::FlowControl)),
        ("too much of a stream's window", [get(1), update(1, frame::HIGHEST)].concat(), Reset(1, Code::FlowControl)),
        ("a short window", written(frame::WINDOW_UPDATE, 0, 0, &[0; 3]), Ends(Code::FrameSize)),
        ("a window of nothing", update(1, 1), Ends(Code::Protocol)),
        ("a window of what is over", [closed, update(1, 1)].concat(), Goes),
        ("a priority", written(frame::PRIORITY, 0, 9, &[0, 0, 0, 7, 1]), Goes),
        ("a short priority", written(frame::PRIORITY, 0, 9, &[0, 0, 0, 7]), Ends(Code::FrameSize)),
        ("a priority of its own", written(frame::PRIORITY, 0, 9, &[0, 0, 0, 9, 1]), Ends(Code::Protocol)),
        ("a push", written(frame::PUSH_PROMISE, WHOLE, 1, &[0, 0, 0, 2]), Ends(Code::Protocol)),
        ("a farewell", written(frame::GOAWAY, 0, 0, &[0; 8]), Goes),
        ("a short farewell", written(frame::GOAWAY, 0, 0, &[0; 7]), Ends(Code::FrameSize)),
        ("an unknown kind", written(0x99, 0xff, 7, b"x"), Goes),
        ("a frame too long", written(frame::DATA, 0, 1, &[0; frame::LONGEST + 1]), Ends(Code::FrameSize)),
    ];
    for (name, bytes, expected) in cases {
        // However it is cut, it is the same.
        for step in [bytes.len(), 1] {
            let (mut connection, mut held) = (begun(), BytesMut::new());
            let outcome = bytes.chunks(step).try_for_each(|piece| {
                held.extend_from_slice(piece);
                connection.receive(&mut held, &mut Scratch::default())
            });
            let reset = sent(&mut connection).into_iter().find(|(head, _)| head.kind == frame::RST_STREAM);
            let found = match (outcome, reset) {
                (Err(code), _) => Ends(code),
                (Ok(()), Some((head, payload))) => {
                    let Reset(_, code) = expected else { panic!("{name}: {head:?}") };
                    assert_eq!(payload, (code as u32).to_be_bytes(), "{name}");
                    Reset(head.stream, code)
                }
                (Ok(()), None) => Goes,
            };
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[test]
fn a_connection_begins_as_it_has_to() {
    let mut connection = Connection::new(Rc::default(), 0);
    assert_eq!(feed(&mut connection, b"GET / HTTP/1.1\r\n"), Err(Code::Protocol));
    feed(&mut connection, PREFACE).unwrap();
    assert_eq!(feed(&mut connection, &get(1)), Err(Code::Protocol));
    let mut connection = Connection::new(Rc::default(), 0);
    let frames = sent(&mut connection);
    let said: Vec<_> = frame::settings(&frames[0].1).collect();
    assert_eq!(said, [(3, MAX_STREAMS as u32), (4, WINDOW), (6, MAX_HEAD as u32)]);
    assert_eq!(frames[1].1, (ALLOWANCE - INITIAL).to_be_bytes());
}

/// Each of them ends the connection before it has cost much.
#[test]
fn who_asks_for_nothing_again_and_again_is_sent_away() {
    let reset = |n: u32| [get(n), written(frame::RST_STREAM, 0, n, &8u32.to_be_bytes())].concat();
    type Flood = dyn Fn(u32) -> Vec<u8>;
    let floods: [(&str, &Flood); 12] = [
        ("resets", &reset),
        ("resets that it makes us send", &|n| [get(n), update(n, 0)].concat()),
        ("no requests", &|n| written(frame::HEADERS, ALL, n, b"\x82")),
        ("more requests than it may", &|n| if n < 201 { Vec::new() } else { get(n) }),
        ("pings", &|_| written(frame::PING, 0, 0, &[0; 8])),
        ("answers to pings", &|_| written(frame::PING, frame::ACK, 0, &[0; 8])),
        ("settings", &|_| settings(&[])),
        ("priorities", &|n| written(frame::PRIORITY, 0, n, &[0, 0, 0, 0, 1])),
        ("windows", &|_| update(0, 1)),
        ("unknown kinds", &|_| written(0x99, 0, 0, b"")),
        ("empty parts of a body", &|_| written(frame::DATA, 0, 1, b"")),
        ("empty parts of a head", &|n| {
            if n == 3 { written(frame::HEADERS, 0, 3, GET) } else { written(frame::CONTINUATION, 0, 3, b"") }
        }),
    ];
    for (name, flood) in floods {
        let mut connection = begun();
        feed(&mut connection, &post(1)).unwrap();
        if name == "more requests than it may" {
            (3..201).step_by(2).for_each(|n| feed(&mut connection, &get(n)).unwrap());
        }
        let mut count = 0;
        let outcome = (3..).step_by(2).take(20_000).try_for_each(|n| {
            count += 1;
            feed(&mut connection, &flood(n))
        });
        assert_eq!(outcome, Err(Code::EnhanceYourCalm), "{name}");
        assert!(count <= 2_100, "{name}: {count}");
        // What is read again after a while is borne again.
        connection.now += 1_000_000;
        assert_eq!(connection.bear(patience::IDLE), Ok(()), "{name}");
    }
    // What is taken back at once is not even begun.
    let mut connection = begun();
    feed(&mut connection, &[reset(1), get(3), reset(5)].concat()).unwrap();
    assert_eq!(connection.take_arrived().map(|arrived| arrived.stream), Some(3));
    assert!(connection.take_arrived().is_none());
    // Who waits in vain for each, and says so, is no nuisance.
    let mut connection = begun();
    for n in (1..20_000).step_by(2) {
        feed(&mut connection, &get(n)).unwrap();
        connection.now += patience::RASH;
        feed(&mut connection, &written(frame::RST_STREAM, 0, n, &8u32.to_be_bytes())).unwrap();
    }
    let mut connection = begun();
    feed(&mut connection, &written(frame::HEADERS, 0, 1, GET)).unwrap();
    let part = written(frame::CONTINUATION, 0, 1, &[0; frame::LONGEST]);
    let parts = (0..10).take_while(|_| feed(&mut connection, &part).is_ok()).count();
    assert!(parts < 5, "{parts} parts of a head");
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    // A value of over 127 bytes (RFC 7541 5.1).
    let long = |name: &[u8], length: usize| {
        let mut block = [name, &[0x7f]].concat();
        let mut rest = length - 127;
        while rest > 127 {
            block.push((rest % 128) as u8 | 0x80);
            rest /= 128;
        }
        block.push(rest as u8);
        block.resize(block.len() + length, b'/');
        block
    };
    let field = |length| long(b"\x00\x01a", length);
    let many = |count| b"\x00\x01a\x01b".repeat(count);
    for (fields, fits) in [
        ([field(16_000), field(16_000)].concat(), true),
        ([field(16_000), field(16_200), field(1_000)].concat(), false),
        (many(96), true),
        (many(97), false),
    ] {
        refused_where(&[GET, &fields].concat(), !fits);
    }
    // What is too large may be what is needed.
    refused_where(&long(b"\x04", 33_000), true);
}

/// Sends a head in as many frames as it takes; it comes through, and is known to be too large where it is.
fn refused_where(block: &[u8], too_large: bool) {
    let mut connection = begun();
    let mut parts = block.chunks(frame::LONGEST).peekable();
    let mut kind = frame::HEADERS;
    while let Some(part) = parts.next() {
        let last = if parts.peek().is_none() { frame::END_HEADERS } else { 0 };
        let ends = if kind == frame::HEADERS { frame::END_STREAM } else { 0 };
        feed(&mut connection, &written(kind, last | ends, 1, part)).unwrap();
        kind = frame::CONTINUATION;
    }
    let received = connection.take_arrived().unwrap().received;
    assert_eq!(received.refusal, too_large.then_some(Refusal::HeadTooLarge));
    assert_eq!(sent(&mut connection).len(), 0);
}

#[test]
fn a_client_may_send_again_what_has_been_read() {
    let mut connection = begun();
    feed(&mut connection, &post(1)).unwrap();
    let part = written(frame::DATA, 0, 1, &[b'x'; 16_000]);
    let cx = waiting();
    for _ in 0..10 {
        feed(&mut connection, &part).unwrap();
        let Poll::Ready(Some(Ok(read))) = connection.poll_body(1, &cx) else { panic!("nothing") };
        assert_eq!(read.into_data().unwrap().len(), 16_000);
    }
    let told: u32 = sent(&mut connection)
        .iter()
        .filter(|(head, _)| head.kind == frame::WINDOW_UPDATE && head.stream == 1)
        .filter_map(|(_, payload)| frame::number(payload))
        .sum();
    assert!((128_000..=160_000).contains(&told), "{told}");
    // What nobody reads is not asked for, and what is sent all the same ends the stream.
    let parts = (0..9).take_while(|_| {
        feed(&mut connection, &part).unwrap();
        connection.unwritten().is_empty()
    });
    assert!((2..=4).contains(&parts.count()));
    let frames = sent(&mut connection);
    assert_eq!(frames[0].1, (Code::FlowControl as u32).to_be_bytes());
    assert!(matches!(connection.poll_body(1, &cx), Poll::Ready(Some(Err(BodyError::Broken)))));
    assert!(connection.poll_over(1, &cx).is_ready());
    // What it had not read counts for the others again.
    assert_eq!(connection.allowance + connection.taken, ALLOWANCE);
}

#[test]
fn an_answer_before_the_end_of_its_request_ends_it() {
    let mut connection = begun();
    feed(&mut connection, &post(1)).unwrap();
    connection.send_head(1, (StatusCode::OK, &HeaderMap::new()), [None, None], true);
    // Somebody reads it still.
    assert_eq!(sent(&mut connection).len(), 1);
    feed(&mut connection, &written(frame::DATA, 0, 1, b"x")).unwrap();
    assert!(connection.poll_body(1, &waiting()).is_ready());
    connection.abandon(1);
    let frames = sent(&mut connection);
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].0.kind, &frames[0].1[..]), (frame::RST_STREAM, &[0; 4][..]));
    // The client may not know it yet.
    feed(&mut connection, &written(frame::DATA, 0, 1, b"x")).unwrap();
    feed(&mut connection, &written(frame::HEADERS, ALL, 1, b"\x00\x01a\x01b")).unwrap();
    assert!(sent(&mut connection).is_empty() && connection.streams.is_empty());
}

#[test]
fn windows_are_kept_and_nobody_is_passed_over() {
    let mut connection = begun();
    for stream in [1, 3, 5, 7] {
        feed(&mut connection, &get(stream)).unwrap();
    }
    let (cx, mut served) = (waiting(), Vec::new());
    // Everybody sends whenever there is room; the client takes 64 KiB of all of them, and later as much again and again.
    for round in 0..40 {
        connection.grant();
        for stream in [1, 3, 5, 7] {
            while let Poll::Ready(Some(room)) = connection.poll_room(stream, &cx) {
                assert!(room <= frame::LONGEST);
                connection.send_data(stream, vec![b'x'; room].into(), false);
                served.push(stream);
            }
        }
        let data: usize = sent(&mut connection)
            .iter()
            .filter(|(head, _)| head.kind == frame::DATA)
            .map(|(head, _)| head.length)
            .sum();
        assert!(data <= INITIAL as usize, "{data} in round {round}");
        assert!(connection.window >= 0 && connection.streams.iter_mut().all(|stream| stream.window >= 0));
        if connection.window == 0 {
            feed(&mut connection, &update(0, INITIAL)).unwrap();
        }
        for stream in [1, 3, 5, 7] {
            feed(&mut connection, &update(stream, 20_000)).unwrap();
        }
    }
    let parts = |stream| served.iter().filter(|other| **other == stream).count();
    let (least, most) = ([1, 3, 5, 7].map(parts).into_iter().min(), [1, 3, 5, 7].map(parts).into_iter().max());
    assert!(least.unwrap() * 3 >= most.unwrap() * 2, "{:?}", [1, 3, 5, 7].map(parts));
}

#[test]
fn a_window_may_shrink_below_nothing_and_grow_again() {
    let (mut connection, cx) = (begun(), waiting());
    feed(&mut connection, &get(1)).unwrap();
    connection.send_data(1, Bytes::from_static(&[b'x'; 100]), false);
    feed(&mut connection, &settings(&[(frame::INITIAL_WINDOW_SIZE, 0)])).unwrap();
    assert!(connection.poll_room(1, &cx).is_pending());
    feed(&mut connection, &update(1, 100)).unwrap();
    assert!(connection.poll_room(1, &cx).is_pending());
    feed(&mut connection, &update(1, 7)).unwrap();
    assert_eq!(connection.poll_room(1, &cx), Poll::Ready(Some(7)));
    feed(&mut connection, &settings(&[(frame::INITIAL_WINDOW_SIZE, 10)])).unwrap();
    assert_eq!(connection.poll_room(1, &cx), Poll::Ready(Some(17)));
}

#[test]
fn who_leaves_answers_what_was_asked_before_the_client_knew() {
    let mut connection = begun();
    feed(&mut connection, &get(1)).unwrap();
    connection.leave();
    connection.leave();
    let frames = sent(&mut connection);
    assert_eq!(frames.iter().map(|(head, _)| head.kind).collect::<Vec<_>>(), [frame::GOAWAY, frame::PING]);
    assert_eq!(frames[0].1[..4], frame::HIGHEST.to_be_bytes());
    feed(&mut connection, &get(3)).unwrap();
    feed(&mut connection, &written(frame::PING, frame::ACK, 0, &frames[1].1)).unwrap();
    let frames = sent(&mut connection);
    assert_eq!((frames[0].0.kind, &frames[0].1[..4]), (frame::GOAWAY, &3u32.to_be_bytes()[..]));
    feed(&mut connection, &get(5)).unwrap();
    assert_eq!((connection.arrived.len(), connection.is_over()), (2, false));
    for stream in [1, 3] {
        connection.send_head(stream, (StatusCode::OK, &HeaderMap::new()), [None, None], true);
    }
    assert!(connection.is_over());
}

#[test]
fn who_waits_to_be_told_to_go_on_is_told_when_somebody_reads() {
    let (mut connection, cx) = (begun(), waiting());
    let expect = [POST, b"\x0f\x14\x0c100-continue"].concat();
    for (stream, answered) in [(1, false), (3, true)] {
        feed(&mut connection, &written(frame::HEADERS, WHOLE, stream, &expect)).unwrap();
        if answered {
            connection.send_head(stream, (StatusCode::OK, &HeaderMap::new()), [None, None], false);
            sent(&mut connection);
        }
        assert!(connection.poll_body(stream, &cx).is_pending() && connection.poll_body(stream, &cx).is_pending());
        let told: Vec<_> = sent(&mut connection).into_iter().map(|(head, payload)| (head.flags, payload)).collect();
        assert_eq!(told, if answered { vec![] } else { vec![(WHOLE, b"\x08\x03100".to_vec())] });
    }
}

#[test]
fn a_client_that_takes_nothing_of_an_answer_loses_it() {
    let (clock, mut connection) = (Clock::new(), begun());
    feed(&mut connection, &get(1)).unwrap();
    let connection = Rc::new(RefCell::new(connection));
    let stream = Stream { connection: connection.clone(), id: 1 };
    let body = Full::new(Bytes::from(vec![b'x'; 200_000])).map_err(|never| match never {});
    let answer = RefCell::new(Some(Response::new(body)));
    let mut sending = Sending::begin(&stream, &answer, false, (&Date::default(), 0));
    let (mut stall, mut cx) = (clock.deadline(), waiting());
    let mut poll = |more: u64| {
        clock.advance(clock.now() + more);
        sending.poll_in_time(&stream, &answer, &mut stall, &mut cx)
    };
    assert!(poll(0).is_pending() && poll(29_000).is_pending());
    // It takes some.
    for stream in [0, 1] {
        feed(&mut connection.borrow_mut(), &update(stream, 10_000)).unwrap();
    }
    sent(&mut connection.borrow_mut());
    connection.borrow_mut().grant();
    assert!(poll(2_000).is_pending() && poll(29_000).is_pending());
    assert!(poll(2_000).is_ready());
    let last = sent(&mut connection.borrow_mut()).pop().unwrap();
    assert_eq!((last.0.kind, last.1), (frame::RST_STREAM, (Code::Cancel as u32).to_be_bytes().to_vec()));
}

/// What moves the bytes of a connection, with so much room on the way to the client.
fn wire(clock: &Clock, room: usize) -> (Wire<DuplexStream>, DuplexStream) {
    let (io, far) = tokio::io::duplex(room);
    (Wire::new(io, &[], clock), far)
}

#[test]
fn a_connection_on_which_nothing_moves_is_given_up() {
    let is_gone = |end| matches!(end, Poll::Ready(End::Gone(error)) if error.kind() == io::ErrorKind::TimedOut);
    let mut cx = waiting();
    for (what, connection, room, steps) in [
        ("no settings", Connection::new(Rc::default(), 0), 4096, &[9_000, 2_000][..]),
        ("silence, and no answer to a ping", begun(), 4096, &[29_000, 2_000, 9_000, 2_000]),
        ("no room", begun(), 10, &[29_000, 2_000]),
    ] {
        let (clock, connection) = (Clock::new(), RefCell::new(connection));
        let (mut wire, _far) = wire(&clock, room);
        if room == 10 {
            connection.borrow_mut().write(frame::PING, 0, 0, &[0; 8]);
            assert!(wire.poll_write(&connection, &mut cx).is_pending());
        }
        let (last, before) = steps.split_last().unwrap();
        for step in before {
            assert!(wire.poll_due(&connection, &mut cx).is_pending(), "{what}");
            clock.advance(clock.now() + step);
        }
        assert!(wire.poll_due(&connection, &mut cx).is_pending(), "{what}");
        clock.advance(clock.now() + last);
        assert!(is_gone(wire.poll_due(&connection, &mut cx)), "{what}");
    }
}

/// A frame that may be sound.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop::sample::select(vec![0, ALL, WHOLE, frame::END_STREAM, frame::PADDED, 0xff]);
    let payload = prop_oneof![
        Just(GET.to_vec()),
        Just(POST.to_vec()),
        Just(vec![0; 4]),
        Just(vec![0, 0, 1, 0]),
        Just(vec![0, 4, 0, 0, 1, 0]),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    (0..10u8, flags, 0..8u32, payload).prop_map(|(kind, flags, stream, payload)| written(kind, flags, stream, &payload))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Nothing that comes does harm, whatever exchanges do meanwhile.
    #[test]
    fn whatever_comes_is_taken_or_refused(steps in prop::collection::vec((frames(), 0..6u8, 0..8u32), 1..40)) {
        let (mut connection, cx) = (begun(), waiting());
        for (bytes, action, stream) in steps {
            if feed(&mut connection, &bytes).is_err() {
                connection.end(Some(Code::Protocol));
                break;
            }
            match action {
                0 => drop(connection.poll_body(stream, &cx)),
                1 => connection.abandon(stream),
                2 => connection.send_head(stream, (StatusCode::OK, &HeaderMap::new()), [None, None], false),
                3 => if let Poll::Ready(Some(room)) = connection.poll_room(stream, &cx) {
                    connection.send_data(stream, vec![b'x'; room].into(), stream == 1);
                },
                4 => connection.grant(),
                _ => connection.reset(stream, Code::Cancel),
            }
            prop_assert!(connection.streams.len() <= 4 && connection.called <= 4 && connection.line.len() <= 4);
            prop_assert!(connection.allowance + connection.taken <= ALLOWANCE);
        }
        sent(&mut connection);
    }
}
