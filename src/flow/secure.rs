//! What TLS has to say about a request: whether its connection may be used for its host, whether it belongs on one with
//! TLS, whether it may be somebody's repetition of an earlier one, and who the client is by certificate.
use super::Scratch;
use crate::{
    message::{Category, Exchange, Fault, Side, authority::is_plain_host, host_of},
    snapshot::{ListenerRule, PolicyRule, RouteRule, Snapshot},
};
use edge_io::{
    head::{FieldId, Head, Method},
    http1::write_decimal,
    tls::Info,
};

const MISDIRECTED: Fault =
    Fault::new(Category::Misdirected, Side::Downstream, "the connection's certificate is not for this host");
const NO_CERTIFICATE: Fault =
    Fault::new(Category::MtlsRequired, Side::Downstream, "the client has shown no certificate");
const TOO_EARLY: Fault = Fault::new(Category::TooEarly, Side::Downstream, "this method is not taken from early data");

/// Where authorities look for proof that a host is ours (RFC 8555 8.3): they begin without TLS.
const ACME: &[u8] = b"/.well-known/acme-challenge/";
/// The port that `https://` means without saying (RFC 9110 4.2.2).
const HTTPS_PORT: u16 = 443;

/// Refuses a request for a host that the connection's certificate is not for (RFC 9110 7.4): such connections come from
/// clients that share one among hosts. Whoever named no host (SNI) may ask for any.
pub(super) fn directed(listener: &ListenerRule, info: Option<&Info>, head: &Head) -> Result<(), Fault> {
    let (Some(tls), Some(name)) = (&listener.tls, info.and_then(|info| info.server_name.as_deref())) else {
        return Ok(());
    };
    let host = std::str::from_utf8(bare(host_of(head.authority()))).unwrap_or_default();
    if tls.covers(name, host) { Ok(()) } else { Err(MISDIRECTED) }
}

/// An IPv6 address without its brackets.
fn bare(host: &[u8]) -> &[u8] {
    host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)
}

/// Refuses clients without a certificate where one is required. The handshake has checked the certificate.
pub(super) fn certified(policy: &PolicyRule, info: Option<&Info>) -> Result<(), Fault> {
    let missing = info.is_none_or(|info| info.client_certificate.is_none());
    if policy.require_mtls && missing { Err(NO_CERTIFICATE) } else { Ok(()) }
}

/// Refuses a request of which a repetition could do harm, if it came in early data: anybody who has seen it go by can
/// send it again (RFC 8470 3, RFC 9110 9.2.1).
pub(super) fn repeatable(early: bool, method: Method, websocket: bool) -> Result<(), Fault> {
    let harmless = !websocket && matches!(method, Method::Get | Method::Head | Method::Options);
    if early && !harmless { Err(TOO_EARLY) } else { Ok(()) }
}

/// Tells the endpoint that the request came in early data, to us or to a trusted peer before us (RFC 8470 5.1).
pub(super) fn early_data(early: bool, head: &Head, scratch: &mut Scratch) {
    if early || scratch.trusted && head.get(FieldId::EarlyData).is_some_and(|value| value == b"1") {
        scratch.ours.extend_from_slice(b"Early-Data: 1\r\n");
    }
}

/// Whether the request is to be sent to `https://`; then its location is in `scratch.target`. `route` is where it would
/// go otherwise, if anywhere.
pub(super) fn redirected<E: Exchange>(
    listener: &ListenerRule,
    snapshot: &Snapshot,
    route: Option<&RouteRule>,
    exchange: &E,
    scratch: &mut Scratch,
) -> bool {
    let (head, peer) = (exchange.head(), exchange.peer());
    let here = listener.https_redirect && !peer.tls && !peer.unix && route.is_none_or(|route| !route.allow_http);
    if !here || !head.path().starts_with(b"/") || head.path().starts_with(ACME) || came_by_tls(head, scratch) {
        return false;
    }
    let host = host_of(head.authority());
    let name = std::str::from_utf8(bare(host)).ok().filter(|_| is_plain_host(host));
    let Some(port) = name.and_then(|name| snapshot.https_port(name)) else { return false };
    let out = &mut scratch.target;
    out.clear();
    out.extend_from_slice(b"https://");
    out.extend_from_slice(host);
    if port != HTTPS_PORT {
        out.push(b':');
        write_decimal(out, u64::from(port));
    }
    out.extend_from_slice(head.path_and_query());
    true
}

/// Whether a trusted proxy took TLS off.
fn came_by_tls(head: &Head, scratch: &Scratch) -> bool {
    let proto = |value: &[u8]| value.eq_ignore_ascii_case(b"https");
    scratch.trusted && head.get(FieldId::XForwardedProto).is_some_and(proto)
}

/// Writes `Client-Cert` (RFC 9440 2.2) for the endpoint, if the policy wants it and there is one.
pub(super) fn client_cert(policy: &PolicyRule, info: Option<&Info>, out: &mut Vec<u8>) {
    let certificate = info.and_then(|info| info.client_certificate.as_deref());
    if let Some(der) = certificate.filter(|_| policy.client_cert_header) {
        out.extend_from_slice(b"Client-Cert: :");
        base64(der, out);
        out.extend_from_slice(b":\r\n");
    }
}

/// RFC 4648 4, with padding, as RFC 8941 3.3.5 wants byte sequences.
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let bits = three.iter().zip([16, 8, 0]).fold(0u32, |bits, (byte, shift)| bits | u32::from(*byte) << shift);
        let digit = |shift: u32| DIGITS[(bits >> shift & 63) as usize];
        let digits = [18, 12, 6, 0].map(digit);
        let written = three.len() + 1;
        out.extend_from_slice(&digits[..written]);
        out.extend_from_slice(&b"=="[..4 - written.min(4)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_io::head::Version;

    #[test]
    fn only_what_may_be_repeated_is_taken_from_early_data() {
        for method in [Method::Get, Method::Head, Method::Options] {
            assert_eq!(repeatable(true, method, false), Ok(()), "{method:?}");
            assert_eq!(repeatable(true, method, true), Err(TOO_EARLY), "{method:?} of a WebSocket");
        }
        for method in [Method::Post, Method::Put, Method::Delete, Method::Patch, Method::Connect, Method::Other] {
            assert_eq!(repeatable(true, method, false), Err(TOO_EARLY), "{method:?}");
            assert_eq!(repeatable(false, method, true), Ok(()), "{method:?}");
        }
        assert_eq!((TOO_EARLY.status, TOO_EARLY.side), (425, Side::Downstream));
    }

    #[test]
    fn endpoints_are_told_of_early_data_and_a_client_cannot_say_so_itself() {
        let ours = |early, trusted, value: Option<&str>| {
            let mut head = Head::new();
            head.set_request(b"GET", b"a.example", b"/", Version::Http3).expect("fits");
            if let Some(value) = value {
                head.push(b"early-data", value.as_bytes()).expect("fits");
            }
            let mut scratch = Scratch { trusted, ..Scratch::default() };
            early_data(early, &head, &mut scratch);
            scratch.ours
        };
        for (early, trusted, value) in [(true, false, None), (true, true, Some("1")), (false, true, Some("1"))] {
            assert_eq!(ours(early, trusted, value), b"Early-Data: 1\r\n", "{early} {trusted} {value:?}");
        }
        for (trusted, value) in [(false, Some("1")), (false, None), (true, None), (true, Some("0"))] {
            assert!(ours(false, trusted, value).is_empty(), "{trusted} {value:?}");
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            let mut out = Vec::new();
            base64(bytes.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes(), "{bytes}");
        }
    }
}
