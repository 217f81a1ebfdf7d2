//! Which certificate a client gets: by the host name it asks for (SNI), then by what it can verify.
use super::{
    certificate::{Certificate, KeyKind},
    names::NameTable,
};
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

/// The certificates of one name, at most one for each kind of key.
#[derive(Clone, Debug, Default)]
struct Entry {
    ecdsa: Option<Arc<Certificate>>,
    ed25519: Option<Arc<Certificate>>,
    rsa: Option<Arc<Certificate>>,
}

impl Entry {
    fn slot(&mut self, kind: KeyKind) -> &mut Option<Arc<Certificate>> {
        match kind {
            KeyKind::Ecdsa => &mut self.ecdsa,
            KeyKind::Ed25519 => &mut self.ed25519,
            KeyKind::Rsa => &mut self.rsa,
        }
    }

    /// Cheapest signature first.
    fn all(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        [&self.ecdsa, &self.ed25519, &self.rsa].into_iter().flatten()
    }

    /// The cheapest that a client with `schemes` can verify; without one, the cheapest: rustls says why it fails.
    fn choose(&self, schemes: &[SignatureScheme]) -> Option<&Arc<Certificate>> {
        let fits = |certificate: &&Arc<Certificate>| certificate.key.key.choose_scheme(schemes).is_some();
        self.all().find(fits).or_else(|| self.all().next())
    }
}

/// All certificates of a listener, with a table by name. Never changes; a new one replaces it.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    names: NameTable<Entry>,
    /// For clients that name no host.
    nameless: Entry,
    /// For hosts that no certificate covers.
    unknown: Entry,
    all: Vec<Arc<Certificate>>,
}

impl Certificates {
    /// Of `all` in the order of the configuration; the first serves clients that name no host. `made` is one that no
    /// file holds: it serves hosts that no other one covers. Also answers a sentence for each name that two
    /// certificates of one kind of key are for; the first has it.
    pub fn new(all: Vec<Arc<Certificate>>, made: Option<Arc<Certificate>>) -> (Certificates, Vec<String>) {
        let mut table = Certificates::default();
        let mut doubts = Vec::new();
        for certificate in all.iter().chain(&made) {
            for name in &certificate.names {
                let slot = table.names.entry(name).slot(certificate.kind);
                match slot {
                    None => *slot = Some(certificate.clone()),
                    Some(first) if certificate.source == first.source => {}
                    Some(first) => doubts.push(format!(
                        "{}: {name} is in {} too, which stands before it and is used",
                        certificate.source, first.source
                    )),
                }
            }
        }
        let of = |first: Option<&Arc<Certificate>>| {
            let Some(first) = first else { return Entry::default() };
            let mut entry = table.names.find(first.name()).cloned().unwrap_or_default();
            *entry.slot(first.kind) = Some(first.clone());
            entry
        };
        let (nameless, unknown) = (of(all.first().or(made.as_ref())), of(made.as_ref().or(all.first())));
        (table.nameless, table.unknown) = (nameless, unknown);
        table.all = all;
        table.all.extend(made);
        (table, doubts)
    }

    /// Every one, in the order of the configuration.
    pub fn all(&self) -> &[Arc<Certificate>] {
        &self.all
    }

    fn entry(&self, server_name: Option<&str>) -> &Entry {
        match server_name {
            None => &self.nameless,
            Some(name) => self.names.find(name).unwrap_or(&self.unknown),
        }
    }

    /// Whether a certificate is there for `host`.
    pub fn has(&self, host: &str) -> bool {
        self.names.find(host).is_some()
    }

    /// Whether the certificate that `server_name` gets is also for `host`.
    pub fn covers(&self, server_name: &str, host: &str) -> bool {
        self.entry(Some(server_name)).all().any(|certificate| certificate.covers(host))
    }
}

/// Gives rustls the certificate for each handshake. Its table can be replaced at any time: handshakes that have
/// begun go on with what they got.
#[derive(Debug)]
pub(super) struct Resolver {
    /// Used until there is another one: requests look here too, and a lock is something that shards would share.
    first: Arc<Certificates>,
    replaced: AtomicBool,
    current: RwLock<Arc<Certificates>>,
}

impl Resolver {
    pub fn new(certificates: Certificates) -> Resolver {
        let first = Arc::new(certificates);
        Resolver { current: RwLock::new(first.clone()), first, replaced: AtomicBool::new(false) }
    }

    /// The table in use, to keep.
    pub fn get(&self) -> Arc<Certificates> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks something up in the table in use.
    pub fn look<T>(&self, look: impl FnOnce(&Certificates) -> T) -> T {
        match self.replaced.load(Ordering::Acquire) {
            false => look(&self.first),
            true => look(&self.current.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Uses another table from now on.
    pub fn replace(&self, certificates: Certificates) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificates);
        self.replaced.store(true, Ordering::Release);
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.look(|current| {
            let chosen = current.entry(hello.server_name()).choose(hello.signature_schemes());
            chosen.map(|certificate| certificate.key.clone())
        })
    }
}
