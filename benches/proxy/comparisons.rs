//! What is compared with what, and what the ratio is to be.

use crate::contest::{Contestant, Plan, Rounds, contest, side_by_side};
use crate::identity::Identity;
use crate::objects::{self, LIMITED, PLAIN, TOKEN};
use crate::offer::{Offer, Request};
use crate::peers::{self, Peer, Servers};
use crate::server::{Ours, Server};
use crate::table::{Goal, Row};
use crate::watching;

const OURS: &str = "Headgate";
const FLOOR: &str = "floor";

/// Who takes part in a comparison.
struct Field {
    backend: Server,
    identity: Identity,
    servers: Servers,
    /// Peers that are not installed.
    missing: Vec<Row>,
}

impl Field {
    /// Ours and these, all sending to one backend.
    fn of(peers: &[Peer], ready: &Request) -> anyhow::Result<Self> {
        let (backend, identity) = (Server::backend()?, Identity::new()?);
        let (mut servers, missing) = peers::start(peers, &backend, &identity, ready)?;
        let objects = objects::all(&backend, &identity);
        servers.insert(0, (OURS, Server::ours(&Ours::serving(&objects), &Request::get(PLAIN))?));
        Ok(Self { backend, identity, servers, missing })
    }

    fn contest(&self, what: &str, plan: &Plan, load: Offer, request: &Request) -> anyhow::Result<Rounds> {
        let all: Vec<_> = self.servers.iter().map(|(name, server)| Contestant::new(name, server, request)).collect();
        contest(what, plan, load, &all)
    }
}

/// Every peer as bare as it comes, and ours as it is shipped, with nothing asked of it.
pub(crate) fn features_off(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let request = Request::get(PLAIN);
    let all = [peers::NGINX, peers::HAPROXY, peers::ENVOY, peers::TRAEFIK, peers::CADDY, peers::FASTHTTP];
    let mut field = Field::of(&all, &request)?;
    field.servers.push((FLOOR, Server::floor(&field.backend)?));
    let goals = [
        ("nginx", Some(Goal::at_most(0.95))),
        ("HAProxy", Some(Goal::at_most(0.95))),
        (FLOOR, None),
        ("fasthttp", None),
    ];
    let more = [("Envoy", None), ("Traefik", None), ("Caddy", None)];
    let mut rows = Vec::new();
    for (what, load) in both(plan, "features off") {
        let rounds = field.contest(&what, plan, load, &request)?;
        rows.extend(goals.into_iter().chain(more).filter_map(|(peer, goal)| rounds.cpu(&what, goal, OURS, peer)));
    }
    rows.extend(field.missing);
    Ok(rows)
}

/// Ours with an access log in JSON, a limit, a token and the context of traces, beside peers without and with the same.
pub(crate) fn features_on(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let request = objects::featured()?;
    let all =
        [peers::NGINX, peers::ENVOY, peers::ENVOY_FEATURED, peers::TRAEFIK, peers::TRAEFIK_FEATURED, peers::FASTHTTP];
    let mut field = Field::of(&all, &request)?;
    let objects = objects::all(&field.backend, &field.identity);
    let flags = ["--access-log", "json", "--otlp-endpoint", objects::NO_COLLECTOR];
    let ours = Server::ours(&Ours { flags: &flags, ..Ours::serving(&objects) }, &request)?;
    objects::are_in_force(&ours)?;
    field.servers.retain(|(name, _)| *name != OURS);
    field.servers.insert(0, (OURS, ours));
    let goals = [
        ("nginx", Some(Goal::at_most(1.0))),
        (peers::ENVOY_FEATURED.name, Some(Goal::at_most(0.30))),
        (peers::ENVOY.name, None),
        (peers::TRAEFIK_FEATURED.name, Some(Goal::at_most(0.20))),
        (peers::TRAEFIK.name, None),
        ("fasthttp", Some(Goal::at_most(0.75))),
    ];
    let mut rows = Vec::new();
    for (what, load) in both(plan, "all features on") {
        let rounds = field.contest(&what, plan, load, &request)?;
        rows.extend(goals.into_iter().filter_map(|(peer, goal)| rounds.cpu(&what, goal, OURS, peer)));
    }
    rows.extend(field.missing);
    Ok(rows)
}

fn both(plan: &Plan, what: &str) -> [(String, Offer); 2] {
    [(format!("{what}, {} a second", plan.rate), Offer::Rate(plan.rate)), (format!("{what}, full load"), Offer::Full)]
}

/// TLS 1.3 over connections that are kept.
pub(crate) fn tls(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let field = Field::of(&[peers::NGINX, peers::HAPROXY], &Request::get(PLAIN))?;
    let request = Request { certificate: Some(field.identity.file.clone()), ..Request::get(PLAIN) };
    let rounds = field.contest("TLS keep-alive", plan, Offer::Closed, &request)?;
    Ok(field.rows(&rounds, "TLS 1.3 keep-alive", [("nginx", Some(Goal::at_most(0.95))), ("HAProxy", None)]))
}

/// HTTP/2 over TLS.
pub(crate) fn http2(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let field = Field::of(&[peers::NGINX, peers::HAPROXY], &Request::get(PLAIN))?;
    let mut rows = Vec::new();
    let token = Request { headers: vec![objects::authorization()?], ..Request::get(PLAIN) };
    for (what, request, goal) in [
        ("HTTP/2, 4 connections of 16 streams", Request::get(PLAIN), Some(Goal::at_most(1.0))),
        ("HTTP/2, a token that nobody asks for", token, None),
        ("HTTP/2, body of 64 KiB", Request::get("/64k"), None),
    ] {
        let rounds = field.contest(what, plan, Offer::Streams, &request)?;
        rows.extend(field.rows(&rounds, what, [("nginx", None), ("HAProxy", goal)]));
    }
    Ok(rows)
}

/// Larger bodies.
pub(crate) fn bodies(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let field = Field::of(&[peers::NGINX, peers::HAPROXY], &Request::get(PLAIN))?;
    let mut rows = Vec::new();
    for (what, path, goal) in [("body of 64 KiB", "/64k", Some(Goal::at_most(1.1))), ("body of 1 MiB", "/1m", None)] {
        let rounds = field.contest(what, plan, Offer::Full, &Request::get(path))?;
        rows.extend(field.rows(&rounds, &format!("{what}, full load"), [("nginx", goal), ("HAProxy", None)]));
    }
    Ok(rows)
}

impl Field {
    fn rows<const N: usize>(&self, rounds: &Rounds, what: &str, peers: [(&str, Option<Goal>); N]) -> Vec<Row> {
        let compared = peers.into_iter().filter_map(|(peer, goal)| rounds.cpu(what, goal, OURS, peer));
        let missing = self.missing.iter().map(|row| Row { what: row.what.clone(), more: row.more.clone(), ..*row });
        compared.chain(missing).collect()
    }
}

/// Many hosts, ten paths each, in place of one route.
pub(crate) fn hosts(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let backend = Server::backend()?;
    let mut servers = Vec::new();
    for (name, hosts) in [("one host", 1), ("1,000 hosts", 1_000), ("10,000 hosts", 10_000)] {
        let (request, objects) = (Request { hosts, ..Request::default() }, objects::hosts(&backend, hosts));
        servers.push((name, Server::ours(&Ours::serving(&objects), &request)?, request));
    }
    let all: Vec<_> = servers.iter().map(|(name, server, request)| Contestant::new(name, server, request)).collect();
    let rounds = contest("hosts", plan, Offer::Closed, &all)?;
    let goals = [("1,000 hosts", None), ("10,000 hosts", Some(Goal::at_most(1.02)))];
    Ok(goals
        .into_iter()
        .filter_map(|(many, goal)| rounds.cpu(&format!("{many} of 10 paths, full load"), goal, many, "one host"))
        .collect())
}

/// Two workers in place of one, on two cores, at a rate that one could serve.
pub(crate) fn workers(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let (backend, identity, request) = (Server::backend()?, Identity::new()?, Request::get(PLAIN));
    let objects = objects::all(&backend, &identity);
    let start = |workers| Server::ours(&Ours { workers, cores: "0,1", ..Ours::serving(&objects) }, &request);
    let (one, two) = (start(1)?, start(2)?);
    let all = [("one", &one), ("two workers", &two)].map(|(name, server)| Contestant::new(name, server, &request));
    let what = format!("two workers, {} a second", plan.rate);
    let rounds = contest(&what, plan, Offer::Rate(plan.rate), &all)?;
    Ok(rounds.cpu(&what, Some(Goal::at_most(1.05)), "two workers", "one").into_iter().collect())
}

/// What a proxy adds to the slowest of a hundred answers when nginx would be half busy.
pub(crate) fn latency(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    const DIRECT: &str = "the backend itself";
    let request = Request::get(PLAIN);
    let mut field = Field::of(&[peers::NGINX], &request)?;
    if !field.missing.is_empty() {
        return Ok(field.missing);
    }
    let few = Plan { pairs: 3, ..plan.clone() };
    let capacity = field.contest("capacity", &few, Offer::Full, &request)?.of("nginx", |turn| turn.rate).median;
    let rate = capacity as u32 / 2;
    field.servers.push((DIRECT, field.backend));
    let all: Vec<_> = field.servers.iter().map(|(name, server)| Contestant::new(name, server, &request)).collect();
    let quiet = Plan { lost: plan.lost.min(0.5), ..plan.clone() };
    let rounds = contest("p99", &quiet, Offer::Rate(rate), &all)?;
    Ok(vec![rounds.added_p99(format!("added p99 at {rate} a second / nginx"), 1.1, [OURS, "nginx", DIRECT])])
}

/// What each thing that can be asked of ours adds to the same request without.
pub(crate) fn features(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let collector = watching::collector()?;
    let (backend, identity) = (Server::backend()?, Identity::new()?);
    let objects = objects::all(&backend, &identity);
    let (plain, limited) = (Request::get(PLAIN), Request::get(LIMITED));
    let token = Request { headers: vec![objects::authorization()?], ..Request::get(TOKEN) };
    let unasked = Request { path: PLAIN.to_owned(), ..token.clone() };
    let share = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.01")];
    let endpoint = format!("http://{collector}");
    let start = |ours: Ours<'_>| Server::ours(&ours, &plain);
    // Of two that run side by side none is the other, so that a limit or a token has a process of its own as well.
    let (without, asked) = (start(Ours::serving(&objects))?, start(Ours::serving(&objects))?);
    objects::are_in_force(&without)?;
    let logged = start(Ours { flags: &["--access-log", "json"], ..Ours::serving(&objects) })?;
    let traced = start(Ours { flags: &["--otlp-endpoint", &endpoint], variables: &share, ..Ours::serving(&objects) })?;
    let watched = start(Ours::serving(&objects))?;
    let cases = [
        ("a local limit", 1.03, &asked, &limited, &plain, None),
        ("a cached JWT", 1.03, &asked, &token, &unasked, None),
        ("a JSON access log", 1.04, &logged, &plain, &plain, None),
        ("1 % traced", 1.02, &traced, &plain, &plain, None),
        ("a scrape a second", 1.02, &watched, &plain, &plain, Some(watched.admin)),
    ];
    let mut rows = Vec::new();
    for (what, goal, server, request, other, scraped) in cases {
        let with = Contestant { scraped, ..Contestant::new(what, server, request) };
        let rounds = side_by_side(what, plan, [&with, &Contestant::new("without", &without, other)])?;
        rows.extend(rounds.cpu(&format!("{what}, {} a second", plan.rate), Some(Goal::at_most(goal)), what, "without"));
    }
    Ok(rows)
}
