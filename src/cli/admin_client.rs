//! Asking a running Headgate at its admin port.

use std::pin::Pin;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::serving::control_runtime;
use crate::table::Explanation;

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Where a Headgate outside a cluster, or a forwarded port, is asked.
pub(super) const DEFAULT: &str = "http://127.0.0.1:8081";

/// What a running Headgate answers at a path.
pub(super) fn json(admin: &Uri, path: &str) -> anyhow::Result<serde_json::Value> {
    let answer = control_runtime()?.block_on(get(admin, path))?;
    serde_json::from_slice(&answer).with_context(|| format!("{admin}{path} gave no JSON; is it a Headgate?"))
}

/// Hands on the data of server-sent events as they come, until they end or `take` says that it was enough.
pub(super) fn events(
    admin: &Uri,
    path: &str,
    mut take: impl FnMut(&str) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    control_runtime()?.block_on(async {
        let (response, connection) = ask(admin, path).await?;
        let mut body = response.into_body();
        let mut rest = Vec::new();
        let reading = async {
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                rest.extend_from_slice(&data);
                while let Some(end) = rest.windows(2).position(|two| two == b"\n\n") {
                    let event: Vec<u8> = rest.drain(..end + 2).collect();
                    let event = String::from_utf8_lossy(&event);
                    for data in event.lines().filter_map(|line| line.strip_prefix("data: ")) {
                        if !take(data)? {
                            return Ok(());
                        }
                    }
                }
            }
            bail!("{admin} ended the events")
        };
        tokio::select! {
            read = reading => read,
            Err(error) = connection => Err(error.into()),
        }
    })
}

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
    let (response, connection) = ask(admin, path).await?;
    let answer = async {
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(anyhow::Error::from_boxed)?;
        anyhow::Ok(body.to_bytes())
    };
    tokio::select! {
        answer = answer => answer,
        Err(error) = connection => Err(error.into()),
    }
}

/// A connection that has to be driven while its answer is read.
type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

/// Asks, and gives an answer that is no refusal.
async fn ask(admin: &Uri, path: &str) -> anyhow::Result<(Response<Incoming>, Connection)> {
    let host = admin.host().context("--admin has no host; write http://127.0.0.1:8081")?;
    if admin.scheme_str().is_some_and(|scheme| scheme != "http") {
        bail!("--admin is spoken to over http only");
    }
    let port = admin.port_u16().unwrap_or(8081);
    let tcp = TcpStream::connect((host, port)).await.with_context(|| format!("nothing answers at {host}:{port}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    let mut connection: Connection = Box::pin(connection);
    let request = Request::get(path).header(header::HOST, host).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(anyhow::Error::from_boxed)?;
        bail!("{admin} answered {status}: {}", String::from_utf8_lossy(&body.to_bytes()))
    };
    let response = tokio::select! {
        answer = answer => answer?,
        Err(error) = &mut connection => return Err(error.into()),
    };
    Ok((response, connection))
}

/// Names and values as a query carries them.
pub(super) fn form_urlencoded(pairs: &[(&str, &[u8])]) -> String {
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
