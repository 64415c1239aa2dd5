//! A connection to one server, ready to be asked.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisResult, Value};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::script::Script;
use super::settings::{Server, Settings};

/// How long connecting may take, with TLS and login.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// What moves the bytes of a connection; it ends when the connection has.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// A connection that has been logged in. Clones share it, and its questions are pipelined.
#[derive(Clone)]
pub(super) struct Connection {
    inner: MultiplexedConnection,
    /// The names of the scripts on the server, by their number.
    names: [String; Script::ALL.len()],
}

/// Why there is no connection, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// It cannot be made.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The server said no, or something else than it should.
    #[error("{0}")]
    Redis(#[from] redis::RedisError),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The other side closed it.
    #[error("the connection was closed")]
    Closed,
}

impl Connection {
    /// Connects, and makes the scripts known.
    pub(super) async fn open(settings: &Settings, server: &Server) -> Result<(Self, Driver), Broken> {
        let opening = async {
            let tcp = TcpStream::connect((&*server.host, server.port)).await?;
            tcp.set_nodelay(true)?;
            // The deadlines are ours, since they cover more than one question.
            let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
            let login = &settings.login;
            let (mut inner, mut driver): (MultiplexedConnection, Driver) = match &settings.tls {
                None => {
                    let (inner, driver) = MultiplexedConnection::new_with_config(login, tcp, config).await?;
                    (inner, Box::pin(driver))
                }
                Some(tls) => {
                    let name = ServerName::try_from(server.host.to_string()).map_err(std::io::Error::other)?;
                    let stream = TlsConnector::from(tls.clone()).connect(name, tcp).await?;
                    let (inner, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
                    (inner, Box::pin(driver))
                }
            };
            let mut names: [String; Script::ALL.len()] = Default::default();
            for (script, name) in Script::ALL.into_iter().zip(&mut names) {
                let mut load = redis::cmd("SCRIPT");
                load.arg("LOAD").arg(script.text());
                *name = driven(&mut driver, load.query_async(&mut inner)).await?;
            }
            Ok((Self { inner, names }, driver))
        };
        tokio::time::timeout(PATIENCE, opening).await.unwrap_or(Err(Broken::Late(PATIENCE)))
    }

    /// Asks one question.
    pub(super) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        command.query_async(&mut self.inner.clone()).await
    }

    /// Asks a question about a key that is moving here (`ASKING`).
    pub(super) async fn ask_moving(&self, command: &Cmd) -> RedisResult<Value> {
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(command.clone());
        let mut answers: Vec<Value> = both.query_async(&mut self.inner.clone()).await?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// The name of a script on the server.
    pub(super) fn name(&self, script: Script) -> &str {
        self.names.get(script as usize).map_or("", String::as_str)
    }
}

/// Waits for something that comes through a connection while moving its bytes.
pub(super) async fn driven<T, E>(driver: &mut Driver, work: impl Future<Output = Result<T, E>>) -> Result<T, Broken>
where
    Broken: From<E>,
{
    let work = pin!(work);
    tokio::select! {
        // An answer that came just before the end is one.
        biased;
        done = work => Ok(done?),
        () = driver => Err(Broken::Closed),
    }
}
