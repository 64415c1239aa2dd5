//! Backends that say who they are, and a client that asks a route who answers.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A backend whose every answer says this name.
pub(crate) async fn backend(name: &'static str) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((address()?, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp, name));
        }
    });
    Ok(address)
}

async fn serve(mut tcp: TcpStream, name: &str) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let answer = format!("HTTP/1.1 200 OK\r\nX-Backend: {name}\r\nContent-Length: 0\r\n\r\n");
    let mut read = Vec::with_capacity(4096);
    while tcp.read_buf(&mut read).await? > 0 {
        while let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
            read.drain(..end + 4);
            tcp.write_all(answer.as_bytes()).await?;
        }
    }
    Ok(())
}

/// An address of this machine that an EndpointSlice may hold: the API server refuses loopback.
fn address() -> anyhow::Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // Nothing is sent: the kernel only says which of its addresses it would send from.
    socket.connect("192.0.2.1:9").context("this machine has no address but loopback")?;
    Ok(socket.local_addr()?.ip())
}

/// A connection to the gateway.
pub(crate) struct Client {
    tcp: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(gateway: SocketAddr) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(gateway).await?;
        tcp.set_nodelay(true)?;
        Ok(Self { tcp, read: Vec::with_capacity(4096) })
    }

    /// The head of the answer to a GET; answers here have no body but those of failures, after which the connection is
    /// of no more use.
    pub(crate) async fn get(&mut self, host: &str) -> anyhow::Result<String> {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.tcp.write_all(request.as_bytes()).await?;
        self.read.clear();
        loop {
            ensure!(self.tcp.read_buf(&mut self.read).await? > 0, "the gateway closed a connection");
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(self.read.get(..end).unwrap_or_default()).to_ascii_lowercase();
                ensure!(head.starts_with("http/1.1 200"), "{host} was not answered 200: {head}");
                return Ok(head);
            }
        }
    }

    /// Asks again and again until an answer holds this line; when that answer was there.
    pub(crate) async fn until(&mut self, host: &str, line: &str) -> anyhow::Result<Instant> {
        let start = Instant::now();
        loop {
            if self.get(host).await?.lines().any(|known| known == line) {
                return Ok(Instant::now());
            }
            ensure!(start.elapsed() < Duration::from_secs(60), "{host} never said {line}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
