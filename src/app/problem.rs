//! One log line for every problem that comes, and one when some have gone.

use std::sync::Arc;

use crate::compile::{ObjectReport, Report, Severity, Told};
use crate::persistent::Change;
use crate::store::Watch;

/// Tells what is in `after` and was not in `before`.
pub(super) fn tell(before: &Report, after: &Report) {
    let mut changes = after.troubled.changes(&before.troubled);
    changes.sort_by_key(|change| change.key);
    let mut solved = 0;
    for Change { key: object, before, now } in changes {
        let said = |report: Option<&Arc<ObjectReport>>| -> Vec<String> {
            let problems = report.into_iter().flat_map(|report| &report.problems);
            problems.map(|problem| Told { object, problem }.to_string()).collect()
        };
        let (before, after) = (said(before), said(now));
        for (problem, told) in now.into_iter().flat_map(|report| &report.problems).zip(&after) {
            match problem.severity() {
                _ if before.contains(told) => {}
                Severity::Error => tracing::warn!("{told}"),
                Severity::Warning => tracing::info!("{told}"),
            }
        }
        solved += before.iter().filter(|told| !after.contains(told)).count();
    }
    if solved > 0 {
        tracing::info!(solved, "problems solved");
    }
    for (place, findings) in &after.places {
        if before.places.get(place) != Some(findings) {
            for finding in findings {
                let place = finding.place.as_deref().unwrap_or(place);
                let field = if finding.field.is_empty() { String::new() } else { format!("{}: ", finding.field) };
                match finding.is_fatal() {
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
