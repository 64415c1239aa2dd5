use std::cmp::Ordering;

use http::Method;
use proptest::prelude::*;

use super::*;
use crate::table::sample::{path, precedence};
use crate::table::{HeaderMatch, QueryMatch, ValueMatch};

/// What a specificity is made of, owned.
#[derive(Clone, Debug)]
struct Conditions {
    path: PathMatch,
    matcher: Matcher,
    precedence: Precedence,
}

impl Conditions {
    fn specificity(&self) -> Specificity<'_> {
        Specificity::new(&self.path, &self.matcher, &self.precedence)
    }
}

fn matcher(method: bool, headers: usize, queries: usize) -> Matcher {
    let header = HeaderMatch { name: http::HeaderName::from_static("x-a"), value: ValueMatch::Present };
    let query = QueryMatch { name: "a".into(), value: ValueMatch::Present };
    Matcher {
        path: None,
        method: method.then_some(Method::GET),
        headers: vec![header; headers].into(),
        queries: vec![query; queries].into(),
    }
}

fn conditions(
    declared: &str,
    (method, headers, queries): (bool, usize, usize),
    created: i64,
    name: &str,
) -> Conditions {
    Conditions {
        path: path(declared),
        matcher: matcher(method, headers, queries),
        precedence: precedence(created, name),
    }
}

/// The documented order, each ahead of the one below it for this reason.
#[test]
fn the_order_is_the_documented_one() {
    let plain = (false, 0, 0);
    let ranks = [
        ("Exact /a", plain, 9, "z", "an exact path comes first"),
        ("Template /a/b/:x", (true, 0, 0), 9, "z", "it asks for a method"),
        ("Template /a/b/:y", (false, 2, 0), 9, "z", "it asks for more headers"),
        ("Template /a/b/:y", (false, 1, 2), 9, "z", "it asks for more query parameters"),
        (
            "Template /a/b/:y",
            (false, 1, 1),
            9,
            "z",
            "its path is more specific at the first segment in which they differ",
        ),
        ("Prefix /a/b", plain, 1, "z", "its object is older"),
        ("Template /a/b/*rest", plain, 2, "a", "its object is as old, and its namespace and name come first"),
        ("Prefix /a/b", plain, 2, "b", "its path is more specific at the first segment in which they differ"),
        ("Template /a/:x/c", plain, 9, "z", "its path is more specific at the first segment in which they differ"),
        ("Template /a/:x", plain, 9, "z", "its path is more specific at the first segment in which they differ"),
        ("Template /a/:x/*rest", plain, 9, "z", "its path is more specific at the first segment in which they differ"),
        ("Prefix /a", (true, 9, 9), 9, "z", "its path is more specific at the first segment in which they differ"),
        ("Template /:x/b", plain, 9, "z", "its path is more specific at the first segment in which they differ"),
        ("Prefix /", plain, 9, "z", "prefixes and templates come before regular expressions and default backends"),
        ("RegularExpression ^/z", (true, 0, 0), 9, "z", "it asks for a method"),
        ("RegularExpression ^/a", plain, 1, "z", "its object is older"),
        ("RegularExpression ^/b", plain, 2, "z", "a default backend comes last"),
        ("Fallback", plain, 1, "a", "its object is older"),
        ("Fallback", plain, 2, "a", ""),
    ];
    let all: Vec<Conditions> =
        ranks.iter().map(|(path, rest, created, name, _)| conditions(path, *rest, *created, name)).collect();
    for (higher, greater) in all.iter().enumerate() {
        for lesser in &all[higher + 1..] {
            assert!(greater.specificity() > lesser.specificity(), "{} before {}", greater.path, lesser.path);
        }
    }
    for (pair, (path, .., why)) in all.windows(2).zip(&ranks) {
        assert_eq!(pair[0].specificity().advantage_over(&pair[1].specificity()), *why, "{path}");
    }
}

#[test]
fn ties_end_with_the_place_in_the_object() {
    let base = precedence(5, "shop");
    let later = [
        Precedence { index: 1, ..base.clone() },
        Precedence { rule: 1, ..base.clone() },
        Precedence { name: "shop2".into(), ..base.clone() },
        Precedence { namespace: "shop2".into(), name: "a".into(), ..base.clone() },
        Precedence { kind: 1, namespace: "a".into(), ..base.clone() },
        Precedence { created: 6, kind: 0, ..base.clone() },
    ];
    let mut sorted: Vec<_> = later.iter().rev().chain([&base]).collect();
    sorted.sort();
    assert_eq!(sorted, [&base].into_iter().chain(&later).collect::<Vec<_>>());
    let (path, matcher) = (path("Prefix /"), Matcher::default());
    let of = |precedence| Specificity::new(&path, &matcher, precedence);
    assert_eq!(of(&base).advantage_over(&of(&later[0])), "it is declared earlier in the same object");
    assert_eq!(of(&base).advantage_over(&of(&later[4])), "its object is as old, and its kind comes first");
}

fn any_conditions() -> impl Strategy<Value = Conditions> {
    let path = prop::sample::select(vec![
        "Exact /a",
        "Exact /b",
        "Prefix /",
        "Prefix /a",
        "Prefix /a/",
        "Prefix /a/b",
        "Template /:x",
        "Template /:y/*z",
        "Template /a/:x",
        "Template /a/*x",
        "Template /a/:x/",
        "RegularExpression a",
        "RegularExpression b",
        "Fallback",
    ]);
    (path, (any::<bool>(), 0..2usize, 0..2usize), 0..2i64, prop::sample::select(vec!["a", "b"]))
        .prop_map(|(path, rest, created, name)| conditions(path, rest, created, name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn specificity_is_a_total_order(a in any_conditions(), b in any_conditions(), c in any_conditions()) {
        let (a, b, c) = (a.specificity(), b.specificity(), c.specificity());
        prop_assert_eq!(a.cmp(&a), Ordering::Equal);
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
        prop_assert_eq!(a.partial_cmp(&b), Some(a.cmp(&b)));
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }
}
