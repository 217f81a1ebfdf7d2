//! Writes heads and chunk framing, appended to a buffer: no allocation where its capacity suffices.
use super::chars::{TOKEN, token_run, value_run};
use crate::head::FieldRef;

/// `METHOD SP target SP HTTP/1.1 CRLF`. Bytes that would break the line are left out (and are a bug of the caller).
pub fn write_request_line(out: &mut Vec<u8>, method: &[u8], target: &[u8]) {
    out.reserve(method.len() + target.len() + 12);
    push_visible(out, method);
    out.push(b' ');
    push_visible(out, target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Appends the visible ASCII bytes of `part`: all of them, unless the caller has a bug.
fn push_visible(out: &mut Vec<u8>, part: &[u8]) {
    if part.iter().all(u8::is_ascii_graphic) {
        out.extend_from_slice(part);
    } else {
        debug_assert!(false, "unfit for a request line: {}", part.escape_ascii());
        out.extend(part.iter().filter(|b| b.is_ascii_graphic()));
    }
}

/// `HTTP/1.1 SP status SP reason CRLF`. `status` is 100 to 999; an unfit reason is left empty.
pub fn write_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    debug_assert!((100..1000).contains(&status), "status {status}");
    let status = status.clamp(100, 999);
    let digit = |n: u16| b'0' + (n % 10) as u8;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
    if value_run(reason) == reason.len() {
        out.extend_from_slice(reason);
    } else {
        debug_assert!(false, "unfit for a reason: {}", reason.escape_ascii());
    }
    out.extend_from_slice(b"\r\n");
}

/// `name: value CRLF`. A field whose name is not visible ASCII without colon, or whose value has a control character
/// but HTAB, is left out (and is a bug of the caller).
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let fit = !name.is_empty() && token_run(name, TOKEN) == name.len() && value_run(value) == value.len();
    if !fit {
        debug_assert!(false, "unfit for a field: {}: {}", name.escape_ascii(), value.escape_ascii());
        return;
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `name: value CRLF`, for fields that this engine has parsed: they are not looked at again.
pub fn write_valid_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(token_run(name, TOKEN) == name.len() && value_run(value) == value.len());
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `content-length: n CRLF`.
pub fn write_content_length(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(b"content-length: ");
    write_decimal(out, n);
    out.extend_from_slice(b"\r\n");
}

/// `00` to `99`, so that a number is written two digits at a time.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// `n` in decimal.
pub fn write_decimal(out: &mut Vec<u8>, n: u64) {
    if n < 10 {
        return out.push(b'0' + n as u8);
    }
    out.extend_from_slice(Decimal::new(n).as_bytes());
}

/// A number's decimal digits, without an allocation.
pub struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    /// The digits of `n`.
    pub fn new(mut n: u64) -> Decimal {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        while n >= 10 {
            start -= 2;
            digits[start..start + 2].copy_from_slice(&PAIRS[(n % 100) as usize]);
            n /= 100;
        }
        if n > 0 || start == digits.len() {
            start -= 1;
            digits[start] = b'0' + n as u8;
        }
        Decimal { digits, start }
    }

    /// Them, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// The line before a chunk's data: its length in hexadecimal, CRLF. The caller adds the data and a CRLF. `len` is not 0:
/// that is [`write_last_chunk`].
pub fn write_chunk_start(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk ends the body");
    let len = len as u64;
    let digits = (u64::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        let nibble = (len >> (4 * i) & 0xf) as u8;
        out.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    }
    out.extend_from_slice(b"\r\n");
}

/// The last chunk, the trailer fields, and the end of the message. Fields that no trailer section may have are left out.
pub fn write_last_chunk<'a>(out: &mut Vec<u8>, trailers: impl Iterator<Item = FieldRef<'a>>) {
    out.extend_from_slice(b"0\r\n");
    for field in trailers.filter(|f| f.id.allowed_in_trailers()) {
        write_field(out, field.name, field.value);
    }
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase registered for a status (RFC 9110, section 15, and the IANA registry); empty for others.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::FieldId;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::with_capacity(256);
        let memory = out.as_ptr();
        write(&mut out);
        assert_eq!(out.as_ptr(), memory, "the buffer was allocated anew");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_written_as_the_grammar_says() {
        assert_eq!(written(|out| write_request_line(out, b"GET", b"/a?b")), "GET /a?b HTTP/1.1\r\n");
        assert_eq!(written(|out| write_status_line(out, 204, b"No Content")), "HTTP/1.1 204 No Content\r\n");
        assert_eq!(written(|out| write_status_line(out, 599, b"")), "HTTP/1.1 599 \r\n");
        assert_eq!(written(|out| write_field(out, b"A", b"b\tc")), "A: b\tc\r\n");
        assert_eq!(written(|out| write_content_length(out, 1024)), "content-length: 1024\r\n");
    }

    #[test]
    fn numbers_are_written_like_format_does() {
        for n in [0, 1, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
            assert_eq!(written(|out| write_decimal(out, n)), n.to_string());
        }
        for n in [1, 9, 10, 15, 16, 255, 256, 0xabc, 0x1000, 0xffff_ffff, usize::MAX] {
            assert_eq!(written(|out| write_chunk_start(out, n)), format!("{n:x}\r\n"));
        }
    }

    #[test]
    fn the_last_chunk_carries_only_trailers() {
        let fields = [("grpc-status", "0"), ("content-length", "5"), ("x", "y")];
        let fields = fields.map(|(name, value)| FieldRef {
            id: FieldId::of(name.as_bytes()),
            name: name.as_bytes(),
            value: value.as_bytes(),
        });
        assert_eq!(written(|out| write_last_chunk(out, [].into_iter())), "0\r\n\r\n");
        let last = written(|out| write_last_chunk(out, fields.into_iter()));
        assert_eq!(last, "0\r\ngrpc-status: 0\r\nx: y\r\n\r\n");
    }

    /// In debug builds a caller that would split a message is stopped; in release builds its bytes are left out.
    #[test]
    fn line_ends_never_get_in() {
        let bad: [(&str, &str); 6] =
            [("a", "b\r\nc"), ("a", "b\n"), ("a", "\0"), ("a\r\nb", "c"), ("a:", "b"), ("", "b")];
        for (name, value) in bad {
            let result =
                std::panic::catch_unwind(|| written(|out| write_field(out, name.as_bytes(), value.as_bytes())));
            assert!(result.map_or(cfg!(debug_assertions), |out| out.is_empty()), "{name:?}: {value:?}");
        }
        let line = std::panic::catch_unwind(|| written(|out| write_request_line(out, b"G T", b"/\r\na")));
        assert!(line.map_or(cfg!(debug_assertions), |out| out == "GT /a HTTP/1.1\r\n"));
        let line = std::panic::catch_unwind(|| written(|out| write_status_line(out, 200, b"a\r\nb")));
        assert!(line.map_or(cfg!(debug_assertions), |out| out == "HTTP/1.1 200 \r\n"));
    }

    #[test]
    fn reasons_are_known_or_empty() {
        assert_eq!(reason_phrase(200), "OK");
        assert_eq!(reason_phrase(431), "Request Header Fields Too Large");
        assert_eq!(reason_phrase(299), "");
    }
}
