//! The status of a GatewayRoute.

use k8s_openapi::jiff::Timestamp;

use super::condition::{as_shown, renewed};
use crate::api::GatewayRouteStatus;
use crate::compile::ObjectReport;

/// What to show, unless it is what is shown.
pub(super) fn status(report: &ObjectReport, shown: &GatewayRouteStatus, now: Timestamp) -> Option<GatewayRouteStatus> {
    let wanted = GatewayRouteStatus {
        conditions: renewed(&report.conditions, report.generation, &shown.conditions, now),
        message: report.message(),
    };
    let same = wanted.message == shown.message && as_shown(&wanted.conditions, &shown.conditions);
    (!same).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Code, Condition, ConditionType, Problem, Reason};

    #[test]
    fn only_a_difference_is_written() {
        let now = Timestamp::from_second(7).unwrap();
        let accepted = Condition {
            type_: ConditionType::Accepted,
            status: true,
            reason: Reason::Accepted,
            message: "every rule is valid".to_owned(),
        };
        let report = ObjectReport { ours: true, generation: Some(1), conditions: vec![accepted], ..Default::default() };
        let shown = status(&report, &GatewayRouteStatus::default(), now).unwrap();
        assert_eq!(shown.message, None);
        assert_eq!(status(&report, &shown, Timestamp::now()), None);

        let problem = Problem::new(Code::UnknownField, "spec.hostname", "unknown field", "did you mean hostnames?");
        let warned = ObjectReport { problems: vec![problem], ..report };
        let told = status(&warned, &shown, Timestamp::now()).unwrap();
        assert_eq!(
            told,
            GatewayRouteStatus {
                message: Some("spec.hostname: unknown field; did you mean hostnames?".to_owned()),
                conditions: shown.conditions,
            }
        );
    }
}
