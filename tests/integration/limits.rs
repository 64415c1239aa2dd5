//! More than there is room for, and slower than there is time for.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::backend::service;
use crate::harness::endpoint::{Endpoint, read_to_the_end};
use crate::harness::gateway::{Gateway, binary};
use crate::harness::http::get;
use crate::harness::objects::route;
use crate::harness::size;
use crate::harness::traffic::{self, read_response, soon};

/// The gateway with so many file descriptors.
fn with_descriptors(endpoint: &Endpoint, limits: &str) -> Gateway {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit {limits} && exec \"$0\" \"$@\"")]).arg(binary());
    let objects = service("s", &[endpoint.address]) + &route("s", "");
    Gateway::start_as(command, &objects, &["--workers", "1"])
}

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.http).await.unwrap()
}

async fn asks(tcp: &mut TcpStream) -> String {
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    read_response(tcp).await.1
}

/// Half of the descriptors are for clients: whoever comes when those are taken is turned away, and everybody else is
/// served as ever.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_are_turned_away() {
    let endpoint = Endpoint::named("ok").await;
    let gateway = with_descriptors(&endpoint, "-n 128");
    let mut first = connect(&gateway).await;
    assert_eq!(asks(&mut first).await, "ok");
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(connect(&gateway).await);
    }
    // 64 fit, of which the first is one.
    let turned_away = crowd.split_off(63);
    for mut connection in turned_away {
        assert_eq!(soon(read_to_the_end(&mut connection)).await, b"");
    }
    for connection in crowd.iter_mut().chain([&mut first]) {
        assert_eq!(asks(connection).await, "ok");
    }
    assert_eq!(get(gateway.admin, "/readyz").unwrap().status, 200);
    gateway.wait_for_line(&["too many"]);
    drop(crowd);
    gateway.wait_until("there is room again", || get(gateway.http, "/").is_ok_and(|answer| answer.status == 200));
    assert_eq!(asks(&mut first).await, "ok");
}

/// So few descriptors that even that half is not there: accepting fails, rests and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_descriptors_is_survived() {
    let endpoint = Endpoint::named("ok").await;
    let gateway = with_descriptors(&endpoint, "-n 36");
    let mut first = connect(&gateway).await;
    assert_eq!(asks(&mut first).await, "ok");
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(connect(&gateway).await);
    }
    gateway.wait_for_line(&["out of file descriptors"]);
    let spent = gateway.processor();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = gateway.processor() - spent;
    assert!(spent < Duration::from_millis(200), "{spent:?} in a second");
    // Who has a connection keeps it.
    assert_eq!(asks(&mut first).await, "ok");
    drop(crowd);
    let began = Instant::now();
    assert_eq!(traffic::get(gateway.http, "/").await.text(), "ok");
    assert!(began.elapsed() < size::time(Duration::from_secs(1)));
}

/// A few descriptors and many more connections: it goes on, costs next to nothing, and serves as soon as they have gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_for_256_descriptors() {
    let endpoint = Endpoint::named("ok").await;
    let gateway = with_descriptors(&endpoint, "-n 256");
    let mut crowd = Vec::new();
    for _ in 0..1_000 {
        crowd.push(connect(&gateway).await);
    }
    assert_eq!(asks(&mut crowd[0]).await, "ok");
    let spent = gateway.processor();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = gateway.processor() - spent;
    assert!(spent < Duration::from_millis(200), "{spent:?} in two seconds");
    assert_eq!(get(gateway.admin, "/readyz").unwrap().status, 200);
    drop(crowd);
    let began = Instant::now();
    gateway.wait_until("it serves", || get(gateway.http, "/").is_ok_and(|answer| answer.status == 200));
    assert!(began.elapsed() < size::time(Duration::from_secs(1)), "{:?}", began.elapsed());
}

/// Container runtimes start processes with a soft limit of 1024.
#[tokio::test(flavor = "multi_thread")]
async fn the_soft_limit_of_descriptors_is_raised() {
    let endpoint = Endpoint::named("ok").await;
    let gateway = with_descriptors(&endpoint, "-Sn 100");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(fields[3], fields[4], "{line}");
}

/// A head has 10 s from its first byte, however busily it trickles in, and a good client is served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_in_is_cut_off() {
    let endpoint = Endpoint::named("ok").await;
    let gateway = Gateway::start(&(service("s", &[endpoint.address]) + &route("s", "")));
    let mut slow = connect(&gateway).await;
    let began = Instant::now();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n").await.unwrap();
    let (mut reading, mut writing) = slow.into_split();
    let trickling = tokio::spawn(async move {
        while writing.write_all(b"x-a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let mut good = connect(&gateway).await;
    let mut byte = [0];
    let ended = async {
        loop {
            tokio::select! {
                end = tokio::io::AsyncReadExt::read(&mut reading, &mut byte) => break end,
                () = tokio::time::sleep(Duration::from_millis(200)) => assert_eq!(asks(&mut good).await, "ok"),
            }
        }
    };
    assert!(matches!(soon(ended).await, Ok(0) | Err(_)));
    let took = began.elapsed();
    assert!(took > Duration::from_millis(9500) && took < Duration::from_secs(12), "{took:?}");
    trickling.abort();
}
