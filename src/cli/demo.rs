//! `headgate demo`: the example, its backend, and what to try.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::serving::{Serving, control_runtime};
use super::{CLEAN, Outcome, echo, init, print, run};
use crate::config::Listen;
use crate::telemetry::log;

/// Write an example into a folder, serve it, and say what to try.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  headgate demo\n  headgate demo try/ --http 127.0.0.1:0 --https 127.0.0.1:0 --echo 127.0.0.1:0   wherever there is room"
)]
pub(super) struct Demo {
    /// The folder; the example is written unless it is there.
    #[arg(value_name = "DIR", default_value = "headgate-demo")]
    folder: PathBuf,
    /// Where the example's backend listens; the example is written accordingly.
    #[arg(long, value_name = "ADDR", env = "HEADGATE_ECHO_LISTEN", default_value = init::BACKEND)]
    echo: SocketAddr,
    #[command(flatten)]
    serving: Serving,
}

impl Demo {
    pub(super) fn run(&self) -> Outcome {
        log::init(self.serving.log_format)?;
        control_runtime()?.block_on(async {
            let backend = echo::listen(self.echo).await?;
            if !self.folder.exists() {
                init::write(&self.folder, backend.local_addr()?)?;
            }
            let mut running = run::serve_folder(&self.folder, &self.serving).await?;
            running.essential(echo::serve(backend));
            running.published().await?;
            print(&self.what_to_try(running.addresses.http, running.addresses.admin))?;
            running.until_signalled().await
        })?;
        Ok(CLEAN)
    }

    /// Every line that begins with a command can be pasted as it stands.
    fn what_to_try(&self, http: SocketAddr, admin: SocketAddr) -> String {
        let (http, admin) = (Listen::shown(http), Listen::shown(admin));
        let folder = self.folder.display();
        // As it was called: `cargo run` leaves the binary where no shell finds it by its name.
        let headgate = std::env::args().next().unwrap_or_else(|| "headgate".to_owned());
        let line = |command: String, what: &str| format!("  {command:<62} # {what}\n");
        [
            format!("\nServing {folder} on http://{http}\n\n"),
            line(format!("curl http://{http}/hello/world"), "the backend sees /greet/world"),
            line(format!("curl -i http://{http}/hello/you"), "five a minute for each name, then 429"),
            line(format!("curl -i http://{http}/teapot"), "an answer without a backend"),
            line(format!("curl -H 'Host: echo.localhost' http://{http}/any"), "an Ingress"),
            line(format!("curl -i http://{http}/nothing"), "no route, and the answer says so"),
            "\nChange something and ask again; no restart, no reload:\n\n".to_owned(),
            line(format!("sed -i 's/I am a teapot/short and stout/' {folder}/route.yaml"), "or with an editor"),
            line(format!("curl http://{http}/teapot"), "short and stout"),
            "\nAsk why:\n\n".to_owned(),
            line(format!("{headgate} explain http://{http}/hello/world -f {folder}"), "which rule wins, and why"),
            line(format!("curl http://{admin}/api/v1/problems"), "what is wrong; nothing yet"),
            "\n".to_owned(),
        ]
        .concat()
    }
}
