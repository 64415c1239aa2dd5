//! The rules of one host.

use std::sync::Arc;

use super::matcher::{Matcher, RequestHead};
use super::path_match::{Kind, PathMatch};
use super::specificity::{Precedence, Specificity};
use super::trie::{Trie, Visit};
use super::{Match, Route};
use crate::path::Params;

/// One match of a rule: conditions, and the route that takes a request for which they hold.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The condition on the path.
    pub path: PathMatch,
    /// The other conditions.
    pub matcher: Matcher,
    /// Its place among those that ask for the same.
    pub precedence: Precedence,
    /// Who takes the request.
    pub route: Arc<Route>,
}

/// The rules of one host, most specific first.
#[derive(Debug)]
pub struct HostRouter {
    entries: Box<[Entry]>,
    trie: Trie,
}

impl Entry {
    /// Its place in the order of a host.
    pub fn specificity(&self) -> Specificity<'_> {
        Specificity::new(&self.path, &self.matcher, &self.precedence)
    }

    /// Whether it takes a request whose path has matched.
    fn accepts(&self, head: &RequestHead<'_, '_>) -> bool {
        self.listens(head) && self.matcher.accepts(head)
    }

    /// Whether its route answers on the listener that the request came in by.
    pub(super) fn listens(&self, head: &RequestHead<'_, '_>) -> bool {
        if head.secure { self.route.listeners.https } else { self.route.listeners.http }
    }

    fn matched<'t, 'r>(&'t self, path: &'r str, visit: &Visit<'_>) -> Match<'t, 'r>
    where
        't: 'r,
    {
        let prefix = match self.path.kind() {
            Kind::Prefix { text, .. } => text.len(),
            Kind::Exact(_) | Kind::Template { .. } | Kind::RegularExpression(_) | Kind::Fallback => 0,
        };
        Match {
            route: &self.route,
            path: &self.path,
            params: Params::new(self.path.params(), path, *visit.spans),
            prefix,
        }
    }
}

impl HostRouter {
    /// A router for these rules; their order does not matter.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| b.specificity().cmp(&a.specificity()));
        let trie = Trie::new(entries.iter().map(|entry| &entry.path));
        Self { entries: entries.into(), trie }
    }

    /// The rule for a request: the most specific one whose conditions hold.
    pub fn find<'t, 'r>(&'t self, head: &RequestHead<'r, '_>) -> Option<Match<'t, 'r>>
    where
        't: 'r,
    {
        self.search(head).map(|(_, found)| found)
    }

    /// All of them, most specific first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The winner and its number.
    pub(super) fn search<'t, 'r>(&'t self, head: &RequestHead<'r, '_>) -> Option<(usize, Match<'t, 'r>)>
    where
        't: 'r,
    {
        self.trie.walk(head.path, |visit| {
            let first = visit.rules.start as usize;
            let rules = self.entries.get(first..visit.rules.end as usize)?;
            let winner = rules.iter().position(|entry| {
                let path_holds = match entry.path.kind() {
                    Kind::Template { has_rest, .. } => !has_rest || visit.slash_follows,
                    Kind::RegularExpression(expression) => expression.is_match(head.path),
                    Kind::Exact(_) | Kind::Prefix { .. } | Kind::Fallback => true,
                };
                path_holds && entry.accepts(head)
            })?;
            Some((first + winner, rules.get(winner)?.matched(head.path, &visit)))
        })
    }
}

#[cfg(test)]
mod tests;
