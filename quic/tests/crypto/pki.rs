//! Authorities, certificates, and rustls' settings for both sides.
use edge_quic::crypto::{ClientCrypto, ServerCrypto, Sessions, Storage};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ProducesTickets, WebPkiClientVerifier},
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// The name of the server.
pub const NAME: &str = "edge.example";

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    pub fn new() -> Authority {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    pub fn server(&self) -> Identity {
        self.issue(CertificateParams::new(vec![NAME.to_owned()]).unwrap())
    }

    /// With a certificate of about 2 KiB.
    pub fn large_server(&self) -> Identity {
        let names = (0..60).map(|n| format!("a-rather-long-name-{n}.example")).chain([NAME.to_owned()]);
        self.issue(CertificateParams::new(names.collect::<Vec<_>>()).unwrap())
    }

    pub fn client(&self) -> Identity {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A server that asks for no certificate, seals tickets and speaks h3.
pub fn server_config(authority: &Authority) -> ServerConfig {
    server_config_with(authority.server(), None)
}

/// A server that asks for certificates of these authorities.
pub fn server_config_asking(authority: &Authority, clients: Arc<RootCertStore>) -> ServerConfig {
    server_config_with(authority.server(), Some(clients))
}

/// A server that shows `identity`.
pub fn server_config_with(identity: Identity, clients: Option<Arc<RootCertStore>>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => builder
            .with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(roots, provider()).build().unwrap()),
    };
    let (chain, key) = identity;
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h3".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    config.send_tls13_tickets = 1;
    config
}

pub fn client_config(authority: &Authority, identity: Option<Identity>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(authority.roots());
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
    };
    config.alpn_protocols = vec![b"h3".to_vec()];
    config.enable_early_data = true;
    config
}

/// A client whose first flight is one packet: without the post-quantum share.
pub fn small_client_config(authority: &Authority) -> ClientConfig {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(authority.roots());
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h3".to_vec()];
    config
}

pub fn server(config: ServerConfig) -> Arc<ServerCrypto> {
    Arc::new(ServerCrypto::new(Arc::new(config)).unwrap())
}

pub fn client(config: ClientConfig) -> Arc<ClientCrypto> {
    Arc::new(ClientCrypto::new(Arc::new(config)).unwrap())
}

#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
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

/// A server that takes early data, with the sessions in `sessions`.
pub fn early_config(authority: &Authority, sessions: &Arc<Sessions>) -> (ServerConfig, Arc<Storage>) {
    let mut config = server_config(authority);
    let storage = Arc::new(Storage::new(sessions.clone(), 1));
    config.ticketer = Arc::new(NoTickets);
    config.session_storage = storage.clone();
    config.max_early_data_size = u32::MAX;
    (config, storage)
}
