//! The static table (RFC 9204, Appendix A), with what is known of each entry, and the way back from names and values.
use edge_io::{
    field_codec::{Entry, KINDS, Kind, Pseudo},
    head::FieldId,
};

/// How many entries there are.
pub(super) const LEN: usize = 99;

/// Entries by index.
static ENTRIES: [Entry; LEN] = TABLE;
const TABLE: [Entry; LEN] = [
    Entry::pseudo(Pseudo::Authority, ""),
    Entry::pseudo(Pseudo::Path, "/"),
    Entry::field(FieldId::Age, "0"),
    Entry::field(FieldId::ContentDisposition, ""),
    Entry::field(FieldId::ContentLength, "0"),
    Entry::field(FieldId::Cookie, ""),
    Entry::field(FieldId::Date, ""),
    Entry::field(FieldId::Etag, ""),
    Entry::field(FieldId::IfModifiedSince, ""),
    Entry::field(FieldId::IfNoneMatch, ""),
    Entry::field(FieldId::LastModified, ""),
    Entry::field(FieldId::Link, ""),
    Entry::field(FieldId::Location, ""),
    Entry::field(FieldId::Referer, ""),
    Entry::field(FieldId::SetCookie, ""),
    Entry::pseudo(Pseudo::Method, "CONNECT"),
    Entry::pseudo(Pseudo::Method, "DELETE"),
    Entry::pseudo(Pseudo::Method, "GET"),
    Entry::pseudo(Pseudo::Method, "HEAD"),
    Entry::pseudo(Pseudo::Method, "OPTIONS"),
    Entry::pseudo(Pseudo::Method, "POST"),
    Entry::pseudo(Pseudo::Method, "PUT"),
    Entry::pseudo(Pseudo::Scheme, "http"),
    Entry::pseudo(Pseudo::Scheme, "https"),
    Entry::pseudo(Pseudo::Status, "103"),
    Entry::pseudo(Pseudo::Status, "200"),
    Entry::pseudo(Pseudo::Status, "304"),
    Entry::pseudo(Pseudo::Status, "404"),
    Entry::pseudo(Pseudo::Status, "503"),
    Entry::field(FieldId::Accept, "*/*"),
    Entry::field(FieldId::Accept, "application/dns-message"),
    Entry::field(FieldId::AcceptEncoding, "gzip, deflate, br"),
    Entry::field(FieldId::AcceptRanges, "bytes"),
    Entry::other("access-control-allow-headers", "cache-control"),
    Entry::other("access-control-allow-headers", "content-type"),
    Entry::field(FieldId::AccessControlAllowOrigin, "*"),
    Entry::field(FieldId::CacheControl, "max-age=0"),
    Entry::field(FieldId::CacheControl, "max-age=2592000"),
    Entry::field(FieldId::CacheControl, "max-age=604800"),
    Entry::field(FieldId::CacheControl, "no-cache"),
    Entry::field(FieldId::CacheControl, "no-store"),
    Entry::field(FieldId::CacheControl, "public, max-age=31536000"),
    Entry::field(FieldId::ContentEncoding, "br"),
    Entry::field(FieldId::ContentEncoding, "gzip"),
    Entry::field(FieldId::ContentType, "application/dns-message"),
    Entry::field(FieldId::ContentType, "application/javascript"),
    Entry::field(FieldId::ContentType, "application/json"),
    Entry::field(FieldId::ContentType, "application/x-www-form-urlencoded"),
    Entry::field(FieldId::ContentType, "image/gif"),
    Entry::field(FieldId::ContentType, "image/jpeg"),
    Entry::field(FieldId::ContentType, "image/png"),
    Entry::field(FieldId::ContentType, "text/css"),
    Entry::field(FieldId::ContentType, "text/html; charset=utf-8"),
    Entry::field(FieldId::ContentType, "text/plain"),
    Entry::field(FieldId::ContentType, "text/plain;charset=utf-8"),
    Entry::field(FieldId::Range, "bytes=0-"),
    Entry::field(FieldId::StrictTransportSecurity, "max-age=31536000"),
    Entry::field(FieldId::StrictTransportSecurity, "max-age=31536000; includesubdomains"),
    Entry::field(FieldId::StrictTransportSecurity, "max-age=31536000; includesubdomains; preload"),
    Entry::field(FieldId::Vary, "accept-encoding"),
    Entry::field(FieldId::Vary, "origin"),
    Entry::other("x-content-type-options", "nosniff"),
    Entry::other("x-xss-protection", "1; mode=block"),
    Entry::pseudo(Pseudo::Status, "100"),
    Entry::pseudo(Pseudo::Status, "204"),
    Entry::pseudo(Pseudo::Status, "206"),
    Entry::pseudo(Pseudo::Status, "302"),
    Entry::pseudo(Pseudo::Status, "400"),
    Entry::pseudo(Pseudo::Status, "403"),
    Entry::pseudo(Pseudo::Status, "421"),
    Entry::pseudo(Pseudo::Status, "425"),
    Entry::pseudo(Pseudo::Status, "500"),
    Entry::field(FieldId::AcceptLanguage, ""),
    Entry::other("access-control-allow-credentials", "FALSE"),
    Entry::other("access-control-allow-credentials", "TRUE"),
    Entry::other("access-control-allow-headers", "*"),
    Entry::other("access-control-allow-methods", "get"),
    Entry::other("access-control-allow-methods", "get, post, options"),
    Entry::other("access-control-allow-methods", "options"),
    Entry::other("access-control-expose-headers", "content-length"),
    Entry::field(FieldId::AccessControlRequestHeaders, "content-type"),
    Entry::field(FieldId::AccessControlRequestMethod, "get"),
    Entry::field(FieldId::AccessControlRequestMethod, "post"),
    Entry::field(FieldId::AltSvc, "clear"),
    Entry::field(FieldId::Authorization, ""),
    Entry::other("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    Entry::field(FieldId::EarlyData, "1"),
    Entry::other("expect-ct", ""),
    Entry::field(FieldId::Forwarded, ""),
    Entry::field(FieldId::IfRange, ""),
    Entry::field(FieldId::Origin, ""),
    Entry::other("purpose", "prefetch"),
    Entry::field(FieldId::Server, ""),
    Entry::other("timing-allow-origin", "*"),
    Entry::field(FieldId::UpgradeInsecureRequests, "1"),
    Entry::field(FieldId::UserAgent, ""),
    Entry::field(FieldId::XForwardedFor, ""),
    Entry::other("x-frame-options", "deny"),
    Entry::other("x-frame-options", "sameorigin"),
];

/// The entry of an index.
#[inline]
pub(super) fn get(index: usize) -> Option<&'static Entry> {
    ENTRIES.get(index)
}

/// Consecutive entries with one name: the first, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    first: u8,
    len: u8,
}

/// The first run of each kind's name; empty where the static table does not have it. Only `:status` has a second.
static RUNS: [Run; KINDS] = runs();

const fn runs() -> [Run; KINDS] {
    let mut runs = [Run { first: 0, len: 0 }; KINDS];
    let mut i = LEN;
    while i > 0 {
        i -= 1;
        let kind = TABLE[i].kind;
        if kind.pseudo.is_some() || !matches!(kind.id, FieldId::Other) {
            let at = kind.index();
            let len = if runs[at].len > 0 && runs[at].first as usize == i + 1 { runs[at].len + 1 } else { 1 };
            runs[at] = Run { first: i as u8, len };
        }
    }
    runs
}

/// Where a kind's name is.
#[inline]
pub(super) fn run(kind: Kind) -> Run {
    RUNS.get(kind.index()).copied().unwrap_or(Run { first: 0, len: 0 })
}

/// Where a name without an id is; `name` is in any case.
pub(super) fn run_of_other(name: &[u8]) -> Run {
    let is = |known: &str, first, len| {
        if name.eq_ignore_ascii_case(known.as_bytes()) { Run { first, len } } else { Run { first: 0, len: 0 } }
    };
    match name.len() {
        7 => is("purpose", 91, 1),
        9 => is("expect-ct", 87, 1),
        15 => is("x-frame-options", 97, 2),
        16 => is("x-xss-protection", 62, 1),
        19 => is("timing-allow-origin", 93, 1),
        22 => is("x-content-type-options", 61, 1),
        23 => is("content-security-policy", 85, 1),
        28 if name.ends_with(b"s") || name.ends_with(b"S") => {
            let headers = is("access-control-allow-headers", 33, 2);
            if headers.len > 0 { headers } else { is("access-control-allow-methods", 76, 3) }
        }
        29 => is("access-control-expose-headers", 79, 1),
        32 => is("access-control-allow-credentials", 73, 2),
        _ => Run { first: 0, len: 0 },
    }
}

impl Run {
    /// The index of the name.
    #[inline]
    pub(super) fn name(self) -> Option<usize> {
        (self.len > 0).then_some(usize::from(self.first))
    }

    /// The index of the field with this value.
    #[inline]
    pub(super) fn with_value(self, value: &[u8]) -> Option<usize> {
        let first = usize::from(self.first);
        let entries = ENTRIES.get(first..first + usize::from(self.len)).unwrap_or(&[]);
        entries.iter().position(|e| e.value.as_bytes() == value).map(|i| first + i)
    }
}

/// The index of `:status` with this code.
#[inline]
pub(super) const fn status(code: u16) -> Option<usize> {
    Some(match code {
        100 => 63,
        103 => 24,
        200 => 25,
        204 => 64,
        206 => 65,
        302 => 66,
        304 => 26,
        400 => 67,
        403 => 68,
        404 => 27,
        421 => 69,
        425 => 70,
        500 => 71,
        503 => 28,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_name_and_value() {
        let mut statuses = 0;
        for index in 0..LEN {
            let entry = get(index).expect("an entry");
            assert_eq!(entry.kind, Kind::of(entry.name.as_bytes()), "{}", entry.name);
            if entry.kind == Kind::pseudo(Pseudo::Status) {
                assert_eq!(entry.value.parse().map(status), Ok(Some(index)));
                statuses += 1;
                continue;
            }
            let run = if entry.kind.is_known() {
                run(entry.kind)
            } else {
                assert_eq!(run_of_other(entry.name.as_bytes()), run_of_other(entry.name.to_uppercase().as_bytes()));
                run_of_other(entry.name.as_bytes())
            };
            if entry.name != "access-control-allow-headers" || index < 70 {
                assert_eq!(run.with_value(entry.value.as_bytes()), Some(index), "{}", entry.name);
            }
            let lowest = (0..LEN).find(|&i| get(i).is_some_and(|e| e.name == entry.name));
            assert_eq!(run.name(), lowest, "{}", entry.name);
        }
        assert_eq!((100..1000).filter(|&code| status(code).is_some()).count(), statuses);
        assert!(get(LEN).is_none() && get(usize::MAX).is_none());
    }

    #[test]
    fn runs_hold_one_name_each() {
        let mut names = Vec::new();
        for kind in FieldId::ALL.iter().map(|&id| Kind::field(id)).chain(Pseudo::ALL.map(Kind::pseudo)) {
            let run = run(kind);
            let entries = (run.first..run.first + run.len).map(|i| get(usize::from(i)).expect("an entry"));
            assert!(entries.into_iter().all(|e| e.kind == kind), "{kind:?}");
            names.push(kind.name());
        }
        for absent in [&b""[..], b"x-mine", b"purposes", b"access-control-allow-heavens", b"x-frame-optionz"] {
            assert_eq!(run_of_other(absent).name(), None);
        }
        assert_eq!(run(Kind::OTHER).name(), None);
        assert_eq!(run(Kind::pseudo(Pseudo::Protocol)).name(), None);
    }
}
