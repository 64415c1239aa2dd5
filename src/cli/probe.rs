//! `headgate probe`: whether something answers. The chart's test runs it, because the image holds nothing else.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::serving::control_runtime;
use super::{CLEAN, Outcome, print};
use crate::config;

/// The wait between two attempts.
const AGAIN: Duration = Duration::from_millis(250);

/// Ask for URLs, and fail unless each answers with something below 500: no route is an answer too.
#[derive(Args)]
pub(super) struct Probe {
    /// What to ask for, by GET and without TLS.
    #[arg(required = true, value_name = "URL")]
    urls: Vec<Uri>,
    /// How long to go on trying, for each.
    #[arg(long, value_name = "TIME", value_parser = config::duration, default_value = "10s")]
    timeout: Duration,
}

impl Probe {
    pub(super) fn run(&self) -> Outcome {
        control_runtime()?.block_on(async {
            for url in &self.urls {
                let status = answered(url, Instant::now() + self.timeout).await.with_context(|| url.to_string())?;
                print(&format!("{url} answered {status}\n"))?;
            }
            Ok(CLEAN)
        })
    }
}

/// The first status below 500; at the deadline, why there was none.
async fn answered(url: &Uri, deadline: Instant) -> anyhow::Result<StatusCode> {
    loop {
        let reason = match timeout_at(deadline, ask(url)).await {
            Ok(Ok(status)) if !status.is_server_error() => return Ok(status),
            Ok(Ok(status)) => anyhow::anyhow!("answered {status}"),
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("no answer in time"),
        };
        let again = Instant::now() + AGAIN;
        if again >= deadline {
            return Err(reason);
        }
        sleep_until(again).await;
    }
}

async fn ask(url: &Uri) -> anyhow::Result<StatusCode> {
    ensure!(url.scheme_str() == Some("http"), "only http:// URLs can be asked for");
    let Some(authority) = url.authority() else { bail!("the URL has no host") };
    let tcp = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::HOST, authority.as_str()).body(Empty::<Bytes>::new())?;
    tokio::select! {
        response = sender.send_request(request) => Ok(response?.status()),
        Err(error) = connection => Err(error.into()),
    }
}
