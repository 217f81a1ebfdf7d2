//! Which fields are worth an entry of the dynamic table.
use crate::head::FieldId;

/// How a field is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// By its index, once inserted: the value repeats on a connection.
    Index,
    /// As a literal that leaves the table alone: the value changes each time.
    Plain,
    /// As a literal that no one may compress: a credential (RFC 7541, section 7.1.3; RFC 9204, section 7.1.3).
    Never,
    /// Never compressed while short; as a plain literal from [`COOKIE_LONG`] bytes on.
    Cookie,
}

/// From this length on a cookie cannot be guessed as a whole (RFC 7541, section 7.1.3); in bytes.
pub const COOKIE_LONG: usize = 20;

/// How a field of this id is sent.
#[inline]
pub const fn of(id: FieldId) -> Policy {
    use FieldId::*;
    match id {
        Authorization | ProxyAuthorization | SetCookie => Policy::Never,
        Cookie => Policy::Cookie,
        Host
        | Te
        | Trailer
        | Expect
        | Via
        | CdnLoop
        | XForwardedProto
        | XForwardedHost
        | XForwardedPort
        | XForwardedPrefix
        | EarlyData
        | Date
        | Server
        | Allow
        | AltSvc
        | CacheControl
        | Pragma
        | StrictTransportSecurity
        | Vary
        | UserAgent
        | Origin
        | Priority
        | Accept
        | AcceptCharset
        | AcceptEncoding
        | AcceptLanguage
        | AcceptRanges
        | AccessControlAllowOrigin
        | AccessControlRequestHeaders
        | AccessControlRequestMethod
        | ContentEncoding
        | ContentLanguage
        | ContentType
        | SecWebSocketVersion
        | SecFetchDest
        | SecFetchMode
        | SecFetchSite
        | SecFetchUser
        | SecChUa
        | SecChUaMobile
        | SecChUaPlatform
        | UpgradeInsecureRequests
        | Dnt
        | SaveData => Policy::Index,
        _ => Policy::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_indexed() {
        for id in [FieldId::Authorization, FieldId::ProxyAuthorization, FieldId::SetCookie] {
            assert_eq!(of(id), Policy::Never);
        }
        assert_eq!(of(FieldId::Cookie), Policy::Cookie);
        assert_eq!(of(FieldId::Other), Policy::Plain);
    }
}
