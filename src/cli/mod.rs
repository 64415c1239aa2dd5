//! The command line: one file per command.

mod admin_client;
mod check;
mod cluster;
mod demo;
mod doctor;
mod echo;
mod explain;
mod init;
mod probe;
mod redis;
mod run;
mod serve;
mod serving;
mod status;
mod tap;
mod version;

/// What docs/reference.md says of the command line and of our kinds.
#[cfg(test)]
mod reference;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::telemetry::log;

/// Nothing is wrong.
const CLEAN: u8 = 0;
/// `check` found something.
const FINDINGS: u8 = 1;
/// It could not run.
const FAILED: u8 = 2;

/// How to print.
#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Parser)]
#[command(
    name = "headgate",
    version = version::SHORT,
    about = "The ingress of a Kubernetes cluster in one process",
    after_help = "Examples:\n  headgate demo                                   serve an example and say what to try\n  headgate run routes/                            serve the objects in a folder, again on every change\n  headgate run --to http://127.0.0.1:3000         a reverse proxy in one line\n  headgate check -f routes/                       what is wrong with the objects in a folder\n  headgate explain http://shop.example.com/cart -f routes/   which rule wins, and why the others do not\n  headgate serve                                  the ingress of a cluster",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a cluster: watch its objects, route its traffic, write its status.
    Serve(serve::Serve),
    /// Serve the objects in a folder, again on every change; or one URL.
    Run(run::Run),
    /// Write an example into a folder, serve it, and say what to try.
    Demo(demo::Demo),
    /// Write an example into a folder.
    Init(init::Init),
    /// Answer every request with what was seen of it, as JSON.
    Echo(echo::Echo),
    /// Say what is wrong with declared objects.
    Check(check::Check),
    /// Say which rule a request meets, and why every other one does not.
    Explain(explain::Explain),
    /// Ask for URLs, and fail unless each answers: for images that have no curl.
    #[command(hide = true)]
    Probe(probe::Probe),
    /// Say how a running Headgate stands: what is wrong first, then what is served.
    Status(status::Status),
    /// Show requests of a running Headgate as they end.
    Tap(tap::Tap),
    /// Check what Headgate needs: a checklist with a remedy for whatever is missing.
    Doctor(doctor::Doctor),
    /// Print the custom resource definitions.
    Crds,
    /// Print version, commit and build.
    Version,
}

/// The whole program.
pub fn main() -> ExitCode {
    // A second provider compiled in by some dependency would make the automatic choice a panic.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let result = match Cli::parse().command {
        Command::Serve(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Init(command) => command.run(),
        Command::Echo(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Probe(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::Tap(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Crds => print(&crate::api::crds_yaml().into_iter().map(|(_, yaml)| yaml).collect::<String>()),
        Command::Version => print(&format!("{}\n", version::LONG)),
    };
    log::finish();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let prefix = if color() { "\u{1b}[1;31merror\u{1b}[0m" } else { "error" };
            let _ = writeln!(std::io::stderr(), "{prefix}: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// What a command comes to: an exit code, or why it could not run.
type Outcome = anyhow::Result<u8>;

/// Prints to standard output; a reader that has gone, as `head` does, is no error.
fn print(text: &str) -> Outcome {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(CLEAN),
    }
}

/// Whether errors may be coloured: <https://no-color.org>.
fn color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
