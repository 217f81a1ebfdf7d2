//! Which statuses are answered, and how often.
use super::{Mistake, Random, share};
use std::str::FromStr;

/// Most entries of a mix.
const ENTRIES_MAX: usize = 32;
/// What classes stand for: those that clients meet.
const CLASSES: [(&str, &[u16]); 4] = [
    ("2xx", &[200, 201, 202, 206]),
    ("3xx", &[301, 302, 307, 308]),
    ("4xx", &[400, 401, 403, 404, 429]),
    ("5xx", &[500, 502, 503, 504]),
];

/// Statuses with their shares; what is left is 200.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusMix {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// The shares of this one and those before it.
    up_to: f64,
    /// One of them, each as likely.
    statuses: Vec<u16>,
}

impl StatusMix {
    /// One of them.
    pub fn draw(&self, random: &mut Random) -> u16 {
        if self.entries.is_empty() {
            return 200;
        }
        let at = random.unit();
        let Some(entry) = self.entries.iter().find(|entry| at < entry.up_to) else { return 200 };
        let index = random.between(0, (entry.statuses.len() as u64).saturating_sub(1));
        entry.statuses.get(index as usize).copied().unwrap_or(200)
    }

    /// The entries of both.
    ///
    /// # Errors
    /// Together they are more than 100%, or too many.
    pub fn and(mut self, other: StatusMix) -> Result<StatusMix, Mistake> {
        let mut before = 0.0;
        for Entry { up_to, statuses } in other.entries {
            self.add(up_to - before, statuses)?;
            before = up_to;
        }
        Ok(self)
    }

    fn add(&mut self, share: f64, statuses: Vec<u16>) -> Result<(), Mistake> {
        let up_to = self.entries.last().map_or(0.0, |last| last.up_to) + share;
        // Shares are decimal fractions: their sum may be off by a rounding.
        if up_to > 1.0 + 1e-9 {
            return Err(Mistake("the shares of all statuses are more than 100% together".into()));
        }
        if self.entries.len() == ENTRIES_MAX {
            return Err(Mistake(format!("there are more than {ENTRIES_MAX} statuses")));
        }
        self.entries.push(Entry { up_to, statuses });
        Ok(())
    }
}

/// A status that a final answer can have.
pub(super) fn status(text: &str) -> Result<u16, Mistake> {
    let status = text.trim().parse().ok().filter(|status| (200..=599).contains(status));
    status.ok_or_else(|| Mistake(format!("`{text}` is no status: 200 to 599 is expected")))
}

impl FromStr for StatusMix {
    type Err = Mistake;

    /// `503`, `503=1%`, `5xx=1%,404=0.5%`.
    fn from_str(text: &str) -> Result<StatusMix, Mistake> {
        let mut mix = StatusMix::default();
        for part in text.split(',') {
            let (what, how_often) = part.split_once('=').unwrap_or((part, "100%"));
            let class = CLASSES.iter().find(|(name, _)| *name == what.trim());
            let statuses = match class {
                Some((_, statuses)) => statuses.to_vec(),
                None => vec![status(what).map_err(|mistake| {
                    Mistake(format!("{mistake}, or 2xx, 3xx, 4xx, 5xx, with a share: 503=1% or 5xx=1%,404=0.5%"))
                })?],
            };
            mix.add(share(how_often)?, statuses)?;
        }
        Ok(mix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn counts(mix: &StatusMix) -> BTreeMap<u16, u32> {
        let (mut random, mut counts) = (Random::new(5), BTreeMap::new());
        for _ in 0..100_000 {
            *counts.entry(mix.draw(&mut random)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn shares_are_kept() {
        // Of 100,000, one standard deviation is 31 at 1% and 69 at 5%.
        let counts_of = counts(&"503=1%,404=5%".parse().unwrap());
        assert!((880..1120).contains(&counts_of[&503]), "{counts_of:?}");
        assert!((4760..5240).contains(&counts_of[&404]), "{counts_of:?}");
        assert_eq!(counts_of.len(), 3);
        let classes = counts(&"5xx=40%".parse().unwrap());
        assert!([500, 502, 503, 504].iter().all(|s| (9_600..10_400).contains(&classes[s])), "{classes:?}");
        assert_eq!(counts(&"204".parse().unwrap()), [(204, 100_000)].into());
        assert_eq!(counts(&StatusMix::default()), [(200, 100_000)].into());
    }

    #[test]
    fn mixes_are_put_together() {
        let both = "503=1%".parse::<StatusMix>().unwrap().and("404=5%".parse().unwrap());
        assert_eq!(both, "503=1%,404=5%".parse());
        assert!("503=60%".parse::<StatusMix>().unwrap().and("404=50%".parse().unwrap()).is_err());
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (text, part) in [
            ("50=1%", "200 to 599"),
            ("100", "200 to 599"),
            ("ok", "503=1%"),
            ("503=2", "as in 0.5%"),
            ("503=60%,404=60%", "more than 100%"),
        ] {
            let mistake = text.parse::<StatusMix>().unwrap_err();
            assert!(mistake.0.contains(part), "{text}: {mistake}");
        }
    }
}
