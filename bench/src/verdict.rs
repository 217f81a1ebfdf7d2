//! Figures against the baseline: what is dearer, cheaper, new, gone.
use crate::baseline::{Baseline, RENEW};
use std::{collections::BTreeMap, fmt};

/// A scenario may be so much dearer than its baseline, percent. Counts repeat to a fraction of that; what it leaves room
/// for is how the compiler lays out code around a change.
pub const BOUND: f64 = 3.0;
/// The same where the baseline was taken with another compiler, libc or Valgrind.
pub const BOUND_ELSEWHERE: f64 = 10.0;
/// Differences of so few instructions are none: of the smallest scenarios they would be some percent.
const NOTHING: f64 = 2.0;

/// What differs from the baseline.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// Dearer than the bound allows.
    Dearer,
    /// Cheaper by more than the same bound: the baseline should be renewed, or what was won can be lost again unseen.
    Cheaper,
    /// Not in the baseline.
    New,
    /// In the baseline, and no scenario any more.
    Gone,
}

/// One scenario that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which one.
    pub name: String,
    /// How.
    pub difference: Difference,
    /// Instructions as stored; 0 when there is no figure.
    pub stored: f64,
    /// Instructions as counted; 0 when there is no figure.
    pub counted: f64,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// What differs in what the figures were taken with: "rustc: stored …, here …".
    pub elsewhere: Vec<String>,
    /// Percent that were allowed.
    pub bound: f64,
    /// What differs.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Holds `counted` against `stored`. `all`: every scenario was counted, so that what is missing is gone.
    pub fn new(stored: &Baseline, counted: &Baseline, all: bool) -> Verdict {
        let elsewhere = elsewhere(&stored.taken_with, &counted.taken_with);
        let bound = if elsewhere.is_empty() { BOUND } else { BOUND_ELSEWHERE };
        let finding = |name: &str, difference, stored: Option<&f64>, counted: Option<&f64>| Finding {
            name: name.to_owned(),
            difference,
            stored: stored.copied().unwrap_or_default(),
            counted: counted.copied().unwrap_or_default(),
        };
        let mut findings = Vec::new();
        for (name, figure) in &counted.instructions {
            let before = stored.instructions.get(name);
            let difference = before.map_or(Some(Difference::New), |before| difference(*before, *figure, bound));
            findings.extend(difference.map(|difference| finding(name, difference, before, Some(figure))));
        }
        for (name, before) in stored.instructions.iter().filter(|_| all) {
            if !counted.instructions.contains_key(name) {
                findings.push(finding(name, Difference::Gone, Some(before), None));
            }
        }
        Verdict { elsewhere, bound, findings }
    }

    /// Whether the check fails: cheaper ones are told and pass.
    pub fn fails(&self) -> bool {
        self.findings.iter().any(|f| f.difference != Difference::Cheaper)
    }
}

fn difference(stored: f64, counted: f64, bound: f64) -> Option<Difference> {
    let room = (stored * bound / 100.0).max(NOTHING);
    match counted - stored {
        more if more > room => Some(Difference::Dearer),
        less if less < -room => Some(Difference::Cheaper),
        _ => None,
    }
}

fn elsewhere(stored: &BTreeMap<String, String>, here: &BTreeMap<String, String>) -> Vec<String> {
    let differs = here.iter().filter(|(what, value)| stored.get(*what) != Some(value));
    let shown = |what| stored.get(what).map_or("nothing", String::as_str);
    differs.map(|(what, value)| format!("{what}: stored {:?}, here {value:?}", shown(what))).collect()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { name, stored, counted, .. } = self;
        let percent = (counted / stored - 1.0) * 100.0;
        match self.difference {
            Difference::Dearer => {
                write!(f, "DEARER   {name}: {counted:.1} instructions, stored {stored:.1} ({percent:+.1} %)")
            }
            Difference::Cheaper => {
                write!(f, "cheaper  {name}: {counted:.1} instructions, stored {stored:.1} ({percent:+.1} %)")
            }
            Difference::New => write!(f, "NEW      {name}: {counted:.1} instructions, nothing stored"),
            Difference::Gone => write!(f, "GONE     {name}: stored {stored:.1} instructions, no such scenario"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.elsewhere.is_empty() {
            writeln!(f, "The stored figures were taken elsewhere, so {BOUND_ELSEWHERE} % are allowed:")?;
            self.elsewhere.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        let cheaper = self.findings.iter().any(|finding| finding.difference == Difference::Cheaper);
        match (self.fails(), cheaper) {
            (true, _) => writeln!(
                f,
                "FAILED: more than {} % dearer, or not the stored scenarios. Find the reason (valgrind --tool=callgrind \
                 shows where the instructions are); if it is meant so, accept it and say why in the commit:\n  {RENEW}",
                self.bound,
            ),
            (false, true) => writeln!(f, "OK. Renew the figures, so that what was won is not lost again:\n  {RENEW}"),
            (false, false) => writeln!(f, "OK: nothing differs by more than {} %.", self.bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rustc: &str, figures: &[(&str, f64)]) -> Baseline {
        Baseline {
            taken_with: [("rustc".to_owned(), rustc.to_owned())].into(),
            instructions: figures.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
        }
    }

    fn found(stored: &[(&str, f64)], counted: &[(&str, f64)], rustc: &str, all: bool) -> (Vec<Difference>, bool) {
        let verdict = Verdict::new(&figures("1", stored), &figures(rustc, counted), all);
        (verdict.findings.iter().map(|f| f.difference.clone()).collect(), verdict.fails())
    }

    #[test]
    fn what_is_dearer_by_more_than_the_bound_fails() {
        assert_eq!(found(&[("a", 1000.0)], &[("a", 1030.0)], "1", true), (vec![], false));
        assert_eq!(found(&[("a", 1000.0)], &[("a", 1031.0)], "1", true), (vec![Difference::Dearer], true));
        assert_eq!(found(&[("a", 1000.0)], &[("a", 969.0)], "1", true), (vec![Difference::Cheaper], false));
    }

    #[test]
    fn with_another_compiler_more_is_allowed() {
        assert_eq!(found(&[("a", 1000.0)], &[("a", 1100.0)], "2", true), (vec![], false));
        assert_eq!(found(&[("a", 1000.0)], &[("a", 1101.0)], "2", true), (vec![Difference::Dearer], true));
        let verdict = Verdict::new(&figures("1", &[]), &figures("2", &[]), true);
        assert_eq!(verdict.elsewhere, ["rustc: stored \"1\", here \"2\""]);
    }

    #[test]
    fn one_instruction_of_a_few_is_nothing() {
        assert_eq!(found(&[("a", 20.0)], &[("a", 22.0)], "1", true), (vec![], false));
        assert_eq!(found(&[("a", 20.0)], &[("a", 22.5)], "1", true), (vec![Difference::Dearer], true));
    }

    #[test]
    fn scenarios_that_come_or_go_are_told() {
        assert_eq!(found(&[], &[("a", 1.0)], "1", true), (vec![Difference::New], true));
        assert_eq!(found(&[("a", 1.0)], &[], "1", true), (vec![Difference::Gone], true));
        assert_eq!(found(&[("a", 1.0)], &[], "1", false), (vec![], false));
    }

    #[test]
    fn a_failure_says_which_by_how_much_and_what_to_do() {
        let verdict = Verdict::new(&figures("1", &[("h1/x", 100.0)]), &figures("1", &[("h1/x", 105.0)]), true);
        let text = verdict.to_string();
        assert!(text.contains("h1/x: 105.0 instructions, stored 100.0 (+5.0 %)"), "{text}");
        assert!(text.contains("--accept"), "{text}");
    }
}
