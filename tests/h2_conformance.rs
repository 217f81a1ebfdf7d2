//! The conformance suite for HTTP/2 and the scan of TLS (`tests/conformance`, Python), run against the edge. Without
//! Python 3, its `venv` and the packages they are not run, which the output says; with `EDGE_TEST_REQUIRE=all` that fails.
#[path = "conformance/python.rs"]
mod python;

use python::{listed, python, run, script, text};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// Cases that judge what is only advice, with what the edge does instead.
const NOT_FOLLOWED: &[&str] = &[];

#[test]
fn cleartext() {
    suite("", &[]);
}

#[test]
fn over_tls() {
    suite("tls = \"self-signed\"", &["--tls", "--insecure"]);
}

#[test]
fn tls_scan() {
    let Some(python) = python() else { return };
    let edge = Edge::start("tls = \"self-signed\"");
    let out = run(Command::new(python).arg(script("tls_scan.py")).args(["--port", &edge.port().to_string(), "--json"]));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&out)));
    let bad = listed(&found["checks"], "about", &["fail"]);
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Every case, strictly, with the recording origin behind the edge.
fn suite(listener: &str, options: &[&str]) {
    let Some(python) = python() else { return };
    let edge = Edge::start(listener);
    let mut command = Command::new(python);
    command.arg(script("run.py")).args(["--json", "--strict", "--timeout", "10", "--threads", "8"]).args(options);
    command.arg("--port").arg(edge.port().to_string()).arg("--origin-socket").arg(edge.dir.path().join("origin.sock"));
    for id in NOT_FOLLOWED {
        command.args(["--skip", id]);
    }
    let out = run(&mut command);
    let found: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&out)));
    println!("{}", found["count"]);
    let bad = listed(&found["cases"], "id", &["fail", "weak"]);
    assert!(bad.is_empty(), "{} cases:\n{}\n{}", bad.len(), bad.join("\n"), edge.said());
}

/// A running edge whose requests all go to `origin.sock` in its directory; ends with this value.
struct Edge {
    child: Child,
    lines: mpsc::Receiver<String>,
    dir: TempDir,
}

impl Edge {
    /// One listener with these further keys.
    fn start(listener: &str) -> Edge {
        let dir = tempfile::Builder::new().prefix("edge-h2-").tempdir().expect("a temporary directory");
        let config = dir.path().join("edge.toml");
        let admin = dir.path().join("admin.sock");
        let origin = dir.path().join("origin.sock");
        let toml = format!(
            "version = 1\n[server]\nshards = 2\nadmin = \"unix:{}\"\naccess_log = \"off\"\n\n\
             [[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n{listener}\n\n\
             [pool.app]\nendpoints = [\"unix:{}\"]\n\n[[route]]\nid = \"all\"\npool = \"app\"\n",
            admin.display(),
            origin.display()
        );
        std::fs::write(&config, toml).expect("the temporary directory takes files");
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge"));
        command
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for key in ["EDGE_CONFIG", "EDGE_ADMIN", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"] {
            command.env_remove(key);
        }
        let mut child = command.spawn().expect("the binary starts");
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let edge = Edge { child, lines, dir };
        edge.wait_ready();
        edge
    }

    fn wait_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains("ready") {
                return;
            }
            before.push(line);
        }
        panic!("the edge is not ready:\n{}", before.join("\n"));
    }

    /// What it wrote since it was ready.
    fn said(&self) -> String {
        self.lines.try_iter().collect::<Vec<_>>().join("\n")
    }

    /// The listener's port.
    fn port(&self) -> u16 {
        let admin = format!("unix:{}", self.dir.path().join("admin.sock").display());
        let out = run(Command::new(env!("CARGO_BIN_EXE_edge")).args(["status", "--json", "--admin", &admin]));
        let status: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&out)));
        let address = status["listeners"][0]["address"][0].as_str().expect("an address");
        address.rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port")
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
