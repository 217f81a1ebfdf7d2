//! What a head means: how long the body is, whether the connection lives on, what the peer asks for
//! (RFC 9112, sections 3.2, 6 and 9; RFC 9110, sections 7.8 and 10.1).
use super::{
    Reject,
    chars::{HOST, is},
};
use crate::head::{FieldId, Head, Method, Version, has_member};
use std::net::Ipv6Addr;

/// How the body that follows a head is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// By its length in bytes, below 2^63; 0 when the head says so.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection: responses only.
    Close,
    /// It is no HTTP any more: all bytes to the end of the connection, in both directions.
    Tunnel,
}

/// Which protocol a request asks to change to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// None, or the request cannot ask for it (HTTP/1.0, no `Connection: upgrade`).
    None,
    /// `websocket` and nothing else, in a GET without a body.
    WebSocket,
    /// Anything else: to be ignored, as RFC 9110 section 7.8 allows.
    Other,
}

/// What a request head means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestSemantics {
    /// `None`, `Length` or `Chunked`.
    pub framing: Framing,
    /// Whether the client lets the connection live on.
    pub keep_alive: bool,
    /// Whether the client waits for a 100 before it sends the body.
    pub expect_continue: bool,
    /// Which protocol it asks to change to.
    pub upgrade: Upgrade,
    /// Whether it takes trailers (`TE: trailers`).
    pub te_trailers: bool,
}

/// What a response head means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseSemantics {
    /// How the body is delimited; `None` for a 1xx, which is never the last response; `Tunnel` for a 101.
    pub framing: Framing,
    /// Whether the connection can carry another request after this message.
    pub keep_alive: bool,
}

/// The ids that make a request more than a plain one.
const REQUEST_SPECIAL: u128 = FieldId::Connection.bit()
    | FieldId::TransferEncoding.bit()
    | FieldId::ContentLength.bit()
    | FieldId::Expect.bit()
    | FieldId::Upgrade.bit()
    | FieldId::Te.bit();

/// What the request means.
///
/// # Errors
/// Every ambiguity of RFC 9112 sections 3.2 and 6, an unknown expectation, CONNECT.
pub fn request_semantics(head: &Head) -> Result<RequestSemantics, Reject> {
    check_host(head)?;
    if head.method() == Method::Connect {
        return Err(Reject::ConnectRefused);
    }
    let modern = head.version() != Version::Http10;
    if !head.has_any(REQUEST_SPECIAL) {
        return Ok(RequestSemantics {
            framing: Framing::None,
            keep_alive: modern,
            expect_continue: false,
            upgrade: Upgrade::None,
            te_trailers: false,
        });
    }
    let framing = announced(head)?.unwrap_or(Framing::None);
    let bodiless = matches!(framing, Framing::None | Framing::Length(0));
    Ok(RequestSemantics {
        framing,
        keep_alive: keep_alive(head),
        expect_continue: expects_continue(head)? && modern && !bodiless,
        upgrade: if modern { upgrade(head, bodiless) } else { Upgrade::None },
        te_trailers: head.get_all(FieldId::Te).any(|v| has_member(v, b"trailers")),
    })
}

/// What the response to a request with this method means. `upgrade_asked`: whether that request asked for an upgrade.
///
/// # Errors
/// Every ambiguity of RFC 9112 section 6, a body where the status allows none, a 101 that was not asked for.
pub fn response_semantics(
    head: &Head,
    request_method: Method,
    upgrade_asked: bool,
) -> Result<ResponseSemantics, Reject> {
    let announced = announced(head)?;
    let status = head.status();
    if status == 101 {
        let valid = upgrade_asked && head.version() == Version::Http11 && head.has(FieldId::Upgrade);
        if !valid {
            return Err(Reject::UnexpectedUpgrade);
        }
    }
    if status < 200 || status == 204 {
        if !matches!(announced, None | Some(Framing::Length(0))) {
            return Err(Reject::BodyNotAllowed);
        }
        if status == 101 {
            return Ok(ResponseSemantics { framing: Framing::Tunnel, keep_alive: false });
        }
        return Ok(ResponseSemantics { framing: Framing::None, keep_alive: keep_alive(head) });
    }
    if request_method == Method::Connect && status < 300 {
        return Ok(ResponseSemantics { framing: Framing::Tunnel, keep_alive: false });
    }
    if request_method == Method::Head || status == 304 {
        return Ok(ResponseSemantics { framing: Framing::None, keep_alive: keep_alive(head) });
    }
    match announced {
        Some(framing) => Ok(ResponseSemantics { framing, keep_alive: keep_alive(head) }),
        None => Ok(ResponseSemantics { framing: Framing::Close, keep_alive: false }),
    }
}

/// The framing that `Content-Length` or `Transfer-Encoding` announces (RFC 9112, section 6.3). Where the standard lets
/// a recipient repair a message (equal lengths, `Transfer-Encoding` before `Content-Length`), it is refused: another
/// recipient may repair it otherwise.
fn announced(head: &Head) -> Result<Option<Framing>, Reject> {
    if let Some(value) = head.get(FieldId::TransferEncoding) {
        if head.version() == Version::Http10 {
            return Err(Reject::EncodingInHttp10);
        }
        if head.has(FieldId::ContentLength) {
            return Err(Reject::LengthAndEncoding);
        }
        if head.has_many(FieldId::TransferEncoding) {
            return Err(Reject::BadEncoding);
        }
        return if value.eq_ignore_ascii_case(b"chunked") {
            Ok(Some(Framing::Chunked))
        } else {
            Err(encoding_fault(value))
        };
    }
    let Some(value) = head.get(FieldId::ContentLength) else {
        return Ok(None);
    };
    if head.has_many(FieldId::ContentLength) {
        return Err(Reject::RepeatedLength);
    }
    length(value).map(|n| Some(Framing::Length(n)))
}

/// A `Content-Length`: 1 to 19 digits and below 2^63, the largest that every implementation reads alike.
pub(crate) fn length(value: &[u8]) -> Result<u64, Reject> {
    if value.is_empty() || value.len() > 19 {
        return Err(Reject::BadLength);
    }
    let mut n: u64 = 0;
    for &b in value {
        if !b.is_ascii_digit() {
            return Err(Reject::BadLength);
        }
        // 19 digits stay below 10^19 < 2^64.
        n = n * 10 + u64::from(b - b'0');
    }
    if n > i64::MAX as u64 { Err(Reject::BadLength) } else { Ok(n) }
}

/// Why a `Transfer-Encoding` that is not `chunked` alone is refused: 501 only for a well-formed list of codings that
/// are not implemented.
#[cold]
fn encoding_fault(value: &[u8]) -> Reject {
    let mut codings = value.split(|&b| b == b',').map(<[u8]>::trim_ascii).peekable();
    while let Some(coding) = codings.next() {
        let well_formed = !coding.is_empty() && coding.iter().all(|&b| is(b, super::chars::TOKEN));
        let chunked = coding.eq_ignore_ascii_case(b"chunked");
        if !well_formed || coding.eq_ignore_ascii_case(b"identity") || (chunked && codings.peek().is_some()) {
            return Reject::BadEncoding;
        }
    }
    Reject::UnknownEncoding
}

/// Whether the sender lets the connection live on (RFC 9112, section 9.3).
fn keep_alive(head: &Head) -> bool {
    let modern = head.version() != Version::Http10;
    if !head.has(FieldId::Connection) {
        return modern;
    }
    let has = |option: &[u8]| head.get_all(FieldId::Connection).any(|v| has_member(v, option));
    !has(b"close") && (modern || has(b"keep-alive"))
}

/// Whether `Expect` is `100-continue`.
fn expects_continue(head: &Head) -> Result<bool, Reject> {
    match head.get(FieldId::Expect) {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") && !head.has_many(FieldId::Expect) => Ok(true),
        Some(_) => Err(Reject::UnknownExpectation),
    }
}

/// Which protocol the request asks for: only what `Connection: upgrade` names is meant for the next hop.
fn upgrade(head: &Head, bodiless: bool) -> Upgrade {
    let Some(value) = head.get(FieldId::Upgrade) else {
        return Upgrade::None;
    };
    if !head.get_all(FieldId::Connection).any(|v| has_member(v, b"upgrade")) {
        return Upgrade::None;
    }
    let single = !head.has_many(FieldId::Upgrade) && value.eq_ignore_ascii_case(b"websocket");
    if single && head.method() == Method::Get && bodiless { Upgrade::WebSocket } else { Upgrade::Other }
}

/// `Host` and the target's authority (RFC 9112, section 3.2). An absolute-form target wins over `Host`, but where they
/// differ somebody is being misled.
fn check_host(head: &Head) -> Result<(), Reject> {
    if head.has_many(FieldId::Host) {
        return Err(Reject::RepeatedHost);
    }
    if !head.has(FieldId::Host) && head.version() != Version::Http10 {
        return Err(Reject::MissingHost);
    }
    match head.target_authority() {
        Some(authority) => {
            if !is_authority(authority) {
                return Err(Reject::BadHost);
            }
            match head.get(FieldId::Host) {
                Some(host) if !host.eq_ignore_ascii_case(authority) => Err(Reject::HostMismatch),
                _ => Ok(()),
            }
        }
        None if !head.has(FieldId::Host) || is_authority(head.authority()) => Ok(()),
        None => Err(Reject::BadHost),
    }
}

/// Whether it is `host[:port]`: letters, digits, `-`, `_`, `~` and single dots, or an IPv6 address in brackets; the port
/// 1 to 65535. No user information, no percent-encoding, none of the delimiters that RFC 3986 allows and nobody uses.
pub fn is_authority(authority: &[u8]) -> bool {
    if authority.first() == Some(&b'[') {
        return is_ip6_authority(authority);
    }
    let mut before = b'.';
    for (at, &b) in authority.iter().enumerate() {
        if !is(b, HOST) {
            return b == b':' && at > 0 && is_port(authority.get(at + 1..).unwrap_or(&[]));
        }
        if b == b'.' && before == b'.' {
            return false;
        }
        before = b;
    }
    !authority.is_empty()
}

fn is_ip6_authority(authority: &[u8]) -> bool {
    let Some(close) = authority.iter().position(|&b| b == b']') else {
        return false;
    };
    let address = authority.get(1..close).and_then(|a| std::str::from_utf8(a).ok());
    if address.and_then(|a| a.parse::<Ipv6Addr>().ok()).is_none() {
        return false;
    }
    match authority.get(close + 1..) {
        None | Some([]) => true,
        Some([b':', port @ ..]) => is_port(port),
        Some(_) => false,
    }
}

/// One to five digits, 1 to 65535.
fn is_port(port: &[u8]) -> bool {
    if port.is_empty() || port.len() > 5 || !port.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let n = port.iter().fold(0u32, |n, &b| n * 10 + u32::from(b - b'0'));
    (1..=65_535).contains(&n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, version: Version, fields: &[(&str, &str)]) -> Result<RequestSemantics, Reject> {
        let mut head = Head::new();
        head.set_request(method.as_bytes(), b"", b"/", version).unwrap();
        head.push(b"host", b"h").unwrap();
        for (name, value) in fields {
            head.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        request_semantics(&head)
    }

    fn post(fields: &[(&str, &str)]) -> Result<Framing, Reject> {
        request("POST", Version::Http11, fields).map(|s| s.framing)
    }

    fn response(
        method: Method,
        asked: bool,
        status: u16,
        version: Version,
        fields: &[(&str, &str)],
    ) -> Result<(Framing, bool), Reject> {
        let mut head = Head::new();
        head.set_response(status, b"", version).unwrap();
        for (name, value) in fields {
            head.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        response_semantics(&head, method, asked).map(|s| (s.framing, s.keep_alive))
    }

    #[test]
    fn lengths_are_plain_numbers() {
        for (value, n) in
            [("0", 0), ("5", 5), ("007", 7), ("9223372036854775807", i64::MAX as u64), ("0000000000000000001", 1)]
        {
            assert_eq!(post(&[("content-length", value)]), Ok(Framing::Length(n)), "{value}");
        }
        for value in [
            "",
            "+5",
            "-5",
            "5 5",
            "5,5",
            "5, 5",
            "0x5",
            "5.0",
            "5a",
            "\u{665}",
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999",
            "00000000000000000005",
        ] {
            assert_eq!(post(&[("content-length", value)]), Err(Reject::BadLength), "{value}");
        }
        for second in ["5", "6"] {
            let fields = [("content-length", "5"), ("Content-Length", second)];
            assert_eq!(post(&fields), Err(Reject::RepeatedLength));
        }
    }

    #[test]
    fn encodings_are_chunked_alone() {
        assert_eq!(post(&[("transfer-encoding", "CHUNKed")]), Ok(Framing::Chunked));
        for (value, fault) in [
            ("", Reject::BadEncoding),
            ("identity", Reject::BadEncoding),
            ("identity, chunked", Reject::BadEncoding),
            ("chunked, identity", Reject::BadEncoding),
            ("chunked, chunked", Reject::BadEncoding),
            ("chunked, gzip", Reject::BadEncoding),
            ("chunked,", Reject::BadEncoding),
            (",chunked", Reject::BadEncoding),
            ("chunked;q=1", Reject::BadEncoding),
            ("\"chunked\"", Reject::BadEncoding),
            ("gzip", Reject::UnknownEncoding),
            ("gzip, chunked", Reject::UnknownEncoding),
            ("xchunked", Reject::UnknownEncoding),
        ] {
            assert_eq!(post(&[("transfer-encoding", value)]), Err(fault), "{value}");
        }
        let twice = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(post(&twice), Err(Reject::BadEncoding));
        let both = [("transfer-encoding", "chunked"), ("content-length", "0")];
        assert_eq!(post(&both), Err(Reject::LengthAndEncoding));
        let old = request("POST", Version::Http10, &[("transfer-encoding", "chunked")]);
        assert_eq!(old.unwrap_err(), Reject::EncodingInHttp10);
    }

    #[test]
    fn connections_live_as_version_and_options_say() {
        use Version::{Http10, Http11};
        for (version, options, lives) in [
            (Http11, &[][..], true),
            (Http11, &["close"][..], false),
            (Http11, &["keep-alive"][..], true),
            (Http11, &["upgrade, Close"][..], false),
            (Http11, &["keep-alive", "close"][..], false),
            (Http10, &[][..], false),
            (Http10, &["Keep-Alive"][..], true),
            (Http10, &["keep-alive, close"][..], false),
        ] {
            let fields: Vec<_> = options.iter().map(|o| ("connection", *o)).collect();
            assert_eq!(request("GET", version, &fields).unwrap().keep_alive, lives, "{version:?} {options:?}");
        }
    }

    #[test]
    fn expectations_are_100_continue_or_refused() {
        let length = ("content-length", "5");
        let expect = |version, fields: &[_]| request("PUT", version, fields).map(|s| s.expect_continue);
        assert_eq!(expect(Version::Http11, &[length, ("expect", "100-Continue")]), Ok(true));
        assert_eq!(expect(Version::Http10, &[length, ("expect", "100-continue")]), Ok(false));
        assert_eq!(expect(Version::Http11, &[("expect", "100-continue")]), Ok(false));
        for value in ["", "200-ok", "100-continue, x"] {
            assert_eq!(expect(Version::Http11, &[length, ("expect", value)]), Err(Reject::UnknownExpectation));
        }
    }

    #[test]
    fn upgrades_are_websocket_on_a_bodiless_get() {
        let up = ("upgrade", "WebSocket");
        let connection = ("connection", "keep-alive, Upgrade");
        for (method, version, fields, want) in [
            ("GET", Version::Http11, &[up, connection][..], Upgrade::WebSocket),
            ("GET", Version::Http11, &[up, connection, ("content-length", "0")], Upgrade::WebSocket),
            ("GET", Version::Http11, &[up], Upgrade::None),
            ("GET", Version::Http10, &[up, connection], Upgrade::None),
            ("POST", Version::Http11, &[up, connection], Upgrade::Other),
            ("GET", Version::Http11, &[up, connection, ("content-length", "5")], Upgrade::Other),
            ("GET", Version::Http11, &[("upgrade", "h2c"), connection], Upgrade::Other),
            ("GET", Version::Http11, &[("upgrade", "websocket, h2c"), connection], Upgrade::Other),
            ("GET", Version::Http11, &[up, up, connection], Upgrade::Other),
        ] {
            assert_eq!(request(method, version, fields).unwrap().upgrade, want, "{method} {fields:?}");
        }
        assert!(request("GET", Version::Http11, &[("te", "gzip, trailers")]).unwrap().te_trailers);
        assert!(!request("GET", Version::Http11, &[("te", "gzip")]).unwrap().te_trailers);
    }

    #[test]
    fn authorities_are_host_and_port() {
        for good in ["h", "H.example", "a-b.c_d~e", "1.2.3.4:80", "h:1", "h:65535", "h.", "[::1]", "[2001:db8::1]:443"]
        {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "h:",
            "h:0",
            "h:65536",
            "h:123456",
            "h:8a",
            "h:80:80",
            "u@h",
            "u:p@h",
            "h/",
            "h?",
            "h#",
            "h\\",
            "h,i",
            "h i",
            "h%41",
            "h;i",
            ".",
            ".h",
            "h..i",
            "[::1",
            "::1",
            "[]",
            "[1.2.3.4]",
            "[::1]x",
            "[::1]:",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "h\u{e9}",
            "(h)",
            "h'",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn hosts_are_one_and_agree_with_the_target() {
        let check = |version, authority: &str, hosts: &[&str]| {
            let mut head = Head::new();
            head.set_request(b"GET", authority.as_bytes(), b"/", version).unwrap();
            for host in hosts {
                head.push(b"Host", host.as_bytes()).unwrap();
            }
            request_semantics(&head).map(|_| ())
        };
        assert_eq!(check(Version::Http11, "", &["h:80"]), Ok(()));
        assert_eq!(check(Version::Http11, "", &[]), Err(Reject::MissingHost));
        assert_eq!(check(Version::Http10, "", &[]), Ok(()));
        assert_eq!(check(Version::Http11, "", &["h", "h"]), Err(Reject::RepeatedHost));
        assert_eq!(check(Version::Http10, "", &["h", "i"]), Err(Reject::RepeatedHost));
        assert_eq!(check(Version::Http11, "", &[""]), Err(Reject::BadHost));
        assert_eq!(check(Version::Http10, "", &["u@h"]), Err(Reject::BadHost));
        assert_eq!(check(Version::Http11, "h:80", &["H:80"]), Ok(()));
        assert_eq!(check(Version::Http11, "h", &["i"]), Err(Reject::HostMismatch));
        assert_eq!(check(Version::Http11, "h", &[]), Err(Reject::MissingHost));
        assert_eq!(check(Version::Http11, "u@h", &["u@h"]), Err(Reject::BadHost));
        assert_eq!(request("CONNECT", Version::Http11, &[]).unwrap_err(), Reject::ConnectRefused);
    }

    #[test]
    fn responses_are_framed_by_method_status_and_fields() {
        use Framing::{Chunked, Close, Length, None, Tunnel};
        use Version::{Http10, Http11};
        let length = ("content-length", "5");
        let zero = ("content-length", "0");
        let chunked = ("transfer-encoding", "chunked");
        let upgrade = ("upgrade", "websocket");
        let keep = ("connection", "keep-alive");
        let cases = [
            (Method::Get, 200, Http11, &[length][..], Ok((Length(5), true))),
            (Method::Get, 200, Http11, &[chunked], Ok((Chunked, true))),
            (Method::Get, 200, Http11, &[], Ok((Close, false))),
            (Method::Get, 200, Http11, &[keep], Ok((Close, false))),
            (Method::Get, 200, Http10, &[length], Ok((Length(5), false))),
            (Method::Get, 200, Http10, &[length, keep], Ok((Length(5), true))),
            (Method::Get, 200, Http11, &[length, ("connection", "close")], Ok((Length(5), false))),
            (Method::Head, 200, Http11, &[length], Ok((None, true))),
            (Method::Head, 200, Http11, &[chunked], Ok((None, true))),
            (Method::Head, 200, Http11, &[], Ok((None, true))),
            (Method::Get, 304, Http11, &[length], Ok((None, true))),
            (Method::Get, 204, Http11, &[], Ok((None, true))),
            (Method::Get, 204, Http11, &[zero], Ok((None, true))),
            (Method::Get, 204, Http11, &[length], Err(Reject::BodyNotAllowed)),
            (Method::Get, 204, Http11, &[chunked], Err(Reject::BodyNotAllowed)),
            (Method::Get, 100, Http11, &[], Ok((None, true))),
            (Method::Get, 103, Http11, &[("link", "<x>")], Ok((None, true))),
            (Method::Get, 100, Http11, &[length], Err(Reject::BodyNotAllowed)),
            (Method::Get, 101, Http11, &[upgrade], Ok((Tunnel, false))),
            (Method::Get, 101, Http11, &[], Err(Reject::UnexpectedUpgrade)),
            (Method::Get, 101, Http10, &[upgrade], Err(Reject::UnexpectedUpgrade)),
            (Method::Connect, 200, Http11, &[], Ok((Tunnel, false))),
            (Method::Get, 200, Http10, &[chunked], Err(Reject::EncodingInHttp10)),
            (Method::Get, 200, Http11, &[chunked, length], Err(Reject::LengthAndEncoding)),
            (Method::Head, 200, Http11, &[chunked, length], Err(Reject::LengthAndEncoding)),
            (Method::Get, 200, Http11, &[length, length], Err(Reject::RepeatedLength)),
            (Method::Get, 304, Http11, &[("content-length", "x")], Err(Reject::BadLength)),
            (Method::Get, 200, Http11, &[("transfer-encoding", "gzip")], Err(Reject::UnknownEncoding)),
        ];
        for (method, status, version, fields, want) in cases {
            assert_eq!(response(method, true, status, version, fields), want, "{method:?} {status} {fields:?}");
        }
        let unasked = response(Method::Get, false, 101, Http11, &[upgrade]);
        assert_eq!(unasked, Err(Reject::UnexpectedUpgrade));
    }
}
