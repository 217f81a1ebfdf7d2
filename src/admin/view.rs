//! What the admin API shows, as it goes over the wire.
use serde::{Deserialize, Serialize};

/// Everything `edge status` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub edge_version: String,
    /// Of the configuration in use: counts up from 1 with each one that is applied.
    pub version: u64,
    /// Process id.
    pub pid: u32,
    /// Since the start.
    pub uptime_seconds: f64,
    /// Whether clients should be sent here.
    pub ready: bool,
    /// Whether it is coming to its end.
    pub draining: bool,
    /// The configuration in use.
    pub config: Config,
    /// Open data listeners.
    pub listeners: Vec<Listener>,
    /// Certificates in use: at most 1,000, those that expire first.
    pub certificates: Vec<Certificate>,
    /// How many there are.
    pub certificates_total: usize,
    /// Pools, those with trouble first, as many as have [`ENDPOINTS_MAX`] endpoints together.
    #[serde(default)]
    pub pools: Vec<Pool>,
    /// How many there are.
    #[serde(default)]
    pub pools_total: usize,
    /// Circuits that are not closed, at most `CIRCUITS_MAX`.
    #[serde(default)]
    pub circuits: Vec<Circuit>,
    /// Names of endpoints: at most 1,000.
    #[serde(default)]
    pub names: Vec<Name>,
    /// Where the admin API listens.
    pub admin: Vec<String>,
    /// By number.
    pub shards: Vec<Shard>,
}

/// The configuration in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Counts up from 1 with every configuration that this process applied.
    pub version: u64,
    /// Of the source text, in hexadecimal.
    pub sha256: String,
    /// A path, or the option it came from.
    pub source: String,
    /// Seconds since 1970.
    pub compiled_at: u64,
    /// How many.
    pub routes: usize,
    /// How many.
    pub pools: usize,
    /// What is hardly meant so.
    pub warnings: Vec<String>,
}

/// Endpoints that a status lists.
pub const ENDPOINTS_MAX: usize = 2000;

/// One pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Endpoints that may be used.
    pub usable: usize,
    /// How many there are.
    pub total: usize,
    /// Whether they are checked actively.
    pub checked: bool,
    /// What happens while none may be used: `trickle` or `spread`.
    pub panic: String,
    /// Requests that passed although none was to be used.
    pub failed_open: u64,
    /// In the order of the configuration, unless there are too many: then those out of use first.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// As the configuration spells it.
    pub name: String,
    /// `usable`, `unhealthy` (by the active check) or `ejected` (left out for a while, by what its answers were).
    pub state: String,
    /// Why it is not usable.
    pub reason: Option<String>,
    /// When it came into this state, seconds since 1970; `null` = it always was.
    pub since: Option<u64>,
    /// When it is let back in, seconds since 1970.
    pub until: Option<u64>,
    /// Share relative to the others.
    pub weight: u16,
    /// How much of that it gets now, per mille: less while it starts slowly.
    pub share_permille: u32,
    /// How often it was left out.
    pub ejections: u64,
    /// How the last active check ended.
    pub last_check: Option<String>,
}

/// One listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// The listener's name.
    pub name: String,
    /// Where it really listens: with the ports that 0 became.
    pub address: Vec<String>,
}

/// One certificate of a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The listener's name.
    pub listener: String,
    /// Host names and addresses it is for.
    pub names: Vec<String>,
    /// `ecdsa`, `rsa` or `ed25519`.
    pub key: String,
    /// Its file, or `self-signed`.
    pub source: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// Valid from, seconds since 1970.
    pub not_before: i64,
    /// Valid up to, seconds since 1970.
    pub not_after: i64,
    /// Whether it should have been renewed: fewer than 14 days left, or of short ones less than a third of their life.
    pub due: bool,
    /// Why its files cannot be used now; it is the one that they held before.
    pub problem: Option<String>,
}

/// Most circuits that are shown.
pub const CIRCUITS_MAX: usize = 1000;

/// The circuit between a route and its pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Circuit {
    /// The route's id.
    pub route: String,
    /// The pool's name.
    pub pool: String,
    /// `open` or `half_open`.
    pub state: String,
    /// How often it opened.
    pub trips: u64,
}

/// One name of endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Name {
    /// The name; with `SRV ` before it that of a service.
    pub name: String,
    /// What it stands for: its last good answer.
    pub addresses: Vec<String>,
    /// Since that answer came; `None` before the first.
    pub age_seconds: Option<f64>,
    /// Until it is asked for again.
    pub next_seconds: f64,
    /// What went wrong the last time.
    pub problem: Option<String>,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// Its number.
    pub shard: usize,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// `io_uring` or `epoll`.
    pub driver: Option<String>,
    /// Time since its loop last turned.
    pub silence_ms: u64,
    /// The version of the configuration it serves.
    pub config_version: u64,
    /// Client connections accepted.
    pub accepts: u64,
    /// Client connections open.
    pub connections: i64,
    /// Of those, parked between two requests.
    pub connections_idle: i64,
    /// Requests being served.
    pub requests_in_flight: i64,
    /// Upgraded connections open.
    pub upgrades_active: i64,
    /// Panics caught.
    pub panics: u64,
    /// Access-log lines lost.
    pub log_dropped: u64,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every shard serves it.
    Applied,
    /// It has mistakes; the old one stays.
    Invalid,
    /// A listener or the log could not be opened; the old one stays.
    BindFailed,
    /// Too many retired configurations are still in use by long requests; the old one stays.
    ConfigPressure,
    /// Too many reloads are waiting already.
    Busy,
    /// The process is coming to its end.
    Draining,
    /// It is applied, but some shards did not acknowledge in time.
    Timeout,
}

impl Outcome {
    /// The HTTP status that says so.
    pub const fn status(self) -> u16 {
        match self {
            Outcome::Applied => 200,
            Outcome::Invalid => 422,
            Outcome::BindFailed | Outcome::Draining => 409,
            Outcome::ConfigPressure | Outcome::Busy => 429,
            Outcome::Timeout => 504,
        }
    }

    /// A few words.
    pub const fn title(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Invalid => "the configuration has mistakes",
            Outcome::BindFailed => "something could not be opened",
            Outcome::ConfigPressure => "too many retired configurations are still in use",
            Outcome::Busy => "too many reloads are waiting",
            Outcome::Draining => "the edge is shutting down",
            Outcome::Timeout => "not every shard acknowledged in time",
        }
    }
}

/// The answer to a reload; a superset of RFC 9457's problem details.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    /// How it ended.
    pub outcome: Outcome,
    /// In a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The version in use now.
    pub version: u64,
    /// What changed, or every reason why not; may have several lines.
    pub detail: String,
    /// What is hardly meant so.
    pub warnings: Vec<String>,
}

impl Reload {
    /// An answer without warnings.
    pub fn new(outcome: Outcome, version: u64, detail: impl Into<String>) -> Reload {
        let (title, status) = (outcome.title().to_owned(), outcome.status());
        Reload { outcome, title, status, version, detail: detail.into(), warnings: Vec::new() }
    }
}
