//! The floor: a proxy that does as little as one can. It waits for whoever has something to say, and passes what they say
//! on to the one whom they are tied to: two receives and two sends for each request, and nothing is parsed.
//!
//! Nobody can serve with it, since it knows no routes and no framing; it shows what the kernel alone costs on a machine.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// What the listener's events say; those of a connection say its place.
const LISTENER: u64 = u64::MAX;

/// Passes everything on to the backend until it is killed.
pub(crate) fn run(address: SocketAddr, backend: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    // A client and its connection to the backend are neighbours: the partner of `n` is `n ^ 1`.
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let (mut events, mut buffer) = (Vec::with_capacity(256), vec![0; 64 << 10]);
    loop {
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let data = event.data;
            if data.u64() == LISTENER {
                for tcp in [listener.accept()?.0, TcpStream::connect(backend)?] {
                    tcp.set_nodelay(true)?;
                    epoll::add(&epoll, &tcp, EventData::new_u64(connections.len() as u64), EventFlags::IN)?;
                    connections.push(Some(tcp));
                }
                continue;
            }
            let place = usize::try_from(data.u64())?;
            if !pass(&connections, place, &mut buffer) {
                // Both at once: one end alone is of no use.
                for place in [place, place ^ 1] {
                    if let Some(connection) = connections.get_mut(place) {
                        *connection = None;
                    }
                }
            }
        }
    }
}

/// Passes on what one has said. It blocks no longer than the receiver needs to take it. Whether both are still there.
fn pass(connections: &[Option<TcpStream>], place: usize, buffer: &mut [u8]) -> bool {
    let end = |place: usize| connections.get(place).and_then(Option::as_ref);
    let (Some(mut from), Some(mut to)) = (end(place), end(place ^ 1)) else { return true };
    let count = from.read(buffer).unwrap_or(0);
    count > 0 && to.write_all(buffer.get(..count).unwrap_or_default()).is_ok()
}
