//! One worker's hand on one server: a connection that is made again whenever it is lost, and what it knows of the
//! server's state.
//!
//! ```text
//!             connected, and a write has succeeded
//!    away ───────────────────────────────────────────> there
//!     ^  <───────────────────────────────────────────   │ ^
//!     │       it closed, or answered with an error      │ │ the probe succeeds
//!     │                                                 v │
//!     └────────────────── the probe fails ──────────── in doubt: an answer was late, and a write is tried at once
//! ```
//!
//! While it is away nobody waits for it: requests are told so at once, and the connection is tried in the background.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::connection::{Broken, Connection, Driver, driven};
use super::health::{Health, Lack};
use super::script::Call;
use super::settings::{Server, Settings};
use super::slots::text_in;

/// Between attempts to connect. Being back is seen within this and the time that connecting takes.
const RETRY: Duration = Duration::from_millis(250);
/// Between looks at a connection that nothing is asked through, so that its end is seen.
const LOOK: Duration = Duration::from_secs(1);
/// As many questions may wait for answers at once; a server that answers holds a fraction of it.
const IN_FLIGHT: usize = 4096;
/// The key of a probe goes by itself.
const PROBE_LIFE: Duration = Duration::from_secs(10);

pub(super) struct Node {
    /// Where it may be; of several the first that can be written.
    servers: Vec<Server>,
    settings: Arc<Settings>,
    health: Arc<Health>,
    probe: Cmd,
    connection: RefCell<Option<Connection>>,
    in_flight: Cell<usize>,
    /// An answer was late.
    doubt: Notify,
    /// It answered with an error that another question would have too.
    refused: Notify,
    why_refused: RefCell<Option<RedisError>>,
    /// Told whenever it has gone away.
    gone: Rc<Notify>,
    /// Whether it counts as missing.
    missing: Cell<bool>,
}

/// Why a question has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is none to be had.
    Lack(Lack),
    /// Another server holds the key.
    Moved(Server),
    /// Another server may hold the key already.
    Moving(Server),
}

impl Node {
    /// A server that holds this slot, or one of several of which only one is the primary. It counts as missing from now
    /// on.
    pub(super) fn new(
        servers: Vec<Server>,
        slot: u16,
        settings: Arc<Settings>,
        health: Arc<Health>,
        gone: Rc<Notify>,
    ) -> Self {
        health.expect(1);
        let mut probe = redis::cmd("SET");
        let key = format!("{}:{{{}}}:probe", settings.prefix, text_in(slot));
        probe.arg(key).arg(1).arg("PX").arg(PROBE_LIFE.as_millis() as u64);
        Self {
            servers,
            settings,
            health,
            probe,
            connection: RefCell::default(),
            in_flight: Cell::default(),
            doubt: Notify::new(),
            refused: Notify::new(),
            why_refused: RefCell::default(),
            gone,
            missing: Cell::new(true),
        }
    }

    /// Whether it can be asked.
    pub(super) fn is_there(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// Runs a script, and gives up at the deadline.
    pub(super) async fn run(&self, call: &Call, moving: bool, deadline: Instant) -> Result<Value, Failure> {
        self.ask(deadline, async |connection: Connection| {
            let send = async |command: Cmd| {
                if moving { connection.ask_moving(&command).await } else { connection.ask(&command).await }
            };
            match send(call.command("EVALSHA", connection.name(call.script))).await {
                // Its scripts were flushed, or it is another server by now. This makes the script known again.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    send(call.command("EVAL", call.script.text())).await
                }
                answer => answer,
            }
        })
        .await
    }

    /// Asks one question.
    pub(super) async fn query(&self, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        self.ask(deadline, async |connection: Connection| connection.ask(command).await).await
    }

    async fn ask(
        &self,
        deadline: Instant,
        question: impl AsyncFnOnce(Connection) -> Result<Value, RedisError>,
    ) -> Result<Value, Failure> {
        let connection = self.connection.borrow().clone().ok_or(Failure::Lack(Lack::Away))?;
        if self.in_flight.get() >= IN_FLIGHT {
            return Err(Failure::Lack(Lack::Busy));
        }
        self.in_flight.set(self.in_flight.get() + 1);
        let _answered = Answered(&self.in_flight);
        match tokio::time::timeout_at(deadline, question(connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => {
                self.doubt.notify_one();
                Err(Failure::Lack(Lack::Timeout))
            }
        }
    }

    /// What an error means for the question, and for the server.
    fn failed(&self, error: RedisError) -> Failure {
        let elsewhere = |error: &RedisError| {
            let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
            // A server that does not know its own address leaves it to us.
            let host = if host.is_empty() { &*self.servers.first()?.host } else { host };
            Some(Server { host: host.into(), port: port.parse().ok()? })
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => match elsewhere(&error) {
                Some(server) => return Failure::Moved(server),
                None => self.refuse(error),
            },
            ErrorKind::Server(ServerErrorKind::Ask) => match elsewhere(&error) {
                Some(server) => return Failure::Moving(server),
                None => self.refuse(error),
            },
            // Some of the keys have moved and others have not; it passes.
            ErrorKind::Server(ServerErrorKind::TryAgain) => {}
            // The end of the connection is seen where its bytes are moved.
            ErrorKind::Io => return Failure::Lack(Lack::Connection),
            _ => self.refuse(error),
        }
        Failure::Lack(Lack::Refused)
    }

    fn refuse(&self, error: RedisError) {
        self.why_refused.replace(Some(error));
        self.refused.notify_one();
    }

    /// Keeps a connection, for as long as it is polled.
    pub(super) async fn keep(&self) -> Infallible {
        loop {
            for server in &self.servers {
                let why = match self.session(server).await {
                    Ok(never) => match never {},
                    Err(why) => why,
                };
                self.health.away(&server.to_string(), &why.to_string());
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// One connection, from its begin to its end.
    async fn session(&self, server: &Server) -> Result<Infallible, Broken> {
        let (connection, mut driver) = Connection::open(&self.settings, server).await?;
        self.try_to_write(&connection, &mut driver).await?;
        self.why_refused.replace(None);
        let _there = There::enter(self, connection.clone());
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut driver => return Err(Broken::Closed),
                () = self.refused.notified() => {
                    // One from the connection before has no meaning for this one.
                    if let Some(error) = self.why_refused.take() {
                        return Err(Broken::Redis(error));
                    }
                }
                () = self.doubt.notified() => self.try_to_write(&connection, &mut driver).await?,
                _ = looks.tick() => self.try_to_write(&connection, &mut driver).await?,
            }
        }
    }

    /// A server that can be read and not written would refuse every script, so nothing less than writing will do.
    async fn try_to_write(&self, connection: &Connection, driver: &mut Driver) -> Result<(), Broken> {
        let deadline = self.settings.deadline;
        let written = driven(driver, connection.ask(&self.probe));
        tokio::time::timeout(deadline, written).await.unwrap_or(Err(Broken::Late(deadline))).map(|_| ())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.missing.get() {
            self.health.found();
        }
    }
}

/// The server is there for as long as this is.
struct There<'a>(&'a Node);

impl<'a> There<'a> {
    fn enter(node: &'a Node, connection: Connection) -> Self {
        node.connection.replace(Some(connection));
        node.missing.set(false);
        node.health.found();
        Self(node)
    }
}

impl Drop for There<'_> {
    fn drop(&mut self) {
        let Self(node) = self;
        node.connection.replace(None);
        node.missing.set(true);
        node.health.expect(1);
        node.gone.notify_one();
    }
}

struct Answered<'a>(&'a Cell<usize>);

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
