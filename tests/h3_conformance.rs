//! The conformance suite for HTTP/3 and QUIC (`tests/conformance`, Python), run against the edge, which the suite starts.
//! Without Python 3, its `venv` and the packages it is not run, which the output says; with `EDGE_TEST_REQUIRE=all` that
//! fails.
#[path = "conformance/python.rs"]
mod python;

use python::{listed, python, run, script, text};
use serde_json::Value;
use std::process::Command;

/// Cases that judge what is only advice. What QUIC's state machine does instead: it drops a packet of another version
/// whose connection ids are longer than 20 bytes, and waits in vain for a stream whose end lies before its data.
const NOT_FOLLOWED: &[&str] = &["9000/6.1/8", "9000/4.5/6"];

/// Every case, strictly; among them those that hold over all: no panic, bounded memory, and the server lives.
#[test]
fn every_case() {
    let Some(python) = python() else { return };
    let mut command = Command::new(python);
    command.arg(script("run_h3.py")).args(["--edge", env!("CARGO_BIN_EXE_edge")]);
    command.args(["--json", "--strict", "--timeout", "10", "--threads", "4"]);
    for id in NOT_FOLLOWED {
        command.args(["--skip", id]);
    }
    let out = run(&mut command);
    let found: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&out)));
    println!("{}", found["count"]);
    let bad = listed(&found["cases"], "id", &["fail", "weak"]);
    assert!(bad.is_empty(), "{} cases:\n{}", bad.len(), bad.join("\n"));
}
