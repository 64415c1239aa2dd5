//! What the kernel says of this process.

use std::fs;

/// What is read from `/proc/self`; each part is missing where the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Seconds of CPU time, in user space and in the kernel.
    pub(super) cpu: Option<f64>,
    /// When it started, in seconds since 1970.
    pub(super) started: Option<f64>,
    /// Bytes of memory that are in use.
    pub(super) resident: Option<u64>,
    /// Bytes of address space.
    pub(super) virtual_: Option<u64>,
    /// Files and sockets that are open.
    pub(super) open_files: Option<u64>,
    /// How many may be open.
    pub(super) max_files: Option<u64>,
}

/// The unit of times in `stat`: `USER_HZ`, which the kernel fixes at 100 on every architecture that we are built for.
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    /// What is true now.
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").ok();
        let stat = stat.as_deref().and_then(Stat::parse);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let booted = fs::read_to_string("/proc/stat")
            .ok()
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<f64>().ok());
        Self {
            cpu: stat.as_ref().map(|stat| (stat.user + stat.system) as f64 / TICKS_PER_SECOND),
            started: booted.zip(stat).map(|(booted, stat)| booted + stat.started as f64 / TICKS_PER_SECOND),
            resident: kibibytes(&status, "VmRSS:"),
            virtual_: kibibytes(&status, "VmSize:"),
            // One of them is the folder that is being read.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1)),
            max_files: max_files(&limits),
        }
    }
}

/// The fields of `/proc/self/stat` that are of use (proc_pid_stat(5)), in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    user: u64,
    system: u64,
    /// Since the system was booted.
    started: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in brackets and may hold anything, brackets and spaces included.
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        // The third field is the first of what is left.
        let mut field = |number: usize| fields.nth(number).and_then(|text| text.parse().ok());
        Some(Self { user: field(14 - 3)?, system: field(0)?, started: field(22 - 16)? })
    }
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn max_files(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let text =
            "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 123456 9999 321 18446744073709551615";
        assert_eq!(Stat::parse(text), Some(Stat { user: 250, system: 50, started: 123_456 }));
        assert_eq!(Stat::parse("42 (a) S 1"), None);
    }

    #[test]
    fn sizes_and_limits_as_the_kernel_writes_them() {
        let status = "Name:\theadgate\nVmSize:\t  200 kB\nVmRSS:\t     12 kB\n";
        assert_eq!((kibibytes(status, "VmRSS:"), kibibytes(status, "VmSize:")), (Some(12_288), Some(204_800)));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(max_files(limits), Some(1024));
        assert_eq!(max_files("Max open files            unlimited            unlimited            files\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_everything() {
        let Process { cpu, started, resident, virtual_, open_files, max_files } = Process::read();
        assert!(cpu.is_some() && started > Some(1e9) && resident > Some(0) && virtual_ >= resident);
        assert!(open_files > Some(2), "{open_files:?}");
        let _ = max_files;
    }
}
