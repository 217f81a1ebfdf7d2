//! What a command line can ask of a run, as it was written; and the bounds and defaults of each.
use super::Arrivals;
use std::{path::PathBuf, time::Duration};

/// Most URLs of a run: each is kept as a whole request.
pub const URLS_MAX: usize = 100_000;
/// Largest file of URLs, bytes.
pub const URL_FILE_MAX: u64 = 64 << 20;
/// Most servers (scheme, host, port) of a run: each name is resolved before it begins.
pub const ORIGINS_MAX: usize = 1_000;
/// Addresses of one name that are used.
pub const ADDRESSES_MAX: usize = 64;
/// Largest body of a request, bytes: it is kept in memory, once.
pub const BODY_FILE_MAX: u64 = 256 << 20;
/// Most connections.
pub const CONNECTIONS_MAX: usize = 1_000_000;
/// Most requests at once on a connection.
pub const STREAMS_MAX: usize = 10_000;
/// Most requests at once over all connections: each has a place in memory.
pub const PLACES_MAX: usize = 10_000_000;
/// Highest rate, requests or connections a second: ten times what a core sends at best, on a hundred cores.
pub const RATE_MAX: f64 = 1e8;
/// Lowest rate: one request in a day.
pub const RATE_MIN: f64 = 1.0 / 86_400.0;
/// Shortest measured time.
pub const DURATION_MIN: Duration = Duration::from_millis(10);
/// Longest measured time.
pub const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest warm-up.
pub const WARMUP_MAX: Duration = Duration::from_secs(3600);
/// Shortest timeout, of requests and of connecting.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// Longest timeout: histograms end there.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Largest message of a WebSocket, bytes.
pub const MESSAGE_MAX: usize = 16 << 20;
/// Largest answer that may be asked to be read, bytes.
pub const ANSWER_MAX: u64 = 1 << 40;
/// The same when answers are kept to be looked into.
pub const KEPT_ANSWER_MAX: u64 = 1 << 30;

/// The same of all places together, bytes: each may have an answer in it.
pub const KEPT_ANSWERS_MAX: u64 = 4 << 30;

/// Connections unless asked otherwise.
pub const CONNECTIONS: usize = 64;
/// Measured time unless asked otherwise.
pub const DURATION: Duration = Duration::from_secs(10);
/// Measured time of a run that ends after so many requests, unless asked otherwise.
pub const DURATION_OF_COUNTED: Duration = Duration::from_secs(3600);
/// Warm-up unless asked otherwise; a run that ends after so many requests has none.
pub const WARMUP: Duration = Duration::from_secs(2);
/// Timeout of requests unless asked otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a connection to be usable unless asked otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Statuses that are good unless asked otherwise.
pub const STATUS: (u16, u16) = (200, 399);
/// Largest answer that is read unless asked otherwise, bytes.
pub const BODY_MAX: u64 = 1 << 30;
/// The same when answers are kept to be looked into.
pub const KEPT_BODY_MAX: u64 = 16 << 20;
/// Bytes of a WebSocket message unless asked otherwise.
pub const MESSAGE: usize = 128;
/// Seed unless asked otherwise: runs that are compared have the same schedule.
pub const SEED: u64 = 1;

/// The body that requests carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// None.
    #[default]
    None,
    /// This.
    Text(String),
    /// What is in the file when the run begins.
    File(PathBuf),
}

/// What was asked, as it was written. `None` and empty stand for the default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// URLs of the command line.
    pub urls: Vec<String>,
    /// Files with a URL in each line; blank lines and those that begin with `#` do not count.
    pub url_files: Vec<PathBuf>,
    /// `--method`: GET, or POST with a body, unless given.
    pub method: Option<String>,
    /// `--header`, each `NAME: VALUE`.
    pub fields: Vec<String>,
    /// `--body`, `--body-file`.
    pub body: Body,
    /// `--host`: sent as Host and :authority.
    pub host: Option<String>,
    /// `--sni`: name in SNI, and that the certificate must have.
    pub sni: Option<String>,
    /// `--connect-to HOST:PORT`: instead of the URL's.
    pub connect_to: Option<String>,
    /// `--unix PATH`: the same, a unix socket; `@name` is abstract.
    pub unix: Option<PathBuf>,
    /// `--h1`
    pub h1: bool,
    /// `--h2`
    pub h2: bool,
    /// `--h3`
    pub h3: bool,
    /// `-c`
    pub connections: Option<usize>,
    /// `-m`
    pub streams: Option<usize>,
    /// `--requests-per-conn`
    pub requests_per_connection: Option<u64>,
    /// `--conn-rate`, a second
    pub connect_rate: Option<f64>,
    /// `-r`, a second
    pub rate: Option<f64>,
    /// `--arrivals`
    pub arrivals: Option<Arrivals>,
    /// `-d`
    pub duration: Option<Duration>,
    /// `--warmup`
    pub warmup: Option<Duration>,
    /// `-n`
    pub requests: Option<u64>,
    /// `--timeout`
    pub timeout: Option<Duration>,
    /// `--connect-timeout`
    pub connect_timeout: Option<Duration>,
    /// `-k`
    pub insecure: bool,
    /// `--ca`
    pub ca: Option<PathBuf>,
    /// `--no-resume`
    pub no_resume: bool,
    /// `--cores`: numbers and ranges, `0,2-5`
    pub cores: Option<String>,
    /// `--ws`
    pub websocket: bool,
    /// `--ws-size`, bytes
    pub message_size: Option<usize>,
    /// `--sse`
    pub events: bool,
    /// `--expect-status`: `200`, `200-299` or `2xx`
    pub expect_status: Option<String>,
    /// `--expect-body`: a regular expression
    pub expect_body: Option<String>,
    /// `--body-max`, bytes of answers
    pub body_max: Option<u64>,
    /// `--seed`
    pub seed: Option<u64>,
    /// `--server-pid`
    pub server_pid: Option<u32>,
}
