//! The stored figures, and what they were taken with.
use serde::Deserialize;
use std::{collections::BTreeMap, fmt::Write as _, fs, io, path::Path, process::Command};

/// Where the figures are stored.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");
/// The profile that they hold for.
pub const PROFILE: &str = "instructions";
/// What renews them.
pub const RENEW: &str = "cargo run --profile instructions -p edge-bench -- check --accept";

/// The stored figures.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What they were taken with: another of these moves figures without a change of ours.
    pub taken_with: BTreeMap<String, String>,
    /// Instructions of one operation, by scenario.
    pub instructions: BTreeMap<String, f64>,
}

impl Baseline {
    /// The stored one; an empty one when there is none.
    ///
    /// # Errors
    /// The file is not what this program writes.
    pub fn load(path: &Path) -> Result<Baseline, String> {
        let named = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|e| named(&e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Baseline::default()),
            Err(e) => Err(named(&e)),
        }
    }

    /// Writes it over.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        fs::write(path, self.text())
    }

    /// As it is stored. Names and versions hold neither quotes nor backslashes, or `{:?}` escapes them as TOML does.
    pub fn text(&self) -> String {
        let mut text = format!("# Instructions of one operation. Written by `{RENEW}`.\n\n[taken_with]\n");
        for (what, value) in &self.taken_with {
            let _ = writeln!(text, "{what} = {value:?}");
        }
        text.push_str("\n[instructions]\n");
        for (name, figure) in &self.instructions {
            let _ = writeln!(text, "{name:?} = {figure:.1}");
        }
        text
    }
}

/// What figures of this build, on this system, are taken with.
pub fn taken_with(valgrind: String) -> BTreeMap<String, String> {
    let pairs = [
        ("rustc", env!("BUILT_RUSTC").to_owned()),
        ("target", env!("BUILT_TARGET").to_owned()),
        ("flags", env!("BUILT_FLAGS").to_owned()),
        ("profile", built_profile().to_owned()),
        ("valgrind", valgrind),
        ("libc", libc()),
    ];
    pairs.into_iter().map(|(what, value)| (what.to_owned(), value)).collect()
}

/// The profile that this was built with.
pub fn built_profile() -> &'static str {
    env!("BUILT_PROFILE")
}

/// Copies and comparisons of bytes are libc's. "unknown" where it does not say its version.
fn libc() -> String {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let said = said.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
    if said.is_empty() { "unknown".into() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let baseline = Baseline {
            taken_with: [pair("rustc", "rustc 1.90.0 (abc 2025-09-14)"), pair("flags", "")].into(),
            instructions: [("h1/parse request/small".to_owned(), 312.5), ("route/host/10,000".to_owned(), 90.0)].into(),
        };
        assert_eq!(toml::from_str(&baseline.text()), Ok(baseline));
    }

    #[test]
    fn the_stored_figures_are_those_of_the_scenarios() {
        let stored = Baseline::load(Path::new(FILE)).expect("it is readable");
        let ours = crate::scenario::all().into_iter().filter(|s| !s.beside).map(|s| s.name);
        let ours: std::collections::BTreeSet<_> = ours.collect();
        assert_eq!(ours, stored.instructions.into_keys().collect(), "renew it: {RENEW}");
    }
}
