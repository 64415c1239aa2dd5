//! Those who watch a proxy: a collector that takes its spans, and a scraper that asks for its metrics.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, id};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::server::OTHER_CORE;

/// Takes spans and throws them away, until the process ends; where.
pub(crate) fn collector() -> anyhow::Result<SocketAddr> {
    // Collector and scraper are threads of this process, and belong where load and backend are.
    let moved = Command::new("taskset").args(["-a", "-p", "-c", OTHER_CORE, &id().to_string()]).output()?;
    ensure!(moved.status.success(), "taskset: {}", String::from_utf8_lossy(&moved.stderr));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || take(stream));
        }
    });
    Ok(address)
}

fn take(mut stream: TcpStream) -> anyhow::Result<()> {
    let (mut read, mut buffer) = (Vec::new(), [0; 64 * 1024]);
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "it has gone");
        read.extend_from_slice(buffer.get(..count).context("more than there was room for")?);
        while let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(read.get(..end).unwrap_or_default()).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let whole = end + 4 + length.map_or(Ok(0), |length| length.trim().parse::<usize>())?;
            if read.len() < whole {
                break;
            }
            read.drain(..whole);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        }
    }
}

/// Asks for metrics once a second until it is dropped.
pub(crate) struct Scraper(Arc<AtomicBool>);

impl Scraper {
    pub(crate) fn start(admin: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        std::thread::spawn({
            let over = over.clone();
            move || {
                while !over.load(Ordering::Relaxed) {
                    // One that fails shows in no figure; the proxy would have failed the load as well.
                    let _ = scrape(admin);
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        });
        Self(over)
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn scrape(admin: SocketAddr) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(admin)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new())
}
