//! What outlives configurations: certificates that were good, the keys of tickets, sessions with endpoints. A file that
//! cannot be used any more changes nothing while the edge runs; a new one that cannot be used is a mistake.
use super::{
    certificate::{Certificate, Role, now},
    client_auth,
    config::{ListenerConfig, Pair, Place, Problem, Secret, UpstreamConfig},
    files,
    listener::{ListenerTls, Parts, context},
    provider::versions,
    resolver::Certificates,
    self_signed,
    tickets::{Secrets, Tickets, wall_clock},
    upstream::{self, Identity},
};
use edge_quic::crypto::Sessions;
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// What outlives configurations.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
    /// The system's, read when they are first needed.
    system: OnceLock<Result<Arc<RootCertStore>, String>>,
    /// What ticket keys are made of where no secret is given.
    chance: Arc<Secrets>,
    /// What early data rests on, made when a listener first takes it.
    sessions: OnceLock<Arc<Sessions>>,
    failures: AtomicU64,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            inner: Mutex::default(),
            system: OnceLock::new(),
            chance: Arc::new(Secrets::random()),
            sessions: OnceLock::new(),
            failures: AtomicU64::new(0),
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    pairs: HashMap<(Pair, Role), Known>,
    made: Option<Arc<Certificate>>,
    clients: HashMap<ClientKey, Weak<ClientConfig>>,
    identities: HashMap<Pair, Weak<Identity>>,
    /// Why the files that say which clients are let in cannot be used now, by the first of them.
    clients_failing: HashMap<Option<PathBuf>, String>,
}

/// What makes two settings for endpoints the same: pool, settings, ALPN, trusted authorities.
type ClientKey = (String, UpstreamConfig, (bool, bool), [u8; 32]);

/// A pair that was good once.
#[derive(Debug)]
struct Known {
    /// Of both files.
    digest: [u8; 32],
    certificate: Arc<Certificate>,
    warnings: Vec<Problem>,
    failing: Option<Failing>,
}

/// Why a pair's files cannot be used now.
#[derive(Debug)]
struct Failing {
    /// Of both files, where they could be read: the same failure is counted once.
    digest: Option<[u8; 32]>,
    why: String,
}

/// A pair whose files cannot be used now; an earlier one is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The certificate's file.
    pub cert: PathBuf,
    /// What is wrong with the files.
    pub why: String,
}

/// Something made of files, and what is doubtful about it; or everything that is wrong.
pub type Made<T> = Result<(T, Vec<Problem>), Vec<Problem>>;

/// What reading a listener's files again has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Names of the certificates that are others now.
    pub changed: Vec<String>,
    /// What could not be used, and was not told before.
    pub problems: Vec<String>,
}

impl Store {
    /// Makes a listener's TLS. Reads its files; a pair that cannot be used is replaced by the last one of the same files
    /// that could.
    ///
    /// # Errors
    /// Files that cannot be used and never could.
    pub fn listener(&self, config: &ListenerConfig) -> Made<ListenerTls> {
        let now = now();
        let (mut problems, mut warnings, mut certificates) = (Vec::new(), Vec::new(), Vec::new());
        problems.extend(no_suite_for_quic(config));
        for (index, pair) in config.certificates.iter().enumerate() {
            match self.pair(pair, index, Role::Server, now) {
                Ok((certificate, doubts)) => {
                    warnings.extend(doubts);
                    warnings.extend(due(&certificate, index, now));
                    certificates.push(certificate);
                }
                Err(problem) => problems.push(problem),
            }
        }
        let at_table = |message: String| Problem { place: Place::Table, message, help: String::new() };
        let made = config.self_signed.then(|| self.self_signed(now)).transpose();
        let made = made.unwrap_or_else(|why| {
            problems.push(at_table(why));
            None
        });
        let (certificates, doubts) = Certificates::new(certificates, made);
        warnings.extend(doubts.into_iter().map(at_table));
        let client = client_auth::load(config, now).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let secrets = match &config.ticket_secret {
            None => Ok(self.chance.clone()),
            Some(secret) => read_secret(secret, &mut warnings),
        };
        let (verifier, client_digest) = match client {
            Some(loaded) => {
                warnings.extend(loaded.warnings);
                (Some(loaded.verifier), loaded.digest)
            }
            None => (None, [0; 32]),
        };
        let secrets = secrets.map_err(|problem| problems.push(problem));
        let (Ok(secrets), true) = (secrets, problems.is_empty()) else { return Err(problems) };
        let tickets = Tickets::new(secrets, context(config, client_digest), wall_clock);
        let sessions = (config.h3 && config.early_data).then(|| self.sessions());
        let parts = Parts { config: config.clone(), certificates, verifier, client_digest, tickets, sessions };
        ListenerTls::new(parts).map(|tls| (tls, warnings)).map_err(|why| vec![at_table(why)])
    }

    fn sessions(&self) -> Arc<Sessions> {
        self.sessions.get_or_init(|| Sessions::new(Sessions::PLACES)).clone()
    }

    /// Makes the settings for endpoints of pool `pool`; `h1` and `h2` are what ALPN offers. The same settings give the
    /// same value for as long as somebody has it.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn client(&self, pool: &str, config: &UpstreamConfig, alpn: (bool, bool)) -> Made<Arc<ClientConfig>> {
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        let roots = self.roots(config).map_err(|problem| problems.push(problem));
        let identity = config.identity.as_ref().map(|pair| self.identity(pair)).transpose();
        let identity = identity.map_err(|problem| problems.push(problem));
        let (Ok((roots, digest)), Ok(identity)) = (roots, identity) else { return Err(problems) };
        let identity = identity.map(|(identity, doubts)| {
            warnings.extend(doubts);
            identity
        });
        let key = (pool.to_owned(), config.clone(), alpn, digest);
        let mut inner = self.lock();
        if let Some(found) = inner.clients.get(&key).and_then(Weak::upgrade) {
            return Ok((found, warnings));
        }
        let made = Arc::new(upstream::client(config, roots, identity, alpn).map_err(|problem| vec![problem])?);
        inner.clients.insert(key, Arc::downgrade(&made));
        Ok((made, warnings))
    }

    /// Forgets what no configuration in use needs. Called before one is compiled.
    pub fn sweep(&self) {
        let mut inner = self.lock();
        inner.pairs.retain(|(_, role), known| *role == Role::Client || Arc::strong_count(&known.certificate) > 1);
        inner.clients.retain(|_, client| client.strong_count() > 0);
        inner.identities.retain(|_, identity| identity.strong_count() > 0);
        let Inner { pairs, identities, .. } = &mut *inner;
        pairs.retain(|(pair, role), _| *role == Role::Server || identities.contains_key(pair));
    }

    /// Reads the files of `tls` again, and uses what can be used and is another one than before.
    pub fn refresh(&self, tls: &ListenerTls) -> Refreshed {
        let now = now();
        let mut done = Refreshed::default();
        let before = tls.resolver.get();
        let mut after = Vec::with_capacity(tls.config.certificates.len());
        for (index, pair) in tls.config.certificates.iter().enumerate() {
            let told = self.failing(pair, Role::Server).map(|(digest, _)| digest);
            match self.pair(pair, index, Role::Server, now) {
                Ok((certificate, _)) => after.push(certificate),
                // It was never good: its listener would not be there.
                Err(problem) => done.problems.push(problem.message),
            }
            done.problems.extend(self.news(pair, Role::Server, told));
        }
        let old: BTreeSet<[u8; 32]> = before.all().iter().map(|c| c.fingerprint).collect();
        let new = after.iter().filter(|certificate| !old.contains(&certificate.fingerprint));
        done.changed = new.map(|certificate| certificate.name().to_owned()).collect();
        if !done.changed.is_empty() && after.len() == tls.config.certificates.len() {
            let made = tls.config.self_signed.then(|| before.all().last().cloned()).flatten();
            tls.resolver.replace(Certificates::new(after, made).0);
        }
        match client_auth::load(&tls.config, now) {
            Ok(Some(loaded)) if loaded.digest != tls.client_digest() => {
                tls.replace_verifier(loaded.verifier, loaded.digest);
                self.lock().clients_failing.remove(&tls.config.client_ca);
                done.changed.push("clients' authorities or revocations".to_owned());
            }
            Ok(_) => {
                self.lock().clients_failing.remove(&tls.config.client_ca);
            }
            Err(problem) => {
                let told = self.lock().clients_failing.insert(tls.config.client_ca.clone(), problem.message.clone());
                if told.as_ref() != Some(&problem.message) {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    done.problems.push(problem.message);
                }
            }
        }
        done
    }

    /// Reads what is shown to endpoints again.
    pub fn refresh_identities(&self) -> Refreshed {
        let identities: Vec<(Pair, Arc<Identity>)> =
            self.lock().identities.iter().filter_map(|(pair, id)| Some((pair.clone(), id.upgrade()?))).collect();
        let mut done = Refreshed::default();
        for (pair, identity) in identities {
            let told = self.failing(&pair, Role::Client).map(|(digest, _)| digest);
            match self.pair(&pair, 0, Role::Client, now()) {
                Ok((certificate, _)) => {
                    if identity.replace(certificate.key.clone()) {
                        done.changed.push(pair.cert.display().to_string());
                    }
                }
                Err(problem) => done.problems.push(problem.message),
            }
            done.problems.extend(self.news(&pair, Role::Client, told));
        }
        done
    }

    /// The files of what is shown to endpoints.
    pub fn identity_files(&self) -> Vec<PathBuf> {
        let inner = self.lock();
        let used = inner.identities.iter().filter(|(_, identity)| identity.strong_count() > 0);
        used.flat_map(|(pair, _)| [pair.cert.clone(), pair.key.clone()]).collect()
    }

    /// How often a file could not be used and what it held before stayed in use.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Pairs whose files cannot be used now.
    pub fn unusable(&self) -> Vec<Unusable> {
        let inner = self.lock();
        let failing = |((pair, _), known): (&(Pair, Role), &Known)| {
            Some(Unusable { cert: pair.cert.clone(), why: known.failing.as_ref()?.why.clone() })
        };
        let mut all: Vec<Unusable> = inner.pairs.iter().filter_map(failing).collect();
        all.sort_by(|a, b| a.cert.cmp(&b.cert));
        all
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the files of `pair` hold that cannot be used, and why.
    fn failing(&self, pair: &Pair, role: Role) -> Option<(Option<[u8; 32]>, String)> {
        let inner = self.lock();
        let failing = inner.pairs.get(&(pair.clone(), role))?.failing.as_ref()?;
        Some((failing.digest, failing.why.clone()))
    }

    /// Why the files of `pair` cannot be used now, unless that was `told`.
    fn news(&self, pair: &Pair, role: Role, told: Option<Option<[u8; 32]>>) -> Option<String> {
        self.failing(pair, role).filter(|(digest, _)| told != Some(*digest)).map(|(_, why)| why)
    }

    /// The certificate in the files of `pair`, or the last one that was usable there.
    fn pair(
        &self,
        pair: &Pair,
        index: usize,
        role: Role,
        now: i64,
    ) -> Result<(Arc<Certificate>, Vec<Problem>), Problem> {
        let key = (pair.clone(), role);
        let read = read_pair(pair, index);
        let digest = read.as_ref().ok().map(|(_, _, digest)| *digest);
        let mut inner = self.lock();
        if let Some(known) = inner.pairs.get_mut(&key)
            && Some(known.digest) == digest
        {
            known.failing = None;
            return Ok((known.certificate.clone(), known.warnings.clone()));
        }
        let checked = read.and_then(|(cert, key, _)| Certificate::check(pair, index, role, &cert, &key, now));
        match (checked, digest, inner.pairs.get_mut(&key)) {
            (Ok((certificate, warnings)), Some(digest), _) => {
                let certificate = Arc::new(certificate);
                let known =
                    Known { digest, certificate: certificate.clone(), warnings: warnings.clone(), failing: None };
                inner.pairs.insert(key, known);
                Ok((certificate, warnings))
            }
            (Err(problem), digest, Some(known)) => {
                if known.failing.as_ref().is_none_or(|failing| failing.digest != digest) {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                }
                known.failing = Some(Failing { digest, why: problem.message.clone() });
                let message = format!("{}; the earlier certificate stays in use", problem.message);
                Ok((known.certificate.clone(), vec![Problem { message, ..problem }]))
            }
            (Err(problem), _, None) => Err(problem),
            // A certificate has been read of what could not be read: impossible, but no reason to end.
            (Ok((certificate, warnings)), None, _) => Ok((Arc::new(certificate), warnings)),
        }
    }

    /// The certificate that no file holds: made once, and kept across reloads until it grows old.
    fn self_signed(&self, now: i64) -> Result<Arc<Certificate>, String> {
        let mut inner = self.lock();
        match &inner.made {
            Some(made) if !made.is_due(now) => Ok(made.clone()),
            _ => {
                let made = Arc::new(self_signed::make()?);
                inner.made = Some(made.clone());
                Ok(made)
            }
        }
    }

    /// Whom endpoints' certificates are checked against, and a digest of that.
    fn roots(&self, config: &UpstreamConfig) -> Result<(Option<Arc<RootCertStore>>, [u8; 32]), Problem> {
        if !config.verify {
            return Ok((None, [0; 32]));
        }
        if let Some(ca) = &config.ca {
            let at = |(message, help)| Problem { place: Place::Ca, message, help };
            let (roots, digest) = client_auth::roots(ca).map_err(at)?;
            return Ok((Some(Arc::new(roots)), digest));
        }
        let at = |why: &String| Problem {
            place: Place::Table,
            message: why.clone(),
            help: "install the package ca-certificates, or give tls.ca".to_owned(),
        };
        let roots = self.system.get_or_init(system_roots).as_ref().map_err(at)?;
        Ok((Some(roots.clone()), [1; 32]))
    }

    fn identity(&self, pair: &Pair) -> Result<(Arc<Identity>, Vec<Problem>), Problem> {
        let (certificate, warnings) = self.pair(pair, 0, Role::Client, now())?;
        let mut inner = self.lock();
        if let Some(found) = inner.identities.get(pair).and_then(Weak::upgrade) {
            found.replace(certificate.key.clone());
            return Ok((found, warnings));
        }
        let made = Arc::new(Identity::new(certificate.key.clone()));
        inner.identities.insert(pair.clone(), Arc::downgrade(&made));
        Ok((made, warnings))
    }
}

/// HTTP/3 without a cipher suite for it.
fn no_suite_for_quic(config: &ListenerConfig) -> Option<Problem> {
    let has_tls13 = versions(config.min_version, &config.ciphers).contains(&&rustls::version::TLS13);
    (config.h3 && !has_tls13).then(|| Problem {
        place: Place::Table,
        message: "h3 is spoken over QUIC, which has TLS 1.3 only, and none of the ciphers is for TLS 1.3".to_owned(),
        help: "add TLS_AES_128_GCM_SHA256 to ciphers, or take h3 out of protocols".to_owned(),
    })
}

/// A certificate that should have been renewed.
fn due(certificate: &Certificate, index: usize, now: i64) -> Option<Problem> {
    let date = super::certificate::date(certificate.not_after);
    let message = format!("{}: the certificate expires on {date}", certificate.source);
    certificate.is_due(now).then(|| Problem { place: Place::Cert(index), message, help: "renew it".to_owned() })
}

type PairContent = (files::Content, files::Content, [u8; 32]);

fn read_pair(pair: &Pair, index: usize) -> Result<PairContent, Problem> {
    let at = |place| move |(message, help)| Problem { place, message, help };
    let cert = files::read(&pair.cert).map_err(at(Place::Cert(index)))?;
    let key = files::read(&pair.key).map_err(at(Place::Key(index)))?;
    let digest = Sha256::new_with_prefix(cert.digest()).chain_update(key.digest()).finalize().into();
    Ok((cert, key, digest))
}

fn read_secret(secret: &Secret, warnings: &mut Vec<Problem>) -> Result<Arc<Secrets>, Problem> {
    let at = |(message, help)| Problem { place: Place::TicketSecret, message, help };
    let (bytes, warning) = secret.read("ticket secret").map_err(at)?;
    warnings.extend(warning.map(at));
    Ok(Arc::new(Secrets::given(&bytes)))
}

/// The authorities that this system trusts.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    match usable {
        0 => {
            let why = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
            Err(format!("this system has no trusted authorities{why}"))
        }
        _ => Ok(Arc::new(roots)),
    }
}
