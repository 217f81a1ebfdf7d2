//! What the conformance suites share: a Python with the packages of `requirements.txt`, and how a suite's results are read.
#[path = "../support/python.rs"]
mod venv;

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

/// The entries with one of these verdicts, a line each.
pub fn listed(entries: &Value, key: &str, verdicts: &[&str]) -> Vec<String> {
    let entries = entries.as_array().expect("a list").iter();
    let bad = entries.filter(|e| verdicts.iter().any(|v| e["verdict"] == *v));
    bad.map(|e| format!("{} {} {}: {}", e["verdict"], e[key], e["about"], e["seen"])).collect()
}

/// A file of the suites.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

/// Runs it to its end.
pub fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the interpreter was there a moment ago")
}

/// Everything it wrote.
pub fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// A Python with those packages, made once and kept under `target/`.
///
/// # Panics
/// With `EDGE_TEST_REQUIRE=all`, when there is none.
pub fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = PYTHON.get_or_init(|| {
        venv::environment("conformance-venv", &script("requirements.txt"), "hyperframe, hpack, aioquic")
    });
    match made {
        Ok(python) => Some(python),
        Err(why) => {
            let required = std::env::var("EDGE_TEST_REQUIRE").as_deref() == Ok("all");
            assert!(!required, "EDGE_TEST_REQUIRE=all, and no Python for the conformance suites: {why}");
            println!("not run: the conformance suites: {why}");
            None
        }
    }
}
