//! Reads PEM files, and says in plain words when one is not what it should be.
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
    pem::{PemObject, SectionKind},
};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

/// Largest file of certificates, keys or a secret, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Largest list of revoked certificates, bytes.
const CRL_BYTES_MAX: u64 = 64 << 20;

/// What is wrong, and what to do (may be empty).
pub(super) type Wrong = (String, String);

/// A file's bytes.
pub(super) struct Content {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether everybody may read it.
    pub public: bool,
}

impl Content {
    /// SHA-256 of the bytes.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

/// Reads the file at `path`, at most 1 MiB.
pub(super) fn read(path: &Path) -> Result<Content, Wrong> {
    read_up_to(path, FILE_BYTES_MAX)
}

fn read_up_to(path: &Path, most: u64) -> Result<Content, Wrong> {
    let failed = |e: std::io::Error| {
        let help = match e.kind() {
            std::io::ErrorKind::PermissionDenied => "let the user that edge runs as read it",
            std::io::ErrorKind::NotFound => "relative paths start at the directory of the configuration",
            _ => "",
        };
        (format!("{}: cannot be read: {e}", path.display()), help.to_owned())
    };
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err((format!("{}: is not a file", path.display()), String::new()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.size().min(most)).unwrap_or(0) + 1);
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err((format!("{}: is larger than {most} bytes", path.display()), String::new()));
    }
    Ok(Content { bytes, public: meta.permissions().mode() & 0o004 != 0 })
}

fn sections(path: &Path, bytes: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, Wrong> {
    let read: Result<Vec<_>, _> = <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes).collect();
    // The crate's words may quote the file, which may be a key.
    read.map_err(|_| {
        (format!("{}: is not well-formed PEM", path.display()), "it may be cut off, or edited by hand".to_owned())
    })
}

/// DER begins with a SEQUENCE of a long length.
fn looks_like_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x84, ..])
}

fn is_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}

/// The certificates in `bytes`, in order; at least one.
pub(super) fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let shown = path.display();
    if looks_like_der(bytes) {
        let help = format!("convert it: openssl x509 -inform der -in {shown} -out {shown}.pem");
        return Err((format!("{shown}: is DER, not PEM"), help));
    }
    let sections = sections(path, bytes)?;
    let only_keys = !sections.is_empty() && sections.iter().all(|(kind, _)| is_key(*kind));
    let found: Vec<_> = sections
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| CertificateDer::from(der))
        .collect();
    match found.is_empty() {
        false => Ok(found),
        true if only_keys => Err((
            format!("{shown}: holds a private key, but no certificate"),
            "cert and key may have been swapped".to_owned(),
        )),
        true => Err((
            format!("{shown}: holds no certificate"),
            "a PEM file has lines \"-----BEGIN CERTIFICATE-----\"".to_owned(),
        )),
    }
}

/// The first private key in `bytes`.
pub(super) fn private_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Wrong> {
    let shown = path.display();
    if looks_like_der(bytes) {
        let help = format!("convert it: openssl pkey -inform der -in {shown} -out {shown}.pem");
        return Err((format!("{shown}: is DER, not PEM"), help));
    }
    let encrypted = [b"-----BEGIN ENCRYPTED".as_slice(), b"Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|mark| memchr::memmem::find(bytes, mark).is_some()) {
        let help =
            format!("take the passphrase off, and keep the file secret: openssl pkey -in {shown} -out {shown}.plain");
        return Err((format!("{shown}: the private key is encrypted"), help));
    }
    let sections = sections(path, bytes)?;
    let only_certificates = !sections.is_empty() && sections.iter().all(|(k, _)| *k == SectionKind::Certificate);
    for (kind, der) in sections {
        return Ok(match kind {
            SectionKind::PrivateKey => PrivatePkcs8KeyDer::from(der).into(),
            SectionKind::RsaPrivateKey => PrivatePkcs1KeyDer::from(der).into(),
            SectionKind::EcPrivateKey => PrivateSec1KeyDer::from(der).into(),
            _ => continue,
        });
    }
    match only_certificates {
        true => Err((
            format!("{shown}: holds a certificate, but no private key"),
            "cert and key may have been swapped".to_owned(),
        )),
        false => Err((
            format!("{shown}: holds no private key"),
            "a PEM file has a line \"-----BEGIN PRIVATE KEY-----\"".to_owned(),
        )),
    }
}

/// The lists of revoked certificates in the file at `path`, PEM or DER, and the digest of the file.
pub(super) fn crls(path: &Path) -> Result<(Vec<CertificateRevocationListDer<'static>>, [u8; 32]), Wrong> {
    let content = read_up_to(path, CRL_BYTES_MAX)?;
    let digest = content.digest();
    if content.bytes.first() == Some(&0x30) {
        return Ok((vec![CertificateRevocationListDer::from(content.bytes)], digest));
    }
    let found: Vec<_> = sections(path, &content.bytes)?
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Crl)
        .map(|(_, der)| CertificateRevocationListDer::from(der))
        .collect();
    match found.is_empty() {
        false => Ok((found, digest)),
        true => Err((
            format!("{}: holds no list of revoked certificates", path.display()),
            "a PEM file has lines \"-----BEGIN X509 CRL-----\"".to_owned(),
        )),
    }
}
