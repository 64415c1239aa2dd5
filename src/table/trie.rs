//! The path trie of one host: from a path to the rules that may take it, most specific first, without allocating.
//!
//! The rules of a host are sorted by [`Specificity`](super::Specificity), and rules with the same path therefore stand
//! side by side: the trie stores ranges of that list and nothing else. A walk visits the ranges in the order of the
//! list, and the caller ends it when a rule of a range accepts the request; else it tracks back.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;

use super::path_match::{Kind, PathMatch, Step};
use crate::hash::BuildXxh3;
use crate::path::{MAX_PARAMS, Spans};

/// How much of a list is fetched before it is looked at: so many pairs of its elements, each of which is less than half a
/// cache line. A host with more paths has the rest looked for by halves.
pub(super) const LINES: usize = 5;

/// Rules with one path: a range of the host's list.
pub(super) type Rules = Range<u32>;

/// Ranges of the host's list by path.
///
/// Nodes, their children and the children's texts lie in one piece of memory each: of ten thousand hosts most are cold
/// when they are asked for, and what costs then is how many places have to be looked at.
#[derive(Debug)]
pub(super) struct Trie {
    exact: HashMap<Box<str>, Rules, BuildXxh3>,
    /// The root comes first.
    nodes: Box<[Node]>,
    /// The children of all nodes, those of one node side by side and sorted by text.
    literals: Box<[Literal]>,
    /// Their texts.
    texts: Box<str>,
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
    /// Which of the trie's literals are its children.
    literals: Range<u32>,
    /// Never the root, whose number is 0.
    param: Option<NonZeroU32>,
    ends: Rules,
    spans: Rules,
}

/// A child by its text.
#[derive(Debug)]
struct Literal {
    /// The first bytes of the text, which tell most texts apart without a look elsewhere.
    head: u64,
    text: Range<u32>,
    child: u32,
}

/// A node in the making.
#[derive(Default)]
struct Draft<'p> {
    children: Vec<(&'p str, u32)>,
    param: Option<NonZeroU32>,
    ends: Rules,
    spans: Rules,
}

impl Trie {
    /// A trie over paths sorted by descending specificity.
    pub(super) fn new<'p>(paths: impl Iterator<Item = &'p PathMatch>) -> Self {
        let mut exact = HashMap::<Box<str>, Rules, BuildXxh3>::default();
        let (mut expressions, mut fallbacks) = (0..0, 0..0);
        let mut drafts = vec![Draft::default()];
        for (number, path) in (0u32..).zip(paths) {
            match path.kind() {
                Kind::Exact(text) => extend(exact.entry(text.clone()).or_default(), number),
                Kind::Prefix { steps, .. } | Kind::Template { steps, .. } => insert(&mut drafts, steps, number),
                Kind::RegularExpression(_) => extend(&mut expressions, number),
                Kind::Fallback => extend(&mut fallbacks, number),
            }
        }
        let mut literals = Vec::new();
        let mut texts = String::new();
        let mut finish = |draft: Draft<'_>| {
            let first = literals.len() as u32;
            for (text, child) in draft.children {
                let start = texts.len() as u32;
                texts.push_str(text);
                literals.push(Literal { head: head(text), text: start..texts.len() as u32, child });
            }
            let Draft { children: _, param, ends, spans } = draft;
            Node { literals: first..literals.len() as u32, param, ends, spans }
        };
        let nodes = drafts.into_iter().map(&mut finish).collect();
        Self { exact, nodes, literals: literals.into(), texts: texts.into(), expressions, fallbacks }
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
            let mut walk = Walk { trie: self, path, spans, params: 0, visit: &mut visit };
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

    /// Reads a word of each piece of memory that a walk may look at first.
    pub(super) fn glance(&self) -> u32 {
        let nodes = self.nodes.iter().step_by(2).take(LINES).fold(0, |all, node| all ^ node.ends.start);
        self.literals.iter().step_by(2).take(LINES).fold(nodes, |all, literal| all ^ literal.child)
    }

    fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(number as usize)
    }

    /// The child of a node for a segment.
    fn literal(&self, node: &Node, segment: &str) -> Option<&Node> {
        let literals = self.literals.get(node.literals.start as usize..node.literals.end as usize)?;
        let wanted = head(segment);
        let text = |literal: &Literal| self.texts.get(literal.text.start as usize..literal.text.end as usize);
        let order = |literal: &Literal| {
            let heads = literal.head.cmp(&wanted);
            // Where both fit into their heads, the heads say it all but for the lengths.
            heads.then_with(|| match (literal.text.len(), segment.len()) {
                (known @ ..=HEAD, length @ ..=HEAD) => known.cmp(&length),
                _ => text(literal).cmp(&Some(segment)),
            })
        };
        let found = literals.binary_search_by(order).ok()?;
        self.node(literals.get(found)?.child)
    }
}

/// Adds a rule at the end of its steps.
///
/// The rules come sorted, so those below one child follow each other: a child is the last one of its node or new, and
/// the children of a node end up in the order of their texts.
fn insert<'p>(drafts: &mut Vec<Draft<'p>>, steps: &'p [Step], number: u32) {
    let mut at = 0;
    for step in steps {
        let next = drafts.len() as u32;
        let Some(draft) = drafts.get_mut(at as usize) else { return };
        at = match step {
            Step::Literal(Reverse(text)) => match draft.children.last() {
                Some((last, child)) if *last == &**text => *child,
                _ => {
                    draft.children.push((text, next));
                    next
                }
            },
            Step::Param => {
                let child = draft.param.map_or(next, NonZeroU32::get);
                draft.param = NonZeroU32::new(child);
                child
            }
            Step::End => return extend(&mut draft.ends, number),
            Step::Span => return extend(&mut draft.spans, number),
        };
        if at == next {
            drafts.push(Draft::default());
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
    trie: &'w Trie,
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
            let rest = bytes.get(start..).unwrap_or_default();
            let length = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let segment = self.path.get(start..start + length).unwrap_or_default();
            if let Some(child) = self.trie.literal(node, segment)
                && let Some(found) = self.descend(child, start + length)
            {
                return Some(found);
            }
            if !segment.is_empty()
                && let Some(child) = node.param.and_then(|child| self.trie.node(child.get()))
            {
                self.bind(start, start + length);
                self.params += 1;
                if let Some(found) = self.descend(child, start + length) {
                    return Some(found);
                }
                self.params -= 1;
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

/// How much of a text is in its head.
const HEAD: usize = 8;

/// The first bytes of a segment; heads are in the order of their texts.
fn head(segment: &str) -> u64 {
    let mut head = [0; HEAD];
    head.iter_mut().zip(segment.bytes()).for_each(|(to, from)| *to = from);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests;
