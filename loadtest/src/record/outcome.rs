//! A run's result: what every report is made from, and what `--json` writes. Fields are only ever added.
use super::Counts;
use serde::{Deserialize, Serialize};

/// Version of the JSON form.
pub const SCHEMA: u32 = 1;

/// A whole result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where and when it was measured.
    pub environment: Environment,
    /// What was asked.
    pub asked: Asked,
    /// Whether the figures are the server's.
    pub verdict: Verdict,
    /// Measured time, seconds.
    pub seconds: f64,
    /// Counts of the measured time.
    pub counts: Counts,
    /// Times of the measured time.
    pub times: Times,
    /// Second by second.
    pub series: Vec<Second>,
    /// The generator's own shards.
    pub generator: Vec<ShardUse>,
    /// CPU of the server process and its children in the measured time, microseconds (`--server-pid`).
    pub server_cpu_us: Option<u64>,
    /// It was ended before its time (Ctrl-C).
    pub interrupted: bool,
}

/// Where and when.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Of this program.
    pub version: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// Processors of the machine.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Operating system, as it names itself.
    pub os: String,
    /// The command line, secrets in fields taken out (`authorization`, `cookie`).
    pub command: Vec<String>,
}

/// What was asked, as reports say it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The first URL, and how many there are.
    pub url: String,
    /// Number of URLs.
    pub urls: usize,
    /// What was spoken: "h1", "h2", "h3"; several when servers chose differently.
    pub protocol: Vec<String>,
    /// "requests", "websocket" or "events".
    pub exchange: String,
    /// `None`: closed loop. Else requests a second.
    pub rate: Option<f64>,
    /// "constant" or "poisson" in an open loop.
    pub arrivals: Option<String>,
    /// Connections.
    pub connections: usize,
    /// Requests at once on each.
    pub streams: usize,
    /// Seconds before the measured time.
    pub warmup: f64,
    /// Cores of the shards.
    pub cores: Vec<usize>,
    /// Seed of the schedule.
    pub seed: u64,
}

/// Whether the generator kept up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// No reason speaks against the figures.
    pub valid: bool,
    /// Why they are not the server's, each a sentence with its figure and what to do.
    pub reasons: Vec<String>,
}

/// Times of requests and connections. The distributions merge and compare exactly.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// From when a request should have been sent; in a closed loop from sending.
    pub response: Spread,
    /// From sending. Absent in a closed loop.
    pub service: Option<Spread>,
    /// From sending to the first byte.
    pub first_byte: Spread,
    /// Establishing connections.
    pub connect: Option<Spread>,
    /// TLS handshakes.
    pub tls: Option<Spread>,
}

/// A distribution, microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many values.
    pub count: u64,
    /// The smallest.
    pub min: u64,
    /// The mean.
    pub mean: f64,
    /// Standard deviation.
    pub stdev: f64,
    /// 50 % are not above it.
    pub p50: u64,
    /// 75 %.
    pub p75: u64,
    /// 90 %.
    pub p90: u64,
    /// 95 %.
    pub p95: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// 99.99 %.
    pub p9999: u64,
    /// The largest.
    pub max: u64,
    /// The whole distribution: HdrHistogram V2 (deflated), base64, as in HdrHistogram logs. Empty in a [`Second`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hdr: String,
}

/// One second of all shards.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    /// When it ended, seconds from the beginning of the measured time.
    pub at: f64,
    /// How long it was, seconds: the last may be shorter.
    pub length: f64,
    /// Counts of it.
    pub counts: Counts,
    /// Response times.
    pub response: Spread,
    /// From sending to the last byte. Absent in a closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Spread>,
    /// From sending to the first byte.
    #[serde(default)]
    pub first_byte: Spread,
    /// For the heat map: pairs of a bucket and the answers in it. Bucket `b` holds times from 2^(b/4) to 2^((b+1)/4) µs.
    pub heat: Vec<(u8, u64)>,
    /// CPU of the server in it, microseconds.
    pub server_cpu_us: Option<u64>,
}

/// One shard of the generator.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ShardUse {
    /// Its core.
    pub core: usize,
    /// CPU time in the measured time, microseconds.
    pub cpu_us: u64,
    /// Time it was ready to run and was not, microseconds.
    pub waited_us: u64,
    /// How late its clock's ticks were, µs: 50 %, 99 %, the most.
    pub lag: (u64, u64, u64),
    /// How late requests were sent, µs: 50 %, 99 %, the most. Open loop only; only requests for which a place was free.
    pub slip: Option<(u64, u64, u64)>,
    /// Share of the schedule's requests that were sent more than 1 ms late though a place was free, 0 to 1.
    pub slipped: f64,
}
