//! stub
/// x
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Format { /// x
 Human, /// x
 Json }
/// x
pub fn start(_f: Option<Format>) { tracing_subscriber::fmt().with_writer(std::io::stderr).init(); }
