//! Whole exchanges, for which h2's client is the oracle.

use std::future::poll_fn;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local};

use super::super::connection::Arrived;
use super::super::exchange::{Sending, Stream};
use super::*;

/// A request and its answer.
#[derive(Clone, Debug)]
struct Case {
    method: Method,
    path: &'static str,
    fields: Vec<(&'static str, String)>,
    body: Vec<usize>,
    trailers: bool,
    status: u16,
    answer: Vec<usize>,
    answer_trailers: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let names = vec!["x-a", "accept", "user-agent", "cookie", "x_b", "authorization"];
    let fields = prop::collection::vec((prop::sample::select(names), "[ -~]{0,60}"), 0..8);
    let sizes = || prop::collection::vec(prop_oneof![Just(0), 1..200usize, 10_000..40_000usize, Just(100_000)], 0..4);
    (
        prop::sample::select(vec![Method::GET, Method::POST, Method::HEAD, Method::DELETE]),
        prop::sample::select(vec!["/", "/a/b?c=d", "/index.html", "/%20"]),
        fields,
        (sizes(), any::<bool>()),
        prop::sample::select(vec![200u16, 200, 404, 503, 204]),
        (sizes(), any::<bool>()),
    )
        .prop_map(|(method, path, fields, (body, trailers), status, (answer, answer_trailers))| {
            let bodiless = status == 204 || method == Method::HEAD;
            let answer = if bodiless { Vec::new() } else { answer };
            Case { method, path, fields, body, trailers, status, answer, answer_trailers: answer_trailers && !bodiless }
        })
}

/// A body whose parts tell where they stand.
fn body(sizes: &[usize]) -> Vec<Bytes> {
    sizes.iter().enumerate().map(|(part, size)| vec![b'a' + part as u8; *size].into()).collect()
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("1"))])
}

/// Answers as a case says, when its request has come as it says.
async fn respond(connection: Rc<RefCell<Connection>>, arrived: Arrived, cases: Rc<Vec<Case>>) {
    let Arrived { stream: id, parts, has_body, .. } = arrived;
    let number: usize = parts.headers["x-case"].to_str().unwrap().parse().unwrap();
    let case = &cases[number];
    assert_eq!((&parts.method, parts.uri.to_string().as_str()), (&case.method, case.path));
    let mut fields: Vec<_> =
        parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let mut expected: Vec<_> = case.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let number = number.to_string();
    expected.extend([("host", "a.example"), ("x-case", &number)]);
    fields.sort_unstable();
    expected.sort_unstable();
    assert_eq!(fields, expected);
    let (mut read, mut ended) = (Vec::new(), None);
    if has_body {
        let body = Body { connection: connection.clone(), stream: id };
        while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
            match frame.unwrap().into_data() {
                Ok(data) => read.extend_from_slice(&data),
                Err(frame) => ended = frame.into_trailers().ok(),
            }
        }
        assert!(body.is_end());
    }
    assert_eq!((read, ended), (body(&case.body).concat(), case.trailers.then(trailers)));
    let frames = body(&case.answer).into_iter().map(Frame::data);
    let frames = frames.chain(case.answer_trailers.then(|| Frame::trailers(trailers())));
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(case.status).unwrap();
    answer.headers_mut().insert("x-answer", HeaderValue::try_from(number).unwrap());
    answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
    let stream = Stream { connection, id };
    let (answer, date) = (RefCell::new(Some(answer)), Date::default());
    let mut sending = Sending::begin(&stream, &answer, case.method == Method::HEAD, (&date, 0));
    poll_fn(|cx| sending.poll(&stream, &answer, cx)).await;
}

/// Serves a connection until its client has gone.
async fn serve_cases(mut io: DuplexStream, cases: Rc<Vec<Case>>) {
    let connection = Rc::new(RefCell::new(Connection::new(Rc::default(), 0)));
    let (mut held, mut scratch) = (BytesMut::new(), Scratch::default());
    poll_fn(|cx| {
        connection.borrow_mut().attend(cx, 0);
        loop {
            let mut this = connection.borrow_mut();
            while !this.unwritten().is_empty() {
                match this.unwritten().poll_write(&mut io, cx) {
                    Poll::Ready(written) => written.unwrap(),
                    Poll::Pending => break,
                }
            }
            this.grant();
            match std::pin::pin!(io.read_buf(&mut held)).poll(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => this.receive(&mut held, &mut scratch).unwrap(),
                Poll::Pending => return Poll::Pending,
            }
            while let Some(arrived) = this.take_arrived() {
                spawn_local(respond(connection.clone(), arrived, cases.clone()));
            }
        }
    })
    .await;
    connection.borrow_mut().end(None);
}

/// Asks as a case says by h2's client, and looks at what that makes of the answer.
async fn ask(mut client: h2::client::SendRequest<Bytes>, number: usize, case: Case) {
    let mut request = Request::builder().method(&case.method).uri(format!("http://a.example{}", case.path));
    for (name, value) in &case.fields {
        request = request.header(*name, value);
    }
    let request = request.header("x-case", number).body(()).unwrap();
    let ends = case.body.is_empty() && !case.trailers;
    poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
    let (answer, mut stream) = client.send_request(request, ends).unwrap();
    let parts = body(&case.body);
    for (place, part) in parts.iter().enumerate() {
        stream.send_data(part.clone(), place + 1 == parts.len() && !case.trailers).unwrap();
    }
    if case.trailers {
        stream.send_trailers(trailers()).unwrap();
    }
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), case.status);
    assert_eq!(answer.headers()["x-answer"], number.to_string());
    assert_eq!(answer.headers()["date"], "Thu, 01 Jan 1970 00:00:00 GMT");
    assert!(!answer.headers().contains_key("connection"));
    let (mut read, mut incoming) = (Vec::new(), answer.into_body());
    while let Some(data) = incoming.data().await {
        let data = data.unwrap();
        incoming.flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    assert_eq!(read, body(&case.answer).concat());
    assert_eq!(incoming.trailers().await.unwrap(), case.answer_trailers.then(trailers));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn exchanges_are_for_h2s_client_what_they_are_for_us(
        cases in prop::collection::vec(cases(), 1..12),
        room in prop::sample::select(vec![100usize, 5_000, 200_000]),
        window in prop::sample::select(vec![1_000u32, 65_535, 1 << 20]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let (near, far) = tokio::io::duplex(room);
            let cases = Rc::new(cases);
            spawn_local(serve_cases(far, cases.clone()));
            let mut builder = h2::client::Builder::new();
            let (client, connection) =
                builder.initial_window_size(window).header_table_size(256).handshake(near).await.unwrap();
            let connection = spawn_local(connection);
            let asked: Vec<_> =
                cases.iter().cloned().enumerate().map(|(number, case)| spawn_local(ask(client.clone(), number, case))).collect();
            drop(client);
            for asked in asked {
                asked.await.unwrap();
            }
            connection.await.unwrap().unwrap();
        });
    }
}
