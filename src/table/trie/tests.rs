use proptest::prelude::*;

use super::*;
use crate::table::sample::{entry, path};
use crate::table::{Entry, HostRouter};

/// The paths of a trie in the order in which a walk that nothing ends comes upon them.
fn visited(entries: &[Entry], request: &str) -> Vec<u32> {
    let trie = Trie::new(entries.iter().map(|entry| &entry.path));
    let mut rules = Vec::new();
    let nothing: Option<()> = trie.walk(request, |visit| {
        rules.extend(visit.rules);
        None
    });
    assert_eq!(nothing, None);
    rules
}

fn sorted(declared: &[&str]) -> Vec<Entry> {
    HostRouter::new(declared.iter().map(|text| entry(path(text))).collect()).entries().to_vec()
}

#[test]
fn a_walk_goes_from_the_most_specific_to_the_least() {
    let all = sorted(&[
        "Fallback",
        "RegularExpression a",
        "Prefix /",
        "Template /:x/b",
        "Prefix /a",
        "Template /a/*rest",
        "Template /a/:x/*rest",
        "Template /a/:x",
        "Template /:x/:y",
        "Exact /a/b",
        "Exact /a/c",
        "Prefix /a/b",
        "Prefix /b",
    ]);
    let names: Vec<String> =
        visited(&all, "/a/b").into_iter().map(|rule| all[rule as usize].path.to_string()).collect();
    assert_eq!(
        names,
        [
            "Exact /a/b",
            "PathPrefix /a/b",
            "Template /a/:x",
            "Template /a/:x/*rest",
            "PathPrefix /a",
            "Template /a/*rest",
            "Template /:x/b",
            "Template /:x/:y",
            "PathPrefix /",
            "RegularExpression a",
            "any other path",
        ],
        "`/a/:x/*rest` is visited without its slash, and its reader is told"
    );
}

#[test]
fn a_node_with_many_children_finds_each() {
    let declared: Vec<String> =
        (0..40).map(|number| format!("Prefix /{}{number}", "long-segment-".repeat(number % 3))).collect();
    let all = sorted(&declared.iter().map(String::as_str).collect::<Vec<_>>());
    for count in [1, 7, 8, 9, 40] {
        for wanted in 0..count {
            let request = format!("{}/x", all[wanted].path.to_string().trim_start_matches("PathPrefix "));
            assert_eq!(visited(&all[..count], &request), [wanted as u32], "{request}");
        }
    }
    assert!(visited(&all, "/long-segment-").is_empty());
    assert!(visited(&all, "/long-segment-long-segment-long").is_empty());
}

/// Two segments of up to eight bytes, one the other's with zero bytes behind, look alike but for their length.
#[test]
fn short_segments_are_told_apart() {
    let all = sorted(&["Prefix /a", "Prefix /ab", "Prefix /abcdefgh", "Prefix /abcdefghi"]);
    for entry in &all {
        let request = entry.path.to_string().trim_start_matches("PathPrefix ").to_owned();
        assert_eq!(visited(&all, &request).len(), 1, "{request}");
    }
}

proptest! {
    /// Whatever is declared, the ranges come in the order of the list, and no rule whose path matches is left out.
    #[test]
    fn a_walk_follows_the_order_of_the_list(
        declared in prop::collection::vec("(Prefix|Template)(/(a|b|:x)){0,3}|Exact(/(a|b)){1,3}/?|RegularExpression a|Fallback", 0..12),
        request in "(/(a|b|c)){1,4}/?",
    ) {
        let declared: Vec<String> = declared
            .iter()
            .map(|text| text.replacen('/', " /", 1).replace("Prefix", "Prefix "))
            .map(|text| if text.trim_end().ends_with("Prefix") { "Prefix /".into() } else { text.replace("  ", " ") })
            .map(|text| if text == "Template" { "Template /*r".into() } else { text.replacen(":x", ":y", 1).replacen(":x", ":z", 1) })
            .collect();
        let all = sorted(&declared.iter().map(String::as_str).collect::<Vec<_>>());
        let rules = visited(&all, &request);
        prop_assert!(rules.is_sorted());
        for (number, entry) in all.iter().enumerate() {
            prop_assert!(!entry.path.accepts(&request) || rules.contains(&(number as u32)), "{} left out", entry.path);
        }
    }
}
