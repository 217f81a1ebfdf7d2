//! rustls' settings for a listener's QUIC connections: those for TCP, with what is different.
use edge_quic::crypto::{ServerCrypto, Sessions, Storage};
use rustls::{ServerConfig, server::NoServerSessionStorage};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The only protocol that is spoken over QUIC (RFC 9114 3.1).
const ALPN: &[u8] = b"h3";
/// Session tickets sent after a handshake: everything to a host goes through one connection.
const TICKETS: usize = 1;
/// QUIC's own limits bound early data, not TLS (RFC 9001 4.6.1).
const EARLY_DATA: u32 = u32::MAX;

/// QUIC on a listener.
pub(super) struct Quic {
    pub crypto: Arc<ServerCrypto>,
    /// Where early data is taken.
    early: Option<Early>,
}

/// What early data rests on.
struct Early {
    storage: Arc<Storage>,
    demand: AtomicU64,
    limits: AtomicU64,
}

impl Quic {
    /// Like `tcp`: certificates, client authentication and ticket keys are the same, and replaced together. TLS 1.2,
    /// where `tcp` has it, is not spoken: rustls refuses it over QUIC. `sessions` where early data is taken: rustls takes
    /// it only with sessions that the server keeps, of which each is then good once; without, sessions are in tickets as
    /// over TCP. `demand` stands for what is demanded of clients.
    pub fn new(tcp: &ServerConfig, sessions: Option<Arc<Sessions>>, demand: u64) -> Result<Quic, String> {
        let mut server = tcp.clone();
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.send_tls13_tickets = TICKETS;
        let early = sessions.map(|sessions| Early {
            storage: Arc::new(Storage::new(sessions, mixed(demand, 0))),
            demand: AtomicU64::new(demand),
            limits: AtomicU64::new(0),
        });
        if let Some(early) = &early {
            server.ticketer = Arc::new(NoTickets);
            server.session_storage = early.storage.clone();
            server.max_early_data_size = EARLY_DATA;
        } else {
            server.session_storage = Arc::new(NoServerSessionStorage {});
        }
        let crypto = ServerCrypto::new(Arc::new(server)).map_err(|e| format!("QUIC cannot be spoken: {e}"))?;
        Ok(Quic { crypto: Arc::new(crypto), early })
    }

    /// `demand` stands for what is demanded of clients from now on.
    pub fn demand(&self, demand: u64) {
        if let Some(early) = &self.early {
            early.demand.store(demand, Ordering::Relaxed);
            early.changed();
        }
    }

    /// `limits` stands for what is granted to clients from now on.
    pub fn limits(&self, limits: u64) {
        if let Some(early) = &self.early {
            early.limits.store(limits, Ordering::Relaxed);
            early.changed();
        }
    }
}

impl Early {
    /// Only the control thread changes either.
    fn changed(&self) {
        self.storage.demand(mixed(self.demand.load(Ordering::Relaxed), self.limits.load(Ordering::Relaxed)));
    }
}

/// One number for both; another one when either is another.
fn mixed(demand: u64, limits: u64) -> u64 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::new_with_prefix(demand.to_be_bytes()).chain_update(limits.to_be_bytes()).finalize();
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Makes rustls keep sessions instead of sealing them.
#[derive(Debug)]
struct NoTickets;

impl rustls::server::ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
