//! What a request starts with, and which fields never follow.
use crate::head::FieldId;

/// The scheme of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
    /// None (CONNECT), or another.
    #[default]
    Other,
}

/// What an extended CONNECT asks for (RFC 8441, section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The request is no extended CONNECT.
    #[default]
    None,
    /// `websocket` (RFC 8441, section 5).
    WebSocket,
    /// A protocol that the house does not know.
    Other,
}

/// What a request starts with.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// A token.
    pub method: &'a [u8],
    /// `http` or `https`; left out for CONNECT without a protocol.
    pub scheme: &'a [u8],
    /// `host[:port]`; left out if empty.
    pub authority: &'a [u8],
    /// Path and query, or `*`; left out for CONNECT without a protocol.
    pub path: &'a [u8],
    /// Makes a CONNECT an extended one (RFC 8441, RFC 9220): only if the peer offered that.
    pub protocol: Option<&'a [u8]>,
}

/// Fields that are about an HTTP/1.1 connection (RFC 9113, section 8.2.2; RFC 9114, section 4.2): not to be
/// sent.
#[inline]
pub fn is_hop_by_hop(id: FieldId) -> bool {
    matches!(
        id,
        FieldId::Connection
            | FieldId::KeepAlive
            | FieldId::ProxyConnection
            | FieldId::TransferEncoding
            | FieldId::Upgrade
            | FieldId::Http2Settings
    )
}
