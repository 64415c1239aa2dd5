//! Real Redis: one server or a cluster of six, and a wire before it that can be cut.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::certs::Authority;

/// Nothing that is waited for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A `redis-server` on a port of its own; it ends with this.
pub(crate) struct Redis {
    pub(crate) port: u16,
    child: Child,
    folder: TempDir,
    flags: Vec<String>,
    /// What `redis-cli` needs to be let in.
    login: Vec<String>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// One that asks for a password.
    pub(crate) fn with_password(password: &str) -> Self {
        Self::start_with(&["--requirepass", password], &["-a", password, "--no-auth-warning"])
    }

    /// One that follows another and cannot be written.
    pub(crate) fn replica_of(primary: &Self) -> Self {
        Self::start_with(&["--replicaof", "127.0.0.1", &primary.port.to_string()], &[])
    }

    /// One that speaks nothing but TLS, as `localhost`.
    pub(crate) fn with_tls(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let leaf = authority.issue(&["localhost"]);
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (chain, key, ca) = (file("chain", &leaf.chain), file("key", &leaf.key), file("ca", &authority.pem()));
        let flags = [
            "--tls-cert-file",
            &chain,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            "no",
            "--port",
            "0",
        ];
        Self::start_in(folder, "--tls-port", &flags, &["--tls", "--insecure"])
    }

    fn start_with(flags: &[&str], login: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), "--port", flags, login)
    }

    fn start_in(folder: TempDir, port_flag: &str, flags: &[&str], login: &[&str]) -> Self {
        let port = free_port();
        let mut all = vec![port_flag.to_owned(), port.to_string()];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let login = login.iter().map(|flag| (*flag).to_owned()).collect();
        let child = spawn(&folder, &all);
        let redis = Self { port, child, folder, flags: all, login };
        redis.wait_until_up();
        redis
    }

    /// Where it is, as `--redis-url` wants it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Runs a command on it and gives what it says.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(&self.login)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// How many commands it has run since it started, but for those of this look.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let stats = self.cli(&["info", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, with nothing in it.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.folder, &self.flags);
        self.wait_until_up();
    }

    /// Sends it a signal, `STOP` say.
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    fn wait_until_up(&self) {
        wait_until("redis answers", || self.cli(&["ping"]) == "PONG");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster of three primaries with a replica each.
pub(crate) struct RedisCluster {
    /// The primaries and then their replicas, each as it was at first.
    pub(crate) nodes: Vec<Redis>,
}

impl RedisCluster {
    const PRIMARIES: usize = 3;

    pub(crate) fn start() -> Self {
        let nodes: Vec<Redis> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..2 * Self::PRIMARIES).map(|_| scope.spawn(Self::start_node)).collect();
            starting.into_iter().map(|node| node.join().unwrap()).collect()
        });
        let bounds = [0, 5461, 10923, 16384];
        for (node, slots) in nodes.iter().zip(bounds.windows(2)) {
            let slots = [slots[0].to_string(), (slots[1] - 1).to_string()];
            assert_eq!(node.cli(&["cluster", "addslotsrange", &slots[0], &slots[1]]), "OK");
        }
        for (epoch, node) in nodes.iter().enumerate() {
            node.cli(&["cluster", "set-config-epoch", &(epoch + 1).to_string()]);
            let bus = Self::bus(&nodes[0]).to_string();
            node.cli(&["cluster", "meet", "127.0.0.1", &nodes[0].port.to_string(), &bus]);
        }
        let all_know = |count: usize| {
            nodes.iter().all(|node| {
                let known = node.cli(&["cluster", "nodes"]);
                known.lines().filter(|line| !line.contains("handshake") && !line.contains("noaddr")).count() == count
            })
        };
        wait_until("the servers know each other", || all_know(nodes.len()));
        for (primary, replica) in nodes.iter().zip(&nodes[Self::PRIMARIES..]) {
            let id = primary.cli(&["cluster", "myid"]);
            wait_until("a replica follows", || replica.cli(&["cluster", "replicate", &id]) == "OK");
        }
        let cluster = Self { nodes };
        wait_until("the cluster is up", || {
            cluster.nodes.iter().all(|node| node.cli(&["cluster", "info"]).contains("cluster_state:ok"))
                && cluster.nodes[Self::PRIMARIES..].iter().all(|node| {
                    let role = node.cli(&["info", "replication"]);
                    role.contains("role:slave") && role.contains("master_link_status:up")
                })
        });
        cluster
    }

    fn start_node() -> Redis {
        let bus = free_port().to_string();
        Redis::start_with(
            &[
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                "1000",
                "--cluster-config-file",
                "nodes.conf",
                "--repl-diskless-sync-delay",
                "0",
            ],
            &[],
        )
    }

    fn bus(node: &Redis) -> u16 {
        let at = node.flags.iter().position(|flag| flag == "--cluster-port").unwrap();
        node.flags[at + 1].parse().unwrap()
    }

    /// Three of its servers, as `--redis-url` wants them.
    pub(crate) fn urls(&self) -> String {
        self.nodes.iter().skip(1).step_by(2).map(Redis::url).collect::<Vec<_>>().join(",")
    }

    /// The number of the primary that holds a key.
    pub(crate) fn holder(&self, key: &str) -> usize {
        let slot: u32 = self.nodes[0].cli(&["cluster", "keyslot", key]).parse().unwrap();
        (slot * 3 / 16384) as usize
    }
}

/// What a wire does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wire {
    /// Carries it.
    Whole,
    /// Swallows it, both ways; connections open and nothing comes.
    BlackHole,
    /// Closes what is open and refuses what is new.
    Cut,
    /// Carries answers after [`Chaos::SLOW`].
    Slow,
}

/// A wire to a server that does as it is told.
pub(crate) struct Chaos {
    pub(crate) address: SocketAddr,
    state: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Chaos {
    pub(crate) const SLOW: Duration = Duration::from_secs(5);

    pub(crate) fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let chaos = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(AtomicU8::new(Wire::Whole as u8)),
            open: Arc::default(),
        };
        let (state, open) = (chaos.state.clone(), chaos.open.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if state.load(Ordering::SeqCst) == Wire::Cut as u8 {
                    continue;
                }
                let Ok(upstream) = TcpStream::connect(server) else { continue };
                for stream in [&client, &upstream] {
                    stream.set_nodelay(true).unwrap();
                    open.lock().unwrap().push(stream.try_clone().unwrap());
                }
                for (from, to, answers) in
                    [(client.try_clone().unwrap(), upstream.try_clone().unwrap(), false), (upstream, client, true)]
                {
                    let state = state.clone();
                    std::thread::spawn(move || carry(from, to, answers, &state));
                }
            }
        });
        chaos
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn set(&self, wire: Wire) {
        self.state.store(wire as u8, Ordering::SeqCst);
        if wire == Wire::Cut {
            for stream in self.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, answers: bool, state: &AtomicU8) {
    let mut buffer = [0; 16 << 10];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let now = state.load(Ordering::SeqCst);
        if now == Wire::Slow as u8 && answers {
            // A wait in pieces, so that a wire that is whole again does not hold what came before.
            let until = Instant::now() + Chaos::SLOW;
            while Instant::now() < until && state.load(Ordering::SeqCst) == Wire::Slow as u8 {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        if now != Wire::BlackHole as u8 && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(folder: &TempDir, flags: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(folder.path())
        .args(["--logfile", "redis.log"])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error: io::Error| panic!("redis-server: {error}"))
}

fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
