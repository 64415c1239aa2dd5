//! "Did you mean": the known name nearest to one that is not known.

/// Names longer than this are not compared, which bounds the work on hostile input.
const LONGEST: usize = 64;

/// The candidate nearest to `name`, if it is near enough to be a slip of the fingers: a third of the letters may
/// differ, and case does not count. Of equally near ones the first wins.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
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

/// Levenshtein's distance, one row at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_insertions_deletions_and_replacements() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
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
