//! "Did you mean": the nearest of the known words.

/// The candidate nearest to `word`, if it is near enough to be meant.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let bound = match word.chars().count() {
        0 => return None,
        1..=2 => 1,
        3..=5 => 2,
        6..=64 => 3,
        _ => return None,
    };
    let measured = candidates.into_iter().filter(|c| c.len().abs_diff(word.len()) <= bound * 4).filter_map(|c| {
        let distance = distance(word, c);
        // A word that is a part of the other is meant more often than its length says: `addr`, `timeout_header`.
        let part = word.len() >= 4 && (c.starts_with(word) || word.starts_with(c) && c.len() >= 4);
        (distance <= bound && distance < c.chars().count() || part).then_some((distance, c))
    });
    measured.min().map(|(_, c)| c)
}

/// A sentence that suggests the nearest candidate, or nothing.
pub(crate) fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    nearest(word, candidates).map(|c| format!("did you mean \"{c}\"?")).unwrap_or_default()
}

/// Edit distance with neighbouring letters swapped as one edit (optimal string alignment); case counts for nothing.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_find_their_word() {
        let words = ["address", "name", "protocols", "timeouts", "header", "path_prefix"];
        for (typo, word) in [
            ("adress", "address"),
            ("addr", "address"),
            ("nmae", "name"),
            ("Protocol", "protocols"),
            ("timeout", "timeouts"),
            ("path-prefix", "path_prefix"),
        ] {
            assert_eq!(nearest(typo, words), Some(word), "{typo}");
        }
        for far in ["", "zzz", "x", "certificates", "n"] {
            assert_eq!(nearest(far, words), None, "{far}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, n) in [("", "abc", 3), ("abc", "acb", 1), ("kitten", "sitting", 3), ("A", "a", 0)] {
            assert_eq!(distance(a, b), n);
        }
    }
}
