//! What `edge bench` may be asked.
use clap::{ArgGroup, Args};
use edge_loadtest::plan::{Arrivals, Options, options::Body};
use edge_loadtest::units;
use std::{path::PathBuf, time::Duration};

/// Where requests go, what they are, and how they are sent: shared by a run and a search.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("version").args(["h1", "h2", "h3"]))]
pub(super) struct Target {
    /// What to ask for: http://host[:port]/path or https://…; several are taken in turn
    #[arg(value_name = "URL", required_unless_present = "urls")]
    pub url: Vec<String>,
    /// More URLs: one per line, empty lines and lines that begin with # left out
    #[arg(long, value_name = "FILE", help_heading = "Requests")]
    pub urls: Vec<PathBuf>,

    /// Connections, all shards together
    #[arg(short, long, value_name = "N", default_value_t = 64, help_heading = "Load")]
    pub connections: usize,
    /// Requests at once on each connection: streams of HTTP/2 and HTTP/3, pipelined over HTTP/1.1; messages of --ws
    #[arg(short = 'm', long, visible_alias = "pipeline", value_name = "N", default_value_t = 1, help_heading = "Load")]
    pub streams: usize,
    /// How the requests of an open loop are spaced [default: constant]
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Load")]
    pub arrivals: Option<Spacing>,
    /// Time before the measured time that is not counted [default: 2s; with -n none]
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Load")]
    pub warmup: Option<Duration>,
    /// A connection is closed after so many requests, and replaced
    #[arg(long, visible_alias = "requests-per-conn", value_name = "N", help_heading = "Load")]
    pub requests_per_connection: Option<u64>,
    /// New connections a second, all shards together
    #[arg(long, visible_alias = "conn-rate", value_name = "RATE", value_parser = units::rate, help_heading = "Load")]
    pub connect_rate: Option<f64>,
    /// An answer that is not there after this is a fault
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "10s", help_heading = "Load")]
    pub timeout: Duration,
    /// A connection that cannot be used after this is a fault
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "5s", help_heading = "Load")]
    pub connect_timeout: Duration,
    /// Cores of the generator, one thread each, as in 2-5,8. Without it those that it may run on
    #[arg(long, value_name = "LIST", help_heading = "Load")]
    pub cores: Option<String>,
    /// Of every random choice
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    pub seed: u64,

    /// HTTP/1.1, whatever the server would choose
    #[arg(long, help_heading = "Protocol")]
    pub h1: bool,
    /// HTTP/2; over http:// by prior knowledge
    #[arg(long, help_heading = "Protocol")]
    pub h2: bool,
    /// HTTP/3
    #[arg(long, help_heading = "Protocol")]
    pub h3: bool,
    /// A WebSocket on each connection: the time to the echo of a message
    #[arg(long, conflicts_with = "sse", help_heading = "Protocol")]
    pub ws: bool,
    /// Size of its messages [default: 128]
    #[arg(long, value_name = "SIZE", value_parser = units::size, requires = "ws", help_heading = "Protocol")]
    pub ws_size: Option<u64>,
    /// An event stream on each connection: the time between events
    #[arg(long, help_heading = "Protocol")]
    pub sse: bool,

    /// Method
    #[arg(short = 'X', long, value_name = "METHOD", help_heading = "Requests")]
    pub method: Option<String>,
    /// A field, as in 'accept: text/html'
    #[arg(short = 'H', long, value_name = "FIELD", help_heading = "Requests")]
    pub header: Vec<String>,
    /// A file whose content is each request's body
    #[arg(short, long, value_name = "FILE", help_heading = "Requests")]
    pub body: Option<PathBuf>,
    /// A text that is each request's body
    #[arg(long, value_name = "TEXT", conflicts_with = "body", help_heading = "Requests")]
    pub data: Option<String>,
    /// Host, instead of the URL's
    #[arg(long, value_name = "HOST", help_heading = "Requests")]
    pub host: Option<String>,

    /// Any certificate will do
    #[arg(short = 'k', long, help_heading = "Connections")]
    pub insecure: bool,
    /// PEM file of authorities to trust, instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "Connections")]
    pub ca: Option<PathBuf>,
    /// Name that the certificate must have, instead of the URL's host
    #[arg(long, value_name = "NAME", help_heading = "Connections")]
    pub sni: Option<String>,
    /// Every handshake is a full one
    #[arg(long, help_heading = "Connections")]
    pub no_resume: bool,
    /// Connect here, whatever the URL says
    #[arg(long, value_name = "HOST:PORT", help_heading = "Connections")]
    pub connect_to: Option<String>,
    /// Connect to this unix socket; @NAME is an abstract one
    #[arg(long, value_name = "PATH", conflicts_with_all = ["connect_to", "h3"], help_heading = "Connections")]
    pub unix: Option<PathBuf>,

    /// Statuses that are expected; others are faults. Not with --ws and --sse [default: 200-399]
    #[arg(long, value_name = "FROM[-TO]", help_heading = "Judgement")]
    pub expect_status: Option<String>,
    /// A regular expression that each body must match
    #[arg(long, value_name = "REGEX", help_heading = "Judgement")]
    pub expect_body: Option<String>,
    /// A larger answer is a fault [default: 1g; with --expect-body 16m]
    #[arg(long, value_name = "SIZE", value_parser = units::size, help_heading = "Judgement")]
    pub body_max: Option<u64>,
    /// A process whose CPU time is counted, with its children: the server's
    #[arg(long, value_name = "PID", help_heading = "Judgement")]
    pub server_pid: Option<u32>,
}

/// Where results go.
#[derive(Debug, Args)]
pub(super) struct Reports {
    /// The whole result as JSON; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub json: Option<PathBuf>,
    /// A row for each second; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub csv: Option<PathBuf>,
    /// A page with plots, in one file
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub html: Option<PathBuf>,
    /// Response times of each second as an HdrHistogram log, for its tools; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub hdr: Option<PathBuf>,
    /// No progress, no report as text
    #[arg(short, long, help_heading = "Reports")]
    pub quiet: bool,
}

/// A run.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub target: Target,
    /// Measured time [default: 10s; with -n an hour at most]
    #[arg(short, long, value_name = "TIME", value_parser = units::duration, help_heading = "Load")]
    pub duration: Option<Duration>,
    /// End after so many requests, if that is sooner
    #[arg(short = 'n', long, value_name = "N", help_heading = "Load")]
    pub requests: Option<u64>,
    /// Open loop: so many requests a second, whatever the answers do; latency counts from when each should have been
    /// sent. Without it each connection asks as soon as it was answered
    #[arg(short, long, value_name = "RATE", value_parser = units::rate, help_heading = "Load")]
    pub rate: Option<f64>,
    /// What must hold, as in 'p99<10ms' 'err<0.1%' 'rps>=5000'; else the exit code is 1
    #[arg(long, value_name = "CONDITION", num_args = 1.., help_heading = "Judgement")]
    pub assert: Vec<String>,
    #[command(flatten)]
    pub reports: Reports,
}

/// The highest rate under an objective.
#[derive(Debug, Args)]
pub(super) struct Search {
    #[command(flatten)]
    pub target: Target,
    /// The objective, as in 'p99<5ms,err<0.1%'
    #[arg(long, value_name = "CONDITIONS", required = true)]
    pub slo: String,
    /// The first rate that is tried
    #[arg(long, value_name = "RATE", value_parser = units::rate, default_value = "1000", help_heading = "Search")]
    pub from: f64,
    /// Measured time of each step
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "10s", help_heading = "Search")]
    pub step: Duration,
    /// Measured time of the last run, which confirms the rate
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "30s", help_heading = "Search")]
    pub confirm: Duration,
    /// What was found and every step as JSON; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub json: Option<PathBuf>,
    /// No progress
    #[arg(short, long, help_heading = "Reports")]
    pub quiet: bool,
}

/// Two results side by side.
#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Results of `--json` before the change; several runs are joined by commas
    #[arg(value_name = "A.json[,…]", value_delimiter = ',', num_args = 1, required = true)]
    pub before: Vec<PathBuf>,
    /// Results after it
    #[arg(value_name = "B.json[,…]", value_delimiter = ',', num_args = 1, required = true)]
    pub after: Vec<PathBuf>,
    /// A figure that is worse by more than this, and not by chance, makes the exit code 1
    #[arg(long, value_name = "PERCENT", value_parser = units::share, default_value = "5%")]
    pub threshold: f64,
    /// Print the comparison as JSON
    #[arg(long)]
    pub json: bool,
}

/// Gaps between the requests of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Spacing {
    /// Even
    Constant,
    /// As from many independent users
    Poisson,
}

impl From<Spacing> for Arrivals {
    fn from(spacing: Spacing) -> Arrivals {
        match spacing {
            Spacing::Constant => Arrivals::Constant,
            Spacing::Poisson => Arrivals::Poisson,
        }
    }
}

impl Target {
    /// As a plan is built from it, but for the load.
    fn options(&self) -> Options {
        Options {
            urls: self.url.clone(),
            url_files: self.urls.clone(),
            method: self.method.clone(),
            fields: self.header.clone(),
            body: match (&self.body, &self.data) {
                (Some(file), _) => Body::File(file.clone()),
                (None, Some(text)) => Body::Text(text.clone()),
                (None, None) => Body::None,
            },
            host: self.host.clone(),
            sni: self.sni.clone(),
            connect_to: self.connect_to.clone(),
            unix: self.unix.clone(),
            h1: self.h1,
            h2: self.h2,
            h3: self.h3,
            connections: Some(self.connections),
            streams: Some(self.streams),
            requests_per_connection: self.requests_per_connection,
            connect_rate: self.connect_rate,
            arrivals: self.arrivals.map(Arrivals::from),
            warmup: self.warmup,
            timeout: Some(self.timeout),
            connect_timeout: Some(self.connect_timeout),
            insecure: self.insecure,
            ca: self.ca.clone(),
            no_resume: self.no_resume,
            cores: self.cores.clone(),
            websocket: self.ws,
            message_size: self.ws_size.map(|size| usize::try_from(size).unwrap_or(usize::MAX)),
            events: self.sse,
            expect_status: self.expect_status.clone(),
            expect_body: self.expect_body.clone(),
            body_max: self.body_max,
            seed: Some(self.seed),
            server_pid: self.server_pid,
            ..Options::default()
        }
    }
}

impl Run {
    /// As a plan is built from it.
    pub fn options(&self) -> Options {
        Options { rate: self.rate, duration: self.duration, requests: self.requests, ..self.target.options() }
    }
}

impl Search {
    /// The same at one rate.
    pub fn options(&self, rate: f64, duration: Duration) -> Options {
        Options { rate: Some(rate), duration: Some(duration), ..self.target.options() }
    }
}
