use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};

use super::*;
use crate::table::sample::{self, entry, path};
use crate::table::{HeaderMatch, Listeners, Matcher, Route, ValueMatch};

#[test]
fn an_explanation_names_the_winner_and_what_every_other_lacks() {
    let version = HeaderMatch { name: "x-api-version".parse().unwrap(), value: ValueMatch::Exact("2".into()) };
    let mut by_version = entry(path("Template /orders/:id"));
    by_version.matcher = Matcher { headers: [version].into(), ..Matcher::default() };
    by_version.route = Arc::new(sample::route("v2"));
    let mut secure = entry(path("Template /orders/:id"));
    secure.route = Arc::new(Route { listeners: Listeners { http: false, https: true }, ..sample::route("secure") });
    let mut post = entry(path("Prefix /orders"));
    post.matcher.method = Some(Method::POST);
    let entries =
        vec![entry(path("Prefix /")), post, by_version, secure, entry(path("Prefix /orders")), entry(path("Exact /x"))];
    let mut table = Table::default();
    table.hosts = table
        .hosts
        .with([(crate::table::HostKey::Wildcard("example.com".into()), Some(Arc::new(HostRouter::new(entries))))]);

    let headers = HeaderMap::from_iter([("x-api-version".parse().unwrap(), HeaderValue::from_static("1"))]);
    let head = sample::get("/orders/42", &headers);
    let explanation = table.explain("shop.example.com", &head);
    assert_eq!(explanation.winner().map(|winner| winner.path.as_str()), Some("PathPrefix /orders"));
    assert_eq!(
        serde_json::to_value(&explanation).unwrap(),
        serde_json::json!({
            "host": "*.example.com",
            "candidates": [
                {
                    "route": "GatewayRoute shop/Exact /x rule \"0\"",
                    "path": "Exact /x",
                    "conditions": "",
                    "verdict": "Lost",
                    "why": "path: wanted Exact /x, request has /orders/42",
                },
                {
                    "route": "GatewayRoute shop/v2 rule \"0\"",
                    "path": "Template /orders/:id",
                    "conditions": "header X-Api-Version: \"2\"",
                    "verdict": "Lost",
                    "why": "header X-Api-Version: wanted \"2\", request has \"1\"",
                },
                {
                    "route": "GatewayRoute shop/secure rule \"0\"",
                    "path": "Template /orders/:id",
                    "conditions": "",
                    "verdict": "Lost",
                    "why": "listener: the route does not answer on http",
                },
                {
                    "route": "GatewayRoute shop/PathPrefix /orders rule \"0\"",
                    "path": "PathPrefix /orders",
                    "conditions": "POST",
                    "verdict": "Lost",
                    "why": "method: wanted POST, request has GET",
                },
                {
                    "route": "GatewayRoute shop/PathPrefix /orders rule \"0\"",
                    "path": "PathPrefix /orders",
                    "conditions": "",
                    "verdict": "Won",
                },
                {
                    "route": "GatewayRoute shop/PathPrefix / rule \"0\"",
                    "path": "PathPrefix /",
                    "conditions": "",
                    "verdict": "NotReached",
                    "why": "GatewayRoute shop/PathPrefix /orders rule \"0\" has won: \
                            its path is more specific at the first segment in which they differ",
                },
            ],
            "then": [],
        })
    );
    assert_eq!(table.explain("example.com", &head), Explanation { host: None, candidates: vec![], then: vec![] });
}
