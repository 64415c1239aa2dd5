//! Outside a cluster: one process replaced by another on the same sockets, and what a supervisor is told.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::handover::successor;
use crate::harness::http::get;
use crate::harness::objects::route;
use crate::harness::traffic::was_not_begun;

#[test]
fn a_new_process_takes_over_without_a_failed_request() {
    let started = Arc::new(AtomicBool::new(false));
    let backend = Backend::answering({
        let started = started.clone();
        move |seen| {
            if seen.uri.path() == "/slow" {
                started.store(true, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(1500));
            }
            http::Response::new(http_body_util::Full::new(bytes::Bytes::from("b")))
        }
    });
    let mut gateway = Gateway::start(&(backend.service("b") + &route("b", "")));
    let (http, stop, asked) = (gateway.http, Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (stop, asked) = (stop.clone(), asked.clone());
            std::thread::spawn(move || {
                let mut failed = 0;
                let mut client = if number % 2 == 0 { Client::http1(http) } else { Client::http2(http) };
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.request("GET", "a.test", "/", &[]);
                    asked.fetch_add(1, Ordering::Relaxed);
                    match answer {
                        Ok(answer) => {
                            failed += usize::from(answer.status != 200);
                            if answer.header("connection").is_some_and(|value| value == "close") {
                                client = Client::http1(http);
                            }
                        }
                        // An HTTP/2 connection that was asked to go takes no new request; that is no failed one.
                        Err(error) if number % 2 == 1 && was_not_begun(&error) => {
                            client = Client::http2(http);
                        }
                        Err(error) => panic!("client {number}: {error:?}"),
                    }
                }
                failed
            })
        })
        .collect();
    let slow = std::thread::spawn(move || get(http, "/slow").unwrap().status);
    gateway.wait_until("the slow request is under way", || started.load(Ordering::Relaxed));
    gateway.signal("USR2");
    let _successor = successor(&gateway, 0);
    assert_eq!(gateway.exit_code(), Some(0));
    assert_eq!(slow.join().unwrap(), 200, "what was in flight is finished by the old process");
    let before = asked.load(Ordering::Relaxed);
    gateway.wait_until("the new process serves", || asked.load(Ordering::Relaxed) > before + 200);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.join().unwrap(), 0);
    }
    assert_eq!(get(gateway.admin, "/readyz").unwrap().status, 200, "the admin port has moved as well");
}

#[test]
fn one_that_does_not_become_ready_changes_nothing() {
    let backend = Backend::named("b");
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("headgate");
    std::fs::copy(binary(), &program).unwrap();
    let gateway = Gateway::start_as(Command::new(&program), &(backend.service("b") + &route("b", "")), &[]);
    // What is there now does not know what it is asked to do.
    std::fs::remove_file(&program).unwrap();
    std::fs::copy("/bin/false", &program).unwrap();
    gateway.signal("USR2");
    gateway.wait_until("it says why", || {
        gateway.log().iter().any(|line| line.contains("not handed over") && line.contains("ended before it was ready"))
    });
    assert_eq!(get(gateway.http, "/").unwrap().status, 200);
    assert!(gateway.is_ready());
}

#[test]
fn sockets_of_a_supervisor_are_used_and_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let notify = UnixDatagram::bind(&path).unwrap();
    notify.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    // It hands them on as descriptors 3, 4 and 5, as systemd does.
    let mut command = Command::new("python3");
    let script = "import os, sys, socket\n\
        fds = [int(fd) for fd in sys.argv[1].split(',')]\n\
        for number, fd in enumerate(fds): os.dup2(fd, 3 + number + 100)\n\
        for number in range(3): os.dup2(103 + number, 3 + number); os.set_inheritable(3 + number, True)\n\
        os.environ.update(LISTEN_FDS='3', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='http:https:admin')\n\
        os.execv(sys.argv[2], sys.argv[2:])\n";
    for listener in &listeners {
        rustix::io::fcntl_setfd(listener, rustix::io::FdFlags::empty()).unwrap();
    }
    let fds = listeners.iter().map(|listener| fd(listener).to_string()).collect::<Vec<_>>().join(",");
    command.args(["-c", script, &fds]).arg(binary()).env("NOTIFY_SOCKET", &path);
    let mut gateway = Gateway::start_as(command, "", &["--workers", "2"]);
    assert_eq!([gateway.http, gateway.https, gateway.admin], addresses);
    let mut text = [0; 512];
    let mut told = || {
        let length = notify.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    assert!(told().starts_with("READY=1\n"));
    let mut stream = TcpStream::connect(gateway.http).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    gateway.signal("TERM");
    assert!(told().starts_with("STOPPING=1\n"));
    assert_eq!(gateway.exit_code(), Some(0));
}

fn fd(listener: &TcpListener) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(listener)
}
