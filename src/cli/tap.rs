//! `headgate tap`: requests as they end.

use clap::{Args, ValueEnum};
use http::Uri;
use serde_json::Value;

use super::{CLEAN, Outcome, admin_client, print};

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line for people.
    Text,
    /// The access log's JSON, a line each.
    Json,
}

/// Show requests of a running Headgate as they end, those that are asked for.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  headgate tap\n  headgate tap --status 5xx\n  headgate tap --route shop/shop --path /orders --min-duration 200ms\n  headgate tap -o json | jq .reason"
)]
pub(super) struct Tap {
    /// The admin address of the Headgate to watch.
    #[arg(long, value_name = "URL", default_value = admin_client::DEFAULT)]
    admin: Uri,
    /// Only requests of this route, NAMESPACE/NAME.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Only requests of this rule.
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Only requests for this host.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only requests with this method.
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,
    /// Only requests whose path begins so.
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Only answers with such a status: 404, 5xx or 400-499.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only requests that ended for this reason.
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only requests that took as long as this.
    #[arg(long, value_name = "TIME")]
    min_duration: Option<String>,
    /// End after so many requests.
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Tap {
    pub(super) fn run(&self) -> Outcome {
        let Self { admin, route, rule, host, method, path, status, reason, min_duration, count, output } = self;
        let query: Vec<(&str, &[u8])> = [
            ("route", route),
            ("rule", rule),
            ("host", host),
            ("method", method),
            ("path", path),
            ("status", status),
            ("reason", reason),
            ("min-duration", min_duration),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?.as_bytes())))
        .collect();
        let mut left = *count;
        admin_client::events(admin, &format!("/api/v1/tap?{}", admin_client::form_urlencoded(&query)), |data| {
            let Ok(event) = serde_json::from_str::<Value>(data) else { return Ok(true) };
            if let Some(missed) = event.get("missed") {
                eprintln!("{missed} requests passed too quickly to be shown");
                return Ok(true);
            }
            print(&match output {
                Output::Json => format!("{data}\n"),
                Output::Text => line(&event),
            })?;
            left = left.map(|left| left.saturating_sub(1));
            Ok(left != Some(0))
        })?;
        Ok(CLEAN)
    }
}

/// One request for people.
fn line(event: &Value) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("-");
    let number = |name: &str| event.get(name).map_or_else(|| "-".to_owned(), ToString::to_string);
    let time = text("time").get(11..23).unwrap_or("-");
    let query = event.get("query").and_then(Value::as_str).map(|query| format!("?{query}")).unwrap_or_default();
    format!(
        "{time} {} {} {} {}{}{query} {}ms {} {} -> {}\n",
        number("status"),
        text("reason"),
        text("method"),
        text("host"),
        text("path"),
        number("duration_ms"),
        text("route"),
        text("rule"),
        text("endpoint"),
    )
}
