//! Field names that the house knows: one byte instead of a string, found by one hash and one comparison.

/// Declares [`FieldId`], the list of all ids, and their names in lower case.
macro_rules! field_ids {
    ($($id:ident = $name:literal,)*) => {
        /// A field name that some part of the house asks for by name; `Other` is every other name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum FieldId {
            $(#[doc = concat!("`", $name, "`")] $id,)*
            /// A name without an id: compare it with [`super::Head::get_name`].
            Other,
        }

        impl FieldId {
            /// Every id but `Other`, in the order of their discriminants.
            pub const ALL: &'static [FieldId] = &[$(FieldId::$id,)*];

            /// The name in lower case, as HTTP/2 and HTTP/3 send it; empty for `Other`.
            #[inline]
            pub const fn as_str(self) -> &'static str {
                NAMES[self as usize]
            }
        }

        /// The names, by discriminant.
        static NAMES: &[&str] = &[$($name,)* ""];
    };
}

field_ids! {
    Host = "host",
    Connection = "connection",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    ProxyAuthenticationInfo = "proxy-authentication-info",
    ProxyStatus = "proxy-status",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    ContentLength = "content-length",
    Upgrade = "upgrade",
    Http2Settings = "http2-settings",
    Expect = "expect",
    MaxForwards = "max-forwards",
    Cookie = "cookie",
    SetCookie = "set-cookie",
    Authorization = "authorization",
    WwwAuthenticate = "www-authenticate",
    AuthenticationInfo = "authentication-info",
    Forwarded = "forwarded",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XForwardedPrefix = "x-forwarded-prefix",
    XRealIp = "x-real-ip",
    XRequestId = "x-request-id",
    XRequestStart = "x-request-start",
    Via = "via",
    CdnLoop = "cdn-loop",
    ClientCert = "client-cert",
    ClientCertChain = "client-cert-chain",
    EarlyData = "early-data",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Baggage = "baggage",
    Date = "date",
    Server = "server",
    Age = "age",
    Allow = "allow",
    AltSvc = "alt-svc",
    CacheControl = "cache-control",
    Etag = "etag",
    Expires = "expires",
    LastModified = "last-modified",
    Link = "link",
    Location = "location",
    Pragma = "pragma",
    RetryAfter = "retry-after",
    StrictTransportSecurity = "strict-transport-security",
    Vary = "vary",
    Warning = "warning",
    UserAgent = "user-agent",
    Referer = "referer",
    Origin = "origin",
    Priority = "priority",
    Accept = "accept",
    AcceptCharset = "accept-charset",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    AcceptRanges = "accept-ranges",
    AccessControlAllowOrigin = "access-control-allow-origin",
    AccessControlRequestHeaders = "access-control-request-headers",
    AccessControlRequestMethod = "access-control-request-method",
    ContentDisposition = "content-disposition",
    ContentEncoding = "content-encoding",
    ContentLanguage = "content-language",
    ContentLocation = "content-location",
    ContentRange = "content-range",
    ContentType = "content-type",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    IfRange = "if-range",
    IfUnmodifiedSince = "if-unmodified-since",
    Range = "range",
    SecWebSocketAccept = "sec-websocket-accept",
    SecWebSocketExtensions = "sec-websocket-extensions",
    SecWebSocketKey = "sec-websocket-key",
    SecWebSocketProtocol = "sec-websocket-protocol",
    SecWebSocketVersion = "sec-websocket-version",
    SecFetchDest = "sec-fetch-dest",
    SecFetchMode = "sec-fetch-mode",
    SecFetchSite = "sec-fetch-site",
    SecFetchUser = "sec-fetch-user",
    SecChUa = "sec-ch-ua",
    SecChUaMobile = "sec-ch-ua-mobile",
    SecChUaPlatform = "sec-ch-ua-platform",
    UpgradeInsecureRequests = "upgrade-insecure-requests",
    Dnt = "dnt",
    SaveData = "save-data",
}

/// Slots of the name table; at most half of them are taken.
const SLOTS: usize = 512;
/// Spreads the known names over the slots without a collision; `TABLE` does not compile with one that fails.
const SPREAD: u32 = 0xc0d6_7d91;
/// Which id a slot holds: `Other` where none.
static TABLE: [FieldId; SLOTS] = table();

/// The slot of a name: its length and three of its bytes, ASCII letters folded. `name` is not empty.
const fn slot(name: &[u8]) -> usize {
    let n = name.len();
    let fourth_last = n.saturating_sub(4);
    let key = (name[0] | 0x20) as u32
        | ((name[n - 1] | 0x20) as u32) << 8
        | ((name[fourth_last] | 0x20) as u32) << 16
        | ((n & 0xff) as u32) << 24;
    (key.wrapping_mul(SPREAD) >> 23) as usize
}

const fn table() -> [FieldId; SLOTS] {
    let mut table = [FieldId::Other; SLOTS];
    let mut i = 0;
    while i < FieldId::ALL.len() {
        let id = FieldId::ALL[i];
        let at = slot(id.as_str().as_bytes());
        assert!(matches!(table[at], FieldId::Other), "two field names share a slot: choose another SPREAD");
        table[at] = id;
        i += 1;
    }
    table
}

/// Whether `name` equals `known` but for ASCII case, a word at a time. Bit 0x20 is set in every byte of `known`, which
/// are lower-case letters, digits and hyphens; clearing it makes capitals, or control characters, which no token has.
#[inline]
fn is_folded(name: &[u8], known: &[u8]) -> bool {
    const FOLD: u64 = u64::MAX / 0xff * 0x20;
    if name.len() != known.len() {
        return false;
    }
    let (Some(tail), Some(known_tail)) = (name.last_chunk::<8>(), known.last_chunk::<8>()) else {
        return name.iter().zip(known).all(|(a, b)| a | 0x20 == *b);
    };
    let same = |a: &[u8; 8], b: &[u8; 8]| u64::from_le_bytes(*a) | FOLD == u64::from_le_bytes(*b);
    let (words, _) = name.as_chunks::<8>();
    let (known_words, _) = known.as_chunks::<8>();
    same(tail, known_tail) && words.iter().zip(known_words).all(|(a, b)| same(a, b))
}

impl FieldId {
    /// The id of a name in any case. `name` is a token: of other names it may only be asked what they are not.
    #[inline]
    pub fn of(name: &[u8]) -> FieldId {
        if name.is_empty() {
            return FieldId::Other;
        }
        let id = TABLE[slot(name)];
        if is_folded(name, id.as_str().as_bytes()) { id } else { FieldId::Other }
    }

    /// The bit of this id in a set of ids; none for `Other`.
    #[inline]
    pub(crate) const fn bit(self) -> u128 {
        match self {
            FieldId::Other => 0,
            id => 1 << id as u8,
        }
    }

    /// Whether the field may stand in a trailer section (RFC 9110, section 6.5.1): nothing that frames, routes,
    /// authenticates, modifies a request, controls a response or says how to read the content.
    pub const fn allowed_in_trailers(self) -> bool {
        use FieldId::*;
        matches!(self, Other | Etag | LastModified | Link | ProxyStatus | AuthenticationInfo)
    }
}

const _: () = assert!(FieldId::ALL.len() < 128, "ids are bits of a u128");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_id_in_any_case() {
        for (i, &id) in FieldId::ALL.iter().enumerate() {
            assert_eq!(id as usize, i);
            let name = id.as_str();
            assert_eq!(FieldId::of(name.as_bytes()), id);
            assert_eq!(FieldId::of(name.to_ascii_uppercase().as_bytes()), id);
            assert_eq!(FieldId::of(format!("{name}x").as_bytes()), FieldId::Other, "{name}x");
            assert_eq!(FieldId::of(&name.as_bytes()[1..]), FieldId::Other, "{name} without its first byte");
        }
    }

    #[test]
    fn strange_names_are_other() {
        for name in [&b""[..], b"x", b"-", b"hos\x00", b"h_st", b"content_length", &[b'a'; 300]] {
            assert_eq!(FieldId::of(name), FieldId::Other);
        }
    }
}
