//! Mistakes in what was asked, told to whoever asked: what is wrong, where, what was expected, what to do.
use std::fmt;

/// Mistakes that are told one by one; the rest of a file full of them is only counted.
const TOLD_MAX: usize = 20;

/// All mistakes that were found, at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    told: Vec<String>,
    more: usize,
}

impl Mistakes {
    /// Adds a sentence: `where: what is wrong; what was expected, or what to do`.
    pub(super) fn add(&mut self, mistake: impl Into<String>) {
        if self.told.len() < TOLD_MAX {
            self.told.push(mistake.into());
        } else {
            self.more += 1;
        }
    }

    /// Takes the value, or notes why there is none.
    pub(super) fn check<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|mistake| self.add(mistake)).ok()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Each that is told.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.told.iter().map(String::as_str)
    }
}

/// One line each.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.told.iter().enumerate() {
            write!(f, "{}{mistake}", if i > 0 { "\n" } else { "" })?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// A text in quotes, cut where it is too long to help: URLs and fields can be of any length.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 120;
    match text.char_indices().nth(SHOWN) {
        None => format!("\"{}\"", text.escape_debug()),
        Some((at, _)) => format!("\"{}…\"", text.get(..at).unwrap_or_default().escape_debug()),
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_full_of_mistakes_is_told_in_part() {
        let mut mistakes = Mistakes::default();
        assert!(mistakes.is_empty());
        for n in 0..TOLD_MAX + 5 {
            mistakes.add(format!("mistake {n}"));
        }
        let text = mistakes.to_string();
        assert_eq!(text.lines().count(), TOLD_MAX + 1);
        assert!(text.starts_with("mistake 0\nmistake 1\n") && text.ends_with("\nand 5 more"));
        assert_eq!(mistakes.iter().count(), TOLD_MAX);
    }

    #[test]
    fn texts_are_quoted_and_numbers_grouped() {
        assert_eq!(quoted("a\"\n"), "\"a\\\"\\n\"");
        assert_eq!(quoted(&"ä".repeat(500)).chars().count(), 123);
        let numbers = [0, 12, 123, 1_234, 123_456, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }
}
