//! Paths, on both sides: the one spelling that every request's path is brought into, the reading of declared paths, and
//! the parameters that a template takes from a path.

mod declared;
mod expression;
mod normal;
mod params;

pub use declared::PathMatchError;
pub use normal::{PathError, normalise};
pub use params::{MAX_PARAMS, Params};

pub(crate) use declared::{Param, is_param_name, param_name, parse_path};
pub(crate) use expression::parse_expression;
pub(crate) use normal::{hex_value, push_component};
pub(crate) use params::Spans;
