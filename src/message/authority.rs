//! Authorities: `host[:port]` as it stands in a request.

/// `host` of `host[:port]`; an IPv6 literal keeps its brackets.
pub fn host_of(authority: &[u8]) -> &[u8] {
    let end = match authority.first() {
        Some(b'[') => memchr::memchr(b']', authority).map(|at| at + 1),
        _ => memchr::memchr(b':', authority),
    };
    end.map_or(authority, |end| &authority[..end])
}

/// Whether a host may be written into a URL or a field: a name, an IPv4 address or a bracketed IPv6 address.
pub fn is_plain_host(host: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    match host {
        [b'[', inner @ .., b']'] => inner.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')),
        _ => !host.is_empty() && host.iter().all(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(host_of(b"a.b:80"), b"a.b");
        assert_eq!(host_of(b"[::1]:80"), b"[::1]");
        assert_eq!(host_of(b"[::1"), b"[::1");
        for good in ["a.b", "127.0.0.1", "[::1]", "x_y"] {
            assert!(is_plain_host(good.as_bytes()), "{good}");
        }
        for bad in ["", "a b", "a/b", "a@b", "[::1", "a\r\nb", "é", "[a/b]", "a:1"] {
            assert!(!is_plain_host(bad.as_bytes()), "{bad}");
        }
    }
}
