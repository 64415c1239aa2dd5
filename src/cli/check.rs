//! `headgate check`: what is wrong with declared objects, said by the code that would serve them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;

use super::serving::control_runtime;
use super::{CLEAN, FINDINGS, Outcome, Output, print, run};
use crate::compile::{self, Code, Compiled};
use crate::source::{Kind, Object, ObjectKey, namespace_and_name};

/// Say what is wrong with declared objects.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  headgate check -f routes/\n  headgate check -f routes/shop.yaml -o json\n  headgate check --in-cluster\n  headgate check --in-cluster --ingress-class nginx   # what would be if that class were ours\n  headgate check --in-cluster --ingress-class nginx --nginx-configmap ingress-nginx/ingress-nginx-controller\n\nExit code: 0 nothing is wrong, 1 something is, 2 it could not run."
)]
pub(super) struct Check {
    /// The folder or file that holds the objects.
    #[arg(short = 'f', long = "file", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Look at the objects of a cluster instead.
    #[arg(long, conflicts_with = "folder")]
    in_cluster: bool,
    /// Tell as well what takes the place of each setting in this ConfigMap, which is that of ingress-nginx's controller.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = config_map)]
    nginx_configmap: Option<ObjectKey>,
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
                let (mut compiled, folder, store) = run::compile_folder(folder, &self.cluster.ingress_class)?;
                if let Some(key) = &self.nginx_configmap {
                    let found = match store.get(key).and_then(|entry| entry.object.as_ref()) {
                        Some(Object::ConfigMap(map)) => Some(&**map),
                        _ => None,
                    };
                    tell_settings(&mut compiled, key, found)?;
                }
                let problems = compiled.report.list_at(|object, field| run::place(&folder, object, field));
                (compiled, problems)
            }
            None if self.in_cluster => {
                let runtime = control_runtime()?;
                let mut compiled = runtime.block_on(self.cluster.compile_once())?;
                if let Some(key) = &self.nginx_configmap {
                    tell_settings(&mut compiled, key, runtime.block_on(self.cluster.config_map(key))?.as_ref())?;
                }
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

/// A ConfigMap as `NAMESPACE/NAME`.
fn config_map(text: &str) -> Result<ObjectKey, String> {
    let (namespace, name) =
        namespace_and_name(text).ok_or_else(|| format!("`{text}` names no ConfigMap; write NAMESPACE/NAME"))?;
    Ok(ObjectKey::new(Kind::ConfigMap, namespace, name))
}

/// Takes what is to be told of ingress-nginx's settings into the report.
fn tell_settings(compiled: &mut Compiled, key: &ObjectKey, found: Option<&ConfigMap>) -> anyhow::Result<()> {
    let Some(map) = found else { bail!("--nginx-configmap: there is no {key}") };
    let none = BTreeMap::new();
    let problems = compile::ingress_nginx_settings(map.data.as_ref().unwrap_or(&none));
    Arc::make_mut(&mut compiled.report).tell(key.clone(), problems);
    Ok(())
}
