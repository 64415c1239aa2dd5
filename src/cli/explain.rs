//! `headgate explain`: which rule a request meets, and why every other one does not.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::{CLEAN, FINDINGS, Outcome, print, run};
use crate::compile::DEFAULT_CLASS;
use crate::path::normalise;
use crate::table::{Candidate, Explanation, RequestHead, Verdict};

/// Say which rule a request meets, and why every other one does not.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  headgate explain http://shop.example.com/orders/42 -f routes/\n  headgate explain https://shop.example.com/orders -X POST -H 'X-Api-Version: 2' -f routes/\n\nExit code: 0 a rule matches, 1 none does, 2 it could not run."
)]
pub(super) struct Explain {
    /// The request's URL.
    #[arg(value_name = "URL")]
    url: Uri,
    /// Its method.
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// A header of it, `Name: value`.
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The folder that holds the objects.
    #[arg(short = 'f', long = "file", value_name = "DIR", required_unless_present = "admin")]
    folder: Option<PathBuf>,
    /// Ask a running Headgate at its admin address instead.
    #[arg(long, value_name = "URL", conflicts_with = "folder")]
    admin: Option<Uri>,
}

impl Explain {
    pub(super) fn run(&self) -> Outcome {
        let host = self.url.host().context("the URL has no host; write http://shop.example.com/path")?;
        let explanation = match (&self.folder, &self.admin) {
            (Some(folder), _) => {
                let (compiled, ..) = run::compile_folder(folder, DEFAULT_CLASS)?;
                let headers: HeaderMap = self.headers.iter().cloned().collect();
                let path = normalise(self.url.path(), false).context("the path would be refused with 400")?;
                let head = RequestHead {
                    method: &self.method,
                    path: &path,
                    query: self.url.query(),
                    headers: &headers,
                    secure: self.url.scheme_str() == Some("https"),
                };
                compiled.table.explain(&host.trim_end_matches('.').to_ascii_lowercase(), &head)
            }
            (None, Some(admin)) => super::admin_client::explain(admin, &self.url, &self.method, &self.headers)?,
            (None, None) => bail!("say where the objects are: -f DIR, or --admin URL"),
        };
        print(&show(&explanation, host))?;
        Ok(if explanation.winner().is_some() { CLEAN } else { FINDINGS })
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `Name: value`")?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| format!("`{name}` is no header name"))?;
    let value = HeaderValue::try_from(value.trim()).map_err(|_| format!("`{value}` is no header value"))?;
    Ok((name, value))
}

/// The explanation for people.
fn show(explanation: &Explanation, asked: &str) -> String {
    let mut text = match &explanation.host {
        Some(host) => format!("\n  {asked}  ->  {host}\n\n"),
        None => format!("\n  {asked}  ->  no route names this host\n\n"),
    };
    for candidate in &explanation.candidates {
        let (mark, why) = match &candidate.verdict {
            Verdict::Won => ("yes", "<- matches".to_owned()),
            Verdict::Lost { why } => ("no ", why.clone()),
            Verdict::NotReached { why } => ("-- ", format!("not reached: {why}")),
        };
        let Candidate { route, path, conditions, .. } = candidate;
        let conditions = if conditions.is_empty() { String::new() } else { format!("   {conditions}") };
        text += &format!("  {mark}  {route}   {path}{conditions}   {why}\n");
    }
    text += "\n";
    for step in &explanation.then {
        text += &format!("  then  {step}\n");
    }
    if explanation.winner().is_none() {
        text += "  no rule matches: 404\n";
    }
    text
}
