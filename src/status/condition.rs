//! Conditions as they are shown.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::compile::{self, ConditionType};

/// The types that are ours to add and to take away; conditions of any other type belong to somebody else.
const OURS: [ConditionType; 6] = [
    ConditionType::Accepted,
    ConditionType::ResolvedRefs,
    ConditionType::PartiallyInvalid,
    ConditionType::Programmed,
    ConditionType::Enforced,
    ConditionType::RateLimitPolicyAffected,
];

/// The conditions to show. One whose answer is the same as before keeps its time of transition: its reason and message
/// may change within an answer.
pub(super) fn renewed(
    wanted: &[compile::Condition],
    generation: Option<i64>,
    shown: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    wanted
        .iter()
        .map(|condition| {
            let compile::Condition { type_, status, reason, message } = condition;
            let status = if *status { "True" } else { "False" };
            let before = shown.iter().find(|shown| shown.type_ == type_.as_str() && shown.status == status);
            Condition {
                last_transition_time: before.map_or(Time(now), |before| before.last_transition_time.clone()),
                message: message.clone(),
                observed_generation: generation,
                reason: reason.as_str().to_owned(),
                status: status.to_owned(),
                type_: type_.as_str().to_owned(),
            }
        })
        .collect()
}

/// Whether what is shown of ours is exactly this.
pub(super) fn as_shown(wanted: &[Condition], shown: &[Condition]) -> bool {
    let ours = |condition: &&Condition| OURS.iter().any(|type_| type_.as_str() == condition.type_);
    let others_only = |condition: &Condition| wanted.iter().any(|wanted| wanted.type_ == condition.type_);
    wanted.iter().all(|condition| shown.contains(condition)) && shown.iter().filter(ours).all(others_only)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Reason;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn wanted(type_: ConditionType, status: bool, message: &str) -> compile::Condition {
        compile::Condition { type_, status, reason: Reason::Accepted, message: message.to_owned() }
    }

    #[test]
    fn the_time_of_transition_is_kept_until_the_answer_flips() {
        let first = renewed(&[wanted(ConditionType::Accepted, true, "fine")], Some(1), &[], at(10));
        assert_eq!(first[0].last_transition_time, Time(at(10)));

        let told_otherwise = renewed(&[wanted(ConditionType::Accepted, true, "still fine")], Some(2), &first, at(20));
        assert_eq!(
            told_otherwise[0],
            Condition { message: "still fine".to_owned(), observed_generation: Some(2), ..first[0].clone() }
        );

        let flipped = renewed(&[wanted(ConditionType::Accepted, false, "broken")], Some(3), &told_otherwise, at(30));
        assert_eq!((flipped[0].status.as_str(), &flipped[0].last_transition_time), ("False", &Time(at(30))));
    }

    #[test]
    fn what_is_shown_already_needs_no_writing() {
        let accepted = wanted(ConditionType::Accepted, true, "fine");
        let partial = wanted(ConditionType::PartiallyInvalid, true, "1 of 2 rules");
        let foreign = Condition { type_: "example.com/Audited".to_owned(), ..of(&accepted) };
        let shown = renewed(&[accepted.clone(), partial.clone()], Some(1), &[], at(10));

        let again = renewed(&[accepted.clone(), partial], Some(1), &shown, at(99));
        assert!(as_shown(&again, &shown));
        let mut with_foreign = shown.clone();
        with_foreign.insert(0, foreign);
        assert!(as_shown(&again, &with_foreign), "another's condition is none of our business");

        let next_generation = renewed(std::slice::from_ref(&accepted), Some(2), &shown, at(99));
        assert!(!as_shown(&next_generation, &shown), "the generation that was looked at is part of it");
        let mended = renewed(&[accepted], Some(1), &shown, at(99));
        assert!(!as_shown(&mended, &shown), "a condition that is no more must go");
    }

    fn of(condition: &compile::Condition) -> Condition {
        renewed(std::slice::from_ref(condition), Some(1), &[], at(10)).remove(0)
    }
}
