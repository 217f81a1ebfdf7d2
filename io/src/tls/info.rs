//! What a finished handshake agreed on.
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};

/// As `Info::version` says it.
pub(super) const TLS13: &str = "TLSv1.3";

/// The application protocol that ALPN chose (RFC 7301).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpn {
    /// None: one side does not know ALPN.
    #[default]
    None,
    /// `http/1.1`.
    H1,
    /// `h2`.
    H2,
    /// `h3`.
    H3,
    /// Another one.
    Other,
}

impl Alpn {
    /// The meaning of a protocol name as it is on the wire.
    pub fn of(name: Option<&[u8]>) -> Alpn {
        match name {
            None => Alpn::None,
            Some(b"http/1.1") => Alpn::H1,
            Some(b"h2") => Alpn::H2,
            Some(b"h3") => Alpn::H3,
            Some(_) => Alpn::Other,
        }
    }
}

/// What became of data that a client sends before the handshake is through (RFC 8446 2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyData {
    /// The client asked for nothing of the kind.
    #[default]
    None,
    /// The client asked, and has to send again after the handshake.
    Rejected,
    /// It is taken. An attacker may have sent it a second time, to another server.
    Accepted,
}

/// What the handshake of a connection agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub suite: &'static str,
    /// The key exchange group; empty where none was used (a resumed TLS 1.2 session).
    pub group: &'static str,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The application protocol.
    pub alpn: Alpn,
    /// The name the client asked for, lower case (RFC 6066 3); only on the server's side.
    pub server_name: Option<Box<str>>,
    /// The client's end-entity certificate, DER, already verified; only on the server's side.
    pub client_certificate: Option<Box<[u8]>>,
    /// What became of early data; over TCP there is none.
    pub early_data: EarlyData,
}

/// Which side of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It was connected to.
    Server,
    /// It connected.
    Client,
}

impl Info {
    /// What rustls knows of a connection. `server_name` in any case, as the ClientHello of the other side had it. Before
    /// the handshake is through, what is not known yet is empty.
    pub fn new(common: &CommonState, role: Role, server_name: Option<&str>) -> Info {
        let certificate = common.peer_certificates().filter(|_| role == Role::Server).and_then(|all| all.first());
        Info {
            version: match common.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => TLS13,
                _ => "TLSv1.2",
            },
            suite: common.negotiated_cipher_suite().map_or("", |s| iana_name(s.suite())),
            group: common.negotiated_key_exchange_group().and_then(|g| g.name().as_str()).unwrap_or_default(),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: Alpn::of(common.alpn_protocol()),
            server_name: server_name.map(|name| name.to_ascii_lowercase().into()),
            client_certificate: certificate.map(|c| c.as_ref().into()),
            early_data: EarlyData::None,
        }
    }
}

fn iana_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or_default(),
    }
}
