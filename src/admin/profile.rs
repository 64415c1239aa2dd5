//! `/debug/pprof/profile`: where the process spends its time, as `go tool pprof` reads it.

use std::time::Duration;

use pprof::ProfilerGuardBuilder;
use pprof::protos::Message;

/// How long a profile takes unless asked otherwise.
const USUAL: u64 = 30;
/// The longest, in seconds: the connection lasts longer.
const LONGEST: u64 = 100;
/// Samples per second of processor time: a prime, so as not to beat with anything periodic.
const FREQUENCY: i32 = 99;
/// Code that is not unwound from: it may hold the very locks that unwinding takes.
const SHUNNED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProfileError {
    #[error("`{0}` is no query for a profile; write ?seconds=10, up to {LONGEST}")]
    Query(String),
    #[error("another profile is being taken; there is one at a time")]
    Busy,
    #[error("the profile failed: {0}")]
    Failed(String),
}

/// Reads `?seconds=10`.
pub(super) fn seconds(query: Option<&str>) -> Result<Duration, ProfileError> {
    let query = query.unwrap_or_default();
    let seconds = match query.split_once('=') {
        None if query.is_empty() => Some(USUAL),
        Some(("seconds", number)) => number.parse().ok().filter(|seconds| (1..=LONGEST).contains(seconds)),
        None | Some(_) => None,
    };
    seconds.map(Duration::from_secs).ok_or_else(|| ProfileError::Query(query.to_owned()))
}

/// Samples all threads for so long. Nothing is sampled, and nothing costs anything, at any other time.
pub(super) async fn take(time: Duration) -> Result<Vec<u8>, ProfileError> {
    let guard = ProfilerGuardBuilder::default().frequency(FREQUENCY).blocklist(&SHUNNED).build();
    let guard = match guard {
        Ok(guard) => guard,
        Err(pprof::Error::Running) => return Err(ProfileError::Busy),
        Err(error) => return Err(ProfileError::Failed(error.to_string())),
    };
    tokio::time::sleep(time).await;
    // Finding names takes a while, and must not hold up who else runs here.
    let encoded = tokio::task::spawn_blocking(move || {
        let profile = guard.report().build().and_then(|report| report.pprof());
        profile.map(|profile| profile.encode_to_vec()).map_err(|error| ProfileError::Failed(error.to_string()))
    });
    encoded.await.unwrap_or_else(|error| Err(ProfileError::Failed(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_how_long() {
        for (query, expected) in [(None, Some(30)), (Some(""), Some(30)), (Some("seconds=5"), Some(5))] {
            assert_eq!(seconds(query).ok().map(|time| time.as_secs()), expected);
        }
        for wrong in ["seconds=0", "seconds=101", "seconds=x", "debug=1", "5"] {
            assert!(seconds(Some(wrong)).unwrap_err().to_string().contains("?seconds=10"), "{wrong}");
        }
    }
}
