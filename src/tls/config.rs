//! What the configuration says about TLS, and how a mistake is told.
use std::path::PathBuf;

/// A listener's `tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerConfig {
    /// Chains and keys; the first is for clients that name no host.
    pub certificates: Vec<Pair>,
    /// Whether to make a certificate at the start as well.
    pub self_signed: bool,
    /// Oldest version.
    pub min_version: MinVersion,
    /// Names out of [`super::CIPHERS`], best first; empty = all.
    pub ciphers: Vec<&'static str>,
    /// Names out of [`super::CURVES`], best first; empty = all.
    pub curves: Vec<&'static str>,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// Issuers of client certificates.
    pub client_ca: Option<PathBuf>,
    /// Revoked client certificates.
    pub client_crl: Vec<PathBuf>,
    /// What ticket keys are made of; `None` = chance.
    pub ticket_secret: Option<Secret>,
    /// Handshakes in progress per shard.
    pub max_handshakes: usize,
    /// Whether `h2` is offered, before `http/1.1`.
    pub h2: bool,
    /// Whether `http/1.1` is offered.
    pub h1: bool,
    /// Whether `h3` is spoken, over QUIC.
    pub h3: bool,
    /// Whether early data is taken (RFC 8446 2.3), over QUIC.
    pub early_data: bool,
}

/// A certificate chain and its private key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The chain, PEM, the server's own certificate first.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// Oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// Whether clients are asked for a certificate. One that is shown is always checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// No.
    #[default]
    Off,
    /// Yes, but the handshake goes on without.
    Optional,
    /// Yes, and without one the handshake fails.
    Required,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Secret {
    /// The bytes of this file.
    File(PathBuf),
    /// The value of this environment variable.
    Env(String),
}

/// A pool's `tls`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamConfig {
    /// Trusted instead of the system's roots.
    pub ca: Option<PathBuf>,
    /// Instead of the endpoint's host.
    pub server_name: Option<String>,
    /// Shown to endpoints that ask.
    pub identity: Option<Pair>,
    /// Whether endpoints' certificates are checked.
    pub verify: bool,
}

impl Default for UpstreamConfig {
    fn default() -> UpstreamConfig {
        UpstreamConfig { ca: None, server_name: None, identity: None, verify: true }
    }
}

/// Which value of the configuration a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `cert` of this certificate.
    Cert(usize),
    /// `key` of this certificate.
    Key(usize),
    /// `client_ca`, or a pool's `ca`.
    Ca,
    /// This element of `client_crl`.
    Crl(usize),
    /// `ticket_secret`.
    TicketSecret,
    /// The table.
    Table,
}

/// Something that cannot be used, or should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which value it is about.
    pub place: Place,
    /// What is wrong, with the file.
    pub message: String,
    /// What to do; may be empty.
    pub help: String,
}
