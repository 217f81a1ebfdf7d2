//! Signals, as what they ask for.
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open the log files again.
    ReopenLogs,
    /// SIGUSR2: hand over to another binary; not there yet.
    Upgrade,
    /// SIGTERM, SIGINT: come to an end in good order; a second one: now.
    Drain,
    /// SIGQUIT: end now.
    Stop,
}

/// The signals that the edge listens to. While this lives, none of them has its default effect.
#[derive(Debug)]
pub struct Signals {
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
    term: Signal,
    int: Signal,
    quit: Signal,
}

impl Signals {
    /// Starts listening. Must be called within a tokio runtime.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            biased;
            _ = self.quit.recv() => Wish::Stop,
            _ = self.term.recv() => Wish::Drain,
            _ = self.int.recv() => Wish::Drain,
            _ = self.hup.recv() => Wish::Reload,
            _ = self.usr1.recv() => Wish::ReopenLogs,
            _ = self.usr2.recv() => Wish::Upgrade,
        }
    }
}
