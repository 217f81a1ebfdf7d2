//! What the control thread and the log thread count.
use super::{
    counter::{Counter, Histogram, HistogramTotal},
    dns::DnsStats,
    registry::open,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How an attempt to apply a configuration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ApplyResult {
    /// Every shard serves it.
    Applied,
    /// It has mistakes.
    Invalid,
    /// A listener could not be opened.
    BindFailed,
    /// Too many retired configurations are still in use.
    Pressure,
    /// A shard did not acknowledge in time.
    Timeout,
}

/// Results as metric labels, in the order of their discriminants.
pub const APPLY_RESULTS: [&str; 5] = ["applied", "invalid", "bind_failed", "config_pressure", "timeout"];

/// What the control thread and the log thread count. Each field has one writer.
#[derive(Debug, Default)]
pub struct ControlStats {
    applies: [Counter; APPLY_RESULTS.len()],
    apply_durations: Histogram,
    /// Access-log lines lost because they could not be written. The log thread writes it.
    pub log_write_dropped: Counter,
    /// Failed writes of the access log. The log thread writes it.
    pub log_write_errors: Counter,
    /// Files of TLS that could not be used, while what they held before stayed in use.
    pub cert_reload_failures: Counter,
    /// Memory in use, per mille of what the process may have; 0 = not known.
    memory_permille: AtomicU32,
    /// Names of endpoints.
    pub dns: DnsStats,
    /// Version and source of the configuration in use.
    config: Mutex<(u64, String)>,
    /// Names of certificates, and until when they are valid, seconds since 1970.
    certificates: Mutex<Vec<(Arc<str>, i64)>>,
}

impl ControlStats {
    /// Counts an attempt to apply a configuration, from reading it to the last acknowledgement.
    pub fn applied(&self, result: ApplyResult, duration: Duration) {
        self.applies[result as usize].inc();
        self.apply_durations.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Attempts by result, in the order of `APPLY_RESULTS`.
    pub fn applies(&self) -> [u64; APPLY_RESULTS.len()] {
        std::array::from_fn(|i| self.applies[i].get())
    }

    /// How long the attempts took.
    pub fn apply_durations(&self) -> HistogramTotal {
        let mut total = HistogramTotal::default();
        total.add(&self.apply_durations);
        total
    }

    /// Says how much of the memory that the process may have it uses, per mille; 0 = not known.
    pub fn set_memory_permille(&self, used: u32) {
        self.memory_permille.store(used, Ordering::Relaxed);
    }

    /// How much of it, as it was set.
    pub fn memory_permille(&self) -> u32 {
        self.memory_permille.load(Ordering::Relaxed)
    }

    /// Says which certificates are in use: by name, and until when each is valid (seconds since 1970).
    pub fn set_certificates(&self, certificates: Vec<(Arc<str>, i64)>) {
        *open(&self.certificates) = certificates;
    }

    /// The certificates in use, as they were set.
    pub fn certificates(&self) -> Vec<(Arc<str>, i64)> {
        open(&self.certificates).clone()
    }

    /// Says which configuration is in use.
    pub fn set_config(&self, version: u64, source: &str) {
        *open(&self.config) = (version, source.to_owned());
    }

    /// Version and source of the configuration in use.
    pub fn config(&self) -> (u64, String) {
        open(&self.config).clone()
    }
}
