//! `headgate status`: how a running Headgate stands, what is wrong first.

use std::collections::BTreeMap;

use clap::Args;
use http::Uri;
use serde_json::{Value, json};

use super::{CLEAN, FINDINGS, Outcome, Output, admin_client, print};

/// Say how a running Headgate stands: what is wrong first, then what is served.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  headgate status\n  kubectl port-forward -n headgate deploy/headgate 8081 & headgate status\n  headgate status -o json\n\nExit code: 0 ready and nothing is wrong, 1 something is, 2 it could not ask."
)]
pub(super) struct Status {
    /// The admin address of the Headgate to ask.
    #[arg(long, value_name = "URL", default_value = admin_client::DEFAULT)]
    admin: Uri,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Status {
    pub(super) fn run(&self) -> Outcome {
        let ask = |path: &str| admin_client::json(&self.admin, path);
        let (generation, problems, objects) =
            (ask("/api/v1/generation")?, ask("/api/v1/problems")?, ask("/api/v1/objects")?);
        let problems = list(&problems, "problems");
        let objects = list(&objects, "objects");
        match self.output {
            Output::Json => {
                let all = json!({"version": "v1", "generation": generation, "problems": problems, "objects": objects});
                print(&format!("{}\n", serde_json::to_string_pretty(&all)?))?;
            }
            Output::Text => {
                print(&show(&generation, problems, objects))?;
            }
        }
        let errors = problems.iter().any(|problem| problem.get("severity").is_some_and(|severity| severity == "error"));
        let ready = generation.get("ready").is_some_and(|ready| ready == true);
        Ok(if ready && !errors { CLEAN } else { FINDINGS })
    }
}

fn list<'v>(answer: &'v Value, name: &str) -> &'v [Value] {
    answer.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The status for people.
fn show(generation: &Value, problems: &[Value], objects: &[Value]) -> String {
    let field = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut text = String::new();
    for problem in problems {
        text += &format!("{}[{}]: {}\n", field(problem, "severity"), field(problem, "code"), field(problem, "what"));
        let rule = field(problem, "rule");
        let rule = if rule.is_empty() { rule } else { format!("rule \"{rule}\"") };
        let parts = [field(problem, "place"), field(problem, "object"), rule, field(problem, "field")];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        text += &format!("  --> {}\n", parts.join("  "));
        let remedy = field(problem, "remedy");
        if !remedy.is_empty() {
            text += &format!("  = help: {remedy}\n");
        }
        text.push('\n');
    }
    let mut states: BTreeMap<(String, String), usize> = BTreeMap::new();
    for object in objects {
        *states.entry((field(object, "kind"), field(object, "state"))).or_default() += 1;
    }
    let ready = match field(generation, "waiting") {
        waiting if waiting.is_empty() => "ready".to_owned(),
        waiting => format!("not ready: {waiting}"),
    };
    text += &format!(
        "{ready}, generation {}, version {}\n",
        generation.get("generation").unwrap_or(&Value::Null),
        field(generation, "build")
    );
    for ((kind, state), count) in states {
        text += &format!("{count:>6} {kind} {state}\n");
    }
    text += &match problems.len() {
        0 => "nothing is wrong\n".to_owned(),
        1 => "1 problem\n".to_owned(),
        count => format!("{count} problems\n"),
    };
    text
}
