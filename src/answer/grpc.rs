//! What gRPC clients want to hear instead of an HTTP error, and how long they say they wait.
//!
//! Source: gRPC over HTTP/2 (grpc/grpc, doc/PROTOCOL-HTTP2.md) and its table of HTTP to gRPC status codes.
use crate::message::{Category, Fault};
use edge_io::head::{FieldId, Head};
use std::time::Duration;

/// Whether a request is gRPC: it gets its errors as `grpc-status`.
pub fn is_grpc(head: &Head) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let Some(value) = head.get(FieldId::ContentType) else { return false };
    let Some((start, rest)) = value.split_at_checked(TYPE.len()) else { return false };
    start.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The `grpc-status` of a failure.
pub fn status(fault: &Fault) -> &'static str {
    match (fault.category, fault.status) {
        (Category::UpstreamTimeout | Category::RequestTimeout | Category::BodyTimeout, _) => "4", // DEADLINE_EXCEEDED
        (Category::BodyTooLarge | Category::HeadTooLarge, _) => "8",                              // RESOURCE_EXHAUSTED
        (_, 400) => "13",                                                                         // INTERNAL
        (_, 401) => "16",                                                                         // UNAUTHENTICATED
        (_, 403) => "7",                                                                          // PERMISSION_DENIED
        (_, 404 | 405) => "12",                                                                   // UNIMPLEMENTED
        (Category::Panic, _) => "13",
        _ => "14", // UNAVAILABLE
    }
}

/// `grpc-timeout`: up to eight digits and a unit.
pub fn timeout(head: &Head) -> Option<Duration> {
    let text = head.get_name(b"grpc-timeout")?;
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(n * 3600),
        b'M' => Duration::from_secs(n * 60),
        b'S' => Duration::from_secs(n),
        b'm' => Duration::from_millis(n),
        b'u' => Duration::from_micros(n),
        b'n' => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Side;
    use edge_io::head::Version;

    fn head(name: &str, value: &str) -> Head {
        let mut head = Head::new();
        head.set_request(b"POST", b"h", b"/a.B/C", Version::Http2).expect("fits");
        head.push(name.as_bytes(), value.as_bytes()).expect("fits");
        head
    }

    #[test]
    fn content_types_of_grpc() {
        for (value, yes) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; charset=x", true),
            ("application/grpc-web", false),
            ("application/grp", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_grpc(&head("content-type", value)), yes, "{value}");
        }
    }

    #[test]
    fn timeouts_have_up_to_eight_digits_and_a_unit() {
        for (value, want) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("100m", Some(Duration::from_millis(100))),
            ("5u", Some(Duration::from_micros(5))),
            ("7n", Some(Duration::from_nanos(7))),
            ("999999999S", None),
            ("m", None),
            ("", None),
            ("1", None),
            ("-1S", None),
            ("1s", None),
        ] {
            assert_eq!(timeout(&head("grpc-timeout", value)), want, "{value}");
        }
    }

    #[test]
    fn every_failure_has_a_grpc_status() {
        let of = |category| status(&Fault::new(category, Side::Edge, ""));
        assert_eq!(of(Category::UpstreamTimeout), "4");
        assert_eq!(of(Category::UpstreamReset), "14");
        assert_eq!(of(Category::NoHealthyEndpoint), "14");
        assert_eq!(of(Category::NoRoute), "12");
        assert_eq!(of(Category::Unauthorized), "16");
        assert_eq!(of(Category::BodyTooLarge), "8");
    }
}
