//! Why a handshake failed, as a closed set for metrics and a text for the log.
use crate::{buf::Buf, tcp};
use rustls::{CertificateError, PeerIncompatible};
use std::{fmt, io};

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The first byte is not that of a handshake record: another protocol, plain HTTP most of the time.
    NotTls,
    /// No protocol version in common.
    NoSharedVersion,
    /// No cipher suite in common.
    NoSharedCipher,
    /// No key exchange group in common.
    NoSharedGroup,
    /// No application protocol in common (RFC 7301 3.2).
    NoSharedProtocol,
    /// Another thing that both sides must know and one does not.
    Incompatible,
    /// There is no certificate for the name that was asked for.
    UnknownName,
    /// The peer had to show a certificate and did not.
    CertificateRequired,
    /// The peer's certificate is from an authority that is not trusted.
    UnknownCa,
    /// The peer's certificate is not valid any more, or not yet.
    Expired,
    /// The peer's certificate was revoked.
    Revoked,
    /// The peer's certificate is for other names.
    NameMismatch,
    /// The peer's certificate is wrong in another way.
    BadCertificate,
    /// The peer gave up: an alert came.
    AlertReceived,
    /// The peer broke the protocol, or its bytes are damaged.
    Protocol,
    /// The connection ended or failed before the handshake was through.
    Closed,
    /// It is our fault: the configuration, or the cryptography failed.
    Internal,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [ErrorKind; 17] = [
        ErrorKind::NotTls,
        ErrorKind::NoSharedVersion,
        ErrorKind::NoSharedCipher,
        ErrorKind::NoSharedGroup,
        ErrorKind::NoSharedProtocol,
        ErrorKind::Incompatible,
        ErrorKind::UnknownName,
        ErrorKind::CertificateRequired,
        ErrorKind::UnknownCa,
        ErrorKind::Expired,
        ErrorKind::Revoked,
        ErrorKind::NameMismatch,
        ErrorKind::BadCertificate,
        ErrorKind::AlertReceived,
        ErrorKind::Protocol,
        ErrorKind::Closed,
        ErrorKind::Internal,
    ];

    /// What kind of failure rustls' error is.
    pub fn of(e: &rustls::Error) -> ErrorKind {
        kind_of(e)
    }

    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::NotTls => "not_tls",
            ErrorKind::NoSharedVersion => "no_shared_version",
            ErrorKind::NoSharedCipher => "no_shared_cipher",
            ErrorKind::NoSharedGroup => "no_shared_group",
            ErrorKind::NoSharedProtocol => "no_shared_protocol",
            ErrorKind::Incompatible => "incompatible",
            ErrorKind::UnknownName => "unknown_name",
            ErrorKind::CertificateRequired => "certificate_required",
            ErrorKind::UnknownCa => "unknown_ca",
            ErrorKind::Expired => "expired",
            ErrorKind::Revoked => "revoked",
            ErrorKind::NameMismatch => "name_mismatch",
            ErrorKind::BadCertificate => "bad_certificate",
            ErrorKind::AlertReceived => "alert_received",
            ErrorKind::Protocol => "protocol",
            ErrorKind::Closed => "closed",
            ErrorKind::Internal => "internal",
        }
    }
}

/// A connection whose peer does not speak TLS, with what has come on it.
pub struct ClearText {
    /// The connection; nothing was sent on it.
    pub tcp: tcp::Stream,
    /// The bytes that were read from it, at least one.
    pub received: Buf,
}

/// A failed handshake. The connection is closed, but for `NotTls`.
pub struct Error {
    /// Why.
    pub kind: ErrorKind,
    /// The same in more words.
    pub detail: String,
    /// With `NotTls`: the connection, to be answered in clear text or dropped.
    pub clear: Option<Box<ClearText>>,
}

impl Error {
    /// One without a connection.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Error {
        Error { kind, detail: detail.into(), clear: None }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.detail)
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        Error::new(ErrorKind::Closed, e.to_string())
    }
}

impl From<rustls::Error> for Error {
    fn from(e: rustls::Error) -> Error {
        Error::new(kind_of(&e), e.to_string())
    }
}

fn kind_of(e: &rustls::Error) -> ErrorKind {
    use rustls::Error as E;
    match e {
        E::NoCertificatesPresented => ErrorKind::CertificateRequired,
        E::PeerIncompatible(what) => kind_of_incompatible(what),
        // Whichever side finds it out (RFC 7301 3.2).
        E::NoApplicationProtocol | E::AlertReceived(rustls::AlertDescription::NoApplicationProtocol) => {
            ErrorKind::NoSharedProtocol
        }
        E::AlertReceived(_) => ErrorKind::AlertReceived,
        E::InvalidCertificate(what) => kind_of_certificate(what),
        E::General(text) if text.starts_with("no server certificate chain resolved") => ErrorKind::UnknownName,
        E::InappropriateMessage { .. }
        | E::InappropriateHandshakeMessage { .. }
        | E::InvalidMessage(_)
        | E::InvalidEncryptedClientHello(_)
        | E::DecryptError
        | E::PeerMisbehaved(_)
        | E::PeerSentOversizedRecord => ErrorKind::Protocol,
        _ => ErrorKind::Internal,
    }
}

fn kind_of_incompatible(what: &PeerIncompatible) -> ErrorKind {
    use PeerIncompatible as P;
    match what {
        P::NoCipherSuitesInCommon => ErrorKind::NoSharedCipher,
        P::NoKxGroupsInCommon | P::NamedGroupsExtensionRequired | P::KeyShareExtensionRequired => {
            ErrorKind::NoSharedGroup
        }
        P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::SupportedVersionsExtensionRequired
        | P::Tls13RequiredForQuic
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled => ErrorKind::NoSharedVersion,
        _ => ErrorKind::Incompatible,
    }
}

fn kind_of_certificate(what: &CertificateError) -> ErrorKind {
    use CertificateError as C;
    match what {
        C::UnknownIssuer => ErrorKind::UnknownCa,
        C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => ErrorKind::Expired,
        C::Revoked => ErrorKind::Revoked,
        C::NotValidForName | C::NotValidForNameContext { .. } => ErrorKind::NameMismatch,
        _ => ErrorKind::BadCertificate,
    }
}
