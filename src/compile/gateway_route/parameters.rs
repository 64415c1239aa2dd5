//! The path parameters that a rule can count on.

use super::super::code::Code;
use super::super::report::Problem;
use super::matches::{self, RuleMatch};
use crate::api::gateway_route::RouteMatch;

/// What the paths of a rule's matches have in common.
pub(in super::super) struct Parameters {
    paths: Vec<Path>,
}

struct Path {
    text: String,
    field: String,
    params: Vec<Box<str>>,
    is_prefix: bool,
}

impl Parameters {
    /// Of the matches that are valid: the others are answered 500 anyway.
    pub(super) fn of(matches: &[RuleMatch]) -> Self {
        let path = |found: &RuleMatch| Path {
            text: found.path.to_string(),
            field: found.field.to_string(),
            params: found.path.params().to_vec(),
            is_prefix: found.path.is_prefix(),
        };
        Self { paths: matches.iter().map(path).collect() }
    }

    /// Of a rule's matches as declared, for those who judge the rule from elsewhere.
    pub(in super::super) fn declared(rule: &str, matches: &[RouteMatch]) -> Self {
        Self::of(&matches::lower(rule, matches, &mut Vec::new()))
    }

    /// Complains if some path of the rule does not have the parameter that `field` uses: a request by that path would
    /// find nothing to put in.
    pub(in super::super) fn require(&self, field: &str, name: &str, problems: &mut Vec<Problem>) {
        let lacks = |path: &&Path| !path.params.iter().any(|known| &**known == name);
        if let Some(path) = self.paths.iter().find(lacks) {
            problems.push(Problem::new(
                Code::UnknownParameter,
                field,
                format!("the path of {} ({}) has no parameter \"{name}\"", path.field, path.text),
                format!("every match of the rule needs type: Template with :{name} or *{name} in its path"),
            ));
        }
    }

    /// Complains if some path of the rule has no prefix that `field` could replace.
    pub(super) fn require_prefix(&self, field: &str, problems: &mut Vec<Problem>) {
        if let Some(path) = self.paths.iter().find(|path| !path.is_prefix) {
            problems.push(Problem::new(
                Code::InvalidFilter,
                field,
                format!("the path of {} ({}) has no prefix to replace", path.field, path.text),
                "every match of the rule needs type: PathPrefix",
            ));
        }
    }
}
