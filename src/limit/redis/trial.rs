//! One look at a server, for whoever asks whether it would do.

use std::time::{Duration, Instant};

use super::connection::{Broken, Connection, driven};
use super::settings::{Server, Settings};

/// How long the key of a look stays.
const LIFE: Duration = Duration::from_secs(10);

/// What a server is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It counts: a write took so long.
    Counts(Duration),
    /// It is one of a cluster that sends others for the key that was tried; it counts for keys of its own.
    PartOfCluster,
    /// It copies another server and takes no writes.
    Copies,
}

/// Connects to a server, logs in, makes the scripts known and writes a key, as a worker does.
///
/// # Errors
/// Why it is of no use, in the server's own words.
pub async fn look(settings: &Settings, server: &Server) -> Result<Standing, String> {
    let (connection, mut driver) = Connection::open(settings, server).await.map_err(|broken| broken.to_string())?;
    let mut write = redis::cmd("SET");
    write.arg(format!("{}:{{look}}:probe", settings.prefix)).arg(1).arg("PX").arg(LIFE.as_millis() as u64);
    let began = Instant::now();
    match driven(&mut driver, connection.ask(&write)).await {
        Ok(_) => Ok(Standing::Counts(began.elapsed())),
        Err(Broken::Redis(error)) => match error.code() {
            Some("MOVED" | "ASK") => Ok(Standing::PartOfCluster),
            Some("READONLY") => Ok(Standing::Copies),
            Some(_) | None => Err(error.to_string()),
        },
        Err(broken @ (Broken::Io(_) | Broken::Late(_) | Broken::Closed)) => Err(broken.to_string()),
    }
}
