//! One log line for every problem that comes, and one when some have gone.

use std::collections::BTreeSet;

use crate::compile::{Report, Severity};
use crate::store::Watch;

/// Tells what is in `after` and was not in `before`.
pub(super) fn tell(before: &Report, after: &Report) {
    let known: BTreeSet<String> = before.problems().map(|(key, problem)| format!("{key}: {problem}")).collect();
    let mut left = 0;
    for (key, problem) in after.problems() {
        if known.contains(&format!("{key}: {problem}")) {
            left += 1;
            continue;
        }
        let (code, field) = (problem.code.as_str(), problem.field.as_str());
        let place = problem.place.as_deref();
        match problem.severity() {
            Severity::Error => tracing::warn!(code, object = %key, field, place, "{key}: {problem}"),
            Severity::Warning => tracing::info!(code, object = %key, field, place, "{key}: {problem}"),
        }
    }
    if known.len() > left {
        tracing::info!(solved = known.len() - left, "problems solved");
    }
    for (place, findings) in &after.places {
        if before.places.get(place) != Some(findings) {
            for finding in findings {
                let place = finding.place.as_deref().unwrap_or(place);
                tracing::warn!(place, "{}; what was read from it before stays in force", finding.message);
            }
        }
    }
    for (kind, watch) in &after.watches {
        match watch {
            Watch::Unavailable(reason) if before.watches.get(kind) != Some(watch) => {
                tracing::warn!(%kind, reason, "cannot be watched now; what is known of it stays in force");
            }
            Watch::Unavailable(_) | Watch::Pending | Watch::Synced => {}
        }
    }
}
