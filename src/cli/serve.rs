//! `headgate serve`
use clap::Args;
use super::Outcome;
use super::serving::Serving;
#[derive(Args)]
pub(super) struct Serve { #[command(flatten)] serving: Serving }
#[derive(Args)]
pub(super) struct Cluster { #[arg(long)] kubeconfig: Option<std::path::PathBuf> }
impl Serve { pub(super) fn run(&self) -> Outcome { let _ = &self.serving; anyhow::bail!("x") } }
impl Cluster { pub(super) fn compile_once(&self) -> anyhow::Result<crate::compile::Compiled> { anyhow::bail!("x {:?}", self.kubeconfig) } }
