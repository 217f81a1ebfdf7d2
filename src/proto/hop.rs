//! What must not travel on: hop-by-hop fields (RFC 9110 7.6.1) and forwarding fields that the edge states itself.
use edge_io::head::{FieldId, FieldRef, Head};

/// End-to-end fields of a response. Framing is left out: the next hop frames for itself.
pub fn response_fields(head: &Head) -> impl Iterator<Item = FieldRef<'_>> {
    let named = names_fields(head);
    head.fields()
        .filter(move |f| !is_hop_by_hop(f.id) && f.id != FieldId::ContentLength && !(named && is_named(head, f)))
}

/// Writes the end-to-end fields of a response as HTTP/1.1 lines.
pub fn write_response_fields(head: &Head, out: &mut Vec<u8>) {
    let named = names_fields(head);
    head.write_lines(out, |f| !(is_hop_by_hop(f.id) || f.id == FieldId::ContentLength || named && is_named(head, f)));
}

/// Writes the end-to-end fields of a request as HTTP/1.1 lines, without those the edge states itself: `Host`, framing,
/// `Expect`, `Via`, and the forwarding fields.
pub fn write_request_fields(head: &Head, out: &mut Vec<u8>) {
    let named = names_fields(head);
    head.write_lines(out, |f| !(is_hop_by_hop(f.id) || is_ours(f.id) || named && is_named(head, f)));
}

/// The same for protocols that write fields one by one.
pub fn request_fields(head: &Head) -> impl Iterator<Item = FieldRef<'_>> {
    let named = names_fields(head);
    head.fields().filter(move |f| !(is_hop_by_hop(f.id) || is_ours(f.id) || named && is_named(head, f)))
}

/// Trailer fields that may travel on: neither framing nor routing (RFC 9110 6.5.1).
pub fn trailer_fields(trailers: &Head) -> impl Iterator<Item = FieldRef<'_>> {
    trailers
        .fields()
        .filter(|f| !is_hop_by_hop(f.id) && !matches!(f.id, FieldId::ContentLength | FieldId::Host | FieldId::Expect))
}

/// Ready-made field lines, taken apart again: `Name: value` CRLF each.
pub fn lines(lines: &[u8]) -> impl Iterator<Item = FieldRef<'_>> {
    lines.split(|b| *b == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?.trim_ascii());
        Some(FieldRef { id: FieldId::of(name), name, value })
    })
}

fn is_hop_by_hop(id: FieldId) -> bool {
    matches!(
        id,
        FieldId::Connection
            | FieldId::KeepAlive
            | FieldId::ProxyConnection
            | FieldId::ProxyAuthenticate
            | FieldId::ProxyAuthorization
            | FieldId::Te
            | FieldId::Trailer
            | FieldId::TransferEncoding
            | FieldId::Upgrade
    )
}

fn is_ours(id: FieldId) -> bool {
    matches!(
        id,
        FieldId::Host
            | FieldId::ContentLength
            | FieldId::Expect
            | FieldId::Via
            | FieldId::ClientCert
            | FieldId::ClientCertChain
            | FieldId::EarlyData
            | FieldId::Forwarded
            | FieldId::XForwardedFor
            | FieldId::XForwardedProto
            | FieldId::XForwardedHost
            | FieldId::XForwardedPort
            | FieldId::XRealIp
            | FieldId::XRequestId
            | FieldId::XRequestStart
    )
}

/// Whether `Connection` names anything but the usual `keep-alive`, `close` and `upgrade`.
fn names_fields(head: &Head) -> bool {
    head.has(FieldId::Connection)
        && connection_options(head).any(|o| {
            !o.eq_ignore_ascii_case(b"keep-alive")
                && !o.eq_ignore_ascii_case(b"close")
                && !o.eq_ignore_ascii_case(b"upgrade")
        })
}

fn is_named(head: &Head, field: &FieldRef<'_>) -> bool {
    connection_options(head).any(|o| o.eq_ignore_ascii_case(field.name))
}

fn connection_options(head: &Head) -> impl Iterator<Item = &[u8]> {
    head.get_all(FieldId::Connection)
        .flat_map(|v| v.split(|b| *b == b','))
        .map(|o| o.trim_ascii())
        .filter(|o| !o.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_io::head::Version;

    fn names(head: &Head) -> Vec<String> {
        let mut out = Vec::new();
        write_request_fields(head, &mut out);
        let text = String::from_utf8_lossy(&out).to_lowercase();
        text.lines().filter_map(|l| Some(l.split_once(':')?.0.to_owned())).collect()
    }

    fn request(fields: &[(&str, &str)]) -> &'static Head {
        let mut head = Head::new();
        head.set_request(b"GET", b"a.example", b"/", Version::Http11).expect("fits");
        for (n, v) in fields {
            head.push(n.as_bytes(), v.as_bytes()).expect("fits");
        }
        Box::leak(Box::new(head))
    }

    #[test]
    fn fields_named_by_connection_go_with_it() {
        let head = request(&[
            ("Connection", "keep-alive, X-Secret"),
            ("Connection", "foo"),
            ("X-Secret", "1"),
            ("Foo", "2"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "trailers"),
            ("X-Kept", "3"),
        ]);
        assert_eq!(names(head), ["x-kept"]);
    }

    #[test]
    fn a_client_cannot_speak_for_the_edge() {
        let head =
            request(&[("X-Forwarded-For", "1.2.3.4"), ("Forwarded", "for=x"), ("X-Real-IP", "1.2.3.4"), ("A", "b")]);
        assert_eq!(names(head), ["a"]);
        assert_eq!(names(request(&[("early-data", "1"), ("Client-Cert", ":eA==:"), ("B", "c")])), ["b"]);
    }
}
