//! TLS as the plan wants it, for connections over TCP and over QUIC.
use crate::plan;
use edge_io::tls::Unverified;
use rustls::{
    CipherSuite, ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::sync::Arc;

/// Sessions that a shard keeps for resumption: more than servers a run has.
const SESSIONS: usize = 256;

/// The client's settings. `alpn`: protocol names as they are on the wire, the preferred first.
///
/// # Errors
/// A sentence for the user: authorities that cannot be read, or none at all.
pub fn config(tls: &plan::Tls, alpn: &[&[u8]]) -> Result<ClientConfig, String> {
    let mut provider = aws_lc_rs::default_provider();
    if alpn.contains(&&b"h3"[..]) {
        // Every QUIC stack has it, and it is what most clients offer first: less work for each packet.
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    }
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be set up: {e}"))?;
    let mut config = if tls.insecure {
        let any = Arc::new(Unverified(provider));
        builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()
    } else {
        builder.with_root_certificates(roots(tls)?).with_no_client_auth()
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = sessions(tls);
    Ok(config)
}

/// A store of sessions for one shard.
pub(crate) fn sessions(tls: &plan::Tls) -> Resumption {
    if tls.no_resume { Resumption::disabled() } else { Resumption::in_memory_sessions(SESSIONS) }
}

fn roots(tls: &plan::Tls) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &tls.ca else {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        return match added {
            0 => {
                Err("this system has no certificates of authorities: name a file with --ca, or accept any with -k"
                    .into())
            }
            _ => Ok(roots),
        };
    };
    let shown = path.display();
    let certs = CertificateDer::pem_file_iter(path).map_err(|e| format!("--ca {shown}: cannot be read: {e}"))?;
    for cert in certs {
        let cert = cert.map_err(|e| format!("--ca {shown}: not PEM: {e}"))?;
        roots.add(cert).map_err(|e| format!("--ca {shown}: not an authority's certificate: {e}"))?;
    }
    if roots.is_empty() {
        return Err(format!("--ca {shown}: no certificate in it; PEM was expected"));
    }
    Ok(roots)
}
