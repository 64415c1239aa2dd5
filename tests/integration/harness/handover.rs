//! Who has taken a process's sockets over.

use std::process::Command;

use super::gateway::Gateway;

/// The process that a log line says has taken over, ended with this.
pub(crate) struct Successor(pub(crate) u32);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.0.to_string()]).stderr(std::process::Stdio::null()).status();
    }
}

/// Waits for the one that the log tells of after so many lines.
pub(crate) fn successor(gateway: &Gateway, before: usize) -> Successor {
    let find = || {
        gateway.log().iter().skip(before).find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line["message"].as_str()?.starts_with("handed over").then(|| line["pid"].as_u64().unwrap() as u32)
        })
    };
    gateway.wait_until("another process has taken over", || find().is_some());
    Successor(find().unwrap())
}
