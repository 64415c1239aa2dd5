//! Fields that are declared and not served yet. They are refused and never ignored: a rule without its retry may do,
//! but a rule without its token check must not.

use super::super::code::Code;
use super::super::report::Problem;

/// Refuses fields of one object of the declaration.
pub(super) struct Unsupported<'p> {
    field: &'p str,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Unsupported<'p> {
    /// For the fields below `field`.
    pub(super) fn new(field: &'p str, problems: &'p mut Vec<Problem>) -> Self {
        Self { field, problems }
    }

    /// Refuses the field of this name if it is set.
    pub(super) fn refuse<T>(&mut self, name: &str, value: Option<&T>) {
        if value.is_some() {
            self.problems.push(field(&format!("{}.{name}", self.field)));
        }
    }
}

/// The problem that a field is set.
pub(super) fn field(field: &str) -> Problem {
    Problem::new(
        Code::Unsupported,
        field,
        "this version does not support the field",
        "remove it, or use a version that does",
    )
}

/// The problem that a field has this value.
pub(super) fn value(field: &str, value: &str) -> Problem {
    let what = format!("this version does not support {value}");
    Problem::new(Code::Unsupported, field, what, "remove it, or use a version that does")
}
