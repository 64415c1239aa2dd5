//! The proxies that ours is held against: where they are found, how they are configured (`peers/`), and how to get the
//! ones that are missing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::identity::Identity;
use crate::objects;
use crate::offer::Request;
use crate::server::{PROXY_CORE, Places, Server, pinned};
use crate::table::Row;

/// A proxy of somebody else's.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: &'static str,
    /// Arguments; `@PREFIX@` is the folder of its files, and so on, as in the files.
    arguments: &'static [&'static str],
    /// Name and contents.
    files: &'static [(&'static str, &'static str)],
    get: &'static str,
}

const WHEELS: &str =
    "python3 -m venv target/peers && target/peers/bin/pip install -r benches/proxy/peers/requirements.txt";

pub(crate) const NGINX: Peer = Peer {
    name: "nginx",
    program: "nginx",
    arguments: &["-p", "@PREFIX@", "-c", "@PREFIX@/nginx.conf"],
    files: &[("nginx.conf", include_str!("peers/nginx.conf"))],
    get: "apt-get install nginx-light",
};
pub(crate) const HAPROXY: Peer = Peer {
    name: "HAProxy",
    program: "haproxy",
    arguments: &["-db", "-f", "@PREFIX@/haproxy.cfg"],
    files: &[("haproxy.cfg", include_str!("peers/haproxy.cfg"))],
    get: "apt-get install haproxy",
};
pub(crate) const ENVOY: Peer = Peer {
    name: "Envoy",
    program: "envoy",
    arguments: &["--concurrency", "1", "--disable-hot-restart", "-l", "off", "-c", "@PREFIX@/envoy.yaml"],
    files: &[("envoy.yaml", include_str!("peers/envoy.yaml"))],
    get: WHEELS,
};
pub(crate) const ENVOY_FEATURED: Peer =
    Peer { name: "Envoy with the same", files: &[("envoy.yaml", include_str!("peers/envoy-featured.yaml"))], ..ENVOY };
pub(crate) const TRAEFIK: Peer = Peer {
    name: "Traefik",
    program: "traefik",
    arguments: &["--configFile=@PREFIX@/traefik.yaml"],
    files: &[
        ("traefik.yaml", include_str!("peers/traefik.yaml")),
        ("routes.yaml", include_str!("peers/traefik-routes.yaml")),
    ],
    get: WHEELS,
};
pub(crate) const TRAEFIK_FEATURED: Peer = Peer {
    name: "Traefik with log, limit and metrics",
    files: &[
        ("traefik.yaml", include_str!("peers/traefik-featured.yaml")),
        ("routes.yaml", include_str!("peers/traefik-featured-routes.yaml")),
    ],
    ..TRAEFIK
};
pub(crate) const CADDY: Peer = Peer {
    name: "Caddy",
    program: "caddy",
    arguments: &["run", "--adapter", "caddyfile", "--config", "@PREFIX@/Caddyfile"],
    files: &[("Caddyfile", include_str!("peers/Caddyfile"))],
    get: WHEELS,
};
pub(crate) const FASTHTTP: Peer = Peer {
    name: "fasthttp",
    program: "fasthttp",
    arguments: &["@HTTP@", "@BACKEND@"],
    files: &[],
    get: "(cd benches/proxy/peers/fasthttp && go build -o ../../../../target/peers/bin/fasthttp .)",
};

/// Proxies that run, by name.
pub(crate) type Servers = Vec<(&'static str, Server)>;

/// Those that could be started; for each that is not installed, a row of the table says how to get it.
pub(crate) fn start(
    peers: &[Peer],
    backend: &Server,
    identity: &Identity,
    ready: &Request,
) -> anyhow::Result<(Servers, Vec<Row>)> {
    let (mut started, mut missing) = (Vec::new(), Vec::new());
    for peer in peers {
        if let Some(program) = peer.find() {
            let server = peer.start(&program, backend, identity, ready);
            started.push((peer.name, server.with_context(|| format!("{} cannot be started", peer.name))?));
        } else {
            let more = format!("left out, {} is not installed: {}", peer.program, peer.get);
            eprintln!("{}: {more}", peer.name);
            missing.push(Row { what: peer.name.to_owned(), figure: f64::NAN, goal: None, more });
        }
    }
    Ok((started, missing))
}

impl Peer {
    fn find(&self) -> Option<PathBuf> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        // Debian keeps some where a user's PATH often does not look.
        let more = [concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers/bin"), "/usr/sbin"].map(PathBuf::from);
        more.into_iter()
            .chain(std::env::split_paths(&paths))
            .map(|folder| folder.join(self.program))
            .find(|file| file.exists())
    }

    fn start(&self, program: &Path, backend: &Server, identity: &Identity, ready: &Request) -> anyhow::Result<Server> {
        let (places, folder) = (Places::free()?, tempfile::tempdir()?);
        let filled = |text: &str| {
            text.replace("@PREFIX@", &folder.path().to_string_lossy())
                .replace("@HTTP@", &places.http.to_string())
                .replace("@HTTP_PORT@", &places.http.port().to_string())
                .replace("@HTTPS@", &places.https.to_string())
                .replace("@ADMIN@", &places.admin.to_string())
                .replace("@BACKEND@", &backend.http.to_string())
                .replace("@BACKEND_PORT@", &backend.http.port().to_string())
                .replace("@CERTIFICATE@", &identity.file.to_string_lossy())
        };
        for (name, contents) in self.files {
            fs::write(folder.path().join(name), filled(contents))?;
        }
        fs::write(folder.path().join("jwks.json"), objects::key_set())?;
        let mut command = pinned(PROXY_CORE, program.as_os_str());
        // A process of Go's takes as many threads as it may have processors; this is its one worker.
        command.args(self.arguments.iter().map(|argument| filled(argument))).env("GOMAXPROCS", "1");
        command.env("HOME", folder.path());
        Server::start(command, places, Some(folder), ready)
    }
}
