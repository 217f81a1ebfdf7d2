//! Reads the Prometheus text format, strictly enough to notice a broken exposition.
use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
    typed: BTreeMap<String, String>,
    helped: BTreeSet<String>,
}

/// One line.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Parses an exposition.
    ///
    /// # Panics
    /// On a line that is not of the format.
    pub fn parse(text: &str) -> Metrics {
        let mut out = Metrics { samples: Vec::new(), typed: BTreeMap::new(), helped: BTreeSet::new() };
        for line in text.lines().filter(|l| !l.is_empty()) {
            match line.strip_prefix("# ") {
                Some(comment) => out.comment(comment),
                None => out.samples.push(sample(line).unwrap_or_else(|| panic!("metrics line {line:?}"))),
            }
        }
        out
    }

    fn comment(&mut self, comment: &str) {
        let mut words = comment.splitn(3, ' ');
        let (kind, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        match kind {
            "TYPE" => {
                let kind = words.next().unwrap_or("").to_owned();
                assert!(self.typed.insert(name.to_owned(), kind).is_none(), "two TYPE lines for {name}");
            }
            "HELP" => assert!(self.helped.insert(name.to_owned()), "two HELP lines for {name}"),
            _ => {}
        }
    }

    /// The sum of all series of this name that carry these labels; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |s: &&Sample| s.name == name && labels.iter().all(|(k, v)| s.labels.get(*k).is_some_and(|l| l == v));
        self.samples.iter().filter(fits).map(|s| s.value).sum()
    }

    /// Whether there is a series of this name.
    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|s| s.name == name)
    }

    /// The values a label takes in the series of this name.
    pub fn values(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.samples.iter().filter(|s| s.name == name).filter_map(|s| s.labels.get(label).cloned()).collect()
    }

    /// What is wrong with the exposition as a whole: doubled series, series without TYPE or HELP.
    pub fn faults(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut faults = Vec::new();
        for s in &self.samples {
            if !seen.insert((&s.name, &s.labels)) {
                faults.push(format!("series twice: {} {:?}", s.name, s.labels));
            }
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| s.name.strip_suffix(suffix))
                .find(|f| self.typed.get(*f).is_some_and(|t| t == "histogram" || t == "summary"))
                .unwrap_or(&s.name);
            if !self.typed.contains_key(family) || !self.helped.contains(family) {
                faults.push(format!("no TYPE or HELP: {}", s.name));
            }
        }
        faults
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: BTreeMap::new(), value });
    };
    let mut labels = BTreeMap::new();
    let mut rest = rest.strip_suffix('}')?;
    while !rest.is_empty() {
        let (key, behind) = rest.split_once("=\"")?;
        let end = closing_quote(behind)?;
        labels.insert(key.to_owned(), behind[..end].replace("\\\"", "\"").replace("\\\\", "\\"));
        rest = behind[end + 1..].trim_start_matches(',');
    }
    Some(Sample { name: name.to_owned(), labels, value })
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Some(i),
            _ => escaped = false,
        }
    }
    None
}
