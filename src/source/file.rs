//! Declared resources from a folder of files.
//!
//! Every `.yaml`, `.yml` and `.json` file below the folder holds Kubernetes objects, one or more. What a file says
//! counts as long as the text parses; a text that does not parse keeps what the file declared before and is told with
//! its file, line and column. A document that parses and is no sound object costs only itself.
//!
//! A reload is one batch: editors save, scripts rewrite and ConfigMaps swap whole folders, and the store sees either
//! all of it or nothing.

mod document;
mod folder;
mod locate;
mod tree;
mod walk;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

pub use self::folder::{Folder, Reading, Spot};
use self::watch::Watch;
use crate::source::{Change, Effect, Finding};

/// How long a folder must be quiet before it is read again: an editor's save is several events within a millisecond or
/// two, and a script's `cp -r` has no pause longer than this.
const QUIET: Duration = Duration::from_millis(20);

/// How long a folder that is never quiet waits at most.
const PATIENCE: Duration = Duration::from_millis(100);

/// How soon to look again at a file that was found empty or gone.
const DOUBT: Duration = Duration::from_millis(50);

/// Why a folder cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there or cannot be listed.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A look at the folder did not end, which only a bug can bring about.
    #[error("reading {} was cut short", path.display())]
    CutShort {
        /// The folder.
        path: PathBuf,
    },
}

/// Everything that a folder, or a single file, declares now: the first batch of [`run`].
///
/// # Errors
///
/// When there is no such folder, or it cannot be listed.
pub fn read(folder: &Path) -> Result<Vec<Change>, Error> {
    let reading = Folder::new(folder).refresh();
    reading.map(|reading| reading.changes).map_err(|source| Error::Unreadable { path: folder.to_owned(), source })
}

/// Sends what the folder declares, and from then on what changes, one batch a reload. Ends when nobody receives.
///
/// # Errors
///
/// When the folder cannot be read at the start. Should it go later, what it declared stays in force and its absence is
/// told.
pub async fn run(folder: PathBuf, sender: mpsc::Sender<Vec<Change>>) -> Result<(), Error> {
    // The watch comes before the first look, so that no change falls between the two.
    let mut watch = Watch::start(&folder);
    let mut state = Folder::new(&folder);
    let mut lost = false;
    let mut first = true;
    loop {
        let look = tokio::task::spawn_blocking(move || {
            let reading = state.refresh();
            (state, reading)
        });
        let Ok((back, reading)) = look.await else {
            return Err(Error::CutShort { path: folder });
        };
        state = back;
        let mut doubtful = false;
        let changes = match reading {
            Ok(reading) => {
                doubtful = reading.doubtful;
                let mut changes = reading.changes;
                if lost {
                    lost = false;
                    // What was watched is gone, even if something else now has its name.
                    watch = Watch::start(&folder);
                    changes.push(Change::Place(folder.display().to_string(), Vec::new()));
                    // Between the look and the new watch something may have changed.
                    doubtful = true;
                }
                changes
            }
            Err(source) if first => {
                return Err(Error::Unreadable { path: folder, source });
            }
            Err(_) if lost => Vec::new(),
            Err(error) => {
                lost = true;
                let place = folder.display().to_string();
                let message = format!("cannot be read: {error} (what it declared stays in force)");
                let finding =
                    Finding { field: String::new(), message, place: Some(place.clone()), effect: Effect::Spoils };
                vec![Change::Place(place, vec![finding])]
            }
        };
        first = false;
        if !changes.is_empty() && sender.send(changes).await.is_err() {
            return Ok(());
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            () = watch.changed() => settle(&mut watch).await,
            () = sleep(DOUBT), if doubtful => {}
            () = sleep(watch::POLL), if lost => {}
        }
    }
}

/// Waits until the folder is quiet, or until it has been restless for too long.
async fn settle(watch: &mut Watch) {
    let end = Instant::now() + PATIENCE;
    while let Ok(()) = timeout_at(end.min(Instant::now() + QUIET), watch.changed()).await {
        if Instant::now() >= end {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
