//! What the source already found wrong with an object, and how it goes together with what is found here.
//!
//! A source that has no API server behind it checks a schema's rules itself, and much of what breaks them is found here
//! once more: everything is checked here whatever the source has done. Each mistake is told once, in the source's words.

use super::code::{Code, Reason};
use super::report::Problem;
use crate::source::{Effect, Finding};

/// The findings of one object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Findings<'f>(pub(super) &'f [Finding]);

impl Findings<'_> {
    /// Whether something at or below a field cannot be used.
    pub(super) fn spoil(self, field: &str) -> bool {
        self.fatal().any(|finding| is_within(&finding.field, field))
    }

    /// Whether this very field cannot be used.
    pub(super) fn are_about(self, field: &str) -> bool {
        self.fatal().any(|finding| finding.field == field)
    }

    /// Those of the object that is used for which `chosen` says yes, as problems.
    pub(super) fn problems(self, chosen: impl Fn(&str) -> bool) -> Vec<Problem> {
        let of_this = self.0.iter().filter(|finding| finding.effect != Effect::Withheld);
        of_this.filter(|finding| chosen(&finding.field)).map(Problem::found).collect()
    }

    /// Those of what is written and not used, as problems.
    pub(super) fn withheld(self) -> impl Iterator<Item = Problem> {
        self.0.iter().filter(|finding| finding.effect == Effect::Withheld).map(Problem::found)
    }

    /// Whether one of them says already what `problem` would. `part` is the part of the object that is judged on its own,
    /// such as a rule: what is wrong with it as a whole does not hide what is wrong inside.
    pub(super) fn tell(self, problem: &Problem, part: &str) -> bool {
        let repeats = match problem.code.reason() {
            Reason::Invalid | Reason::IncompatibleFilters => true,
            _ => problem.code == Code::RefusedAddress,
        };
        repeats
            && self.fatal().any(|finding| {
                is_within(&finding.field, &problem.field)
                    || (finding.field != part && is_within(&problem.field, &finding.field))
                    || (finding.field == part && problem.code == Code::InvalidWeight)
            })
    }

    fn fatal(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| finding.is_fatal())
    }
}

/// Whether a field is another or lies below it.
fn is_within(field: &str, other: &str) -> bool {
    field.strip_prefix(other).is_some_and(|rest| rest.is_empty() || other.is_empty() || rest.starts_with(['.', '[']))
}
