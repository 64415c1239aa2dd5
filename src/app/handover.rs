//! SIGUSR2: a new process takes our listening sockets over, becomes ready with a table of its own, and only then do we
//! drain. Nobody is refused meanwhile: the sockets never close.

use std::env;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::notify;
use crate::drain::{Drain, Phase, Signal};
use crate::proxy::Bound;

/// How long the new process may take to its first table.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at whether it has ended.
const LOOK: Duration = Duration::from_millis(50);
/// The first number that is tried for an inherited descriptor: above what is likely to be open.
const FIRST: i32 = 512;

/// What is handed over.
#[derive(Debug)]
pub(super) struct Handover {
    /// Each socket with its name.
    sockets: Vec<(&'static str, OwnedFd)>,
    /// Whether a second process may run beside this one at all.
    allowed: bool,
    signal: Arc<Signal>,
    /// Told once it has been done.
    done: watch::Sender<bool>,
}

impl Handover {
    /// These sockets; whoever listens to what is returned sees when they have another owner.
    pub(super) fn new(
        sockets: Vec<(&'static str, OwnedFd)>,
        allowed: bool,
        signal: Arc<Signal>,
    ) -> (Self, watch::Receiver<bool>) {
        let (done, seen) = watch::channel(false);
        (Self { sockets, allowed, signal, done }, seen)
    }

    /// Hands over at SIGUSR2. Our copies of the sockets go as soon as the drain begins: a connection to a socket that
    /// nobody accepts on would wait for ever.
    pub(super) async fn run(self, mut drain: Drain) -> anyhow::Result<()> {
        let mut asked = signal(SignalKind::user_defined2()).context("SIGUSR2 cannot be listened to")?;
        loop {
            tokio::select! {
                Some(()) = asked.recv() => {}
                () = drain.reached(Phase::Draining) => return Ok(()),
            }
            match self.replace().await {
                Ok(pid) => {
                    tracing::info!(pid, "handed over: the new process serves, this one drains");
                    notify::replaced_by(pid);
                    self.done.send_replace(true);
                    self.signal.enter(Phase::Leaving);
                    return Ok(());
                }
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "not handed over: this process goes on as before");
                }
            }
        }
    }

    /// Starts the new process and waits until it is ready.
    async fn replace(&self) -> anyhow::Result<u32> {
        if !self.allowed {
            bail!("in a cluster, pods are replaced and not processes; roll out a new one instead");
        }
        if std::process::id() == 1 {
            bail!("the first process of a container cannot be replaced; roll out a new pod instead");
        }
        // Collected, since the iterator itself must stay on its thread.
        let mut words = env::args_os().collect::<Vec<_>>().into_iter();
        // As it was called, so that a new binary in the place of the old one is what starts.
        let program = words.next().context("this process does not know its own name")?;
        let name = format!("headgate-handover-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name)?;
        let ready = UnixDatagram::bind_addr(&address).context("readiness cannot be listened to")?;
        ready.set_nonblocking(true)?;
        let ready = tokio::net::UnixDatagram::from_std(ready)?;

        let (inherited, first) = self.inheritable()?;
        let names: Vec<&str> = self.sockets.iter().map(|(name, _)| *name).collect();
        let mut command = Command::new(&program);
        notify::redirect(&mut command, &format!("@{name}"));
        let mut child = command
            .args(words)
            .env("LISTEN_FDS", inherited.len().to_string())
            .env("LISTEN_FDS_FIRST_FD", first.to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env_remove("LISTEN_PID")
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        drop(inherited);
        let outcome = tokio::select! {
            told = told_ready(&ready) => told,
            ended = ended(&mut child) => Err(anyhow!("the new process ended before it was ready: {}", ended?)),
            () = tokio::time::sleep(PATIENCE) => Err(anyhow!("the new process was not ready within {PATIENCE:?}")),
        };
        if let Err(error) = outcome {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok(child.id())
    }

    /// Copies of the sockets that a child keeps, numbered one after the other, and the first number.
    fn inheritable(&self) -> anyhow::Result<(Vec<OwnedFd>, i32)> {
        let mut least = FIRST;
        'row: loop {
            let mut copies = Vec::new();
            for (_, socket) in &self.sockets {
                let wanted = least + i32::try_from(copies.len())?;
                let copy = fcntl_dupfd_cloexec(socket, wanted).context("too few file descriptors are left")?;
                let number = number(&copy);
                copies.push(copy);
                if number != wanted {
                    // Somebody has a number in the middle of the row: begin behind it.
                    least = number + 1;
                    continue 'row;
                }
            }
            for copy in &copies {
                fcntl_setfd(copy, FdFlags::empty())?;
            }
            return Ok((copies, least));
        }
    }
}

/// The sockets of all listeners, by the names that the process that takes over knows them by.
pub(super) fn sockets(http: &Bound, https: &Bound, admin: &TcpListener) -> io::Result<Vec<(&'static str, OwnedFd)>> {
    let mut sockets: Vec<_> = http.duplicate()?.into_iter().map(|socket| ("http", socket)).collect();
    sockets.extend(https.duplicate()?.into_iter().map(|socket| ("https", socket)));
    sockets.push(("admin", admin.as_fd().try_clone_to_owned()?));
    Ok(sockets)
}

fn number(descriptor: &OwnedFd) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(&descriptor.as_fd())
}

async fn told_ready(socket: &tokio::net::UnixDatagram) -> anyhow::Result<()> {
    let mut text = [0; 512];
    loop {
        let length = socket.recv(&mut text).await?;
        let text = text.get(..length).unwrap_or_default();
        if text.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(());
        }
    }
}

async fn ended(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        tokio::time::sleep(LOOK).await;
    }
}
