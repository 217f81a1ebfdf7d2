//! Heads: the request line or status line, then field lines.
use super::{
    Limits, Reject,
    chars::{NAME, TARGET, TOKEN, run, value_run},
    field_lines::{FieldLines, Rules},
};
use crate::head::{BLOCK_BYTES_MAX, Head, Method, Span, Version};

/// Which kind of head is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Request,
    Response,
}

/// Where in the head the parser is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing read: an empty line may come before a request.
    Start,
    Method,
    Target,
    Version,
    /// Version and status of a response.
    Status,
    Reason,
    Fields,
}

/// Reads one head, resumably: it remembers where it stopped, looks at every byte once, and holds no bytes itself.
#[derive(Clone, Debug)]
pub struct HeadParser {
    role: Role,
    phase: Phase,
    /// The target is in absolute-form without a path.
    rootless: bool,
    failed: Option<Reject>,
    /// Where the first line starts: 2 behind an empty line, else 0.
    line_start: u32,
    /// Where the current part (method, target, version) starts.
    part_start: u32,
    /// Where to go on inside the first line.
    pos: u32,
    lines: FieldLines,
}

impl HeadParser {
    /// A parser for requests.
    pub fn request() -> HeadParser {
        HeadParser::new(Role::Request)
    }

    /// A parser for responses.
    pub fn response() -> HeadParser {
        HeadParser::new(Role::Response)
    }

    fn new(role: Role) -> HeadParser {
        HeadParser {
            role,
            phase: Phase::Start,
            rootless: false,
            failed: None,
            line_start: 0,
            part_start: 0,
            pos: 0,
            lines: FieldLines::default(),
        }
    }

    /// Makes it ready for the next head of the same role.
    pub fn reset(&mut self) {
        *self = HeadParser::new(self.role);
    }

    /// Whether no byte of a head has been seen: at most (part of) the empty line that may come before a request. A
    /// connection whose parser is fresh is idle, and may be closed without a word.
    pub fn is_fresh(&self) -> bool {
        self.phase == Phase::Start || (self.phase == Phase::Method && self.pos == self.line_start)
    }

    /// Reads on. `buf` holds all bytes from the start of the message, again on every call, grown; `head` is the same on
    /// every call for one message, and complete only with `Some(n)`: the head took the first `n` bytes of `buf`. With
    /// `None` more bytes are needed. Call [`HeadParser::reset`] before the next head.
    ///
    /// # Errors
    /// The first fault in order of the bytes, as soon as its byte is there, in whatever pieces they arrive; the same
    /// fault again on every later call.
    pub fn parse(&mut self, buf: &[u8], limits: &Limits, head: &mut Head) -> Result<Option<usize>, Reject> {
        if let Some(fault) = self.failed {
            return Err(fault);
        }
        let result = self.step(buf, limits, head);
        if let Err(fault) = result {
            self.failed = Some(fault);
        }
        result
    }

    fn step(&mut self, buf: &[u8], limits: &Limits, head: &mut Head) -> Result<Option<usize>, Reject> {
        if self.phase != Phase::Fields {
            let complete = match self.role {
                Role::Request => self.request_line(buf, limits, head)?,
                Role::Response => self.status_line(buf, limits, head)?,
            };
            if !complete {
                return Ok(None);
            }
        }
        let rules = Rules {
            line_bytes: limits.line_bytes,
            section_bytes: limits.head_bytes,
            fields: limits.fields,
            name_class: if self.role == Role::Request { NAME } else { TOKEN },
            too_large: Reject::HeadTooLarge,
            trailers: false,
        };
        let Some(n) = self.lines.parse(buf, &rules, head)? else {
            return Ok(None);
        };
        head.fill(buf.get(..n).unwrap_or(buf));
        if self.rootless {
            head.root_path().map_err(|_| Reject::RequestLineTooLong)?;
        }
        Ok(Some(n))
    }

    /// The end of the window in which the first line's CR must be.
    fn first_line_end(&self, limits: &Limits) -> usize {
        let line_end = (self.line_start as usize).saturating_add(limits.line_bytes).saturating_add(1);
        line_end.min(limits.head_bytes).min(BLOCK_BYTES_MAX)
    }

    /// Whether the request line is complete.
    fn request_line(&mut self, buf: &[u8], limits: &Limits, head: &mut Head) -> Result<bool, Reject> {
        if self.phase == Phase::Start && !self.start(buf, head)? {
            return Ok(false);
        }
        let line_end = self.first_line_end(limits);
        let window = buf.get(..line_end).unwrap_or(buf);
        let mut pos = self.pos as usize;
        if self.phase == Phase::Method {
            pos += run(window.get(pos..).unwrap_or(&[]), TOKEN);
            let Some(&b) = window.get(pos) else { return self.more(pos, buf, line_end) };
            let start = self.part_start as usize;
            if b != b' ' || pos == start {
                return Err(method_fault(b));
            }
            head.set_method(Method::of(window.get(start..pos).unwrap_or(&[])), Span::new(start, pos));
            pos += 1;
            self.part_start = pos as u32;
            self.phase = Phase::Target;
        }
        if self.phase == Phase::Target {
            pos += run(window.get(pos..).unwrap_or(&[]), TARGET);
            let Some(&b) = window.get(pos) else { return self.more(pos, buf, line_end) };
            let start = self.part_start as usize;
            if b != b' ' || pos == start {
                return Err(target_fault(b));
            }
            self.rootless = set_target(window, start, pos, head)?;
            pos += 1;
            self.part_start = pos as u32;
            self.phase = Phase::Version;
        }
        // At most ten bytes: reading them again after each arrival costs nothing.
        let start = self.part_start as usize;
        let rest = window.get(start..).unwrap_or(&[]);
        if rest.len() >= 8 || !self.is_version_so_far(rest) {
            head.set_version(version(rest)?);
        }
        let Some(&cr) = rest.get(8) else { return self.more(start, buf, line_end) };
        if cr != b'\r' {
            return Err(if cr == b'\n' { Reject::BareLf } else { Reject::BadRequestLine });
        }
        self.end_of_line(buf, start + 8, limits, Reject::RequestLineTooLong)
    }

    fn is_version_so_far(&self, rest: &[u8]) -> bool {
        rest.iter().enumerate().all(|(i, &b)| version_byte(i, b))
    }

    /// Skips one empty line (RFC 9112, section 2.2). False: more bytes are needed.
    fn start(&mut self, buf: &[u8], head: &mut Head) -> Result<bool, Reject> {
        head.clear();
        match buf {
            [b'\r', b'\n', ..] => self.line_start = 2,
            [] | [b'\r'] => return Ok(false),
            [b'\r', ..] => return Err(Reject::BareCr),
            [b'\n', ..] => return Err(Reject::BareLf),
            _ => {}
        }
        self.part_start = self.line_start;
        self.pos = self.line_start;
        self.phase = Phase::Method;
        Ok(true)
    }

    /// Whether the status line is complete.
    fn status_line(&mut self, buf: &[u8], limits: &Limits, head: &mut Head) -> Result<bool, Reject> {
        if self.phase == Phase::Start {
            if buf.is_empty() {
                return Ok(false);
            }
            head.clear();
            self.phase = Phase::Status;
        }
        let line_end = self.first_line_end(limits);
        let window = buf.get(..line_end).unwrap_or(buf);
        if self.phase == Phase::Status {
            if window.len() >= 8 || !self.is_version_so_far(window) {
                head.set_version(version(window)?);
            }
            if let Some(fault) = window.iter().enumerate().skip(8).take(4).find_map(|(i, &b)| status_fault(i, b)) {
                return Err(fault);
            }
            let Some(&after) = window.get(12) else { return self.more(0, buf, line_end) };
            let digits = window.get(9..12).unwrap_or(&[]);
            head.set_status(digits.iter().fold(0, |n, &d| n * 10 + u16::from(d - b'0')));
            match after {
                b' ' => {
                    self.pos = 13;
                    self.part_start = 13;
                }
                // "HTTP/1.1 200" without the space behind it is common and has one meaning only.
                b'\r' => {
                    self.pos = 12;
                    self.part_start = 12;
                }
                b'\n' => return Err(Reject::BareLf),
                _ => return Err(Reject::BadStatusLine),
            }
            self.phase = Phase::Reason;
        }
        let mut pos = self.pos as usize;
        pos += value_run(window.get(pos..).unwrap_or(&[]));
        match window.get(pos) {
            Some(b'\r') => {}
            Some(b'\n') => return Err(Reject::BareLf),
            Some(_) => return Err(Reject::ControlInValue),
            None => return self.more(pos, buf, line_end),
        }
        head.set_reason(Span::new(self.part_start as usize, pos));
        self.pos = pos as u32;
        self.end_of_line(buf, pos, limits, Reject::StatusLineTooLong)
    }

    /// A CR stands at `cr`: the LF behind it ends the first line.
    fn end_of_line(&mut self, buf: &[u8], cr: usize, limits: &Limits, too_long: Reject) -> Result<bool, Reject> {
        if cr + 2 > limits.head_bytes.min(BLOCK_BYTES_MAX) {
            return Err(too_long);
        }
        match buf.get(cr + 1) {
            Some(b'\n') => {
                self.lines = FieldLines::starting_at(cr + 2);
                self.phase = Phase::Fields;
                Ok(true)
            }
            Some(_) => Err(Reject::BareCr),
            None => Ok(false),
        }
    }

    /// The window is used up: either the limit is reached, or the bytes are.
    fn more(&mut self, pos: usize, buf: &[u8], line_end: usize) -> Result<bool, Reject> {
        if buf.len() >= line_end {
            return Err(match self.role {
                Role::Request => Reject::RequestLineTooLong,
                Role::Response => Reject::StatusLineTooLong,
            });
        }
        self.pos = pos as u32;
        Ok(false)
    }
}

/// Whether `b` may be byte `i` of `HTTP/d.d`.
fn version_byte(i: usize, b: u8) -> bool {
    match i {
        5 | 7 => b.is_ascii_digit(),
        _ => b"HTTP/0.0".get(i) == Some(&b),
    }
}

/// The version that the bytes start with.
#[inline]
fn version(bytes: &[u8]) -> Result<Version, Reject> {
    match bytes.first_chunk::<8>() {
        Some(b"HTTP/1.1") => Ok(Version::Http11),
        Some(b"HTTP/1.0") => Ok(Version::Http10),
        _ => Err(version_fault(bytes)),
    }
}

#[cold]
fn version_fault(bytes: &[u8]) -> Reject {
    match bytes.iter().take(8).enumerate().find(|&(i, &b)| !version_byte(i, b)) {
        Some((_, b'\n')) => Reject::BareLf,
        Some(_) => Reject::BadVersion,
        None => Reject::UnsupportedVersion,
    }
}

/// What is wrong with `b` as byte `i`, 8 to 11, of a status line: a space and three digits, 100 to 599.
fn status_fault(i: usize, b: u8) -> Option<Reject> {
    let good = match i {
        8 => b == b' ',
        9 => (b'1'..=b'5').contains(&b),
        _ => b.is_ascii_digit(),
    };
    match b {
        _ if good => None,
        b'\n' => Some(Reject::BareLf),
        _ => Some(Reject::BadStatusLine),
    }
}

#[cold]
fn method_fault(b: u8) -> Reject {
    match b {
        b'\n' => Reject::BareLf,
        b'\r' => Reject::BadRequestLine,
        _ => Reject::BadMethod,
    }
}

#[cold]
fn target_fault(b: u8) -> Reject {
    match b {
        b'\n' => Reject::BareLf,
        b'\r' | b' ' => Reject::BadRequestLine,
        _ => Reject::BadTarget,
    }
}

/// Sorts the target `start..end` into one of its four forms (RFC 9112, section 3.2). True: absolute-form without a path.
fn set_target(line: &[u8], start: usize, end: usize, head: &mut Head) -> Result<bool, Reject> {
    let target = line.get(start..end).unwrap_or(&[]);
    if head.method() == Method::Connect {
        // Authority-form; whether it is an authority is for the semantics to say.
        head.set_target_authority(Span::new(start, end));
        return Ok(false);
    }
    match target {
        [b'/', ..] => set_path(target, start, head),
        b"*" if head.method() == Method::Options => {
            head.set_target(Span::new(start, end), None);
            Ok(false)
        }
        _ => {
            let rest = after_scheme(target).ok_or(Reject::BadTarget)?;
            let length = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
            let authority_start = end - rest.len();
            head.set_target_authority(Span::new(authority_start, authority_start + length));
            set_path(rest.get(length..).unwrap_or(&[]), authority_start + length, head)
        }
    }
}

/// What follows `http://` or `https://`.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    let colon = target.iter().position(|&b| b == b':')?;
    let (scheme, rest) = target.split_at(colon);
    let known = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    rest.strip_prefix(b"://").filter(|_| known)
}

/// Sets path and query. True: there is no path.
#[inline]
fn set_path(target: &[u8], start: usize, head: &mut Head) -> Result<bool, Reject> {
    let query_at = target.iter().position(|&b| b == b'?');
    let path = target.get(..query_at.unwrap_or(target.len())).unwrap_or(&[]);
    check_escapes(path)?;
    head.set_target(Span::new(start, start + target.len()), query_at);
    Ok(path.is_empty())
}

/// Every `%` of a path stands before two hexadecimal digits that are not `00`.
fn check_escapes(path: &[u8]) -> Result<(), Reject> {
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        match rest.get(at + 1..at + 3) {
            Some(b"00") => return Err(Reject::NulInPath),
            Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {}
            _ => return Err(Reject::BadPercentEncoding),
        }
        rest = rest.get(at + 3..).unwrap_or(&[]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::FieldId;

    /// Feeds `bytes` whole, then one at a time: both must say the same.
    fn parse(mut parser: HeadParser, bytes: &[u8], limits: &Limits) -> Result<Option<(usize, Head)>, Reject> {
        let mut head = Head::new();
        let whole = parser.parse(bytes, limits, &mut head);
        parser.reset();
        let mut slow_head = Head::new();
        let mut slow = Ok(None);
        for end in 0..=bytes.len() {
            slow = parser.parse(&bytes[..end], limits, &mut slow_head);
            if slow != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, slow, "{}", bytes.escape_ascii());
        if let Ok(Some(_)) = whole {
            assert_eq!(format!("{head:?}"), format!("{slow_head:?}"));
        }
        whole.map(|n| n.map(|n| (n, head)))
    }

    fn request(bytes: &[u8]) -> Result<Option<(usize, Head)>, Reject> {
        parse(HeadParser::request(), bytes, &Limits::default())
    }

    fn response(bytes: &[u8]) -> Result<Option<(usize, Head)>, Reject> {
        parse(HeadParser::response(), bytes, &Limits::default())
    }

    #[test]
    fn a_request_is_read_and_what_follows_left() {
        let bytes = b"\r\nPOST /a%20b?x=1?y HTTP/1.1\r\nHost: h:80\r\nX-Empty:\r\nA:\t b\tc \t\r\n\r\nbody";
        let (n, head) = request(bytes).unwrap().unwrap();
        assert_eq!(&bytes[n..], b"body");
        assert_eq!((head.method(), head.method_bytes()), (Method::Post, &b"POST"[..]));
        assert_eq!((head.path(), head.query()), (&b"/a%20b"[..], Some(&b"x=1?y"[..])));
        assert_eq!((head.authority(), head.target_authority()), (&b"h:80"[..], None));
        assert_eq!(head.version(), Version::Http11);
        let fields: Vec<_> = head.fields().map(|f| (f.id, f.name, f.value)).collect();
        assert_eq!(
            fields,
            [
                (FieldId::Host, &b"Host"[..], &b"h:80"[..]),
                (FieldId::Other, b"X-Empty", b""),
                (FieldId::Other, b"A", b"b\tc"),
            ]
        );
    }

    #[test]
    fn a_response_is_read_with_and_without_a_reason() {
        for (line, status, reason) in [
            ("HTTP/1.1 200 OK", 200, "OK"),
            ("HTTP/1.1 404 ", 404, ""),
            ("HTTP/1.0 599", 599, ""),
            ("HTTP/1.1 301  Moved \u{e9}", 301, " Moved \u{e9}"),
        ] {
            let (n, head) = response(format!("{line}\r\nA_b: c\r\n\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(n, line.len() + 12);
            assert_eq!((head.status(), head.reason()), (status, reason.as_bytes()), "{line}");
            assert_eq!(head.get_name(b"a_b"), Some(&b"c"[..]));
        }
    }

    #[test]
    fn targets_have_four_forms() {
        for (line, path, query, authority) in [
            ("GET http://h HTTP/1.1", "/", None, "h"),
            ("GET http://h?q HTTP/1.1", "/", Some("q"), "h"),
            ("GET HTTPS://h:1/p?q HTTP/1.1", "/p", Some("q"), "h:1"),
            ("OPTIONS http://h HTTP/1.1", "*", None, "h"),
            ("OPTIONS http://h?q HTTP/1.1", "/", Some("q"), "h"),
            ("OPTIONS * HTTP/1.1", "*", None, "x"),
            ("GET //h/p HTTP/1.0", "//h/p", None, "x"),
            ("CONNECT h:443 HTTP/1.1", "", None, "h:443"),
        ] {
            let (_, head) = request(format!("{line}\r\nHost: x\r\n\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(head.path(), path.as_bytes(), "{line}");
            assert_eq!(head.query(), query.map(str::as_bytes), "{line}");
            assert_eq!(head.authority(), authority.as_bytes(), "{line}");
            assert_eq!(head.get(FieldId::Host), Some(&b"x"[..]), "{line}");
        }
    }

    #[test]
    fn faults_of_request_lines_are_named() {
        for (bytes, fault) in [
            ("\n", Reject::BareLf),
            ("\rG", Reject::BareCr),
            ("\r\n\r\n", Reject::BadRequestLine),
            (" GET", Reject::BadMethod),
            ("G\u{e9}T", Reject::BadMethod),
            ("GET\n", Reject::BareLf),
            ("GET  /", Reject::BadRequestLine),
            ("GET /\r", Reject::BadRequestLine),
            ("GET /\n", Reject::BareLf),
            ("GET /#", Reject::BadTarget),
            ("GET /\\", Reject::BadTarget),
            ("GET /\u{e9}", Reject::BadTarget),
            ("GET /\0", Reject::BadTarget),
            ("GET x ", Reject::BadTarget),
            ("GET * ", Reject::BadTarget),
            ("GET ftp://h/ ", Reject::BadTarget),
            ("GET /%00 ", Reject::NulInPath),
            ("GET /%4 ", Reject::BadPercentEncoding),
            ("GET /%zz ", Reject::BadPercentEncoding),
            ("GET / http/1.1", Reject::BadVersion),
            ("GET / HTTP/1.\n", Reject::BareLf),
            ("GET / HTTP/1.1\n", Reject::BareLf),
            ("GET / HTTP/1.1 \r\n", Reject::BadRequestLine),
            ("GET / HTTP/1.1\r\r", Reject::BareCr),
            ("GET / HTTP/1.2", Reject::UnsupportedVersion),
            ("PRI * HTTP/2.0", Reject::BadTarget),
            ("GET / HTTP/2.0", Reject::UnsupportedVersion),
            ("GET / HTTP/0.9", Reject::UnsupportedVersion),
        ] {
            assert_eq!(request(bytes.as_bytes()).unwrap_err(), fault, "{bytes:?}");
        }
    }

    #[test]
    fn faults_of_fields_are_named() {
        for (lines, fault) in [
            (" a: b\r\n", Reject::LeadingWhitespace),
            ("a: b\r\n c\r\n", Reject::ObsFold),
            ("a: b\r\n\tc\r\n", Reject::ObsFold),
            ("a : b\r\n", Reject::WhitespaceBeforeColon),
            ("a\t: b\r\n", Reject::WhitespaceBeforeColon),
            (": b\r\n", Reject::EmptyName),
            ("a(b: c\r\n", Reject::BadName),
            ("a\r\n", Reject::BadName),
            ("a\n", Reject::BareLf),
            ("a_b: c\r\n", Reject::UnderscoreInName),
            ("a: b\n", Reject::BareLf),
            ("a: b\rc\r\n", Reject::BareCr),
            ("a: b\0c\r\n", Reject::ControlInValue),
            ("a: b\x7fc\r\n", Reject::ControlInValue),
            ("\n", Reject::BareLf),
            ("\ra", Reject::BareCr),
            ("a: b\r\n\n", Reject::BareLf),
        ] {
            let bytes = format!("GET / HTTP/1.1\r\n{lines}");
            assert_eq!(request(bytes.as_bytes()).unwrap_err(), fault, "{lines:?}");
        }
    }

    #[test]
    fn faults_of_status_lines_are_named() {
        for (bytes, fault) in [
            ("\r\nHTTP/1.1 200 OK", Reject::BadVersion),
            ("HTTP/1.1 20 OK", Reject::BadStatusLine),
            ("HTTP/1.1 2000 OK", Reject::BadStatusLine),
            ("HTTP/1.1 099 OK", Reject::BadStatusLine),
            ("HTTP/1.1 600 OK", Reject::BadStatusLine),
            ("HTTP/1.1  200", Reject::BadStatusLine),
            ("HTTP/1.1 200\n", Reject::BareLf),
            ("HTTP/1.1 200 OK\n", Reject::BareLf),
            ("HTTP/1.1 200 O\rK", Reject::BareCr),
            ("HTTP/1.1 200 O\0K", Reject::ControlInValue),
            ("HTTP/2.0 200 OK", Reject::UnsupportedVersion),
            ("ICY 200 OK", Reject::BadVersion),
        ] {
            assert_eq!(response(bytes.as_bytes()).unwrap_err(), fault, "{bytes:?}");
        }
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let limits = Limits { line_bytes: 20, head_bytes: 64, fields: 2, ..Limits::default() };
        let request = |bytes: &str| parse(HeadParser::request(), bytes.as_bytes(), &limits).map(|n| n.is_some());
        assert_eq!(request("GET /123456 HTTP/1.1\r\n\r\n"), Ok(true));
        assert_eq!(request("\r\nGET /123456 HTTP/1.1\r\n\r\n"), Ok(true));
        assert_eq!(request("GET /1234567 HTTP/1.1\r\n\r\n"), Err(Reject::RequestLineTooLong));
        assert_eq!(request("GET /1234567890123456789"), Err(Reject::RequestLineTooLong));
        assert_eq!(request("GETGETGETGETGETGETGETGETGET"), Err(Reject::RequestLineTooLong));
        assert_eq!(request("GET / HTTP/1.1\r\na: 34567890123456789\r\n\r\n"), Ok(true));
        assert_eq!(request("GET / HTTP/1.1\r\na: 345678901234567890\r\n\r\n"), Err(Reject::FieldTooLong));
        assert_eq!(request("GET / HTTP/1.1\r\naaaaaaaaaaaaaaaaaaaaa"), Err(Reject::FieldTooLong));
        assert_eq!(request("GET / HTTP/1.1\r\na:1\r\nb:2\r\n\r\n"), Ok(true));
        assert_eq!(request("GET / HTTP/1.1\r\na:1\r\nb:2\r\nc:3\r\n\r\n"), Err(Reject::TooManyFields));
        let full = "GET /123456 HTTP/1.1\r\na: 34567890123456789\r\nb: 34567890123456\r\n\r\n";
        assert_eq!(full.len(), 65);
        assert_eq!(request(full), Err(Reject::HeadTooLarge));
        assert_eq!(request(&full.replace("3456\r\n\r\n", "345\r\n\r\n")), Ok(true));
        let response = parse(HeadParser::response(), b"HTTP/1.1 200 12345678", &limits);
        assert_eq!(response.unwrap_err(), Reject::StatusLineTooLong);
    }

    #[test]
    fn heads_never_outgrow_their_block() {
        let limits = Limits { line_bytes: usize::MAX, head_bytes: usize::MAX, ..Limits::default() };
        let head = |n: usize| format!("GET http://h HTTP/1.1\r\nHost: h\r\na: {}\r\n\r\n", "x".repeat(n));
        let fixed = head(0).len();
        for n in [BLOCK_BYTES_MAX - fixed - 1, BLOCK_BYTES_MAX - fixed, BLOCK_BYTES_MAX - fixed + 1] {
            let mut got = Head::new();
            let result = HeadParser::request().parse(head(n).as_bytes(), &limits, &mut got);
            match (fixed + n).cmp(&BLOCK_BYTES_MAX) {
                std::cmp::Ordering::Less => assert_eq!((result, got.path()), (Ok(Some(fixed + n)), &b"/"[..])),
                std::cmp::Ordering::Equal => assert_eq!(result, Err(Reject::RequestLineTooLong)),
                std::cmp::Ordering::Greater => assert_eq!(result, Err(Reject::HeadTooLarge)),
            }
        }
    }

    #[test]
    fn a_parser_fails_for_good_until_it_is_reset() {
        let (limits, mut head) = (Limits::default(), Head::new());
        let mut parser = HeadParser::request();
        assert!(parser.is_fresh());
        assert_eq!(parser.parse(b"GET /\n", &limits, &mut head), Err(Reject::BareLf));
        assert_eq!(parser.parse(b"GET / HTTP/1.1\r\n\r\n", &limits, &mut head), Err(Reject::BareLf));
        parser.reset();
        assert_eq!(parser.parse(b"GET / HTTP/1.1\r\n\r\n", &limits, &mut head), Ok(Some(18)));
        assert!(!parser.is_fresh());
    }
}
