//! "Did you mean": the known name nearest to one that is not known.

/// Names longer than this are not compared, which bounds the work on hostile input.
const LONGEST: usize = 64;

/// The candidate nearest to `name`, if it is near enough to be a slip of the fingers: a third of the letters may
/// differ, and case does not count. Of equally near ones the first wins.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.to_lowercase().chars().take(LONGEST + 1).collect();
    if name.len() > LONGEST {
        return None;
    }
    candidates
        .filter(|it| it.len() <= LONGEST)
        .map(|candidate| {
            let letters: Vec<char> = candidate.to_lowercase().chars().collect();
            (distance(&name, &letters), letters.len(), candidate)
        })
        .filter(|(distance, length, _)| distance * 3 <= (*length).max(name.len()))
        .min_by_key(|(distance, _, _)| *distance)
        .map(|(_, _, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other (optimal string
/// alignment), keeping two rows of the table.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut left = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut best = (cell(&last, j) + usize::from(x != y)).min(cell(&last, j + 1) + 1).min(left + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(&y) && b.get(j - 1) == Some(&x);
            if swapped {
                best = best.min(cell(&before_last, j - 1) + 1);
            }
            row.push(best);
            left = best;
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_insertions_deletions_replacements_and_swaps() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("sepc", "spec", 1),
            ("ab", "ba", 1),
            ("abc", "cab", 2),
            ("bursts", "burst", 1),
        ] {
            let letters = |it: &str| it.chars().collect::<Vec<_>>();
            assert_eq!(distance(&letters(a), &letters(b)), expected, "{a} {b}");
        }
    }

    #[test]
    fn suggests_slips_and_not_other_words() {
        let known = ["burst", "requests", "hostnames", "httpRedirect"];
        let suggest = |name: &str| nearest(name, known.into_iter());
        assert_eq!(suggest("bursts"), Some("burst"));
        assert_eq!(suggest("hostname"), Some("hostnames"));
        assert_eq!(suggest("httpredirect"), Some("httpRedirect"));
        assert_eq!(suggest("reqeusts"), Some("requests"));
        assert_eq!(suggest("timeout"), None);
        assert_eq!(suggest(""), None);
        assert_eq!(suggest(&"burst".repeat(1000)), None);
    }
}
