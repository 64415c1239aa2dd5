//! The annotations of one Ingress, taken one by one, with what is to be told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::code::Code;
use super::super::report::Problem;
use super::name::{PREFIX, field};
use super::unread;
use crate::address::{Network, NetworkError};

/// The annotations of ingress-nginx on one Ingress.
pub(super) struct Annotations<'a> {
    /// Those that nobody has taken yet, by their names without what they all begin with.
    left: BTreeMap<&'a str, &'a str>,
    problems: Vec<Problem>,
    closed: bool,
}

impl<'a> Annotations<'a> {
    /// Those among the annotations of an object.
    pub(super) fn of(annotations: &'a BTreeMap<String, String>) -> Self {
        let named = annotations.iter().filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value.trim())));
        Self { left: named.collect(), problems: Vec::new(), closed: false }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The value of one, if it has any. Whoever takes it sees to it: of what is left at the end it is told that nobody does.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a str> {
        self.left.remove(name).filter(|value| !value.is_empty())
    }

    /// A yes or no, in all the ways in which Go's `ParseBool` reads it.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        match self.take(name)? {
            "true" | "True" | "TRUE" | "t" | "T" | "1" => Some(true),
            "false" | "False" | "FALSE" | "f" | "F" | "0" => Some(false),
            other => {
                self.unusable(
                    name,
                    format!("\"{}\" is neither true nor false", other.escape_debug()),
                    "write one of them",
                );
                None
            }
        }
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &str) -> Option<u32> {
        let value = self.take(name)?;
        let number = value.parse().ok();
        if number.is_none() {
            self.unusable(name, format!("\"{}\" is no whole number", value.escape_debug()), "write digits alone");
        }
        number
    }

    /// A length of time above nothing, in whole seconds.
    pub(super) fn seconds(&mut self, name: &str) -> Option<Duration> {
        let seconds = self.number(name)?;
        if seconds == 0 {
            self.unusable(name, "0 seconds are no time", "write 1 or more");
        }
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// What stands between commas.
    pub(super) fn list(&mut self, name: &str) -> Vec<&'a str> {
        let texts = self.take(name).unwrap_or_default().split(',').map(str::trim);
        texts.filter(|text| !text.is_empty()).collect()
    }

    /// The networks of a list, and what is wrong with those that are none.
    pub(super) fn networks(&mut self, name: &str) -> (Vec<Network>, Vec<NetworkError>) {
        let (mut networks, mut wrong) = (Vec::new(), Vec::new());
        for text in self.list(name) {
            match text.parse() {
                // Go takes an address inside a network for the network, and so did who wrote it.
                Ok(network) | Err(NetworkError::Inside(_, network)) => networks.push(network),
                Err(error) => wrong.push(error),
            }
        }
        (networks, wrong)
    }

    /// An object, by `namespace/name` or by its name.
    pub(super) fn reference(&mut self, name: &str) -> Option<(Option<String>, String)> {
        let value = self.take(name)?;
        let (namespace, object) = match value.split_once('/') {
            Some((namespace, object)) => (Some(namespace.to_owned()), object),
            None => (None, value),
        };
        Some((namespace, object.to_owned()))
    }

    /// Tells that the value of one has no effect.
    pub(super) fn unusable(&mut self, name: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.note(name, format!("{}; it has no effect", what.into()), remedy);
    }

    /// Tells something about one that has its effect.
    pub(super) fn note(&mut self, name: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::new(Code::IngressNginx, field(name), what, remedy));
    }

    /// Closes the rules, since one that keeps somebody out cannot.
    pub(super) fn close(&mut self, name: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let what = format!("{}; so that nobody gets in who should not, the rules answer 500", what.into());
        self.problems.push(Problem::new(Code::Unguarded, field(name), what, remedy));
        self.closed = true;
    }

    /// Tells what has been found wrong with what one of them refers to.
    pub(super) fn tell(&mut self, name: &str, problems: Vec<Problem>) {
        self.problems.extend(problems.into_iter().map(|problem| Problem { field: field(name), ..problem }));
    }

    /// The same, and closes the rules if that cannot be used.
    pub(super) fn found<T>(&mut self, name: &str, problems: Vec<Problem>, made: Result<T, ()>) -> Option<T> {
        self.tell(name, problems);
        self.closed |= made.is_err();
        made.ok()
    }

    /// What is to be told of those that were taken.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// All that is to be told, also of those that are left, and whether the rules are closed.
    pub(super) fn finish(mut self) -> (Vec<Problem>, bool) {
        let left = unread::problems(&self.left);
        self.closed |= left.iter().any(|problem| problem.code == Code::Unguarded);
        self.problems.extend(left);
        (self.problems, self.closed)
    }
}
