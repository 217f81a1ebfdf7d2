//! Certificates made once per run, and a blocking TLS stream over rustls whose two directions can be used at once.
use edge_io::tls::Unverified;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, Connection, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server::danger::ClientCertVerifier,
};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

/// The name clients of the harness ask for, and the one origins answer to.
pub const EDGE_NAME: &str = "edge.test";
/// The name in the certificate of origins.
pub const ORIGIN_NAME: &str = "origin.test";

/// Hosts that tests put into requests: the edge's certificate covers them all, so that none is misdirected (RFC 9110
/// 15.5.20) unless a test is about that.
const HOSTS: [&str; 10] =
    [EDGE_NAME, "a", "b", "test", "*.test", "*.shop.test", "*.eu.shop.test", "*.b.shop.test", "localhost", "127.0.0.1"];

/// A certification authority of the tests.
pub struct Authority {
    /// Its certificate.
    pub pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub pem: String,
    /// The private key, PKCS #8.
    pub key_pem: String,
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// The private key, DER.
    pub key: Vec<u8>,
}

impl Authority {
    /// One that nobody knows yet.
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        Authority { pem: cert.pem(), der: cert.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for these names, good for both ends of TLS.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    /// As [`Authority::issue`], with a last word on the contents.
    pub fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names for a certificate");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            pem: cert.pem(),
            key_pem: key.serialize_pem(),
            der: cert.der().clone(),
            key: key.serialized_der().to_vec(),
        }
    }

    /// Trust in this authority alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a good root");
        roots
    }
}

impl Identity {
    /// SHA-256 of the public key's SubjectPublicKeyInfo, base64, as browsers take it.
    ///
    /// # Panics
    /// Never: the certificate is well-formed.
    pub fn spki_hash(&self) -> String {
        use base64::Engine as _;
        let (_, certificate) = x509_parser::parse_x509_certificate(&self.der).expect("a certificate");
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.public_key().raw);
        base64::engine::general_purpose::STANDARD.encode(hash)
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// Writes `name.pem` and `name.key` into a directory.
    pub fn write(&self, dir: &Path, name: &str) {
        std::fs::write(dir.join(format!("{name}.pem")), &self.pem).expect("the temporary directory takes files");
        let key = dir.join(format!("{name}.key"));
        std::fs::write(&key, &self.key_pem).expect("the temporary directory takes files");
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(key, owner_only).expect("the owner may change a file");
    }

    /// What an origin with this certificate needs.
    pub fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider's versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], self.private_key())
            .expect("a certificate and its key");
        config.alpn_protocols = wire_names(alpn);
        Arc::new(config)
    }

    /// As [`Identity::server`], for clients that show a certificate.
    pub fn server_with(&self, alpn: &[&str], verifier: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider's versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.der.clone()], self.private_key())
            .expect("a certificate and its key");
        config.alpn_protocols = wire_names(alpn);
        Arc::new(config)
    }

    /// As [`client`], showing this certificate where one is asked for.
    pub fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut config = client_builder()
            .with_client_auth_cert(vec![self.der.clone()], self.private_key())
            .expect("a certificate and its key");
        config.alpn_protocols = wire_names(alpn);
        Arc::new(config)
    }
}

/// What the whole run shares.
pub struct Pki {
    /// Signs everything that is to be trusted.
    pub authority: Authority,
    /// The edge's certificate.
    pub edge: Identity,
    /// The certificate of origins.
    pub origin: Identity,
}

/// The run's certificates; made at the first call.
pub fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let authority = Authority::new("edge tests");
        let edge = authority.issue(&HOSTS);
        let origin = authority.issue(&[ORIGIN_NAME, "localhost", "127.0.0.1", "::1"]);
        Pki { authority, edge, origin }
    })
}

/// Writes `ca.pem`, `edge.pem` and `edge.key` into a directory where the test has put none of its own.
pub fn write_defaults(dir: &Path) {
    if !dir.join("ca.pem").exists() {
        std::fs::write(dir.join("ca.pem"), &pki().authority.pem).expect("the temporary directory takes files");
    }
    if !dir.join("edge.pem").exists() {
        pki().edge.write(dir, "edge");
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn wire_names(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn client_builder() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_root_certificates(pki().authority.roots())
}

/// A client that trusts the run's authority and offers these protocols.
pub fn client(alpn: &[&str]) -> Arc<ClientConfig> {
    let mut config = client_builder().with_no_client_auth();
    config.alpn_protocols = wire_names(alpn);
    Arc::new(config)
}

/// A client that takes any certificate, to look at it.
pub fn curious(alpn: &[&str], versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions);
    let mut config = builder
        .expect("the provider's versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider())))
        .with_no_client_auth();
    config.alpn_protocols = wire_names(alpn);
    Arc::new(config)
}

/// A name as rustls takes it.
pub fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("a name or an address")
}

/// TLS over a socket. Handles made by [`TlsStream::second`] share the connection; one may read while another writes.
pub struct TlsStream {
    socket: TcpStream,
    shared: Arc<Shared>,
}

struct Shared {
    connection: Mutex<Connection>,
    /// Ciphertext read from the socket and not yet taken in.
    ciphertext: Mutex<Vec<u8>>,
    /// Held while ciphertext goes out, so that records leave in the order of their making.
    writing: Mutex<()>,
    /// No parting word when the last handle goes.
    abrupt: std::sync::atomic::AtomicBool,
}

impl TlsStream {
    /// Shakes hands as a client.
    ///
    /// # Errors
    /// The socket's; a refusal is `InvalidData` or what the peer's alert says.
    pub fn connect(socket: TcpStream, config: Arc<ClientConfig>, name: &str) -> io::Result<TlsStream> {
        let connection = rustls::ClientConnection::new(config, server_name(name)).map_err(io::Error::other)?;
        TlsStream::shake(socket, connection.into())
    }

    /// Shakes hands as a server.
    ///
    /// # Errors
    /// As [`TlsStream::connect`].
    pub fn accept(socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<TlsStream> {
        let connection = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
        TlsStream::shake(socket, connection.into())
    }

    fn shake(mut socket: TcpStream, mut connection: Connection) -> io::Result<TlsStream> {
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        while connection.wants_write() {
            connection.write_tls(&mut socket)?;
        }
        let shared = Shared {
            connection: Mutex::new(connection),
            ciphertext: Mutex::default(),
            writing: Mutex::new(()),
            abrupt: std::sync::atomic::AtomicBool::new(false),
        };
        Ok(TlsStream { socket, shared: Arc::new(shared) })
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Another handle.
    ///
    /// # Errors
    /// As the socket says.
    pub fn second(&self) -> io::Result<TlsStream> {
        Ok(TlsStream { socket: self.socket.try_clone()?, shared: Arc::clone(&self.shared) })
    }

    /// Looks into the connection.
    pub fn look<T>(&self, at: impl FnOnce(&Connection) -> T) -> T {
        at(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.shared.connection.lock().expect("TLS does not panic")
    }

    /// Sends what the connection has ready, in order.
    fn flush_records(&self) -> io::Result<()> {
        let _turn = self.shared.writing.lock().expect("writing does not panic");
        let mut out = Vec::new();
        {
            let mut connection = self.lock();
            while connection.wants_write() {
                connection.write_tls(&mut out)?;
            }
        }
        (&self.socket).write_all(&out)
    }

    /// `close_notify`, and the end of the socket's direction.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.lock().send_close_notify();
        self.flush_records()?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// The end comes without `close_notify`.
    pub fn end_abruptly(&self) {
        self.shared.abrupt.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Takes ciphertext in; `false` when more is needed from the socket.
    fn advance(&self) -> io::Result<bool> {
        let mut ciphertext = self.shared.ciphertext.lock().expect("TLS does not panic");
        if ciphertext.is_empty() {
            return Ok(false);
        }
        let mut connection = self.lock();
        let taken = connection.read_tls(&mut ciphertext.as_slice())?;
        ciphertext.drain(..taken);
        connection.process_new_packets().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        Ok(true)
    }
}

impl Read for TlsStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.lock().reader().read(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if self.advance()? {
                continue;
            }
            let mut raw = [0; 16384];
            let n = self.socket.read(&mut raw)?;
            if n == 0 {
                // Tells the connection that the socket has ended; its reader then says how.
                self.lock().read_tls(&mut io::empty())?;
                return self.lock().reader().read(buf);
            }
            self.shared.ciphertext.lock().expect("TLS does not panic").extend_from_slice(&raw[..n]);
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.lock().writer().write(buf)?;
        self.flush_records()?;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_records()
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        if Arc::strong_count(&self.shared) == 1 && !self.shared.abrupt.load(std::sync::atomic::Ordering::SeqCst) {
            // Whoever cannot take it any more does not need it.
            let _ = self.socket.set_nonblocking(true);
            self.lock().send_close_notify();
            let _ = self.flush_records();
        }
    }
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}
