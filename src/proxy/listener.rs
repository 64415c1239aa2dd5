//! Sockets to accept on: bound early, listened on only once there is something to serve.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

use super::{Worker, connection};
use crate::drain::Phase;

/// Connections that the kernel holds for us until they are accepted.
const BACKLOG: i32 = 4096;
/// How long accepting rests after the process has run out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// An address with one socket per worker, bound and not yet listening.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that was chosen if 0 was asked for.
    pub address: SocketAddr,
    sockets: Vec<Socket>,
}

impl Bound {
    /// Binds `count` sockets to the same address, among which the kernel spreads connections.
    ///
    /// # Errors
    /// When the address is not ours or taken, also by another process that would share it.
    pub fn new(address: SocketAddr, count: usize) -> io::Result<Self> {
        // Sockets of one user that share a port do so silently, so another instance would take half of our
        // connections. A socket that does not share finds that out.
        let probe = socket(address)?;
        probe.bind(&address.into())?;
        let address = local_address(&probe)?;
        drop(probe);
        let sockets = (0..count)
            .map(|_| {
                let socket = socket(address)?;
                socket.set_reuse_port(true)?;
                socket.bind(&address.into())?;
                Ok(socket)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { address, sockets })
    }

    /// Sockets that are listening already, at least one for each of `count` workers.
    ///
    /// # Errors
    /// When there are too few descriptors, or none of the sockets has an address.
    pub fn inherit(listeners: Vec<TcpListener>, count: usize) -> io::Result<Self> {
        let mut sockets: Vec<Socket> = listeners.into_iter().map(Socket::from).collect();
        let first = sockets.first().ok_or(io::ErrorKind::NotFound)?;
        let address = local_address(first)?;
        // Workers may share a socket; a socket without a worker would keep its clients waiting.
        for number in 0..count.saturating_sub(sockets.len()) {
            let shared = sockets.get(number).ok_or(io::ErrorKind::NotFound)?.try_clone()?;
            sockets.push(shared);
        }
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        Ok(Self { address, sockets })
    }

    /// The same sockets once more, for another process.
    ///
    /// # Errors
    /// When there are too few descriptors.
    pub fn duplicate(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(|socket| Ok(socket.try_clone()?.into())).collect()
    }

    /// Starts listening; connections wait from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn listen(self) -> io::Result<Vec<TcpListener>> {
        self.sockets
            .into_iter()
            .map(|socket| {
                socket.listen(BACKLOG)?;
                Ok(socket.into())
            })
            .collect()
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A port whose last connections are still winding down can be bound again.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` means both families.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Accepts until the drain begins, and then what has connected by that moment: the kernel resets what is still in its
/// queue when the socket is closed.
pub(super) async fn accept(worker: Rc<Worker>, listener: TcpListener, secure: bool) -> io::Result<()> {
    let local = listener.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let registration = worker.connections.register();
    loop {
        let accepted = poll_fn(|cx| {
            registration.waker(cx);
            if worker.phase() >= Phase::Draining {
                return Poll::Ready(None);
            }
            listener.poll_accept(cx).map(Some)
        });
        match accepted.await {
            Some(Ok((tcp, address))) => serve(&worker, tcp, address, local, secure),
            Some(Err(error)) if is_exhausted(&error) => {
                worker.complain(|| {
                    tracing::warn!(%error, "cannot accept connections: out of file descriptors or memory");
                });
                tokio::time::sleep(EXHAUSTED).await;
            }
            // A connection that ended before it was accepted; the next one is none the worse.
            Some(Err(error)) => tracing::debug!(%error, "accept"),
            None => break,
        }
    }
    let listener = listener.into_std()?;
    while let Ok((tcp, address)) = listener.accept() {
        tcp.set_nonblocking(true)?;
        serve(&worker, TcpStream::from_std(tcp)?, address, local, secure);
    }
    Ok(())
}

fn serve(worker: &Rc<Worker>, tcp: TcpStream, address: SocketAddr, local: SocketAddr, secure: bool) {
    let Some(held) = worker.hold_connection(secure) else {
        worker.complain(|| tracing::warn!(most = worker.capacity.most(), "connections refused: there are too many"));
        return;
    };
    // Responses go out whole; waiting for more would only delay them. Failing to say so hurts nothing.
    let _ = tcp.set_nodelay(true);
    // The listener's own address may be that of every interface.
    let local = if local.ip().is_unspecified() { tcp.local_addr().unwrap_or(local) } else { local };
    let worker = worker.clone();
    // A task is as large as the largest that it may hold, so each kind has its own.
    if secure {
        tokio::task::spawn_local(async move {
            connection::serve_tls(worker, tcp, address, local).await;
            drop(held);
        });
    } else {
        tokio::task::spawn_local(async move {
            connection::serve_clear(worker, tcp, address, local).await;
            drop(held);
        });
    }
}

/// Out of descriptors or memory: trying again at once would only burn the processor.
fn is_exhausted(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    const ENOMEM: i32 = 12;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOBUFS | ENOMEM))
}
