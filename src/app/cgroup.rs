//! How near the process is to the memory that its container may have: whoever reaches that is killed.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::proxy::Memory;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);
/// From so many percent of the limit on, memory is short; below the lower number it is not any more.
const SHORT: u64 = 95;
const ENOUGH: u64 = 90;

/// The files in which a control group with a limit of memory says how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cgroup {
    limit: PathBuf,
    used: PathBuf,
    stat: PathBuf,
    /// What the pages of files are called that can be dropped at any time, and count as used.
    droppable: &'static str,
}

/// Memory of a control group, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    used: u64,
    limit: u64,
}

impl Cgroup {
    /// The one that this process is in; none where there are no such groups.
    pub(super) fn of_process() -> Option<Self> {
        Self::find(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").ok()?)
    }

    /// Finds it below `root` by what `/proc/self/cgroup` says (cgroups(7)).
    fn find(root: &Path, groups: &str) -> Option<Self> {
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
            let (root, limit, used, droppable) = if controllers.is_empty() {
                (root.to_owned(), "memory.max", "memory.current", "inactive_file")
            } else if controllers.split(',').any(|controller| controller == "memory") {
                let (limit, used) = ("memory.limit_in_bytes", "memory.usage_in_bytes");
                (root.join("memory"), limit, used, "total_inactive_file")
            } else {
                continue;
            };
            // A container may see its own group as the root of all, and still be told the path from outside.
            for folder in [root.join(path), root] {
                if folder.join(limit).exists() {
                    let [limit, used, stat] = [limit, used, "memory.stat"].map(|name| folder.join(name));
                    return Some(Self { limit, used, stat, droppable });
                }
            }
        }
        None
    }

    /// What is used of how much; none without a limit.
    pub(super) fn usage(&self) -> Option<Usage> {
        let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        // `max`, or in the older version a number that no machine has.
        let limit = number(&self.limit).filter(|limit| *limit < 1 << 60)?;
        let stat = fs::read_to_string(&self.stat).unwrap_or_default();
        let droppable = stat.lines().find_map(|line| line.strip_prefix(self.droppable)?.trim().parse().ok());
        Some(Usage { used: number(&self.used)?.saturating_sub(droppable.unwrap_or(0)), limit })
    }
}

impl Usage {
    /// Whether memory is short, if it was or was not before.
    fn is_short(self, was: bool) -> bool {
        let percent = if was { ENOUGH } else { SHORT };
        self.used.saturating_mul(100) >= self.limit.saturating_mul(percent)
    }
}

/// Tells workers when memory is short.
pub(super) async fn watch(cgroup: Cgroup, memory: Memory) -> Infallible {
    let mut interval = tokio::time::interval(LOOK);
    loop {
        interval.tick().await;
        let (usage, was) = (cgroup.usage(), memory.is_short());
        let short = usage.is_some_and(|usage| usage.is_short(was));
        memory.set_short(short);
        let (used, limit) = usage.map(|Usage { used, limit }| (used, limit)).unzip();
        match (was, short) {
            (false, true) => {
                tracing::warn!(used, limit, "memory is short: a part of new requests is turned away");
            }
            (true, false) => tracing::info!(used, limit, "memory is no longer short"),
            (true, true) | (false, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of control groups with one file for each of these.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn both_versions_are_found_inside_and_outside_of_a_container() {
        let second =
            [("memory.max", "1000\n"), ("memory.current", "700\n"), ("memory.stat", "anon 5\ninactive_file 200\n")];
        let first = [
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.usage_in_bytes", "700\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 200\n"),
        ];
        let v2 = "0::/kubepods/pod1/c1\n";
        let v1 = "12:cpu,cpuacct:/a\n5:memory:/kubepods/pod1/c1\n0::/b\n";
        for (files, groups, folders) in
            [(second, v2, ["kubepods/pod1/c1/", ""]), (first, v1, ["memory/kubepods/pod1/c1/", "memory/"])]
        {
            for folder in folders {
                let files = files.map(|(name, text)| (format!("{folder}{name}"), text));
                let root = tree(&files.each_ref().map(|(path, text)| (path.as_str(), *text)));
                let cgroup = Cgroup::find(root.path(), groups).unwrap();
                assert_eq!(cgroup.usage(), Some(Usage { used: 500, limit: 1000 }), "{folder}");
            }
        }
        assert_eq!(Cgroup::find(tree(&[]).path(), v2), None);
    }

    #[test]
    fn without_a_limit_there_is_none() {
        for limit in ["max\n", "9223372036854771712\n", ""] {
            let root = tree(&[("memory.max", limit), ("memory.current", "700\n")]);
            assert_eq!(Cgroup::find(root.path(), "0::/\n").unwrap().usage(), None, "{limit}");
        }
    }

    #[test]
    fn it_is_short_until_there_is_enough() {
        let usage = |used| Usage { used, limit: 1000 };
        assert_eq!([949, 950].map(|used| usage(used).is_short(false)), [false, true]);
        assert_eq!([899, 900].map(|used| usage(used).is_short(true)), [false, true]);
    }
}
