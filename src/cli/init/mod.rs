//! `headgate init`: an example to change.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::{CLEAN, Outcome, print};

/// What the example consists of.
const FILES: [(&str, &str); 4] = [
    ("backend.yaml", include_str!("example/backend.yaml")),
    ("route.yaml", include_str!("example/route.yaml")),
    ("limit.yaml", include_str!("example/limit.yaml")),
    ("ingress.yaml", include_str!("example/ingress.yaml")),
];

/// Where the example's backend listens, as its file says.
pub(super) const BACKEND: &str = "127.0.0.1:8082";

/// Write an example into a folder.
#[derive(Args)]
#[command(after_help = "Example:\n  headgate init routes && headgate run routes")]
pub(super) struct Init {
    /// The folder; it must not exist yet or be empty.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Init {
    pub(super) fn run(&self) -> Outcome {
        write(&self.folder, BACKEND.parse()?)?;
        let folder = self.folder.display();
        print(&format!(
            "wrote {}\n\n  headgate echo &             the backend that the example sends requests to\n  headgate run {folder}\n",
            FILES.map(|(name, _)| self.folder.join(name).display().to_string()).join(", ")
        ))?;
        Ok(CLEAN)
    }
}

/// Writes the example, for a backend at this address.
pub(super) fn write(folder: &Path, backend: SocketAddr) -> anyhow::Result<()> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty; nothing was written", folder.display());
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let family = if backend.is_ipv4() { "addressType: IPv4" } else { "addressType: IPv6" };
    let (port, address) = (format!("port: {}", backend.port()), backend.ip().to_string());
    for (name, text) in FILES {
        let path = folder.join(name);
        let text =
            text.replace("port: 8082", &port).replace("addressType: IPv4", family).replace("127.0.0.1", &address);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
