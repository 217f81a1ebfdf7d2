//! What was asked of a run: targets, load, limits. Everything is checked here, before anything runs.
mod bounds;
mod build;
pub mod fields;
mod mistake;
pub mod options;
mod targets;
#[cfg(test)]
mod tests;
pub mod url;

pub use build::build;
use bytes::Bytes;
pub use mistake::Mistakes;
pub use options::Options;
use std::{net::SocketAddr, num::NonZeroU64, path::PathBuf, time::Duration};

/// A whole run, as every shard sees it. Made by `build`, never changed afterwards.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where requests go; at least one. Connections are shared out among them by their requests.
    pub origins: Vec<Origin>,
    /// Which protocol is spoken.
    pub protocol: Protocol,
    /// When requests are sent.
    pub load: Load,
    /// Connections of all shards together, at least 1.
    pub connections: usize,
    /// Requests at once on one connection: pipelined over HTTP/1.1, streams over HTTP/2 and HTTP/3.
    pub streams: usize,
    /// A connection is closed after so many requests, and replaced.
    pub requests_per_connection: Option<NonZeroU64>,
    /// New connections a second, all shards together. `None`: as fast as they are made.
    pub connect_rate: Option<f64>,
    /// Measured time.
    pub duration: Duration,
    /// Time before it that is not counted.
    pub warmup: Duration,
    /// The run ends after so many requests, all shards together, if that comes before `duration`.
    pub requests: Option<NonZeroU64>,
    /// From sending (or, in an open loop, from when it should have been sent) to the last byte; what takes longer is a
    /// fault.
    pub timeout: Duration,
    /// For a connection to be usable: name resolved, connected, TLS or QUIC handshake through.
    pub connect_timeout: Duration,
    /// How the server's certificate is judged, and what TLS offers.
    pub tls: Tls,
    /// Cores of the shards, one each; at least one.
    pub cores: Vec<usize>,
    /// What the connections carry.
    pub exchange: Exchange,
    /// Which answers are good.
    pub expect: Expect,
    /// Largest answer body that is read before the request counts as failed, bytes.
    pub body_max: u64,
    /// Of every random choice: the same seed makes the same schedule.
    pub seed: u64,
    /// A process whose CPU time is counted beside the requests: the server under test, with its children.
    pub server_pid: Option<u32>,
}

/// One scheme and authority, and the requests that go there.
#[derive(Clone, Debug)]
pub struct Origin {
    /// TLS (or QUIC).
    pub secure: bool,
    /// Host as in the URL, without port and brackets.
    pub host: String,
    /// As in the URL, or the scheme's.
    pub port: u16,
    /// Value of Host and :authority.
    pub authority: String,
    /// Name in SNI, and the name that the certificate must have.
    pub server_name: String,
    /// Where to connect: addresses that the name has (taken in turn), or what `--connect-to` says.
    pub addresses: Vec<Address>,
    /// Taken in turn; at least one.
    pub requests: Vec<Request>,
}

/// Something to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, or UDP for HTTP/3.
    Ip(SocketAddr),
    /// A unix socket's path; one that begins with `@` is abstract.
    Unix(PathBuf),
}

/// One request as it is sent again and again.
#[derive(Clone, Debug)]
pub struct Request {
    /// RFC 9110 method, a token.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Beside Host or :authority, and content-length. Names in lower case; connection-specific ones are refused when the
    /// plan is built.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Empty when there is none.
    pub body: Bytes,
}

impl Request {
    /// What `content-length` says; `None`: it is not sent. Methods whose requests usually have a body say that there is
    /// none (RFC 9110, section 8.6).
    #[inline]
    pub fn content_length(&self) -> Option<u64> {
        let tells = !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        tells.then_some(self.body.len() as u64)
    }
}

/// Which protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// With TLS what ALPN chooses of h2 and http/1.1; without it HTTP/1.1.
    Auto,
    /// HTTP/1.1.
    H1,
    /// HTTP/2; without TLS by prior knowledge.
    H2,
    /// HTTP/3.
    H3,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// The next one when the last is answered. Latencies are not those that users see: a slow server is asked less.
    Closed,
    /// By a schedule that does not wait for answers. Latency counts from when the request should have been sent.
    Open {
        /// Requests a second, all shards together; above 0.
        rate: f64,
        /// How they are spaced.
        arrivals: Arrivals,
    },
}

/// How an open loop's requests are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly.
    Constant,
    /// As from many independent users (exponential gaps).
    Poisson,
}

/// How TLS is spoken.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// `-k`: any certificate will do.
    pub insecure: bool,
    /// PEM file of authorities, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Every handshake is a full one.
    pub no_resume: bool,
}

/// What the connections carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Requests and answers.
    Requests,
    /// A WebSocket on each: a message goes out, and its echo is awaited.
    WebSocket {
        /// Bytes of a message.
        size: usize,
    },
    /// An event stream on each; the delay between events is recorded, and how old they are where they say when they
    /// were sent.
    Events,
}

/// Which answers are good; others are counted as faults of kind `Status` or `Body`.
#[derive(Clone, Debug)]
pub struct Expect {
    /// Statuses from, to (both included).
    pub status: (u16, u16),
    /// Answer bodies must contain this. Bodies are kept up to `body_max` only then.
    pub body: Option<regex::bytes::Regex>,
}
