//! Asking a running Headgate at its admin port.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::serving::control_runtime;
use crate::table::Explanation;

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// What a running Headgate would do with a request.
pub(super) fn explain(
    admin: &Uri,
    url: &Uri,
    method: &Method,
    headers: &[(HeaderName, HeaderValue)],
) -> anyhow::Result<Explanation> {
    let mut query = form_urlencoded(&[("url", url.to_string().as_bytes()), ("method", method.as_str().as_bytes())]);
    for (name, value) in headers {
        let header = [name.as_str().as_bytes(), b": ", value.as_bytes()].concat();
        query.push('&');
        query += &form_urlencoded(&[("header", &header)]);
    }
    let answer = control_runtime()?.block_on(get(admin, &format!("/api/v1/explain?{query}")))?;
    serde_json::from_slice(&answer)
        .with_context(|| format!("{admin} gave no explanation; is it a Headgate of this version?"))
}

async fn get(admin: &Uri, path: &str) -> anyhow::Result<Bytes> {
    let host = admin.host().context("--admin has no host; write http://127.0.0.1:8081")?;
    if admin.scheme_str().is_some_and(|scheme| scheme != "http") {
        bail!("--admin is spoken to over http only");
    }
    let port = admin.port_u16().unwrap_or(8081);
    let tcp = TcpStream::connect((host, port)).await.with_context(|| format!("nothing answers at {host}:{port}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    let request = Request::get(path).header(header::HOST, host).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(anyhow::Error::from_boxed)?;
        let body = body.to_bytes();
        ensure!(status == StatusCode::OK, "{admin} answered {status}: {}", String::from_utf8_lossy(&body));
        anyhow::Ok(body)
    };
    tokio::select! {
        answer = answer => answer,
        Err(error) = connection => Err(error.into()),
    }
}

/// Names and values as a query carries them.
fn form_urlencoded(pairs: &[(&str, &[u8])]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text += name;
        text.push('=');
        for byte in *value {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
                text.push(char::from(*byte));
            } else {
                text += &format!("%{byte:02X}");
            }
        }
    }
    text
}
