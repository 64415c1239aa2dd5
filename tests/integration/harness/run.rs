//! `headgate` as a command: run it to its end and look at what it said.

use std::process::{Command, Stdio};

use super::gateway::binary;

/// What a command said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs `headgate` with these arguments, without anything of our environment that it would listen to.
pub(crate) fn headgate(arguments: &[&str]) -> Said {
    said(command(binary().to_str().unwrap()).args(arguments))
}

/// A command with nothing to read and a plain environment.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).env_remove("NO_COLOR");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"HEADGATE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
pub(crate) fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Said {
        code: output.status.code().unwrap_or_else(|| panic!("{command:?} was killed: {:?}", output.status)),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
