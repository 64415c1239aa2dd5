//! A backend that closes connections when it likes, as backends may between two responses.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The most requests that it answers on one connection.
const MOST: u64 = 12;

/// The longest that a connection may rest, where it does not close it right after a response.
const LONGEST: Duration = Duration::from_millis(16);

/// The running backend. Each connection has a thread, which ends with it.
pub(crate) struct Fickle {
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
}

/// What became of its connections so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Closed with the last bytes of a response, without having said so.
    pub(crate) after_response: AtomicU32,
    /// Closed since nothing was asked for a while.
    pub(crate) at_rest: AtomicU32,
}

/// Numbers without a pattern that are the same in every run (xorshift64).
struct Random(u64);

impl Fickle {
    /// Starts on a free port.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counts: Arc<Counts> = Arc::default();
        std::thread::spawn({
            let counts = counts.clone();
            move || {
                for (number, stream) in (1..).zip(listener.incoming()) {
                    let counts = counts.clone();
                    // A connection that the gateway breaks off is the gateway's business.
                    std::thread::spawn(move || drop(serve(&stream.unwrap(), Random::seeded(number), &counts)));
                }
            }
        });
        Self { address, counts }
    }

    /// What became of its connections so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// Answers some requests without a body and closes the connection.
fn serve(stream: &TcpStream, mut random: Random, counts: &Counts) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    for served in 0..random.below(MOST) + 1 {
        let rest = LONGEST.mul_f64((random.below(1000) + 1) as f64 / 1000.0);
        // A connection rests once it has served; before that, no server runs out of patience within milliseconds.
        stream.set_read_timeout((served > 0 && random.below(2) == 0).then_some(rest))?;
        loop {
            line.clear();
            match lines.read_line(&mut line) {
                Ok(0) => return Ok(()),
                Ok(_) if line == "\r\n" => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    counts.at_rest.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        (&*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nfickle")?;
    }
    counts.after_response.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

impl Random {
    fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
