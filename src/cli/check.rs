//! `headgate check`: what is wrong with declared objects, said by the code that would serve them.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::serving::control_runtime;
use super::{CLEAN, FINDINGS, Outcome, Output, print, run};
use crate::compile::Code;

/// Say what is wrong with declared objects.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  headgate check -f routes/\n  headgate check -f routes/shop.yaml -o json\n  headgate check --in-cluster\n  headgate check --in-cluster --ingress-class nginx   # what would be if that class were ours\n\nExit code: 0 nothing is wrong, 1 something is, 2 it could not run."
)]
pub(super) struct Check {
    /// The folder or file that holds the objects.
    #[arg(short = 'f', long = "file", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Look at the objects of a cluster instead.
    #[arg(long, conflicts_with = "folder")]
    in_cluster: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    cluster: super::cluster::Cluster,
}

impl Check {
    pub(super) fn run(&self) -> Outcome {
        let (compiled, mut problems) = match &self.folder {
            Some(folder) => {
                let (compiled, folder) = run::compile_folder(folder, &self.cluster.ingress_class)?;
                let problems = compiled.report.list_at(|object, field| run::place(&folder, object, field));
                (compiled, problems)
            }
            None if self.in_cluster => {
                let compiled = control_runtime()?.block_on(self.cluster.compile_once())?;
                let problems = compiled.report.list();
                (compiled, problems)
            }
            None => bail!("say what to check: -f DIR, or --in-cluster"),
        };
        // Nothing fetches keys here, so that there are none yet is not wrong.
        problems.retain(|problem| problem.code != Code::KeysUnavailable.as_str());
        match self.output {
            Output::Json => {
                let json = serde_json::json!({"version": "v1", "problems": problems});
                print(&format!("{}\n", serde_json::to_string_pretty(&json)?))?;
            }
            Output::Text => {
                let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
                let routes = match compiled.table.routes.len() {
                    1 => "1 route".to_owned(),
                    count => format!("{count} routes"),
                };
                text += &match problems.len() {
                    0 => format!("{routes}, nothing is wrong\n"),
                    1 => format!("{routes}, 1 problem\n"),
                    count => format!("{routes}, {count} problems\n"),
                };
                print(&text)?;
            }
        }
        Ok(if problems.is_empty() { CLEAN } else { FINDINGS })
    }
}
