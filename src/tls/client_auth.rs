//! Checks certificates of clients against their issuers and lists of revoked ones, which can be replaced at any time.
use super::{
    config::{ClientAuth, ListenerConfig, Place, Problem},
    files,
    provider::default_provider,
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use sha2::{Digest, Sha256};
use std::sync::{Arc, PoisonError, RwLock};
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

/// A verifier made of files, what these held, and what is doubtful about them.
pub(super) struct Loaded {
    pub verifier: Arc<dyn ClientCertVerifier>,
    pub digest: [u8; 32],
    pub warnings: Vec<Problem>,
}

/// Makes the verifier that `config` asks for; `None` when clients are not asked for certificates.
pub(super) fn load(config: &ListenerConfig, now: i64) -> Result<Option<Loaded>, Problem> {
    let (ClientAuth::Optional | ClientAuth::Required, Some(ca)) = (config.client_auth, &config.client_ca) else {
        return Ok(None);
    };
    let at = |place| move |(message, help)| Problem { place, message, help };
    let (roots, ca_digest) = roots(ca).map_err(at(Place::Ca))?;
    let mut digest = Sha256::new_with_prefix(ca_digest);
    let (mut crls, mut warnings) = (Vec::new(), Vec::new());
    for (index, path) in config.client_crl.iter().enumerate() {
        let (lists, crl_digest) = files::crls(path).map_err(at(Place::Crl(index)))?;
        digest.update(crl_digest);
        for list in lists {
            let Ok((_, parsed)) = CertificateRevocationList::from_der(&list) else {
                let message = format!("{}: is not a list of revoked certificates", path.display());
                return Err(at(Place::Crl(index))((message, String::new())));
            };
            if let Some(next) = parsed.next_update().map(|t| t.timestamp()).filter(|next| *next < now) {
                let date = super::certificate::date(next);
                let message = format!("{}: a newer list was due on {date}; this one is still used", path.display());
                warnings.push(at(Place::Crl(index))((message, "fetch it from the authority".to_owned())));
            }
            crls.push(list);
        }
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), default_provider()).with_crls(crls);
    if config.client_auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    let verifier = builder
        .build()
        .map_err(|e| at(Place::Ca)((format!("{}: cannot be used: {e}", ca.display()), String::new())))?;
    Ok(Some(Loaded { verifier, digest: digest.finalize().into(), warnings }))
}

/// The authorities in the file at `path`, and its digest.
pub(super) fn roots(path: &std::path::Path) -> Result<(RootCertStore, [u8; 32]), files::Wrong> {
    let content = files::read(path)?;
    let mut roots = RootCertStore::empty();
    for (n, der) in (1..).zip(files::certificates(path, &content.bytes)?) {
        roots
            .add(der)
            .map_err(|e| (format!("{}: certificate {n} cannot be used: {e}", path.display()), String::new()))?;
    }
    Ok((roots, content.digest()))
}

/// A verifier behind which another one can be put.
#[derive(Debug)]
pub(super) struct Replaceable {
    mandatory: bool,
    /// The issuers' names of the first one: rustls borrows them.
    hints: Vec<DistinguishedName>,
    current: RwLock<Arc<dyn ClientCertVerifier>>,
}

impl Replaceable {
    pub fn new(first: Arc<dyn ClientCertVerifier>) -> Replaceable {
        Replaceable {
            mandatory: first.client_auth_mandatory(),
            hints: first.root_hint_subjects().to_vec(),
            current: RwLock::new(first),
        }
    }

    /// Uses `next` from now on.
    pub fn replace(&self, next: Arc<dyn ClientCertVerifier>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn get(&self) -> Arc<dyn ClientCertVerifier> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientCertVerifier for Replaceable {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.get().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.get().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.get().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.get().supported_verify_schemes()
    }
}
