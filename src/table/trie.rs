//! The path trie of one host: from a path to the rules that may take it, most specific first, without allocating.
//!
//! The rules of a host are sorted by [`Specificity`](super::Specificity), and rules with the same path therefore stand
//! side by side: the trie stores ranges of that list and nothing else. A walk visits the ranges in the order of the
//! list, and the caller ends it when a rule of a range accepts the request; else it tracks back.

use std::collections::HashMap;
use std::ops::Range;

use super::hash::BuildXxh3;
use super::params::{MAX_PARAMS, Spans};
use super::path_match::{Kind, PathMatch, Step};

/// Rules with one path: a range of the host's list.
pub(super) type Rules = Range<u32>;

/// Ranges of the host's list by path.
#[derive(Debug)]
pub(super) struct Trie {
    exact: HashMap<Box<str>, Rules, BuildXxh3>,
    /// The root comes first.
    nodes: Vec<Node>,
    expressions: Rules,
    fallbacks: Rules,
}

/// What a walk has come upon.
pub(super) struct Visit<'w> {
    /// Rules whose path may match.
    pub(super) rules: Rules,
    /// The values of path parameters so far; those of a `*rest` included.
    pub(super) spans: &'w Spans,
    /// Whether a slash follows, which a `*rest` needs.
    pub(super) slash_follows: bool,
}

/// One segment further from the root.
#[derive(Debug)]
struct Node {
    literals: Literals,
    param: Option<u32>,
    ends: Rules,
    spans: Rules,
}

/// The children of a node by their text.
#[derive(Debug)]
enum Literals {
    /// So few that looking at all is quicker than hashing.
    Few(Vec<Literal>),
    Many(HashMap<Box<str>, u32, BuildXxh3>),
}

/// From this many children on, hashing wins.
const MANY: usize = 9;

#[derive(Debug)]
struct Literal {
    /// The first bytes of the text, which tell most texts apart without a look elsewhere in memory.
    head: u64,
    text: Box<str>,
    child: u32,
}

impl Trie {
    /// A trie over paths sorted by descending specificity.
    pub(super) fn new<'p>(paths: impl Iterator<Item = &'p PathMatch>) -> Self {
        let mut trie = Self { exact: HashMap::default(), nodes: vec![Node::new()], expressions: 0..0, fallbacks: 0..0 };
        for (number, path) in (0u32..).zip(paths) {
            match path.kind() {
                Kind::Exact(text) => extend(trie.exact.entry(text.clone()).or_insert(0..0), number),
                Kind::Prefix { steps, .. } | Kind::Template { steps, .. } => trie.insert(steps, number),
                Kind::RegularExpression(_) => extend(&mut trie.expressions, number),
                Kind::Fallback => extend(&mut trie.fallbacks, number),
            }
        }
        trie.nodes.shrink_to_fit();
        trie
    }

    /// Visits the rules whose path may match, most specific first, until `visit` finds one.
    pub(super) fn walk<T>(&self, path: &str, mut visit: impl FnMut(Visit<'_>) -> Option<T>) -> Option<T> {
        let spans = [(0, 0); MAX_PARAMS];
        let whole = |rules: &Rules| Visit { rules: rules.clone(), spans: &spans, slash_follows: true };
        if let Some(rules) = self.exact.get(path)
            && let Some(found) = visit(whole(rules))
        {
            return Some(found);
        }
        if let Some(root) = self.nodes.first() {
            let mut walk = Walk { nodes: &self.nodes, path, spans, params: 0, visit: &mut visit };
            if let Some(found) = walk.descend(root, 0) {
                return Some(found);
            }
        }
        if !self.expressions.is_empty()
            && let Some(found) = visit(whole(&self.expressions))
        {
            return Some(found);
        }
        if self.fallbacks.is_empty() { None } else { visit(whole(&self.fallbacks)) }
    }

    fn insert(&mut self, steps: &[Step], number: u32) {
        let mut at = 0;
        for step in steps {
            let next = self.nodes.len() as u32;
            let Some(node) = self.nodes.get_mut(at as usize) else { return };
            at = match step {
                Step::Literal(text) => node.literals.child_or_insert(&text.0, next),
                Step::Param => *node.param.get_or_insert(next),
                Step::End => return extend(&mut node.ends, number),
                Step::Span => return extend(&mut node.spans, number),
            };
            if at == next {
                self.nodes.push(Node::new());
            }
        }
    }
}

/// Adds the next number to a range of consecutive ones.
fn extend(rules: &mut Rules, number: u32) {
    if Rules::is_empty(rules) {
        rules.start = number;
    }
    rules.end = number + 1;
}

struct Walk<'w, V> {
    nodes: &'w [Node],
    path: &'w str,
    spans: Spans,
    params: usize,
    visit: &'w mut V,
}

impl<T, V: FnMut(Visit<'_>) -> Option<T>> Walk<'_, V> {
    /// Looks below a node whose segments end at `end`, where the path has a slash or nothing more. As deep as the
    /// deepest declared path at most, and at each node no more than once.
    fn descend(&mut self, node: &Node, end: usize) -> Option<T> {
        let bytes = self.path.as_bytes();
        let start = end + 1;
        let slash_follows = end < bytes.len();
        if slash_follows {
            if node.has_children() {
                let rest = bytes.get(start..).unwrap_or_default();
                let length = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                let segment = self.path.get(start..start + length).unwrap_or_default();
                if let Some(child) = node.literals.get(segment).and_then(|child| self.nodes.get(child as usize))
                    && let Some(found) = self.descend(child, start + length)
                {
                    return Some(found);
                }
                if !segment.is_empty()
                    && let Some(child) = node.param.and_then(|child| self.nodes.get(child as usize))
                {
                    self.bind(start, start + length);
                    self.params += 1;
                    if let Some(found) = self.descend(child, start + length) {
                        return Some(found);
                    }
                    self.params -= 1;
                }
            }
        } else if !node.ends.is_empty()
            && let Some(found) = self.offer(node.ends.clone(), slash_follows)
        {
            return Some(found);
        }
        if node.spans.is_empty() {
            return None;
        }
        self.bind(start, bytes.len().max(start));
        self.offer(node.spans.clone(), slash_follows)
    }

    fn bind(&mut self, from: usize, to: usize) {
        if let Some(span) = self.spans.get_mut(self.params) {
            *span = (from as u32, to as u32);
        }
    }

    fn offer(&mut self, rules: Rules, slash_follows: bool) -> Option<T> {
        (self.visit)(Visit { rules, spans: &self.spans, slash_follows })
    }
}

impl Node {
    fn new() -> Self {
        Self { literals: Literals::Few(Vec::new()), param: None, ends: 0..0, spans: 0..0 }
    }

    fn has_children(&self) -> bool {
        self.param.is_some()
            || match &self.literals {
                Literals::Few(list) => !list.is_empty(),
                Literals::Many(_) => true,
            }
    }
}

impl Literals {
    fn get(&self, segment: &str) -> Option<u32> {
        match self {
            Self::Few(list) => {
                let head = head(segment);
                list.iter().find(|known| known.head == head && *known.text == *segment).map(|known| known.child)
            }
            Self::Many(map) => map.get(segment).copied(),
        }
    }

    fn child_or_insert(&mut self, segment: &str, child: u32) -> u32 {
        if let Some(known) = self.get(segment) {
            return known;
        }
        match self {
            Self::Few(list) => {
                list.push(Literal { head: head(segment), text: segment.into(), child });
                if list.len() >= MANY {
                    *self = Self::Many(list.drain(..).map(|literal| (literal.text, literal.child)).collect());
                }
            }
            Self::Many(map) => {
                map.insert(segment.into(), child);
            }
        }
        child
    }
}

/// The first eight bytes of a segment.
fn head(segment: &str) -> u64 {
    let mut head = [0; 8];
    head.iter_mut().zip(segment.bytes()).for_each(|(to, from)| *to = from);
    u64::from_le_bytes(head)
}

#[cfg(test)]
mod tests;
