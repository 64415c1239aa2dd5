//! Headgate from the outside.

// A test that cannot go on stops at the line that says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
// What a test spawns ends with its runtime, and a table of cases is as complex as the cases are.
#![allow(clippy::disallowed_methods, clippy::type_complexity)]

/// What tests start and talk to.
mod harness;

/// The real control plane itself: if this fails, read nothing into the failures of the others.
mod cluster_smoke;

/// Declared resources in, table and conditions out: every case under `fixtures/`.
mod golden;

/// HTTP/1 requests that two parsers could read in two ways: nothing of them passes, and everything else does.
mod framing;

/// The source that watches a cluster, under faults and against the real API server.
mod source_kubernetes;

/// HTTP/1 responses that are wrong in every way a backend can think of: nobody gets what another asked for.
mod framing_responses;

/// HTTP/2 requests that would become something else in HTTP/1.1: nothing of them passes.
mod framing_h2;

/// What a client cannot say of itself: hop-by-hop fields, forwarded fields in every spelling, and hosts.
mod forwarded;

/// Tokens: which are let in, and what the backend is told of them.
mod jwt;

/// Names and passwords.
mod basic_auth;

/// How endpoints are spoken to, pooled, chosen and tried again.
mod upstream;

/// Backends in trouble: repeated attempts, endpoints that are left out, bounds.
mod resilience;

/// Checks on endpoints: over HTTP, by gRPC and by a connection.
mod health_checks;

/// Endpoints that are told for whom a connection is made, by the PROXY protocol.
mod announcements;

/// Calls of browsers, in gRPC-Web, to backends that speak gRPC.
mod grpc_web;

/// Clients that stay with the endpoint that served them first.
mod sessions;

/// Bodies and protocols that flow.
mod streaming;

/// Endpoints that come, go and close their connections.
mod endpoints;

/// Stopping.
mod drain;

/// More than there is room for, and slower than there is time for.
mod limits;

/// Overloads, and slow clients by the thousand.
mod overload;

/// The real binary as the ingress of the real API server.
mod kubernetes;

/// What the documents tell people to type.
mod commands;

/// The manifests that people apply, and the rights that they give.
mod manifests;

/// The dependency rule of the crate, and what else of the code can be counted.
mod layering;

/// Back to the cluster, component by component.
mod status;

/// Which request goes where.
mod routing;

/// Annotations of ingress-nginx, seen from a client and from a backend.
mod ingress_nginx;

/// What a rule does to a request and its response.
mod filters;

/// Who may pass, by address, and what a client cannot say of itself.
mod access;

/// Whose word is taken about where a request comes from.
mod trust;

/// Requests of pages of other origins.
mod cors;
/// How often may be asked, and what those are told who ask too often.
mod rate_limit;

/// Another service that is asked whether requests may pass.
mod external_auth;

/// Compressed responses.
mod compression;

/// Copies of requests, which the requests themselves do not notice.
mod mirror;

/// Bounds on request bodies, and bodies that are held.
mod request_body;

/// TLS towards clients.
mod tls;

/// Certificates of clients.
mod client_validation;

/// TLS towards backends.
mod backend_tls;

/// Mistakes in declarations.
mod reload;

/// The store of limits that replicas share.
mod redis;

/// Limits that several processes share, and what becomes of them when Redis is away.
mod shared_limits;

/// The command line.
mod cli;

/// What the documentation shows.
mod docs;

/// A folder that changes under load.
mod hot_reload;
mod http2;

/// One line per request.
mod access_log;

/// Outputs that take nothing.
mod outputs;

/// What is said, and what must not be.
mod secrets;

/// Spans of requests, as a receiver gets them.
mod traces;

/// The admin port, and the commands that ask it.
mod admin;

/// One process replaced by another on the same sockets.
mod handover;

/// Restarts under load.
mod restarts;

/// A real Prometheus that scrapes us.
mod prometheus;
