//! `edge bench serve` as a process.
use crate::harness::{
    Driver,
    edge::{BINARY, Process},
};
use rustix::process::Signal;
use std::process::Command;

/// A scripted origin on a free port.
pub struct Served {
    process: Process,
    authority: String,
}

impl Served {
    /// With these words behind its address. It serves before this returns.
    pub fn start(words: &[&str]) -> Served {
        let mut command = Command::new(BINARY);
        command.args(["bench", "serve", "127.0.0.1:0"]).args(words);
        let process = Process::start(command, Driver::IoUring);
        let line = process.wait_stdout("its address", |line| line.starts_with("  127.0.0.1:"));
        Served { process, authority: line.trim().to_owned() }
    }

    /// Where it is, in clear.
    pub fn url(&self) -> String {
        format!("http://{}/", self.authority)
    }

    /// Where it is, over TLS or QUIC.
    pub fn secure_url(&self) -> String {
        format!("https://{}/", self.authority)
    }

    /// Ends it; what it says of a fault or of requests, as in `reset: 12` and `12 requests`.
    pub fn end(self) -> String {
        self.process.signal(Signal::TERM);
        let said = self.process.wait_stdout("what it saw", |line| line.contains(" requests on "));
        assert_eq!(self.process.wait_exit(), 0);
        said
    }
}
