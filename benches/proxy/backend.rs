//! A backend that costs next to nothing: it looks for the end of a head and answers from memory.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;

/// Answers GETs until it is killed: 64 KiB for `/64k`, 1 MiB for `/1m`, 128 bytes for anything else.
pub(crate) fn run(address: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        // For as long as the process lives.
        let answers: &[Vec<u8>; 3] = Box::leak(Box::new([128, 64 << 10, 1 << 20].map(response)));
        loop {
            let (tcp, _) = listener.accept().await?;
            tcp.set_nodelay(true)?;
            tokio::task::spawn_local(serve(tcp, answers));
        }
    })
}

async fn serve(mut tcp: TcpStream, [small, large, huge]: &[Vec<u8>; 3]) -> std::io::Result<()> {
    let mut read = Vec::with_capacity(16 * 1024);
    while tcp.read_buf(&mut read).await? > 0 {
        while let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
            let answer = match () {
                () if read.starts_with(b"GET /64k ") => large,
                () if read.starts_with(b"GET /1m ") => huge,
                () => small,
            };
            read.drain(..end + 4);
            tcp.write_all(answer).await?;
        }
    }
    Ok(())
}

fn response(length: usize) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: bench\r\nContent-Length:";
    let mut response = format!("{head} {length}\r\n\r\n").into_bytes();
    response.resize(response.len() + length, b'x');
    response
}
