//! Fields that are declared and not served yet. They are refused and never ignored: a rule without its retry may do,
//! but a rule without its token check must not.

use super::super::code::Code;
use super::super::report::Problem;

/// The problem that a field has this value.
pub(super) fn value(field: &str, value: &str) -> Problem {
    let what = format!("this version does not support {value}");
    Problem::new(Code::Unsupported, field, what, "remove it, or use a version that does")
}
