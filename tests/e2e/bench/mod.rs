//! `edge bench` as people run it: its binary against servers that are not ours, servers that do wrong, and its own origin.
mod exits;
mod faults;
mod origin;
mod others;
mod reports;
mod schedule;
mod servers;
mod wrong;

use crate::harness::{
    Driver, Test,
    edge::{BINARY, Process},
    not_run,
};
use serde_json::Value;
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// The tests of all files here.
pub fn tests() -> Vec<Test> {
    [others::tests(), wrong::tests(), faults::tests(), reports::tests(), exits::tests(), schedule::tests()]
        .into_iter()
        .flatten()
        .collect()
}

/// Done, and every assertion holds.
const MET: i32 = 0;
/// The generator did not keep up: on a machine that does other things too, any run may end so.
const INVALID: i32 = 6;

/// `edge bench` with these words.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("bench").args(words).env_remove("NO_COLOR").env("TERM", "xterm");
    command
}

/// How a run ended.
struct Ran {
    code: i32,
    /// What `--json` wrote; null when it wrote nothing.
    json: Value,
    stdout: String,
    stderr: String,
    took: Duration,
}

/// Runs to the end, and reads the result. `words` hold no `--json`.
fn bench(driver: Driver, words: &[&str]) -> Ran {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("result.json");
    let mut command = command(words);
    command.arg("--json").arg(&file);
    let begun = Instant::now();
    let process = Process::start(command, driver);
    let code = process.wait_exit();
    let took = begun.elapsed();
    let json = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let (stdout, stderr) = process.outputs();
    let ran = Ran { code, json, stdout, stderr, took };
    assert!(!ran.stderr.contains("panicked") && !ran.stdout.contains("defect of this program"), "{words:?}: {ran:?}");
    ran
}

/// As [`bench`], of a run whose answers are all waited for, however busy the machine is.
fn patient(driver: Driver, words: &[&str]) -> Ran {
    bench(driver, &[&["--timeout", "60s", "--connect-timeout", "60s"], words].concat())
}

/// As [`bench`], again while the generator does not keep up: the machine may be busy with other tests. `None`, with a note
/// for the end of the tests, when it never does.
fn valid(driver: Driver, words: &[&str]) -> Option<Ran> {
    /// Runs that may be invalid.
    const TRIES: usize = 10;
    let found = (0..TRIES).map(|_| bench(driver, words)).find(|ran| {
        let valid = ran.json["verdict"]["valid"] == true;
        assert!(valid || ran.code == INVALID, "{ran:?}");
        valid
    });
    if found.is_none() {
        not_run(
            "edge bench: exit codes of runs that are valid; this machine was too busy for the generator to keep up",
        );
    }
    found
}

impl std::fmt::Debug for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |name: &str| self.json[name].to_string();
        write!(
            f,
            "code {} after {:?}, counts {}, verdict {}, ",
            self.code,
            self.took,
            part("counts"),
            part("verdict")
        )?;
        write!(f, "generator {}, stderr {:?}", part("generator"), self.stderr)
    }
}

impl Ran {
    /// One of the result's counts.
    fn count(&self, name: &str) -> u64 {
        self.json["counts"][name].as_u64().unwrap_or_else(|| panic!("no count {name} in {self:?}"))
    }

    /// How often something went wrong so.
    fn fault(&self, kind: &str) -> u64 {
        self.json["counts"]["faults"][kind].as_u64().unwrap_or(0)
    }

    /// What went wrong at all, by kind.
    fn faults(&self) -> Vec<&str> {
        self.json["counts"]["faults"].as_object().map_or(Vec::new(), |all| all.keys().map(String::as_str).collect())
    }

    /// So many requests were sent, all were answered with 200, and nothing went wrong.
    fn assert_all(&self, requests: u64) {
        assert!([MET, INVALID].contains(&self.code), "{self:?}");
        assert!(self.faults().is_empty(), "{self:?}");
        assert_eq!(
            (self.count("sent"), self.count("answered"), self.count("unsent")),
            (requests, requests, 0),
            "{self:?}"
        );
        assert_eq!(self.json["counts"]["status"], serde_json::json!({ "200": requests }), "{self:?}");
    }
}
