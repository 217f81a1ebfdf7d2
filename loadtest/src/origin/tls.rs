//! The certificate of an origin, and TLS for its sockets.
use super::connection::Speaks;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};
use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which certificate is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// One made for this run, for `localhost`, the loopback addresses and those that are listened on. Nobody vouches
    /// for it.
    SelfSigned,
    /// PEM files.
    Files {
        /// The certificate, and those between it and the authority.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

/// A certificate with its key.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads it, or makes it for `ips` too.
    ///
    /// # Errors
    /// A file that cannot be read, with its name; a certificate that cannot be made.
    pub fn open(tls: &Tls, ips: &[IpAddr]) -> io::Result<Identity> {
        match tls {
            Tls::SelfSigned => self_signed(ips).map_err(io::Error::other),
            Tls::Files { certificate, key } => {
                let chain = CertificateDer::pem_file_iter(certificate)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|e| unreadable(certificate, &e))?;
                if chain.is_empty() {
                    return Err(io::Error::other(format!("{}: there is no certificate in it", certificate.display())));
                }
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
                Ok(Identity { chain, key })
            }
        }
    }

    /// The certificate itself, DER.
    pub fn certificate(&self) -> Vec<u8> {
        self.chain.first().map(|der| der.to_vec()).unwrap_or_default()
    }

    /// For TCP and unix sockets.
    ///
    /// # Errors
    /// The key is not the certificate's, or of no kind that TLS has.
    pub fn for_streams(&self, speaks: Speaks) -> io::Result<Arc<ServerConfig>> {
        let names: [(bool, &[u8]); 2] = [(speaks.h2, b"h2"), (speaks.h1, b"http/1.1")];
        let alpn = names.into_iter().filter_map(|(spoken, name)| spoken.then(|| name.to_vec()));
        self.config(alpn.collect(), rustls::DEFAULT_VERSIONS)
    }

    /// For QUIC.
    ///
    /// # Errors
    /// The key is not the certificate's, or of no kind that TLS has.
    pub fn for_quic(&self) -> io::Result<Arc<ServerConfig>> {
        self.config(vec![b"h3".to_vec()], &[&rustls::version::TLS13])
    }

    fn config(
        &self,
        alpn: Vec<Vec<u8>>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> io::Result<Arc<ServerConfig>> {
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .and_then(|b| b.with_no_client_auth().with_single_cert(self.chain.clone(), self.key.clone_key()));
        let mut config = config.map_err(|e| io::Error::other(format!("the certificate and its key: {e}")))?;
        config.alpn_protocols = alpn;
        if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Ok(Arc::new(config))
    }
}

fn unreadable(file: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {why}", file.display()))
}

fn self_signed(ips: &[IpAddr]) -> Result<Identity, rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    for ip in ips.iter().filter(|ip| !ip.is_unspecified()).map(IpAddr::to_string) {
        if !names.contains(&ip) {
            names.push(ip);
        }
    }
    let key = KeyPair::generate()?;
    let made = CertificateParams::new(names)?.self_signed(&key)?;
    let secret = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok(Identity { chain: vec![made.der().clone()], key: secret.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_there_or_not_what_they_should_be_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let tls = Tls::Files { certificate: certificate.clone(), key: key.clone() };
        let why = |tls: &Tls| Identity::open(tls, &[]).err().unwrap().to_string();
        assert!(why(&tls).contains("cert.pem"));
        std::fs::write(&certificate, "").unwrap();
        assert!(why(&tls).contains("cert.pem: there is no certificate"));
        let pair = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["x".into()]).unwrap().self_signed(&pair).unwrap();
        std::fs::write(&certificate, made.pem()).unwrap();
        assert!(why(&tls).contains("key.pem"));
        std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let mixed = Identity::open(&tls, &[]).unwrap().for_quic().unwrap_err();
        assert!(mixed.to_string().contains("the certificate and its key"), "{mixed}");
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let opened = Identity::open(&tls, &[]).unwrap();
        assert_eq!(opened.certificate(), made.der().to_vec());
        let config = opened.for_streams(Speaks { h1: true, h2: true }).unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }
}
