//! One log line for every problem that comes, and one when some have gone.

use std::collections::BTreeSet;

use crate::compile::{Report, Severity};
use crate::store::Watch;

/// Tells what is in `after` and was not in `before`.
pub(super) fn tell(before: &Report, after: &Report) {
    let known: BTreeSet<String> = before.problems().map(|told| told.to_string()).collect();
    let mut left = 0;
    for told in after.problems() {
        if known.contains(&told.to_string()) {
            left += 1;
            continue;
        }
        match told.problem.severity() {
            Severity::Error => tracing::warn!("{told}"),
            Severity::Warning => tracing::info!("{told}"),
        }
    }
    if known.len() > left {
        tracing::info!(solved = known.len() - left, "problems solved");
    }
    for (place, findings) in &after.places {
        if before.places.get(place) != Some(findings) {
            for finding in findings {
                let place = finding.place.as_deref().unwrap_or(place);
                let field = if finding.field.is_empty() { String::new() } else { format!("{}: ", finding.field) };
                match finding.fatal {
                    true => tracing::warn!("{place}: {field}{}", finding.message),
                    false => tracing::info!("{place}: {field}{}", finding.message),
                }
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
