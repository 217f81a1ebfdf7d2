//! The static table (RFC 7541, Appendix A), with what is known of each entry.
use crate::{
    field_codec::{Entry, KINDS, Kind, Pseudo},
    head::FieldId,
};

/// How many entries there are; the first index of the dynamic table is one more.
pub(super) const LEN: usize = 61;

/// Entries by index less one.
static ENTRIES: [Entry; LEN] = TABLE;
const TABLE: [Entry; LEN] = [
    Entry::pseudo(Pseudo::Authority, ""),
    Entry::pseudo(Pseudo::Method, "GET"),
    Entry::pseudo(Pseudo::Method, "POST"),
    Entry::pseudo(Pseudo::Path, "/"),
    Entry::pseudo(Pseudo::Path, "/index.html"),
    Entry::pseudo(Pseudo::Scheme, "http"),
    Entry::pseudo(Pseudo::Scheme, "https"),
    Entry::pseudo(Pseudo::Status, "200"),
    Entry::pseudo(Pseudo::Status, "204"),
    Entry::pseudo(Pseudo::Status, "206"),
    Entry::pseudo(Pseudo::Status, "304"),
    Entry::pseudo(Pseudo::Status, "400"),
    Entry::pseudo(Pseudo::Status, "404"),
    Entry::pseudo(Pseudo::Status, "500"),
    Entry::field(FieldId::AcceptCharset, ""),
    Entry::field(FieldId::AcceptEncoding, "gzip, deflate"),
    Entry::field(FieldId::AcceptLanguage, ""),
    Entry::field(FieldId::AcceptRanges, ""),
    Entry::field(FieldId::Accept, ""),
    Entry::field(FieldId::AccessControlAllowOrigin, ""),
    Entry::field(FieldId::Age, ""),
    Entry::field(FieldId::Allow, ""),
    Entry::field(FieldId::Authorization, ""),
    Entry::field(FieldId::CacheControl, ""),
    Entry::field(FieldId::ContentDisposition, ""),
    Entry::field(FieldId::ContentEncoding, ""),
    Entry::field(FieldId::ContentLanguage, ""),
    Entry::field(FieldId::ContentLength, ""),
    Entry::field(FieldId::ContentLocation, ""),
    Entry::field(FieldId::ContentRange, ""),
    Entry::field(FieldId::ContentType, ""),
    Entry::field(FieldId::Cookie, ""),
    Entry::field(FieldId::Date, ""),
    Entry::field(FieldId::Etag, ""),
    Entry::field(FieldId::Expect, ""),
    Entry::field(FieldId::Expires, ""),
    Entry::other("from", ""),
    Entry::field(FieldId::Host, ""),
    Entry::field(FieldId::IfMatch, ""),
    Entry::field(FieldId::IfModifiedSince, ""),
    Entry::field(FieldId::IfNoneMatch, ""),
    Entry::field(FieldId::IfRange, ""),
    Entry::field(FieldId::IfUnmodifiedSince, ""),
    Entry::field(FieldId::LastModified, ""),
    Entry::field(FieldId::Link, ""),
    Entry::field(FieldId::Location, ""),
    Entry::field(FieldId::MaxForwards, ""),
    Entry::field(FieldId::ProxyAuthenticate, ""),
    Entry::field(FieldId::ProxyAuthorization, ""),
    Entry::field(FieldId::Range, ""),
    Entry::field(FieldId::Referer, ""),
    Entry::other("refresh", ""),
    Entry::field(FieldId::RetryAfter, ""),
    Entry::field(FieldId::Server, ""),
    Entry::field(FieldId::SetCookie, ""),
    Entry::field(FieldId::StrictTransportSecurity, ""),
    Entry::field(FieldId::TransferEncoding, ""),
    Entry::field(FieldId::UserAgent, ""),
    Entry::field(FieldId::Vary, ""),
    Entry::field(FieldId::Via, ""),
    Entry::field(FieldId::WwwAuthenticate, ""),
];

/// The entry of an index, counted from one.
#[inline]
pub(super) fn get(index: usize) -> Option<&'static Entry> {
    ENTRIES.get(index.wrapping_sub(1))
}

/// The lowest index of each kind's name; 0 where the static table does not have it.
static NAMES: [u8; KINDS] = names();

const fn names() -> [u8; KINDS] {
    let mut names = [0; KINDS];
    let mut i = LEN;
    while i > 0 {
        let kind = TABLE[i - 1].kind;
        if kind.pseudo.is_some() || !matches!(kind.id, FieldId::Other) {
            names[kind.index()] = i as u8;
        }
        i -= 1;
    }
    names
}

/// The lowest index with the name of this kind; `None` where the static table does not have it.
#[inline]
pub(super) fn name_index(kind: Kind) -> Option<usize> {
    NAMES.get(kind.index()).map(|&i| usize::from(i)).filter(|&i| i != 0)
}

/// The one value of a field, not a pseudo-header field, that the static table has.
pub(super) const ACCEPT_ENCODING: &[u8] = b"gzip, deflate";
/// Its index.
pub(super) const ACCEPT_ENCODING_INDEX: u8 = 16;

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
    use super::*;

    #[test]
    fn indices_of_appendix_a() {
        for (index, name, value) in [
            (1, ":authority", ""),
            (2, ":method", "GET"),
            (8, ":status", "200"),
            (14, ":status", "500"),
            (15, "accept-charset", ""),
            (16, "accept-encoding", "gzip, deflate"),
            (28, "content-length", ""),
            (32, "cookie", ""),
            (37, "from", ""),
            (52, "refresh", ""),
            (58, "user-agent", ""),
            (61, "www-authenticate", ""),
        ] {
            let entry = get(index).expect("an entry");
            assert_eq!((entry.name, entry.value), (name, value), "{index}");
        }
        assert!(get(0).is_none() && get(62).is_none() && get(usize::MAX).is_none());
    }

    #[test]
    fn names_are_found_at_their_lowest_index() {
        for index in 1..=LEN {
            let entry = get(index).expect("an entry");
            assert_eq!(entry.kind, Kind::of(entry.name.as_bytes()), "{}", entry.name);
            let lowest = (1..=LEN).find(|&i| get(i).is_some_and(|e| e.name == entry.name));
            if entry.kind.is_known() {
                assert_eq!(name_index(entry.kind), lowest, "{}", entry.name);
            }
        }
        assert_eq!(name_index(Kind::OTHER), None);
        assert_eq!(name_index(Kind::pseudo(Pseudo::Protocol)), None);
        assert_eq!(name_index(Kind::field(FieldId::Forwarded)), None);
    }

    #[test]
    fn every_value_of_the_static_table_is_found() {
        for index in 1..=LEN {
            let entry = get(index).expect("an entry");
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
}
