//! Sending spans to a collector, in batches, on the control runtime.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::failure::ExportError;
use super::protobuf;
use super::setting::{Protocol, Setting};
use super::span::Finished;

/// A failure is told of no more often than this.
const COMPLAINT: Duration = Duration::from_secs(30);
/// How long the last batch may take when the process ends.
const FAREWELL: Duration = Duration::from_millis(500);
/// The largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// The side that exports.
#[derive(Debug)]
pub struct Exporter {
    setting: Setting,
    finished: mpsc::Receiver<Finished>,
    dropped: Arc<AtomicU64>,
    tls: Option<Arc<rustls::ClientConfig>>,
    complained: Option<Instant>,
}

impl Exporter {
    pub(super) fn new(setting: Setting, finished: mpsc::Receiver<Finished>, dropped: Arc<AtomicU64>) -> Self {
        Self { setting, finished, dropped, tls: None, complained: None }
    }

    /// Exports until every tracer has gone or `end` comes, and then what is left.
    pub async fn run(mut self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        let mut batch = Vec::new();
        loop {
            let full = self.setting.batch;
            let gathering = gather(&mut self.finished, &mut batch, full, self.setting.delay);
            let more = tokio::select! {
                more = gathering => more,
                () = &mut end => false,
            };
            if !more {
                break;
            }
            let limit = self.setting.timeout;
            tokio::select! {
                () = self.export(&mut batch, limit) => {}
                () = &mut end => break,
            }
        }
        while let Ok(finished) = self.finished.try_recv() {
            batch.push(finished);
        }
        if !batch.is_empty() {
            self.export(&mut batch, FAREWELL).await;
        }
    }

    /// Sends a batch. One that is not taken is dropped: the next one matters more, and memory is finite.
    async fn export(&mut self, batch: &mut Vec<Finished>, limit: Duration) {
        let message = protobuf::request(&self.setting.resource, batch);
        let result = match tokio::time::timeout(limit, self.send(message)).await {
            Ok(result) => result,
            Err(_) => Err(ExportError::Silent),
        };
        if let Err(error) = result {
            self.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
            if self.complained.is_none_or(|at| at.elapsed() >= COMPLAINT) {
                self.complained = Some(Instant::now());
                let endpoint = &self.setting.endpoint;
                tracing::warn!(%endpoint, %error, "traces cannot be exported: they are lost and counted");
            }
        }
        batch.clear();
    }

    async fn send(&mut self, message: Vec<u8>) -> Result<(), ExportError> {
        let url = &self.setting.endpoint;
        let host = url.host().unwrap_or_default();
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let secure = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(match (secure, self.setting.protocol) {
            (true, _) => 443,
            (false, Protocol::Grpc) => 4317,
            (false, Protocol::Http) => 80,
        });
        let request = self.request(url, message)?;
        let tcp = TcpStream::connect((name, port)).await.map_err(ExportError::Connect)?;
        if !secure {
            return converse(tcp, self.setting.protocol, request).await;
        }
        let mut config = match &self.tls {
            Some(config) => (**config).clone(),
            None => trust(),
        };
        if self.setting.protocol == Protocol::Grpc {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let config = Arc::new(config);
        self.tls = Some(config.clone());
        let name =
            ServerName::try_from(name.to_owned()).map_err(|error| ExportError::Connect(io::Error::other(error)))?;
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.map_err(ExportError::Connect)?;
        converse(stream, self.setting.protocol, request).await
    }

    fn request(&self, url: &Uri, message: Vec<u8>) -> Result<Request<Full<Bytes>>, ExportError> {
        let (kind, body) = match self.setting.protocol {
            Protocol::Http => ("application/x-protobuf", Bytes::from(message)),
            Protocol::Grpc => {
                // A message that is not compressed, and its length.
                let mut framed = BytesMut::with_capacity(message.len() + 5);
                framed.put_u8(0);
                framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
                framed.put_slice(&message);
                ("application/grpc", framed.freeze())
            }
        };
        let mut request = Request::post(match self.setting.protocol {
            Protocol::Grpc => url.to_string(),
            Protocol::Http => url.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        });
        if let Some(headers) = request.headers_mut() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            headers
                .insert(header::USER_AGENT, HeaderValue::from_static(concat!("headgate/", env!("CARGO_PKG_VERSION"))));
            match self.setting.protocol {
                Protocol::Grpc => drop(headers.insert(header::TE, HeaderValue::from_static("trailers"))),
                Protocol::Http => {
                    let authority = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
                    let host = HeaderValue::try_from(authority).unwrap_or(HeaderValue::from_static("localhost"));
                    headers.insert(header::HOST, host);
                }
            }
            for (name, value) in &self.setting.headers {
                headers.insert(name, value.clone());
            }
        }
        request.body(Full::new(body)).map_err(ExportError::Request)
    }
}

/// Waits for something and then for a full batch or the end of the delay; false when nothing can come any more.
async fn gather(
    finished: &mut mpsc::Receiver<Finished>,
    batch: &mut Vec<Finished>,
    full: usize,
    delay: Duration,
) -> bool {
    if batch.is_empty() && finished.recv_many(batch, full).await == 0 {
        return false;
    }
    let _ = tokio::time::timeout(delay, async {
        while batch.len() < full {
            if finished.recv_many(batch, full - batch.len()).await == 0 {
                break;
            }
        }
    })
    .await;
    true
}

/// One request on a connection of its own: batches are seconds apart.
async fn converse(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    protocol: Protocol,
    request: Request<Full<Bytes>>,
) -> Result<(), ExportError> {
    match protocol {
        Protocol::Http => {
            let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
            let answer = async {
                let response = sender.send_request(request).await?;
                let status = response.status();
                let _ = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
                if status.is_success() { Ok(()) } else { Err(ExportError::Status(status)) }
            };
            tokio::select! {
                answer = answer => answer,
                Err(error) = connection => Err(error.into()),
            }
        }
        Protocol::Grpc => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
            let answer = async {
                let response = sender.send_request(request).await?;
                let status = response.status();
                let early = response.headers().get("grpc-status").cloned();
                let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
                let late = body.ok().and_then(|body| body.trailers()?.get("grpc-status").cloned());
                match early.or(late) {
                    _ if status != StatusCode::OK => Err(ExportError::Status(status)),
                    Some(code) if code == "0" => Ok(()),
                    Some(code) => Err(ExportError::Grpc(String::from_utf8_lossy(code.as_bytes()).into_owned())),
                    None => Err(ExportError::Grpc("none".to_owned())),
                }
            };
            tokio::select! {
                answer = answer => answer,
                Err(error) = connection => Err(error.into()),
            }
        }
    }
}

/// Trust in what the system trusts.
fn trust() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}
