//! TLS on a listener: the settings for rustls, and what can be replaced under them while it runs.
use super::{
    certificate::Certificate,
    client_auth::Replaceable,
    config::{ClientAuth, ListenerConfig, MinVersion},
    provider::{provider, versions},
    quic::Quic,
    resolver::{Certificates, Resolver},
    tickets::Tickets,
};
use edge_quic::crypto::{ServerCrypto, Sessions};
use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, danger::ClientCertVerifier},
};
use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
};

/// TLS 1.3 session tickets sent after a handshake: browsers open two connections at once.
const TICKETS: usize = 2;

/// TLS on a listener.
pub struct ListenerTls {
    /// For rustls; ALPN offers what the listener speaks, `h2` first.
    pub server: Arc<ServerConfig>,
    quic: Option<Quic>,
    /// Handshakes in progress per shard.
    pub max_handshakes: usize,
    /// What the configuration says.
    pub(super) config: ListenerConfig,
    pub(super) resolver: Arc<Resolver>,
    pub(super) verifier: Option<Arc<Replaceable>>,
    pub(super) tickets: Arc<Tickets>,
    /// Digest of the files that say which clients are let in.
    client_digest: std::sync::Mutex<[u8; 32]>,
    port: AtomicU16,
    demand: AtomicU64,
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerTls").field("config", &self.config).finish_non_exhaustive()
    }
}

impl PartialEq for ListenerTls {
    /// Whether both are configured the same and let the same clients in; their certificates are compared apart.
    fn eq(&self, other: &ListenerTls) -> bool {
        self.config == other.config && self.client_digest() == other.client_digest()
    }
}

/// What a listener's TLS is made of.
pub(super) struct Parts {
    pub config: ListenerConfig,
    pub certificates: Certificates,
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub client_digest: [u8; 32],
    pub tickets: Tickets,
    /// For early data.
    pub sessions: Option<Arc<Sessions>>,
}

impl ListenerTls {
    /// Puts the parts together.
    pub(super) fn new(parts: Parts) -> Result<ListenerTls, String> {
        let Parts { config, certificates, verifier, client_digest, tickets, sessions } = parts;
        let provider = Arc::new(provider(&config.ciphers, &config.curves));
        let (resolver, tickets) = (Arc::new(Resolver::new(certificates)), Arc::new(tickets));
        let verifier = verifier.map(|first| Arc::new(Replaceable::new(first)));
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(config.min_version, &config.ciphers))
            .map_err(|e| e.to_string())?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(resolver.clone());
        server.alpn_protocols = alpn(config.h1, config.h2);
        server.ticketer = tickets.clone();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = TICKETS;
        let demand = short(context(&config, client_digest));
        let quic = config.h3.then(|| Quic::new(&server, sessions, demand)).transpose()?;
        Ok(ListenerTls {
            demand: AtomicU64::new(demand),
            quic,
            server: Arc::new(server),
            max_handshakes: config.max_handshakes,
            client_digest: std::sync::Mutex::new(client_digest),
            config,
            resolver,
            verifier,
            tickets,
            port: AtomicU16::new(0),
        })
    }

    /// For QUIC, where the listener speaks HTTP/3: the same certificates, the same demands of clients.
    pub fn quic(&self) -> Option<&Arc<ServerCrypto>> {
        self.quic.as_ref().map(|quic| &quic.crypto)
    }

    /// Says what stands for the limits that QUIC connections are granted from now on (transport parameters, HTTP/3
    /// settings): early data rests on those of an earlier connection and is not taken where they were others (RFC 9000
    /// 7.4.1, RFC 9114 7.2.4.2).
    pub fn set_quic_limits(&self, digest: u64) {
        if let Some(quic) = &self.quic {
            quic.limits(digest);
        }
    }

    /// Whether clients are asked for a certificate.
    pub fn client_auth(&self) -> ClientAuth {
        self.config.client_auth
    }

    /// Stands for what is demanded of clients: a connection that began under another one should not be served.
    pub fn demand(&self) -> u64 {
        self.demand.load(Ordering::Relaxed)
    }

    /// Whether a certificate is there for `host` (without port).
    pub fn has(&self, host: &str) -> bool {
        self.resolver.look(|certificates| certificates.has(host))
    }

    /// Whether a connection whose client asked for `server_name` (SNI) may be used for `host` (without port): it is the
    /// same name, or the certificate that was shown is for it too. Otherwise 421 (RFC 9110 7.4).
    pub fn covers(&self, server_name: &str, host: &str) -> bool {
        let same = super::names::normal(server_name).eq_ignore_ascii_case(&super::names::normal(host));
        same || self.resolver.look(|certificates| certificates.covers(server_name, host))
    }

    /// The port that clients are redirected to; 0 while it is not known.
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    /// Says where it really listens.
    pub fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// Every certificate, in the order of the configuration.
    pub fn certificates(&self) -> Vec<Arc<Certificate>> {
        self.resolver.get().all().to_vec()
    }

    /// The files it is made of.
    pub fn files(&self) -> Vec<PathBuf> {
        let pairs = self.config.certificates.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        pairs.chain(&self.config.client_ca).chain(&self.config.client_crl).cloned().collect()
    }

    pub(super) fn client_digest(&self) -> [u8; 32] {
        *self.client_digest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets in the clients that `verifier` does, from now on. Nobody resumes a session from before.
    pub(super) fn replace_verifier(&self, verifier: Arc<dyn ClientCertVerifier>, digest: [u8; 32]) {
        if let Some(replaceable) = &self.verifier {
            replaceable.replace(verifier);
            let demand = context(&self.config, digest);
            self.tickets.demand(demand);
            self.demand.store(short(demand), Ordering::Relaxed);
            if let Some(quic) = &self.quic {
                quic.demand(short(demand));
            }
            *self.client_digest.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = digest;
        }
    }
}

fn short(digest: [u8; 32]) -> u64 {
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// ALPN names (RFC 7301), best first.
pub(super) fn alpn(h1: bool, h2: bool) -> Vec<Vec<u8>> {
    let offered = [(h2, b"h2".as_slice()), (h1, b"http/1.1")];
    offered.into_iter().filter(|(yes, _)| *yes).map(|(_, name)| name.to_vec()).collect()
}

/// What a listener demands of clients: tickets are good where this is the same.
pub(super) fn context(config: &ListenerConfig, client_digest: [u8; 32]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let auth = match config.client_auth {
        ClientAuth::Off => 0u8,
        ClientAuth::Optional => 1,
        ClientAuth::Required => 2,
    };
    let version = if config.min_version == MinVersion::Tls13 { 13 } else { 12 };
    Sha256::new_with_prefix([auth, version]).chain_update(client_digest).finalize().into()
}
