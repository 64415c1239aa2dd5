use std::sync::Arc;

use http::StatusCode;

use super::*;
use crate::filter::{Filter, HeaderRules, HeaderTemplate, PathRewrite, Rewrite};
use crate::slot::Slots;
use crate::table::certificate::sample_certificate;
use crate::table::sample::{self, path, precedence};
use crate::table::{Backends, HostRouter, Matcher, Route};
use crate::upstream::{Endpoint, EndpointSet, Transport};

#[test]
fn a_table_is_described_in_full_and_always_alike() {
    let mut slots = Slots::default();
    let balancer = Balancer::ConsistentHash { balance_factor_percent: Some(125) };
    let endpoint = |slot, address: &str, weight| Arc::new(Endpoint { slot, address: address.parse().unwrap(), weight });
    let endpoints = vec![endpoint(slots.allocate(), "10.0.0.2:80", 3), endpoint(slots.allocate(), "10.0.0.1:80", 1)];
    let orders = Arc::new(Cluster::new(
        "shop/orders:80".into(),
        slots.allocate(),
        Transport::H2c,
        balancer,
        EndpointSet::new(endpoints, balancer),
    ));
    let set = HeaderTemplate::parse("order-{id}", &["id"]).unwrap();
    let filters = [
        Filter::RequestHeaders(HeaderRules {
            set: [(HeaderRules::parse_name("X-Order").unwrap(), set)].into(),
            remove: [HeaderRules::parse_name("X-Debug").unwrap()].into(),
            ..HeaderRules::default()
        }),
        Filter::Rewrite(Rewrite {
            hostname: None,
            path: Some(PathRewrite::parse_template("/v2/:id", &["id"]).unwrap()),
        }),
    ];
    let route = Arc::new(Route {
        listeners: Listeners { http: false, https: true },
        https_redirect: true,
        filters: filters.into(),
        backends: Backends::new(vec![
            Backend {
                name: "shop/orders:80".into(),
                weight: 90,
                fallback: false,
                grpc: true,
                limits: None,
                filters: Box::default(),
                target: Target::Cluster(Arc::clone(&orders)),
            },
            Backend {
                name: "shop/gone:80".into(),
                weight: 10,
                fallback: true,
                grpc: false,
                limits: None,
                filters: [Filter::Refuse(StatusCode::INTERNAL_SERVER_ERROR)].into(),
                target: Target::Unresolved(StatusCode::SERVICE_UNAVAILABLE),
            },
        ]),
        hash_on: Some(Box::new(HashOn::PathParam("id".into()))),
        timeouts: Timeouts { request: Some(Duration::from_millis(1500)), backend_request: None, ..Timeouts::default() },
        ..sample::route("shop")
    });
    let by_id = Entry {
        path: path("Template /orders/:id"),
        matcher: Matcher { method: Some(http::Method::GET), ..Matcher::default() },
        precedence: precedence(0, "shop"),
        route: Arc::clone(&route),
    };
    let router = Arc::new(HostRouter::new(vec![sample::entry(path("Prefix /")), by_id]));
    let mut table =
        Table { generation: 7, clusters: [(orders.slot, orders)].into_iter().collect(), ..Table::default() };
    let hosts = [HostKey::Any, HostKey::Exact("shop.example.com".into())];
    table.hosts = table.hosts.with(hosts.into_iter().map(|key| (key, Some(Arc::clone(&router)))));
    let certificate = Arc::new(sample_certificate("shop-tls"));
    table.certificates.set(&HostKey::Wildcard("example.com".into()), Ok(certificate));

    let routes = "  - route: GatewayRoute shop/shop rule \"0\"
    path: Template /orders/:id
    conditions: GET
    listeners: https
    httpsRedirect: true
    filters:
    - 'RequestHeaderModifier: remove X-Debug; set X-Order: order-{id}'
    - 'URLRewrite: path to /v2/:id'
    backends:
    - name: shop/orders:80
      weight: 90
      grpc: true
    - name: shop/gone:80
      weight: 10
      fallback: true
      filters:
      - 'refused: 500'
      unresolved: 503
    hashOn: PathParam id
    timeouts:
      backendRequest: none
      request: 1.5s
  - route: GatewayRoute shop/PathPrefix / rule \"0\"
    path: PathPrefix /
";
    let rest = "clusters:
- name: shop/orders:80
  transport: h2c
  balancer: ConsistentHash up to 125% of the mean load
  endpoints:
  - 10.0.0.1:80
  - 10.0.0.2:80 weight 3
certificates:
- host: '*.example.com'
  secret: shop/shop-tls
  minVersion: '1.2'
  names:
  - shop-tls.example.com
  notAfter: 2033-05-18T03:33:20Z
";
    let expected =
        format!("hosts:\n- host: shop.example.com\n  routes:\n{routes}- host: '*'\n  routes:\n{routes}{rest}");
    assert_eq!(serde_yaml::to_string(&table.describe()).unwrap(), expected);
}
