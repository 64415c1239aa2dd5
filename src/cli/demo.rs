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
    after_help = "Examples:\n  headgate demo                          on the usual ports, into headgate-demo/\n  headgate demo /tmp/try --http :0       elsewhere, on a port that is free"
)]
pub(super) struct Demo {
    /// The folder; the example is written unless it is there.
    #[arg(value_name = "DIR", default_value = "headgate-demo")]
    folder: PathBuf,
    /// Where the example's backend listens; an example that is there already must point at it.
    #[arg(long, value_name = "ADDR", env = "HEADGATE_ECHO_LISTEN", default_value = echo::LISTEN)]
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

    fn what_to_try(&self, http: SocketAddr, admin: SocketAddr) -> String {
        let (http, admin) = (Listen::shown(http), Listen::shown(admin));
        let folder = self.folder.display();
        format!(
            "\nServing {folder} on http://{http}\n\n  \
             curl http://{http}/hello/world                       the backend sees /greet/world\n  \
             curl -i http://{http}/teapot                         an answer without a backend\n  \
             curl -H 'Host: echo.localhost' http://{http}/any     an Ingress\n  \
             curl -i http://{http}/nothing                        no route, and the answer says so\n\n\
             Change something and ask again; no restart, no reload:\n\n  \
             sed -i 's/I am a teapot/short and stout/' {folder}/route.yaml\n  \
             curl http://{http}/teapot\n\n\
             Ask why:\n\n  \
             headgate explain http://{http}/hello/world -f {folder}\n  \
             curl http://{admin}/api/v1/problems\n\n"
        )
    }
}
