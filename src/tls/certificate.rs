//! One certificate with its chain and key: read from files, and looked at as a client would.
use super::{
    config::{Pair, Place, Problem},
    files, names,
    provider::default_provider,
};
use rustls::{
    SignatureAlgorithm,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

/// What a key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA.
    Ecdsa,
    /// RSA.
    Rsa,
    /// Ed25519.
    Ed25519,
}

impl KeyKind {
    /// Its name in logs and status.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyKind::Ecdsa => "ecdsa",
            KeyKind::Rsa => "rsa",
            KeyKind::Ed25519 => "ed25519",
        }
    }
}

/// Who shows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// The edge, to clients.
    Server,
    /// The edge, to endpoints.
    Client,
}

/// One certificate with its chain and key.
pub struct Certificate {
    /// What rustls signs with.
    pub(super) key: Arc<CertifiedKey>,
    /// The host names and addresses it is for, in lower case; not empty for a server's.
    pub names: Vec<Box<str>>,
    /// What its key signs with.
    pub kind: KeyKind,
    /// Valid from, seconds since 1970.
    pub not_before: i64,
    /// Valid up to, seconds since 1970.
    pub not_after: i64,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the end entity's certificate.
    pub fingerprint: [u8; 32],
    /// Its file, or `self-signed`.
    pub source: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).field("source", &self.source).finish_non_exhaustive()
    }
}

/// A pair that can be used, and what is doubtful about it.
type Checked = (Certificate, Vec<Problem>);

/// Less than this left of its life, or [`DAYS_MIN`] if that is less: it should have been renewed.
const LIFE_LEFT_MIN: i64 = 3;
/// Fewer days left than these: it should have been renewed.
const DAYS_MIN: i64 = 14;
const DAY: i64 = 86_400;

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `2027-02-21`.
pub(super) fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |t| t.strftime("%Y-%m-%d").to_string())
}

impl Certificate {
    /// Whether it is for `host` (without port).
    pub fn covers(&self, host: &str) -> bool {
        let host = names::normal(host);
        self.names.iter().any(|name| names::covers(name, &host))
    }

    /// The first of its names: the label of metrics.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", |name| name)
    }

    /// Whether it should have been renewed by `now` (seconds since 1970): fewer than 14 days left, or less than a third
    /// of its life, whichever comes later.
    pub fn is_due(&self, now: i64) -> bool {
        let life = self.not_after.saturating_sub(self.not_before);
        let margin = (life / LIFE_LEFT_MIN).min(DAYS_MIN * DAY);
        self.not_after.saturating_sub(now) < margin
    }

    /// Makes one of parts that fit; for those that no file holds.
    pub(super) fn from_parts(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        source: &str,
    ) -> Result<Certificate, String> {
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|e| e.to_string())?;
        let leaf = key.cert.first().ok_or("no certificate")?.clone();
        let parsed = parse(&leaf).ok_or("not a certificate")?;
        let (names, kind) = (names_of(&parsed), kind_of(&key)?);
        Ok(Certificate {
            names,
            kind,
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            serial: parsed.raw_serial().iter().map(|b| format!("{b:02x}")).collect(),
            fingerprint: Sha256::digest(&leaf).into(),
            source: source.to_owned(),
            key: Arc::new(key),
        })
    }

    /// Checks the pair whose files hold `cert` and `key`, at `now`. `index` is its place in the configuration.
    pub(super) fn check(
        pair: &Pair,
        index: usize,
        role: Role,
        cert: &files::Content,
        key: &files::Content,
        now: i64,
    ) -> Result<Checked, Problem> {
        let at = |place| move |(message, help)| Problem { place, message, help };
        let chain = files::certificates(&pair.cert, &cert.bytes).map_err(at(Place::Cert(index)))?;
        let secret = files::private_key(&pair.key, &key.bytes).map_err(at(Place::Key(index)))?;
        let mut warnings = Vec::new();
        if key.public {
            let message = format!("{}: everybody on this machine can read the private key", pair.key.display());
            warnings.push(at(Place::Key(index))((message, format!("chmod 600 {}", pair.key.display()))));
        }
        let shown = pair.cert.display().to_string();
        let parsed: Vec<X509Certificate<'_>> = (1..)
            .zip(&chain)
            .map(|(n, der)| parse(der).ok_or((format!("{shown}: certificate {n} cannot be read"), String::new())))
            .collect::<Result<_, _>>()
            .map_err(at(Place::Cert(index)))?;
        let key_problem = |e: rustls::Error| {
            let mismatch = matches!(e, rustls::Error::InconsistentKeys(_));
            let (place, wrong) = match mismatch {
                true => mismatched(pair, index, &chain, &secret),
                false => (
                    Place::Key(index),
                    (
                        format!("{}: the private key cannot be used: {e}", pair.key.display()),
                        "make an ECDSA P-256 key, or RSA of 2048 to 8192 bits".to_owned(),
                    ),
                ),
            };
            at(place)(wrong)
        };
        let certified =
            CertifiedKey::from_der(chain.clone(), secret.clone_key(), &default_provider()).map_err(key_problem)?;
        for (n, cert) in (0..).zip(&parsed) {
            in_time(&shown, n, cert, now).map_err(at(Place::Cert(index)))?;
        }
        chained(&shown, &parsed).map_err(at(Place::Cert(index)))?;
        let leaf = &parsed[0]; // `files::certificates` answers at least one
        if role == Role::Server && names_of(leaf).is_empty() {
            let message = format!("{shown}: the certificate names no host (no subject alternative name)");
            return Err(at(Place::Cert(index))((message, "clients ignore the common name: issue it anew".to_owned())));
        }
        warnings.extend(doubts(&shown, &parsed, role).into_iter().map(at(Place::Cert(index))));
        let certificate = Certificate {
            names: names_of(leaf),
            kind: kind_of(&certified).map_err(|message| {
                at(Place::Key(index))((format!("{}: {message}", pair.key.display()), String::new()))
            })?,
            not_before: leaf.validity().not_before.timestamp(),
            not_after: leaf.validity().not_after.timestamp(),
            serial: leaf.raw_serial().iter().map(|b| format!("{b:02x}")).collect(),
            fingerprint: Sha256::digest(&chain[0]).into(),
            source: shown,
            key: Arc::new(certified),
        };
        Ok((certificate, warnings))
    }
}

/// Whom the certificate `der` is for: its subject, or else the first of its names. `None` when it says neither.
pub fn subject(der: &[u8]) -> Option<String> {
    let der = CertificateDer::from(der);
    let parsed = parse(&der)?;
    let subject = parsed.subject().to_string();
    if subject.is_empty() { names_of(&parsed).first().map(ToString::to_string) } else { Some(subject) }
}

/// The whole of `der` as a certificate.
fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, parsed)| parsed)
}

fn kind_of(key: &CertifiedKey) -> Result<KeyKind, String> {
    match key.key.algorithm() {
        SignatureAlgorithm::ECDSA => Ok(KeyKind::Ecdsa),
        SignatureAlgorithm::RSA => Ok(KeyKind::Rsa),
        SignatureAlgorithm::ED25519 => Ok(KeyKind::Ed25519),
        other => Err(format!("keys of the kind {other:?} are not used for TLS")),
    }
}

/// Host names and addresses, in lower case; none when the extension is missing or broken.
fn names_of(cert: &X509Certificate<'_>) -> Vec<Box<str>> {
    let Ok(Some(names)) = cert.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        // Names are shown in terminals and metrics.
        GeneralName::DNSName(host) if !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic()) => {
            Some(names::normal(host).into_owned().into_boxed_str())
        }
        GeneralName::IPAddress(bytes) => ip(bytes).map(|ip| ip.to_string().into_boxed_str()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The key does not belong to the first certificate: perhaps to another one.
fn mismatched(
    pair: &Pair,
    index: usize,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> (Place, files::Wrong) {
    let fits = |der: &CertificateDer<'static>| {
        CertifiedKey::from_der(vec![der.clone()], key.clone_key(), &default_provider()).is_ok()
    };
    match chain.iter().position(fits) {
        Some(n) => (
            Place::Cert(index),
            (
                format!("{}: wrong order: certificate {} is the one of the private key", pair.cert.display(), n + 1),
                "put the server's own certificate first, then each one's issuer".to_owned(),
            ),
        ),
        None => (
            Place::Key(index),
            (
                format!("{}: the private key does not match {}", pair.key.display(), pair.cert.display()),
                "give the key that the certificate was issued for".to_owned(),
            ),
        ),
    }
}

/// `certificate` for the first, `certificate N (subject)` for its issuers.
fn called(n: usize, cert: &X509Certificate<'_>) -> String {
    if n == 0 { "the certificate".to_owned() } else { format!("certificate {} ({})", n + 1, cert.subject()) }
}

fn in_time(shown: &str, n: usize, cert: &X509Certificate<'_>, now: i64) -> Result<(), files::Wrong> {
    let (from, to) = (cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp());
    if now > to {
        let message = format!("{shown}: {} expired on {}", called(n, cert), date(to));
        return Err((message, "renew it".to_owned()));
    }
    if now < from {
        let message = format!("{shown}: {} is not valid before {}", called(n, cert), date(from));
        return Err((message, "wait, or set this machine's clock".to_owned()));
    }
    Ok(())
}

/// Whether `issuer` may have issued `cert`: by name, and by key where both say which.
fn issued(issuer: &X509Certificate<'_>, cert: &X509Certificate<'_>) -> bool {
    let same_key = match (authority_key(cert), subject_key(issuer)) {
        (Some(wanted), Some(has)) => wanted == has,
        _ => true,
    };
    cert.issuer().as_raw() == issuer.subject().as_raw() && same_key
}

fn authority_key<'a>(cert: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    cert.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|k| k.0),
        _ => None,
    })
}

fn subject_key<'a>(cert: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    cert.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    })
}

/// Each certificate must be issued by the one behind it.
fn chained(shown: &str, chain: &[X509Certificate<'_>]) -> Result<(), files::Wrong> {
    for (n, pair) in chain.windows(2).enumerate() {
        let [cert, next] = pair else { continue };
        if issued(next, cert) {
            continue;
        }
        if chain.iter().skip(n + 2).any(|other| issued(other, cert)) {
            let message = format!("{shown}: wrong order: the issuer of certificate {} does not follow it", n + 1);
            return Err((message, "put each certificate's issuer behind it".to_owned()));
        }
        let message = format!(
            "{shown}: broken chain: certificate {} ({}) did not issue {}, which names {} as its issuer",
            n + 2,
            next.subject(),
            called(n, cert),
            cert.issuer()
        );
        return Err((message, "put the issuer's certificate there, as its authority publishes it".to_owned()));
    }
    Ok(())
}

/// What clients may stumble over.
fn doubts(shown: &str, chain: &[X509Certificate<'_>], role: Role) -> Vec<files::Wrong> {
    let Some(leaf) = chain.first() else { return Vec::new() };
    let mut found = Vec::new();
    // A public authority says where its own certificate is: it is an intermediate then, which clients do not have.
    let has_issuer_url = leaf.extensions().iter().any(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(info) => info
            .accessdescs
            .iter()
            .any(|d| d.access_method == x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS),
        _ => false,
    });
    if chain.len() == 1 && has_issuer_url && leaf.issuer().as_raw() != leaf.subject().as_raw() {
        found.push((
            format!("{shown}: the chain seems incomplete: the issuer's certificate ({}) is not there", leaf.issuer()),
            "append it: authorities call the whole file \"fullchain\"".to_owned(),
        ));
    }
    if let Ok(Some(usage)) = leaf.extended_key_usage()
        && !usage.value.any
    {
        let (fits, what) = match role {
            Role::Server => (usage.value.server_auth, "servers"),
            Role::Client => (usage.value.client_auth, "clients"),
        };
        if !fits {
            let message =
                format!("{shown}: the certificate is not for {what} (extended key usage) and will be refused");
            found.push((message, "issue it anew for that".to_owned()));
        }
    }
    found
}
