//! The rules of one host.

use std::hint::black_box;
use std::sync::Arc;

use super::matcher::{Matcher, RequestHead};
use super::path_match::{Kind, PathMatch};
use super::specificity::{Precedence, Specificity};
use super::trie::{LINES, Trie, Visit};
use super::{Listeners, Match, Route};
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
    /// A glance at each of them.
    glances: Box<[Glance]>,
    trie: Trie,
}

/// What tells of most rules whether they take a request whose path has matched, without a look at the rule: of ten thousand
/// hosts most are in no cache when they are asked for.
#[derive(Debug)]
struct Glance {
    route: Arc<Route>,
    /// How many bytes its prefix has; 0 when it is none.
    prefix: u32,
    listeners: Listeners,
    /// Whether it has conditions beyond its path, or its path is not told by the trie alone.
    asks: bool,
    /// Whether its path has parameters.
    names: bool,
}

impl Entry {
    /// Its place in the order of a host.
    pub fn specificity(&self) -> Specificity<'_> {
        Specificity::new(&self.path, &self.matcher, &self.precedence)
    }

    /// Whether its route answers on the listener that the request came in by.
    pub(super) fn listens(&self, head: &RequestHead<'_, '_>) -> bool {
        self.route.listeners.has(head.secure)
    }

    /// Whether it takes a request that the trie has led to it.
    fn accepts(&self, head: &RequestHead<'_, '_>, visit: &Visit<'_>) -> bool {
        let path_holds = match self.path.kind() {
            Kind::Template { has_rest, .. } => !has_rest || visit.slash_follows,
            Kind::RegularExpression(expression) => expression.is_match(head.path),
            Kind::Exact(_) | Kind::Prefix { .. } | Kind::Fallback => true,
        };
        path_holds && self.matcher.accepts(head)
    }
}

impl Glance {
    fn at(entry: &Entry) -> Self {
        let (prefix, asks) = match entry.path.kind() {
            Kind::Prefix { text, .. } => (text.len() as u32, false),
            Kind::Exact(_) | Kind::Fallback => (0, false),
            Kind::Template { has_rest, .. } => (0, *has_rest),
            Kind::RegularExpression(_) => (0, true),
        };
        Self {
            route: Arc::clone(&entry.route),
            prefix,
            listeners: entry.route.listeners,
            asks: asks || !entry.matcher.is_empty(),
            names: !entry.path.params().is_empty(),
        }
    }
}

impl HostRouter {
    /// A router for these rules; their order does not matter.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| b.specificity().cmp(&a.specificity()));
        let trie = Trie::new(entries.iter().map(|entry| &entry.path));
        Self { glances: entries.iter().map(Glance::at).collect(), entries: entries.into(), trie }
    }

    /// The rule for a request: the most specific one whose conditions hold.
    pub fn find<'t, 'r>(&'t self, head: &RequestHead<'r, '_>) -> Option<Match<'t, 'r>>
    where
        't: 'r,
    {
        self.search(head).map(|(_, found)| found)
    }

    /// Reads a word here and there of what a search looks at, for the processor to fetch all of it at once: where there are
    /// many hosts it is in no cache, and one look after the other would wait for the one before.
    fn expect(&self) {
        let glances = self.glances.iter().step_by(2).take(LINES).fold(0, |all, glance| all ^ glance.prefix);
        black_box((glances, self.trie.glance()));
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
        self.expect();
        self.trie.walk(head.path, |visit| {
            let (first, end) = (visit.rules.start as usize, visit.rules.end as usize);
            let (rules, glances) = (self.entries.get(first..end)?, self.glances.get(first..end)?);
            let mut both = rules.iter().zip(glances).enumerate();
            let (winner, (entry, glance)) = both.find(|(_, (entry, glance))| {
                glance.listeners.has(head.secure) && (!glance.asks || entry.accepts(head, &visit))
            })?;
            glance.route.expect();
            let names = if glance.names { entry.path.params() } else { &[] };
            let params = Params::new(names, head.path, *visit.spans);
            let found = Match { route: &glance.route, path: &entry.path, params, prefix: glance.prefix as usize };
            Some((first + winner, found))
        })
    }
}

#[cfg(test)]
mod tests;
