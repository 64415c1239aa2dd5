//! HTTP/1.1 towards an endpoint (RFC 9112), one exchange at a time.
//!
//! The exchange drives its connection itself: nothing is spawned, nothing goes through a channel, and both buffers stay
//! with the connection from one message to the next. Reading a response is strict wherever two readings are possible,
//! since the bytes after a misread body would be somebody else's answer.

mod chunked;
mod head;
mod out;
mod reading;
mod spare;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::{io, mem};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use chunked::{Chunked, Piece};
use head::Coding;
use head::Malformed;

use crate::field_kinds::FieldKinds;
pub use head::{Head, content_length};
pub(crate) use head::{declared_trailers, write_trailers};
pub(crate) use out::Out;
pub(crate) use reading::{Appetite, keep, poll_read_little};
pub(crate) use spare::{KEPT_FIELDS, give_headers};

/// Says how long an endpoint keeps a connection when nothing is asked of it (RFC 2068 19.7.1).
pub(super) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// The longest head of a response that is taken, in bytes.
pub(super) const MAX_RESPONSE_HEAD: usize = 64 * 1024;
/// The most interim responses before the one that counts; they are dropped.
const MAX_INTERIM: u32 = 1000;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An exchange with an endpoint broke off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint closed the connection before its response was whole.
    #[error("the connection was closed before the response was whole")]
    Closed,
    /// The response is not HTTP/1.1, or could be read in two ways.
    #[error("malformed response: {0}")]
    Malformed(#[from] Malformed),
    /// The connection broke.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The request's body broke off.
    #[error("the request's body broke off: {0}")]
    Request(#[source] BoxError),
}

/// A connection of HTTP/1.1 to an endpoint.
#[derive(Debug)]
pub(super) struct Http1<S, B> {
    io: S,
    /// Read and not yet handed on.
    read: BytesMut,
    appetite: Appetite,
    out: Out,
    /// Written since the last flush.
    unflushed: bool,
    upload: Upload<B>,
    download: Download,
    /// It may be used again after this response.
    persistent: bool,
}

/// What is left of a request's body.
#[derive(Debug)]
enum Upload<B> {
    None,
    Length(B, u64),
    /// In chunks, with the trailers that the head has declared.
    Chunked(B, Box<[HeaderName]>),
}

/// What is left of a response.
#[derive(Debug)]
enum Download {
    /// Nothing.
    None,
    /// All of it. How much of its head has been searched for the end, and how many interim responses have come.
    Head { to_head: bool, searched: usize, interim: u32 },
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// All that comes.
    UntilClose,
    /// Another protocol's bytes, or nothing that could be trusted.
    Unknown,
}

impl<S, B> Http1<S, B> {
    pub(super) fn new(io: S) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            appetite: Appetite::default(),
            out: Out::default(),
            unflushed: false,
            upload: Upload::None,
            download: Download::None,
            persistent: true,
        }
    }

    /// Whether nothing is left on it and it may be used again: the request has gone out whole, and the response, with
    /// nothing after it, has come in whole.
    pub(super) fn is_at_rest(&self) -> bool {
        self.persistent && self.is_answered() && self.is_sent() && self.read.is_empty()
    }

    /// Whether the request has gone out whole.
    fn is_sent(&self) -> bool {
        matches!(self.upload, Upload::None) && self.out.is_empty() && !self.unflushed
    }

    /// Whether the response has come in whole.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.download, Download::None)
    }

    /// What is known of the length of the body still to come.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.download {
            Download::None => SizeHint::with_exact(0),
            Download::Length(left) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }

    /// Keeps only what the next exchange will need.
    pub(super) fn rest(&mut self) {
        self.read = BytesMut::new();
        self.out.shrink();
    }

    /// The connection itself.
    pub(super) fn io(&self) -> &S {
        &self.io
    }

    /// The connection itself, and what has been read of the protocol that it changed to.
    pub(super) fn into_inner(self) -> (S, Bytes) {
        (self.io, self.read.freeze())
    }
}

impl<S: AsyncRead + Unpin, B> Http1<S, B> {
    /// Whether a connection at rest can take a request: neither closed, nor with bytes on it that nobody asked for.
    pub(super) fn is_usable(&mut self) -> bool {
        let mut byte = [0];
        // Nobody is to be woken: if there is nothing to read now, the exchange goes ahead.
        let mut cx = Context::from_waker(Waker::noop());
        self.is_at_rest() && Pin::new(&mut self.io).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Reads some more; `false` at the end of the connection.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let most = match self.download {
            Download::Length(left) => left,
            _ => u64::MAX,
        };
        let read = ready!(self.appetite.poll_read(&mut self.io, &mut self.read, most, cx))?;
        Poll::Ready(Ok(read > 0))
    }
}

impl<S, B> Http1<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Takes a request, to be sent by [`Self::poll_response`]. The connection is at rest.
    pub(super) fn begin(&mut self, head: &Head<'_>, body: B) {
        let length = || content_length(head.headers).ok().flatten();
        let coding = match body.is_end_stream() {
            true => Coding::None,
            false => length().map_or(Coding::Chunked, Coding::Length),
        };
        head::write(&mut self.out.own, head, coding);
        self.upload = match coding {
            Coding::None => Upload::None,
            Coding::Length(length) => Upload::Length(body, length),
            Coding::Chunked => Upload::Chunked(body, declared_trailers(head.headers)),
        };
        self.download = Download::Head { to_head: head.method == Method::HEAD, searched: 0, interim: 0 };
    }

    /// Sends the request and waits for the response's head. A response may come before its request has gone out.
    pub(super) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(StatusCode, HeaderMap, FieldKinds), Error>> {
        if let Poll::Ready(Err(error)) = self.poll_upload(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            if let Some(head) = self.next_head()? {
                return Poll::Ready(Ok(head));
            }
            if !ready!(self.fill(cx))? {
                return Poll::Ready(Err(Error::Closed));
            }
        }
    }

    /// The head of the response that counts, if it has been read.
    fn next_head(&mut self) -> Result<Option<(StatusCode, HeaderMap, FieldKinds)>, Malformed> {
        let Download::Head { to_head, searched, interim } = &mut self.download else {
            return Err(Malformed("no request"));
        };
        loop {
            if !head::may_begin(&self.read) {
                return Err(Malformed("not HTTP/1.1"));
            }
            // Two bytes back, since an end may be cut anywhere.
            let end = head::end(&self.read, searched.saturating_sub(2));
            if end.unwrap_or(self.read.len()) > MAX_RESPONSE_HEAD {
                return Err(Malformed("head over 64 KiB"));
            }
            let Some(end) = end else {
                *searched = self.read.len();
                keep(&mut self.read);
                return Ok(None);
            };
            let head = if end < self.read.len() { self.read.split_to(end) } else { mem::take(&mut self.read) };
            let answer = head::read(&head.freeze(), *to_head)?;
            if answer.status.is_informational() && answer.status != StatusCode::SWITCHING_PROTOCOLS {
                *searched = 0;
                *interim += 1;
                if *interim > MAX_INTERIM {
                    return Err(Malformed("over 1000 interim responses"));
                }
                continue;
            }
            self.persistent = answer.persistent;
            self.download = match answer.body {
                _ if answer.status == StatusCode::SWITCHING_PROTOCOLS => Download::Unknown,
                head::Body::Length(0) => Download::None,
                head::Body::Length(length) => Download::Length(length),
                head::Body::Chunked => Download::Chunked(Chunked::default()),
                head::Body::UntilClose => Download::UntilClose,
            };
            return Ok(Some((answer.status, answer.headers, answer.kinds)));
        }
    }

    /// The next part of the response's body, doing what is left of the upload meanwhile.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(self.poll_download(cx));
        if matches!(frame, Some(Err(_))) {
            self.download = Download::Unknown;
        }
        Poll::Ready(frame)
    }

    fn poll_download(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.is_sent()
            && let Poll::Ready(Err(error)) = self.poll_upload(cx)
        {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            match &mut self.download {
                Download::None => return Poll::Ready(None),
                Download::Length(left) if !self.read.is_empty() => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.read.len());
                    *left -= here as u64;
                    if *left == 0 {
                        self.download = Download::None;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(self.read.split_to(here).freeze()))));
                }
                Download::Chunked(chunked) => match chunked.next(&mut self.read) {
                    Ok(Some(Piece::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(Some(Piece::End(trailers))) => {
                        self.download = Download::None;
                        return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                    }
                    Ok(None) => {}
                    Err(malformed) => return Poll::Ready(Some(Err(malformed.into()))),
                },
                Download::UntilClose if !self.read.is_empty() => {
                    return Poll::Ready(Some(Ok(Frame::data(self.read.split().freeze()))));
                }
                Download::Length(_) | Download::UntilClose => {}
                Download::Head { .. } | Download::Unknown => return Poll::Ready(Some(Err(Error::Closed))),
            }
            match ready!(self.fill(cx)) {
                Ok(true) => {}
                Ok(false) if matches!(self.download, Download::UntilClose) => self.download = Download::None,
                Ok(false) => return Poll::Ready(Some(Err(Error::Closed))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Sends as much of the request as there is and as the endpoint takes; ready once it is all out.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            // The head goes out together with what is there of the body.
            let waits = self.out.takes_piece() && self.next_piece(cx)?.is_pending();
            if !self.out.is_empty() {
                self.unflushed = true;
                while !self.out.is_empty() {
                    ready!(self.out.poll_write(&mut self.io, cx))?;
                }
                continue;
            }
            if self.unflushed {
                ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                self.unflushed = false;
            }
            if waits {
                return Poll::Pending;
            }
            if matches!(self.upload, Upload::None) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Moves the next piece of the request's body to what is to be written.
    fn next_piece(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Error> {
        let body = match &mut self.upload {
            Upload::None => return Ok(Poll::Ready(())),
            Upload::Length(body, _) | Upload::Chunked(body, _) => body,
        };
        let frame = match Pin::new(body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(frame) => frame.transpose().map_err(|error| Error::Request(error.into()))?,
        };
        match (frame.map(Frame::into_data), &mut self.upload) {
            (_, Upload::None) => {}
            (Some(Ok(data)), Upload::Length(_, left)) => {
                let Some(rest) = left.checked_sub(data.len() as u64) else {
                    return Err(Error::Request("longer than its Content-Length".into()));
                };
                *left = rest;
                self.out.put_piece(data);
                if rest == 0 {
                    self.upload = Upload::None;
                }
            }
            // No length, so there is no place for trailers either.
            (Some(Err(_)), Upload::Length(..)) => {}
            (None, Upload::Length(_, 0)) => self.upload = Upload::None,
            (None, Upload::Length(..)) => return Err(Error::Request("shorter than its Content-Length".into())),
            // An empty chunk would be the end.
            (Some(Ok(data)), Upload::Chunked(..)) if data.is_empty() => {}
            (Some(Ok(data)), Upload::Chunked(..)) => self.out.put_chunk(data),
            (last, Upload::Chunked(_, declared)) => {
                let trailers = last.and_then(Result::err).and_then(|frame| frame.into_trailers().ok());
                self.out.own.extend_from_slice(b"0\r\n");
                write_trailers(&mut self.out.own, &trailers.unwrap_or_default(), declared);
                self.upload = Upload::None;
            }
        }
        Ok(Poll::Ready(()))
    }
}
