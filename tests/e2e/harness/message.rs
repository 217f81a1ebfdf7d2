//! A strict HTTP/1.1 reader of its own, so that what the edge sends is judged by code the edge does not share.
use std::fmt;

/// One request or response as it stood on the wire.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Request line or status line, without its line end.
    pub start: String,
    /// Names as sent, values trimmed.
    pub fields: Vec<(String, String)>,
    /// With transfer coding removed.
    pub body: Vec<u8>,
    /// Behind the last chunk.
    pub trailers: Vec<(String, String)>,
    /// Whether it came chunked.
    pub chunked: bool,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// There is none.
    None,
    /// After so many bytes.
    After(usize),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    AtClose,
}

/// Which kind of message is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request,
    /// The answer to any method but HEAD and CONNECT.
    Response,
    /// The answer to a HEAD request.
    ResponseToHead,
}

impl Message {
    /// The first value of a field, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether there is such a field.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The first value of a trailer field.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The status code of a response.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or("")
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.start)?;
        for (name, value) in &self.fields {
            writeln!(f, "{name}: {value}")?;
        }
        let shown = &self.body[..self.body.len().min(300)];
        write!(f, "[{} bytes] {:?} {:?}", self.body.len(), String::from_utf8_lossy(shown), self.trailers)
    }
}

/// What the bytes so far are.
pub type Parsed<T> = Result<Option<T>, String>;

/// Reads a head. `Some((message without body, bytes taken))` when it is complete.
///
/// # Errors
/// Whatever a strict parser must not let pass.
pub fn head(bytes: &[u8], kind: Kind) -> Parsed<(Message, usize)> {
    let Some((lines, taken)) = section(bytes)? else { return Ok(None) };
    let mut lines = lines.into_iter();
    let start = lines.next().ok_or("a message without a first line")?;
    check_start(&start, kind)?;
    let fields = lines.map(|l| field(&l)).collect::<Result<Vec<_>, _>>()?;
    if kind == Kind::Request && start.ends_with("HTTP/1.1") {
        let hosts = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case("host")).count();
        if hosts != 1 {
            return Err(format!("{hosts} Host fields"));
        }
    }
    Ok(Some((Message { start, fields, ..Message::default() }, taken)))
}

/// How the body behind a head ends.
///
/// # Errors
/// Two ways to read it.
pub fn ends(m: &Message, kind: Kind) -> Result<Ends, String> {
    let lengths = m.all("content-length");
    let codings = m.all("transfer-encoding");
    if lengths.len() + codings.len() > 1 {
        return Err(format!("ambiguous framing: Content-Length {lengths:?}, Transfer-Encoding {codings:?}"));
    }
    let bodiless =
        kind == Kind::ResponseToHead || kind == Kind::Response && matches!(m.status(), 100..=199 | 204 | 304);
    if let Some(coding) = codings.first() {
        if bodiless {
            return Ok(Ends::None);
        }
        return if *coding == "chunked" { Ok(Ends::Chunked) } else { Err(format!("Transfer-Encoding {coding:?}")) };
    }
    if let Some(length) = lengths.first() {
        let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
        let n = length.parse().ok().filter(|_| digits).ok_or_else(|| format!("Content-Length {length:?}"))?;
        return Ok(if bodiless { Ends::None } else { Ends::After(n) });
    }
    Ok(if bodiless || kind == Kind::Request { Ends::None } else { Ends::AtClose })
}

/// Reads a whole message. `closed`: no more bytes will come.
///
/// # Errors
/// Whatever a strict parser must not let pass.
pub fn whole(bytes: &[u8], kind: Kind, closed: bool) -> Parsed<(Message, usize)> {
    let Some((mut m, at)) = head(bytes, kind)? else { return Ok(None) };
    let rest = &bytes[at..];
    match ends(&m, kind)? {
        Ends::None => Ok(Some((m, at))),
        Ends::After(n) if rest.len() >= n => {
            m.body = rest[..n].to_vec();
            Ok(Some((m, at + n)))
        }
        Ends::After(_) => Ok(None),
        Ends::AtClose if closed => {
            m.body = rest.to_vec();
            Ok(Some((m, bytes.len())))
        }
        Ends::AtClose => Ok(None),
        Ends::Chunked => {
            let Some(taken) = chunks(rest, &mut m)? else { return Ok(None) };
            Ok(Some((m, at + taken)))
        }
    }
}

/// Reads every message of a connection; what is left at the end must be the beginning of a legal one.
///
/// # Errors
/// Whatever a strict parser must not let pass.
pub fn every(mut bytes: &[u8], kind: Kind) -> Result<(Vec<Message>, Vec<u8>), String> {
    let mut found = Vec::new();
    while let Some((m, taken)) = whole(bytes, kind, false)? {
        found.push(m);
        bytes = &bytes[taken..];
    }
    Ok((found, bytes.to_vec()))
}

/// Reads the first line of a chunk, without its end. The edge sends no extensions.
///
/// # Errors
/// Anything but hexadecimal digits.
pub fn chunk_size(line: &str) -> Result<usize, String> {
    let hex = !line.is_empty() && line.len() <= 8 && line.bytes().all(|b| b.is_ascii_hexdigit());
    usize::from_str_radix(line, 16).ok().filter(|_| hex).ok_or_else(|| format!("chunk size {line:?}"))
}

fn chunks(bytes: &[u8], m: &mut Message) -> Parsed<usize> {
    let mut at = 0;
    m.chunked = true;
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(None) };
        let size = chunk_size(&line)?;
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        let Some(data) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !data.ends_with(b"\r\n") {
            return Err("chunk data not followed by CRLF".to_owned());
        }
        m.body.extend_from_slice(&data[..size]);
        at += size + 2;
    }
    let Some((lines, taken)) = section(&bytes[at..])? else { return Ok(None) };
    m.trailers = lines.iter().map(|l| field(l)).collect::<Result<_, _>>()?;
    Ok(Some(at + taken))
}

/// Lines up to an empty one.
fn section(bytes: &[u8]) -> Parsed<(Vec<String>, usize)> {
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(l) = line(&bytes[at..])? {
        at += l.len() + 2;
        if l.is_empty() {
            return Ok(Some((lines, at)));
        }
        lines.push(l);
    }
    Ok(None)
}

/// One line that ends in CRLF; bytes are kept one to one as Latin-1 would, so that lengths stay true.
fn line(bytes: &[u8]) -> Parsed<String> {
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
        return match bytes.iter().rposition(|b| *b == b'\r') {
            Some(cr) if cr + 1 < bytes.len() => Err("bare CR".to_owned()),
            _ => Ok(None),
        };
    };
    let Some(text) = bytes[..end].strip_suffix(b"\r") else { return Err("bare LF".to_owned()) };
    if let Some(bad) = text.iter().find(|b| (**b < 0x20 && **b != b'\t') || **b == 0x7f) {
        return Err(format!("control byte {bad:#04x} in a line"));
    }
    if let Ok(text) = std::str::from_utf8(text) {
        return Ok(Some(text.to_owned()));
    }
    Ok(Some(text.iter().map(|b| if b.is_ascii() { *b as char } else { '?' }).collect()))
}

fn check_start(start: &str, kind: Kind) -> Result<(), String> {
    let parts: Vec<&str> = start.split(' ').collect();
    let good = match kind {
        Kind::Request => {
            parts.len() == 3
                && token(parts[0])
                && !parts[1].is_empty()
                && parts[1].is_ascii()
                && matches!(parts[2], "HTTP/1.1" | "HTTP/1.0")
        }
        _ => {
            parts.len() >= 3
                && matches!(parts[0], "HTTP/1.1" | "HTTP/1.0")
                && parts[1].len() == 3
                && parts[1].bytes().all(|b| b.is_ascii_digit())
        }
    };
    if good { Ok(()) } else { Err(format!("first line {start:?}")) }
}

/// Reads a field line, without its end.
///
/// # Errors
/// Whatever a strict parser must not let pass.
pub fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("field line without colon: {line:?}"))?;
    if !token(name) {
        return Err(format!("field name {name:?}"));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn token(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
