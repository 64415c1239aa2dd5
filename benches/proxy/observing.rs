//! What it costs to be watched: processor time per request with the access log, with traces and while metrics are
//! scraped, each over the same without, in pairs taken one after the other.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, id};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use crate::Row;
use crate::cpu::{Offer, sample};
use crate::processes::{Backend, OTHER_CORE, Proxy, free_address};
use crate::spread::Spread;

/// How much to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Pairs of watched and unwatched for each way of watching, in the order ABBA.
    #[arg(long, default_value_t = 15)]
    pairs: u32,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Requests per second.
    #[arg(long, default_value_t = 8000)]
    rate: u32,
}

/// One way of watching.
struct Case {
    what: &'static str,
    goal: &'static str,
    proxy: Proxy,
    /// Who is asked for metrics once a second meanwhile: fifteen times as often as Prometheus asks by default.
    scraped: Option<SocketAddr>,
}

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    // Collector and scraper are threads of this process, and belong where load and backend are.
    let moved = Command::new("taskset").args(["-a", "-p", "-c", OTHER_CORE, &id().to_string()]).output()?;
    ensure!(moved.status.success(), "taskset: {}", String::from_utf8_lossy(&moved.stderr));
    let (backend, folder) = (Backend::start()?, tempfile::tempdir()?);
    let log = format!("json,file={}", folder.path().join("access.log").display());
    let (collector, admin) = (collector()?, free_address()?);
    let share = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.01")];
    let plain = Proxy::watched(&backend, free_address()?, &[], &[])?;
    let case = |what, goal, proxy, scraped| Case { what, goal, proxy, scraped };
    let cases = [
        case(
            "CPU with a JSON access log",
            "1.04",
            Proxy::watched(&backend, free_address()?, &["--access-log", &log], &[])?,
            None,
        ),
        case(
            "CPU with 1 % traced",
            "1.02",
            Proxy::watched(&backend, free_address()?, &["--otlp-endpoint", &format!("http://{collector}")], &share)?,
            None,
        ),
        case("CPU while scraped", "1.02", Proxy::watched(&backend, admin, &[], &[])?, Some(admin)),
    ];
    let mut pairs = [const { Vec::new() }; 3];
    let offer = Offer::Rate(plan.rate);
    for pair in 0..plan.pairs {
        for (case, pairs) in cases.iter().zip(&mut pairs) {
            let with = || -> anyhow::Result<_> {
                let scraper = case.scraped.map(Scraper::start);
                let sample = sample(&case.proxy, "/", offer, plan.seconds);
                drop(scraper);
                sample
            };
            let without = || sample(&plain, "/", offer, plan.seconds);
            let (a, b) = if pair % 2 == 0 {
                let a = with()?;
                (a, without()?)
            } else {
                let b = without()?;
                (with()?, b)
            };
            let sound = a.sound && b.sound;
            let note = if sound { "" } else { " (left out: the rate was not held)" };
            eprintln!("{}: {:.2} µs, without {:.2} µs{note}", case.what, a.microseconds, b.microseconds);
            if sound {
                pairs.push(a.microseconds / b.microseconds);
            }
        }
    }
    Ok(cases
        .into_iter()
        .zip(pairs)
        .map(|(case, ratios)| {
            let (count, ratio) = (ratios.len(), Spread::of(ratios));
            Row {
                what: format!("{} / without, {} a second", case.what, plan.rate),
                figure: format!("{:.3}", ratio.median),
                goal: case.goal,
                more: format!("middle half {:.3} to {:.3} of {count} pairs", ratio.low, ratio.high),
            }
        })
        .collect())
}

/// Takes spans and throws them away, until the process ends.
fn collector() -> anyhow::Result<SocketAddr> {
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
struct Scraper(Arc<AtomicBool>);

impl Scraper {
    fn start(admin: SocketAddr) -> Self {
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
