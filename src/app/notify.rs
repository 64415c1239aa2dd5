//! Telling whoever started us how far we are, by systemd's protocol (sd_notify(3)): systemd itself, or the process that
//! we replace.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;

/// Where whoever started us listens.
const SOCKET: &str = "NOTIFY_SOCKET";
/// Where the supervisor listens, when it was another process of ours that started us.
const SUPERVISOR: &str = "HEADGATE_SUPERVISOR_SOCKET";

/// Says that the first table is served.
pub(super) fn ready() {
    tell(&std::env::var_os(SOCKET), "READY=1\nSTATUS=serving");
}

/// Says that a stop has begun.
pub(super) fn stopping() {
    tell(&supervisor(), "STOPPING=1\nSTATUS=draining");
}

/// Says that another process is the main one from now on, and that it is ready.
pub(super) fn replaced_by(pid: u32) {
    tell(&supervisor(), &format!("MAINPID={pid}\nREADY=1\nSTATUS=handed over to process {pid}"));
}

/// Has a process that we start tell us that it is ready, and the supervisor all the rest.
pub(super) fn redirect(command: &mut Command, to: &str) {
    if let Some(supervisor) = supervisor() {
        command.env(SUPERVISOR, supervisor);
    }
    command.env(SOCKET, to);
}

fn supervisor() -> Option<OsString> {
    std::env::var_os(SUPERVISOR).or_else(|| std::env::var_os(SOCKET))
}

/// Nobody may be listening, which is no event: most of the time nobody has asked.
fn tell(socket: &Option<OsString>, state: &str) {
    let Some(path) = socket.as_ref().filter(|path| !path.is_empty()) else { return };
    if let Err(error) = send(path, state) {
        tracing::debug!(%error, "whoever started us cannot be told how far we are");
    }
}

fn send(path: &OsStr, state: &str) -> io::Result<()> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}
