//! Which fields are worth an entry of the dynamic table, and which are in the static table with their value.
use super::Pseudo;
use crate::head::FieldId;

/// How a field is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// By its index, once inserted: the value repeats on a connection.
    Index,
    /// As a literal that leaves the table alone: the value changes each time.
    Plain,
    /// As a literal that no one may compress: a credential (RFC 7541, section 7.1.3).
    Never,
    /// Never compressed while short; as a plain literal from [`COOKIE_LONG`] bytes on.
    Cookie,
}

/// From this length on a cookie cannot be guessed as a whole (RFC 7541, section 7.1.3); in bytes.
pub(super) const COOKIE_LONG: usize = 20;

/// The one value of a field, not a pseudo-header field, that the static table has.
pub(super) const ACCEPT_ENCODING: &[u8] = b"gzip, deflate";
/// Its index.
pub(super) const ACCEPT_ENCODING_INDEX: u8 = 16;

/// How a field of this id is sent.
#[inline]
pub(super) const fn of(id: FieldId) -> Policy {
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

/// The index of `:status` with this code in the static table.
#[inline]
pub(super) const fn static_status(code: u16) -> Option<u8> {
    Some(match code {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => return None,
    })
}

/// The index of a pseudo-header field with this value in the static table.
#[inline]
pub(super) fn static_pseudo(pseudo: Pseudo, value: &[u8]) -> Option<u8> {
    Some(match (pseudo, value) {
        (Pseudo::Method, b"GET") => 2,
        (Pseudo::Method, b"POST") => 3,
        (Pseudo::Path, b"/") => 4,
        (Pseudo::Path, b"/index.html") => 5,
        (Pseudo::Scheme, b"http") => 6,
        (Pseudo::Scheme, b"https") => 7,
        (Pseudo::Status, b"200") => 8,
        (Pseudo::Status, b"204") => 9,
        (Pseudo::Status, b"206") => 10,
        (Pseudo::Status, b"304") => 11,
        (Pseudo::Status, b"400") => 12,
        (Pseudo::Status, b"404") => 13,
        (Pseudo::Status, b"500") => 14,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::static_table;
    use super::*;

    #[test]
    fn every_value_of_the_static_table_is_found() {
        for index in 1..=static_table::LEN {
            let entry = static_table::get(index).expect("an entry");
            match entry.kind.pseudo {
                Some(pseudo) if !entry.value.is_empty() => {
                    assert_eq!(static_pseudo(pseudo, entry.value.as_bytes()), Some(index as u8));
                    if pseudo == Pseudo::Status {
                        assert_eq!(entry.value.parse().map(static_status), Ok(Some(index as u8)));
                    }
                }
                None if !entry.value.is_empty() => {
                    assert_eq!((entry.value.as_bytes(), index as u8), (ACCEPT_ENCODING, ACCEPT_ENCODING_INDEX));
                    assert_eq!(entry.kind.id, FieldId::AcceptEncoding);
                }
                _ => {}
            }
        }
        assert_eq!(static_pseudo(Pseudo::Status, b"\x0000"), None);
        assert_eq!(static_pseudo(Pseudo::Status, b"1:0"), None);
        assert_eq!(static_pseudo(Pseudo::Method, b"get"), None);
        assert_eq!(static_pseudo(Pseudo::Authority, b""), None);
    }

    #[test]
    fn credentials_are_never_indexed() {
        for id in [FieldId::Authorization, FieldId::ProxyAuthorization, FieldId::SetCookie] {
            assert_eq!(of(id), Policy::Never);
        }
        assert_eq!(of(FieldId::Cookie), Policy::Cookie);
        assert_eq!(of(FieldId::Other), Policy::Plain);
    }
}
