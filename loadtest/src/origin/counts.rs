//! What an origin has seen. Each thread counts for itself; whoever asks adds up.
use super::script::Fault;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counted by one thread, read by any.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// One more. Only the thread that it belongs to calls this: no two add at the same time.
    pub fn inc(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one thread.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub connections: Count,
    pub not_served: Count,
    pub requests: Count,
    pub refused: Count,
    pub messages: Count,
    pub events: Count,
    pub faults: [Count; Fault::ALL.len()],
}

impl Counts {
    pub fn fault(&self, fault: Fault) {
        if let Some(count) = self.faults.get(fault as usize) {
            count.inc();
        }
    }
}

/// The counts of a whole origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted, over QUIC those that began a handshake.
    pub connections: u64,
    /// Of these, those that came to nothing: handshakes that failed, and connections beyond the bound.
    pub not_served: u64,
    /// Requests whose head came, WebSocket handshakes and event streams among them.
    pub requests: u64,
    /// Of these, those that were answered 503 because too many waited already.
    pub refused: u64,
    /// WebSocket frames with data that were echoed.
    pub messages: u64,
    /// Events sent.
    pub events: u64,
    /// Requests that went wrong on purpose, in the order of `Fault::ALL`.
    pub faults: [u64; Fault::ALL.len()],
}

impl Stats {
    pub(super) fn of(threads: &[Arc<Counts>]) -> Stats {
        let mut sum = Stats::default();
        for counts in threads {
            sum.connections += counts.connections.get();
            sum.not_served += counts.not_served.get();
            sum.requests += counts.requests.get();
            sum.refused += counts.refused.get();
            sum.messages += counts.messages.get();
            sum.events += counts.events.get();
            sum.faults.iter_mut().zip(&counts.faults).for_each(|(sum, count)| *sum += count.get());
        }
        sum
    }

    /// How often this one happened.
    pub fn fault(&self, fault: Fault) -> u64 {
        self.faults.get(fault as usize).copied().unwrap_or(0)
    }
}
