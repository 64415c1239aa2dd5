//! Closing a connection so that its client can read what was sent last.

use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Worker, attempt};

/// After an answer that came before the end of its request, a client is listened to for so long, so that it can read the
/// answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// Closes a connection. What the client still sends that has its answer already is read and dropped first: closing on
/// unread bytes would reset the connection, and the client might never see the answer.
pub(super) async fn close(worker: &Worker, io: &mut (impl AsyncRead + AsyncWrite + Unpin), unread: bool) {
    let mut deadline = worker.clock.deadline();
    let closing = pin!(async {
        if io.shutdown().await.is_err() || !unread {
            return;
        }
        let mut scratch = vec![0; 4096];
        let mut dropped = 0;
        while dropped < LINGER_BYTES {
            match io.read(&mut scratch).await {
                Ok(0) | Err(_) => break,
                Ok(read) => dropped += read,
            }
        }
    });
    let _ = attempt::within(&mut deadline, worker.clock.now(), Some(LINGER), None, closing).await;
}
