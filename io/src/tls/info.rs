//! What a finished handshake agreed on.

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
            Some(_) => Alpn::Other,
        }
    }
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
}
