//! gRPC-Web for backends that speak gRPC: browsers cannot send trailers nor read them, so they call in a form that has
//! none, in bytes or in base64.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>

use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response};
use http_body::Frame;

use super::body::{Broken, RequestBody, ResponseBody, Upstream};
use super::error::Error;

const GRPC: &str = "application/grpc";
const WEB: &str = "application/grpc-web";
const TEXT: &str = "application/grpc-web-text";
/// The flag of a frame that holds trailers.
const TRAILERS: u8 = 0x80;
/// Characters of base64 that stand for three bytes together.
const GROUP: usize = 4;

/// A call in gRPC-Web.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The request's body is base64.
    text: bool,
    /// The response's body is to be.
    answer_in_text: bool,
}

impl Call {
    /// The call that a request makes, if it is one.
    pub(super) fn read(method: &Method, headers: &HeaderMap) -> Option<Self> {
        if *method != Method::POST {
            return None;
        }
        let (text, _) = parse(headers.get(header::CONTENT_TYPE)?)?;
        let accepted = headers.get(header::ACCEPT).and_then(parse);
        Some(Self { text, answer_in_text: accepted.map_or(text, |(text, _)| text) })
    }

    /// Makes the request one of gRPC.
    pub(super) fn request(self, headers: &mut HeaderMap, body: &mut RequestBody) -> Result<(), Error> {
        let format = headers.get(header::CONTENT_TYPE).and_then(parse).map(|(_, format)| value(GRPC, format));
        headers.insert(header::CONTENT_TYPE, format.unwrap_or(HeaderValue::from_static(GRPC)));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if self.text {
            headers.remove(header::CONTENT_LENGTH);
            body.decode()?;
        }
        Ok(())
    }

    /// Makes the response one of gRPC-Web, if it is one of gRPC.
    pub(super) fn response(self, response: Response<ResponseBody>) -> Response<ResponseBody> {
        let (mut parts, body) = response.into_parts();
        let Some(format) = parts.headers.get(header::CONTENT_TYPE).and_then(format_of_grpc) else {
            return Response::from_parts(parts, body);
        };
        let content_type = value(if self.answer_in_text { TEXT } else { WEB }, format);
        parts.headers.insert(header::CONTENT_TYPE, content_type);
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::TRAILER);
        let text = self.answer_in_text;
        Response::from_parts(parts, body.webbed(|upstream| Webbed { upstream, text, ended: false }))
    }
}

/// Whether a media type of gRPC-Web is text, and what is said after it: `+proto`, parameters.
fn parse(value: &HeaderValue) -> Option<(bool, &str)> {
    let value = value.to_str().ok()?.trim();
    let after = |prefix: &str| {
        let (start, format) = value.split_at_checked(prefix.len())?;
        (start.eq_ignore_ascii_case(prefix) && is_format(format)).then_some(format)
    };
    after(TEXT).map(|format| (true, format)).or_else(|| after(WEB).map(|format| (false, format)))
}

/// What a media type of gRPC says after its name.
fn format_of_grpc(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()?.strip_prefix(GRPC).filter(|format| is_format(format))
}

fn is_format(text: &str) -> bool {
    text.is_empty() || text.starts_with(['+', ';', ' '])
}

fn value(name: &str, format: &str) -> HeaderValue {
    HeaderValue::try_from(format!("{name}{format}")).unwrap_or(HeaderValue::from_static(GRPC))
}

/// A backend's body on its way to a client of gRPC-Web.
pub(super) struct Webbed {
    upstream: Upstream,
    text: bool,
    ended: bool,
}

impl Webbed {
    /// The next part of what goes to the client.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            let Some(frame) = ready!(self.upstream.poll(cx)) else {
                self.ended = true;
                continue;
            };
            let bytes = match frame?.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    self.ended = true;
                    frame.into_trailers().map(|trailers| in_frame(&trailers)).unwrap_or_default()
                }
            };
            if bytes.is_empty() {
                continue;
            }
            // Each part is padded for itself, as clients expect that read while it comes.
            let bytes = if self.text { STANDARD.encode(&bytes).into() } else { bytes };
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
    }

    /// Whether there is no next part.
    pub(super) fn is_end(&self) -> bool {
        self.ended || self.upstream.is_end()
    }
}

/// Trailers as the last frame of a body.
fn in_frame(trailers: &HeaderMap) -> Bytes {
    let length = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    let mut frame = BytesMut::with_capacity(length + 5);
    frame.put_u8(TRAILERS);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            frame.put_slice(part);
        }
    }
    frame.freeze()
}

/// A body in base64 as it comes, in parts of any length; each run of groups may be padded for itself.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a group.
    rest: Vec<u8>,
}

impl Decoder {
    /// The bytes that more of it comes to; `None` if that is no base64.
    pub(super) fn decode(&mut self, piece: &[u8]) -> Option<Bytes> {
        self.rest.extend_from_slice(piece);
        let whole = self.rest.len() - self.rest.len() % GROUP;
        let mut bytes = Vec::with_capacity(whole / GROUP * 3);
        let mut text = self.rest.get(..whole).unwrap_or_default();
        while !text.is_empty() {
            // Up to the end of the padding, where there is one.
            let end = text.iter().position(|byte| *byte == b'=').map_or(text.len(), |at| (at / GROUP + 1) * GROUP);
            let (run, more) = text.split_at_checked(end)?;
            STANDARD.decode_vec(run, &mut bytes).ok()?;
            text = more;
        }
        self.rest.drain(..whole);
        Some(bytes.into())
    }

    /// Whether it may end here.
    pub(super) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &'static str, accept: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.extend(accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))));
        headers
    }

    #[test]
    fn calls_are_known_by_their_type() {
        let of = |content_type, accept| {
            Call::read(&Method::POST, &headers(content_type, accept)).map(|call| (call.text, call.answer_in_text))
        };
        assert_eq!(of("application/grpc-web", None), Some((false, false)));
        assert_eq!(of("application/grpc-web+proto", None), Some((false, false)));
        assert_eq!(of("Application/gRPC-Web-Text+proto; charset=utf-8", None), Some((true, true)));
        assert_eq!(of("application/grpc-web-text", Some("application/grpc-web+proto")), Some((true, false)));
        assert_eq!(of("application/grpc-web", Some("application/grpc-web-text")), Some((false, true)));
        assert_eq!(of("application/grpc-web-text", Some("*/*")), Some((true, true)));
        for other in ["application/grpc", "application/grpc+proto", "application/grpc-websocket", "text/plain", ""] {
            assert_eq!(of(other, None), None, "{other}");
        }
        assert_eq!(Call::read(&Method::GET, &headers("application/grpc-web", None)), None);
    }

    #[test]
    fn the_format_is_kept() {
        let call = Call { text: false, answer_in_text: false };
        let mut asked = headers("application/grpc-web+json", None);
        call.request(&mut asked, &mut RequestBody::Empty).unwrap();
        assert_eq!(
            (&asked["content-type"], &asked["te"]),
            (&"application/grpc+json".parse().unwrap(), &"trailers".parse().unwrap())
        );
    }

    #[test]
    fn trailers_become_a_frame() {
        let trailers = HeaderMap::from_iter([
            ("grpc-status".parse().unwrap(), HeaderValue::from_static("5")),
            ("grpc-message".parse().unwrap(), HeaderValue::from_static("no such")),
        ]);
        assert_eq!(in_frame(&trailers), &b"\x80\0\0\0\x27grpc-status: 5\r\ngrpc-message: no such\r\n"[..]);
        assert_eq!(in_frame(&HeaderMap::new()), &[TRAILERS, 0, 0, 0, 0][..]);
    }

    #[test]
    fn base64_may_be_cut_anywhere_and_padded_within() {
        let text = b"AAECAw==BAUGBwg=CQ==Cgs=DA0O";
        let wanted: Vec<u8> = (0..15).collect();
        for size in 1..=text.len() {
            let mut decoder = Decoder::default();
            let pieces: Vec<_> = text.chunks(size).map(|piece| decoder.decode(piece).unwrap()).collect();
            assert_eq!((pieces.concat(), decoder.is_whole()), (wanted.clone(), true), "{size}");
        }
        let mut cut = Decoder::default();
        assert_eq!((cut.decode(b"AAEC+"), cut.is_whole()), (Some(Bytes::from_static(&[0, 1, 2])), false));
        for bad in [&b"A==="[..], b"AA=A", b"AA!A", b"====", b"\xff\xff\xff\xff", b"AAEC\r\n\r\n"] {
            assert_eq!(Decoder::default().decode(bad), None, "{bad:?}");
        }
    }
}
