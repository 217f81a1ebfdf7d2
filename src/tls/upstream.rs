//! TLS to endpoints: the settings for rustls, one for all endpoints of a pool that are spoken to alike.
use super::{
    config::{Place, Problem, UpstreamConfig},
    listener::alpn,
    provider::default_provider,
};
use edge_io::tls::Unverified;
use rustls::{
    ClientConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    pki_types::ServerName,
    sign::CertifiedKey,
};
use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// Endpoints whose sessions a pool remembers.
const SESSIONS: usize = 256;

/// TLS to one endpoint.
pub struct UpstreamTls {
    /// For rustls, shared by the endpoints of a pool and across reloads that change nothing of it, so that sessions are
    /// resumed; ALPN offers what the endpoint is spoken to.
    pub client: Arc<ClientConfig>,
    /// What is asked for (SNI, unless it is an address) and must be in the certificate.
    pub name: ServerName<'static>,
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &UpstreamTls) -> bool {
        Arc::ptr_eq(&self.client, &other.client) && self.name == other.name
    }
}

/// Makes the settings for `config`; `h1` and `h2` say what ALPN offers. `identity` is what is shown to endpoints that
/// ask.
pub(super) fn client(
    config: &UpstreamConfig,
    roots: Option<Arc<rustls::RootCertStore>>,
    identity: Option<Arc<Identity>>,
    (h1, h2): (bool, bool),
) -> Result<ClientConfig, Problem> {
    let problem = |message: String| Problem { place: Place::Table, message, help: String::new() };
    let provider = default_provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| problem(e.to_string()))?;
    let builder = match roots.filter(|_| config.verify) {
        Some(roots) => builder.with_root_certificates(roots),
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))),
    };
    let mut client = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    client.alpn_protocols = alpn(h1, h2);
    client.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(client)
}

impl UpstreamTls {
    /// TLS to the endpoint at `host` (a name or an address, an IPv6 one with or without brackets); `config` may name
    /// another one to ask for.
    ///
    /// # Errors
    /// Neither a host name nor an address.
    pub fn new(client: Arc<ClientConfig>, config: &UpstreamConfig, host: &str) -> Result<UpstreamTls, Problem> {
        let host = config.server_name.as_deref().unwrap_or(host);
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| Problem {
            place: Place::Table,
            message: format!("{bare:?} cannot be the name of an endpoint"),
            help: "give tls.server_name".to_owned(),
        })?;
        Ok(UpstreamTls { client, name })
    }
}

/// The certificate that is shown to endpoints; can be replaced at any time.
pub(super) struct Identity(RwLock<Arc<CertifiedKey>>);

impl Identity {
    pub fn new(key: Arc<CertifiedKey>) -> Identity {
        Identity(RwLock::new(key))
    }

    /// Shows another one from now on; whether it is another one.
    pub fn replace(&self, key: Arc<CertifiedKey>) -> bool {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let differs = !Arc::ptr_eq(&current, &key);
        *current = key;
        differs
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        key.key.choose_scheme(schemes).is_some().then_some(key)
    }

    fn has_certs(&self) -> bool {
        true
    }
}
