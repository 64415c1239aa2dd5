//! `headgate doctor`: what stands between Headgate and its work, each with what to do about it.

use std::fs;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Args;
use http::{Request, Uri, header};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::IngressClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::cluster::Cluster;
use super::redis::RedisFlags;
use super::serving::control_runtime;
use super::{CLEAN, FINDINGS, Outcome, admin_client, print};
use crate::app::shared_limits;
use crate::compile::CONTROLLER;
use crate::limit::redis::{self, Standing};
use crate::status::address::ServiceName;

/// Fewer descriptors than this are few for an ingress: every request in flight may hold two.
const DESCRIPTORS: u64 = 65_536;
/// Clocks further apart make certificates and tokens of other machines look invalid.
const SKEW: Duration = Duration::from_secs(30);
/// A certificate that ends sooner should have been renewed.
const EXPIRY: i64 = 14 * 24 * 3600;
/// How long anything may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of RBAC: group, resource, verbs.
const READ: &[&str] = &["list", "watch"];
const ACCESS: [(&str, &str, &str, &[&str]); 13] = [
    ("networking.k8s.io", "ingresses", "", READ),
    ("networking.k8s.io", "ingressclasses", "", READ),
    ("headgate.dev", "gatewayroutes", "", READ),
    ("headgate.dev", "ratelimitpolicies", "", READ),
    ("", "services", "", READ),
    ("discovery.k8s.io", "endpointslices", "", READ),
    ("", "secrets", "", &["get", "list", "watch"]),
    ("", "configmaps", "", &["get", "list", "watch"]),
    ("networking.k8s.io", "ingresses", "status", &["patch"]),
    ("headgate.dev", "gatewayroutes", "status", &["patch"]),
    ("headgate.dev", "ratelimitpolicies", "status", &["patch"]),
    ("events.k8s.io", "events", "", &["create"]),
    ("coordination.k8s.io", "leases", "", &["create", "get", "update"]),
];

/// Check what Headgate needs: a checklist with a remedy for whatever is missing.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  headgate doctor                          as whoever the kubeconfig names\n  headgate doctor --as system:serviceaccount:headgate:headgate\n  headgate doctor --admin http://127.0.0.1:8081     also what a running one says\n  headgate doctor --redis-url redis://redis:6379   also the store of shared limits\n\nExit code: 0 all is well, 1 something is not."
)]
pub(super) struct Doctor {
    #[command(flatten)]
    cluster: Cluster,
    /// Look at the cluster as this user.
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// The Service in front of Headgate.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "HEADGATE_PUBLISH_SERVICE")]
    publish_service: Option<ServiceName>,
    #[command(flatten)]
    redis: RedisFlags,
    /// Also ask a running Headgate at its admin address.
    #[arg(long, value_name = "URL")]
    admin: Option<Uri>,
}

/// What was looked at.
struct Finding {
    what: String,
    verdict: Verdict,
}

enum Verdict {
    Well(String),
    /// What is wrong, and what to do.
    Wrong(String, String),
    /// Why it was not looked at.
    Skipped(String),
}

impl Doctor {
    pub(super) fn run(&self) -> Outcome {
        let mut findings = vec![descriptors()];
        let runtime = control_runtime()?;
        findings.extend(runtime.block_on(self.cluster()));
        findings.extend(runtime.block_on(self.stores()));
        if let Some(admin) = &self.admin {
            findings.extend(running(admin));
        }
        let wrong = findings.iter().filter(|finding| finding.is_wrong()).count();
        let mut text: String = findings.iter().map(Finding::show).collect();
        text += &match wrong {
            0 => "\nall is well\n".to_owned(),
            1 => "\n1 thing is wrong\n".to_owned(),
            count => format!("\n{count} things are wrong\n"),
        };
        print(&text)?;
        Ok(if wrong == 0 { CLEAN } else { FINDINGS })
    }

    async fn cluster(&self) -> Vec<Finding> {
        let (client, version) = match tokio::time::timeout(PATIENCE, self.connect()).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return vec![unreachable(&format!("{error:#}"))],
            Err(_) => return vec![unreachable("it does not answer")],
        };
        let mut findings = vec![Finding::well("API server", format!("Kubernetes {version}"))];
        findings.push(clock(&client).await);
        findings.extend(definitions(&client).await);
        findings.extend(access(&client, self.cluster.watch_namespace.as_deref()).await);
        findings.push(class(&client, &self.cluster.ingress_class).await);
        findings.push(self.service(&client).await);
        findings
    }

    /// The servers that count limits of scope Global, each by itself.
    async fn stores(&self) -> Vec<Finding> {
        let what = "Redis";
        let Some(redis) = self.redis.settings() else {
            return vec![Finding::skipped(what, "give --redis-url to look at it; limits of scope Global need it")];
        };
        let settings = match shared_limits::settings(&redis) {
            Ok(settings) => settings,
            Err(error) => {
                return vec![Finding::wrong(what, format!("{error:#}"), "correct --redis-url and its companions")];
            }
        };
        let (mut findings, mut counts) = (Vec::new(), false);
        for server in &settings.servers {
            let what = format!("Redis {server}");
            findings.push(match redis::look(&settings, server).await {
                Ok(standing @ (Standing::Counts(_) | Standing::PartOfCluster)) => {
                    counts = true;
                    Finding::well(
                        &what,
                        match standing {
                            Standing::Counts(took) => format!("a write took {:.1} ms", took.as_secs_f64() * 1e3),
                            Standing::PartOfCluster | Standing::Copies => "one of a cluster".to_owned(),
                        },
                    )
                }
                Ok(Standing::Copies) => Finding::well(&what, "a copy of another one".to_owned()),
                Err(why) => {
                    let remedy = "check address, TLS (rediss://, --redis-ca-file), HEADGATE_REDIS_USERNAME and \
                                  HEADGATE_REDIS_PASSWORD, and what the user may do (docs/redis.md)";
                    Finding::wrong(&what, why, remedy)
                }
            });
        }
        if !counts && !findings.iter().any(Finding::is_wrong) {
            let remedy = "name the one that it copies: limits are written";
            findings.push(Finding::wrong(what, "no server takes writes".to_owned(), remedy));
        }
        findings
    }

    async fn connect(&self) -> anyhow::Result<(Client, String)> {
        let mut config = self.cluster.config().await?;
        config.auth_info.impersonate = self.user.clone();
        let client = Client::try_from(config).context("the cluster cannot be spoken to")?;
        let version = client.apiserver_version().await?;
        Ok((client, version.git_version))
    }

    async fn service(&self, client: &Client) -> Finding {
        let what = "Service address";
        let Some(ServiceName { namespace, name }) = &self.publish_service else {
            return Finding::skipped(what, "give --publish-service NAMESPACE/NAME to look at it");
        };
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        match services.get_opt(name).await {
            Ok(Some(service)) => {
                let status =
                    service.status.and_then(|status| status.load_balancer).and_then(|balancer| balancer.ingress);
                let addresses: Vec<_> =
                    status.into_iter().flatten().filter_map(|one| one.ip.or(one.hostname)).collect();
                if addresses.is_empty() {
                    let remedy = "wait for the load balancer, or use --publish-address where there is none";
                    Finding::wrong(what, format!("{namespace}/{name} has no address yet"), remedy)
                } else {
                    Finding::well(what, addresses.join(", "))
                }
            }
            Ok(None) => {
                Finding::wrong(what, format!("{namespace}/{name} does not exist"), "create it, or correct the name")
            }
            Err(error) => Finding::wrong(what, error.to_string(), "allow `get` on services"),
        }
    }
}

fn unreachable(why: &str) -> Finding {
    let remedy =
        "check the kubeconfig (--kubeconfig, --context) and the network; without a cluster use `headgate run DIR`";
    Finding::wrong("API server", why.to_owned(), remedy)
}

/// How many files may be open.
fn descriptors() -> Finding {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files")).and_then(|line| {
        // The hard limit: the soft one is raised to it at the start.
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    });
    match most {
        Some(most) if most < DESCRIPTORS => Finding::wrong(
            "file descriptors",
            format!("at most {most} files may be open, which bounds connections to about {}", most / 2),
            "raise the hard limit (`ulimit -Hn`, LimitNOFILE= in the unit, or the container runtime's default)",
        ),
        Some(most) => Finding::well("file descriptors", format!("{most} may be open")),
        None => Finding::skipped("file descriptors", "this system does not tell"),
    }
}

/// How far this clock and the API server's are apart.
async fn clock(client: &Client) -> Finding {
    let what = "clock";
    let Ok(request) = Request::get("/version").body(kube::client::Body::empty()) else {
        return Finding::skipped(what, "no request can be made");
    };
    let answer = client.send(request).await.ok();
    let theirs = answer.and_then(|answer| {
        let date = answer.headers().get(header::DATE)?.to_str().ok()?;
        jiff::fmt::rfc2822::parse(date).ok()
    });
    let Some(theirs) = theirs else { return Finding::skipped(what, "the API server does not tell its time") };
    let ours = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let theirs = Duration::from_secs(u64::try_from(theirs.timestamp().as_second()).unwrap_or(0));
    let apart = ours.abs_diff(theirs);
    if apart > SKEW {
        let wrong = format!("{} s apart from the API server's", apart.as_secs());
        Finding::wrong(what, wrong, "set it by NTP: certificates and tokens are judged by it")
    } else {
        Finding::well(what, format!("within {} s of the API server's", apart.as_secs().max(1)))
    }
}

/// Our custom resource definitions: there, and as this version wants them.
async fn definitions(client: &Client) -> Vec<Finding> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut findings = Vec::new();
    for name in ["gatewayroutes.headgate.dev", "ratelimitpolicies.headgate.dev"] {
        let what = format!("CRD {name}");
        findings.push(match definitions.get_opt(name).await {
            Ok(Some(definition)) => {
                let served =
                    definition.spec.versions.iter().any(|version| version.served && version.name == "v1alpha1");
                if served {
                    Finding::well(&what, "v1alpha1 is served".to_owned())
                } else {
                    Finding::wrong(
                        &what,
                        "v1alpha1 is not served".to_owned(),
                        "headgate crds | kubectl apply --server-side -f -",
                    )
                }
            }
            Ok(None) => Finding::wrong(
                &what,
                "it is not installed".to_owned(),
                "headgate crds | kubectl apply --server-side -f -",
            ),
            Err(error) => Finding::skipped(&what, &format!("it may not be read: {error}")),
        });
    }
    findings
}

/// What we may do.
async fn access(client: &Client, namespace: Option<&str>) -> Vec<Finding> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut findings = Vec::new();
    for (group, resource, subresource, verbs) in ACCESS {
        let name = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
        let what = format!("may {} {name}", verbs.join(", "));
        let (mut denied, mut failed) = (Vec::new(), None);
        for verb in verbs {
            let attributes = ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
                verb: Some((*verb).to_owned()),
                namespace: namespace.map(str::to_owned).filter(|_| resource != "ingressclasses"),
                ..ResourceAttributes::default()
            };
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(attributes),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            match reviews.create(&PostParams::default(), &review).await {
                Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {}
                Ok(_) => denied.push(*verb),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        findings.push(match failed {
            Some(error) => Finding::skipped(&what, &error),
            None if denied.is_empty() => Finding::well(&what, "allowed".to_owned()),
            None if resource == "leases" => Finding::skipped(
                &what,
                "not in every namespace; a Role in its own is enough, as in manifests/rbac.yaml",
            ),
            None => {
                let wrong = format!("{} is not allowed", denied.join(", "));
                Finding::wrong(&what, wrong, "kubectl apply -f manifests/rbac.yaml, or the chart's rbac.create: true")
            }
        });
    }
    findings
}

/// The class that is served.
async fn class(client: &Client, name: &str) -> Finding {
    let what = format!("IngressClass {name}");
    let classes: Api<IngressClass> = Api::all(client.clone());
    match classes.get_opt(name).await {
        Ok(Some(class)) => match class.spec.as_ref().and_then(|spec| spec.controller.as_deref()) {
            Some(CONTROLLER) => {
                let default = class.annotations().get("ingressclass.kubernetes.io/is-default-class");
                let default = if default.is_some_and(|value| value == "true") { ", the default one" } else { "" };
                Finding::well(&what, format!("ours{default}"))
            }
            other => Finding::wrong(
                &what,
                format!("its controller is {}", other.unwrap_or("none")),
                &format!("set spec.controller: {CONTROLLER}, or name another class with --ingress-class"),
            ),
        },
        Ok(None) => Finding::wrong(
            &what,
            "it does not exist, so no Ingress can choose it".to_owned(),
            "create it, or name another one with --ingress-class",
        ),
        Err(error) => Finding::skipped(&what, &error.to_string()),
    }
}

/// What a running Headgate says of itself.
fn running(admin: &Uri) -> Vec<Finding> {
    let generation = match admin_client::json(admin, "/api/v1/generation") {
        Ok(generation) => generation,
        Err(error) => {
            return vec![Finding::wrong("Headgate", format!("{error:#}"), "check --admin, or forward the port 8081")];
        }
    };
    let mut findings = vec![match generation.get("waiting").and_then(Value::as_str) {
        None => Finding::well(
            "Headgate",
            format!("ready, generation {}", generation.get("generation").unwrap_or(&Value::Null)),
        ),
        Some(waiting) => Finding::wrong("Headgate", format!("not ready: {waiting}"), "see what it waits for above"),
    }];
    let ask = |path: &str, name: &str| {
        let answer = admin_client::json(admin, path).unwrap_or_default();
        answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let problems = ask("/api/v1/problems", "problems");
    findings.push(if problems.is_empty() {
        Finding::well("declared objects", "nothing is wrong".to_owned())
    } else {
        Finding::wrong("declared objects", format!("{} problems", problems.len()), "headgate status lists them")
    });
    let now = jiff::Timestamp::now().as_second();
    for certificate in ask("/api/v1/certificates", "certificates") {
        let text = |name: &str| certificate.get(name).and_then(Value::as_str).unwrap_or_default();
        let Ok(end) = text("notAfter").parse::<jiff::Timestamp>() else { continue };
        let days = (end.as_second() - now) / 86_400;
        let what = format!("certificate of {}", text("host"));
        findings.push(if end.as_second() - now < EXPIRY {
            let remedy = format!("renew Secret {}; if cert-manager does, see its Certificate", text("secret"));
            Finding::wrong(&what, format!("ends in {days} days"), &remedy)
        } else {
            Finding::well(&what, format!("ends in {days} days"))
        });
    }
    findings
}

impl Finding {
    fn well(what: &str, how: String) -> Self {
        Self { what: what.to_owned(), verdict: Verdict::Well(how) }
    }

    fn wrong(what: &str, wrong: String, remedy: &str) -> Self {
        Self { what: what.to_owned(), verdict: Verdict::Wrong(wrong, remedy.to_owned()) }
    }

    fn skipped(what: &str, why: &str) -> Self {
        Self { what: what.to_owned(), verdict: Verdict::Skipped(why.to_owned()) }
    }

    fn is_wrong(&self) -> bool {
        matches!(self.verdict, Verdict::Wrong(..))
    }

    fn show(&self) -> String {
        let Self { what, verdict } = self;
        match verdict {
            Verdict::Well(how) => format!("ok     {what}: {how}\n"),
            Verdict::Wrong(wrong, remedy) => format!("wrong  {what}: {wrong}\n       = help: {remedy}\n"),
            Verdict::Skipped(why) => format!("--     {what}: {why}\n"),
        }
    }
}
