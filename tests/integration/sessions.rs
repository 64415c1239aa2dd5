//! Clients that stay with the endpoint that served them first.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::{HeaderMap, Method};

use crate::harness::backend::service;
use crate::harness::endpoint::{Endpoint, empty};
use crate::harness::gateway::Gateway;
use crate::harness::objects::route;
use crate::harness::traffic::{self, Answer, ask, request, soon, until_asked};

async fn three() -> [Endpoint; 3] {
    [Endpoint::named("a").await, Endpoint::named("b").await, Endpoint::named("c").await]
}

fn start(addresses: &[SocketAddr], session: &str) -> Gateway {
    Gateway::start_with(&declared(addresses, session), &["--workers", "2"])
}

fn declared(addresses: &[SocketAddr], session: &str) -> String {
    service("s", addresses) + &route("s", &format!("loadBalancer: {{type: RoundRobin}}, sessionPersistence: {session}"))
}

/// `GET /` on a connection of its own, with this header.
async fn get(gateway: &Gateway, name: &'static str, value: Option<&str>) -> Answer {
    let mut asked = request(Method::GET, "/", empty());
    if let Some(value) = value {
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    soon(ask(&mut traffic::http1(gateway.http).await, asked)).await.unwrap()
}

/// `name=ticket` of a cookie that was set, and its attributes.
fn cookie(headers: &HeaderMap) -> Option<(String, String)> {
    let (pair, attributes) = headers.get("set-cookie")?.to_str().unwrap().split_once("; ").unwrap();
    Some((pair.to_owned(), attributes.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_leads_back_on_every_replica() {
    let endpoints = three().await;
    let addresses = endpoints.each_ref().map(|endpoint| endpoint.address);
    let session = "{sessionName: cart}";
    let replicas = [start(&addresses, session), start(&addresses, session)];
    let mut homes = BTreeSet::new();
    for _ in 0..6 {
        let first = get(&replicas[0], "cookie", None).await;
        let (pair, attributes) = cookie(&first.headers).unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
        let (name, ticket) = pair.split_once('=').unwrap();
        assert_eq!((name, ticket.len()), ("cart", 48));
        // A port alone is four of these digits, which come by chance too.
        for address in &addresses {
            assert!(!ticket.contains(&format!("7f000001{:04x}", address.port())), "{ticket} tells {address}");
        }
        for replica in replicas.iter().cycle().take(8) {
            let answer = get(replica, "cookie", Some(&format!("other=1; {pair}"))).await;
            assert_eq!((answer.text(), cookie(&answer.headers)), (first.text(), None));
        }
        homes.insert(first.text().to_owned());
    }
    assert_eq!(homes.len(), 3);
    // Without a name one is made up, the same each time; what is no ticket of ours is as good as none.
    let nameless = start(&addresses, "{}");
    let mut names = BTreeSet::new();
    for sent in [None, Some("cart=0"), Some("headgate-1=xyz")] {
        let (pair, _) = cookie(&get(&nameless, "cookie", sent).await.headers).unwrap();
        names.insert(pair.split_once('=').unwrap().0.to_owned());
    }
    assert!(names.len() == 1 && names.first().unwrap().starts_with("headgate-"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_has_left_is_replaced_and_a_new_ticket_given() {
    let endpoints = three().await;
    let addresses = endpoints.each_ref().map(|endpoint| endpoint.address);
    let gateway = start(&addresses, "{type: Header, sessionName: X-Session}");
    let first = get(&gateway, "x-session", None).await;
    let ticket = first.headers["x-session"].to_str().unwrap().to_owned();
    let again = get(&gateway, "x-session", Some(&ticket)).await;
    assert_eq!((again.text(), again.headers.get("x-session")), (first.text(), None));
    let left = ["a", "b", "c"].iter().position(|name| *name == first.text());
    let rest: Vec<_> = (0..3).filter(|number| Some(*number) != left).map(|number| addresses[number]).collect();
    gateway.apply(&declared(&rest, "{type: Header, sessionName: X-Session}"));
    let moved = get(&gateway, "x-session", Some(&ticket)).await;
    assert_ne!(moved.text(), first.text());
    let next = moved.headers["x-session"].to_str().unwrap().to_owned();
    for _ in 0..6 {
        assert_eq!(get(&gateway, "x-session", Some(&next)).await.text(), moved.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_its_backend_and_ends_in_time() {
    let (old, new) = (Endpoint::named("old").await, Endpoint::named("new").await);
    let objects = |weight: u32, session: &str| {
        service("old", &[old.address])
            + &service("new", &[new.address])
            + &format!(
                "---\napiVersion: headgate.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: all}}\nspec: {{rules: [{{name: \
                 all, sessionPersistence: {session}, backendRefs: [{{name: old, port: 80, weight: 50}}, {{name: new, port: 80, \
                 weight: {weight}}}]}}]}}\n"
            )
    };
    let session = "{sessionName: s, absoluteTimeout: 2s, cookieConfig: {lifetimeType: Permanent}}";
    let gateway = Gateway::start_with(&objects(50, session), &["--workers", "1"]);
    let mut pairs = std::collections::BTreeMap::new();
    while pairs.len() < 2 {
        let answer = get(&gateway, "cookie", None).await;
        let (pair, attributes) = cookie(&answer.headers).unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=2");
        pairs.insert(answer.text().to_owned(), pair);
    }
    let lasting = "{sessionName: s, idleTimeout: 1h}";
    gateway.apply(&objects(50, lasting));
    for _ in 0..10 {
        for (name, pair) in &pairs {
            let answer = get(&gateway, "cookie", Some(pair)).await;
            assert_eq!((answer.text(), cookie(&answer.headers)), (name.as_str(), None));
        }
    }
    // A backend that is to get nothing gets nothing of those who have been there.
    gateway.apply(&objects(0, lasting));
    assert_eq!(get(&gateway, "cookie", Some(&pairs["new"])).await.text(), "old");
    // When its time is over a session begins anew.
    gateway.apply(&objects(50, session));
    until_asked("a session that is over", async || {
        cookie(&get(&gateway, "cookie", Some(&pairs["old"])).await.headers).is_some()
    })
    .await;
}
