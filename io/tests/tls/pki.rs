//! An authority, certificates of it, and configurations with them.
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    client::WebPkiServerVerifier,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

static MADE: AtomicUsize = AtomicUsize::new(0);

/// Both versions; servers and clients with all of them choose 1.3.
pub const ALL: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
/// One at a time.
pub const EACH: [&[&SupportedProtocolVersion]; 2] = [&[&TLS13], &[&TLS12]];

/// A certificate with its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key_pair: KeyPair,
    pub pem: String,
}

impl Identity {
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key_pair.serialize_der().into())
    }
}

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub cert: CertificateDer<'static>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        let number = MADE.fetch_add(1, Ordering::Relaxed); // roots are looked up by name
        params.distinguished_name.push(DnType::CommonName, format!("test authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        let cert = params.self_signed(&key).expect("certificate");
        Authority { cert: cert.der().clone(), pem: cert.pem(), issuer: Issuer::new(params, key) }
    }

    pub fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| {})
    }

    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key_pair = KeyPair::generate().expect("key");
        let cert = params.signed_by(&key_pair, &self.issuer).expect("certificate");
        Identity { chain: vec![cert.der().clone()], key_pair, pem: cert.pem() }
    }

    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.cert.clone()).expect("root");
        Arc::new(roots)
    }

    /// A server for `localhost` that hands out tickets.
    pub fn server(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        self.server_as(&self.issue("localhost"), versions)
    }

    pub fn server_as(&self, who: &Identity, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).expect("versions");
        let builder = builder.with_no_client_auth();
        with_tickets(builder.with_single_cert(who.chain.clone(), who.key()).expect("key"))
    }

    /// One that asks clients for certificates of this authority.
    pub fn asking_server(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider()).build().expect("verifier");
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).expect("versions");
        let who = self.issue("localhost");
        let builder = builder.with_client_cert_verifier(verifier);
        with_tickets(builder.with_single_cert(who.chain.clone(), who.key()).expect("key"))
    }

    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        self.client_builder(versions).with_no_client_auth()
    }

    pub fn client_as(&self, who: &Identity, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        self.client_builder(versions).with_client_auth_cert(who.chain.clone(), who.key()).expect("key")
    }

    fn client_builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots(), provider()).build().expect("verifier");
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("versions")
            .with_webpki_verifier(verifier)
    }
}

fn with_tickets(mut config: ServerConfig) -> ServerConfig {
    config.ticketer = aws_lc_rs::Ticketer::new().expect("ticketer");
    config.send_tls13_tickets = 1;
    config
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("name")
}
