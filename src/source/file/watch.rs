//! When to look at a folder again.
//!
//! Folders are watched, not files: a file that is replaced by another of its name, which is how editors save and how
//! ConfigMaps change, takes a watch on it along to its grave. What an event says is not believed, only that there was
//! one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

/// How often to look at a folder that cannot be watched.
pub(super) const POLL: Duration = Duration::from_secs(2);

/// How often to look at one that is: links may lead to files outside it, whose changes no watch on it sees.
const SWEEP: Duration = Duration::from_secs(30);

/// A watch on a folder, or a clock in its stead.
pub(super) struct Watch {
    /// Kept because dropping it ends the watch; its thread ends with it.
    _watcher: Option<RecommendedWatcher>,
    changed: Arc<Notify>,
    interval: Duration,
    due: Instant,
}

impl Watch {
    /// Watches the folder if that can be done, and else polls.
    pub(super) fn start(folder: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let watcher = match network_file_system(folder) {
            Some(kind) => {
                debug!(folder = %folder.display(), kind, "polling a folder whose changes are not announced");
                None
            }
            None => match watcher(folder, changed.clone()) {
                Ok(watcher) => Some(watcher),
                Err(error) => {
                    warn!(folder = %folder.display(), %error, "the folder cannot be watched, so it is polled");
                    None
                }
            },
        };
        let interval = if watcher.is_some() { SWEEP } else { POLL };
        Self { _watcher: watcher, changed, interval, due: Instant::now() + interval }
    }

    /// Returns when the folder may have changed since this last returned.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            () = self.changed.notified() => {}
            () = sleep_until(self.due) => {}
        }
        self.due = Instant::now() + self.interval;
    }
}

fn watcher(folder: &Path, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading opens and closes files too. An error may hide events, so it counts as one.
        let only_read = event.is_ok_and(|event| match event.kind {
            EventKind::Access(access) => access != AccessKind::Close(AccessMode::Write),
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => {
                false
            }
        });
        if !only_read {
            changed.notify_one();
        }
    })?;
    // A single file is watched through the folder that it lies in.
    match folder.parent() {
        Some(parent) if folder.is_file() => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            watcher.watch(parent, RecursiveMode::NonRecursive)?;
        }
        Some(_) | None => watcher.watch(folder, RecursiveMode::Recursive)?,
    }
    Ok(watcher)
}

/// The kind of file system the folder lies on, when it is one where changes made elsewhere are not announced.
fn network_file_system(folder: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let folder = std::fs::canonicalize(folder).ok()?;
    let kind = file_system(&mounts, &folder)?;
    let remote = ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "glusterfs", "afs"].contains(&kind);
    (remote || kind.starts_with("fuse")).then(|| kind.to_owned())
}

/// The type of the file system that holds `path`, from the text of `/proc/self/mountinfo` (proc(5)): of the mounts
/// whose point lies on the way to it the longest, and of equals the last, which covers the others.
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?.replace("\\040", " ");
        let kind = after.split(' ').next()?;
        path.starts_with(&point).then_some((point.len(), kind))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_innermost_file_system() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      90 22 0:50 / /home rw shared:50 - nfs4 server:/home rw\n\
                      91 90 0:51 / /home/a\\040b rw - tmpfs tmpfs rw\n\
                      92 22 0:52 / /mnt rw - ext4 /dev/sdb1 rw\n\
                      93 92 0:53 / /mnt rw - cifs //server/share rw\n";
        for (path, expected) in [
            ("/etc/headgate", "ext4"),
            ("/home/me/routes", "nfs4"),
            ("/homes/me", "ext4"),
            ("/home/a b/c", "tmpfs"),
            ("/mnt/x", "cifs"),
        ] {
            assert_eq!(file_system(mounts, Path::new(path)), Some(expected), "{path}");
        }
    }
}
