//! Decoded fields become a head, if they make a well-formed message (RFC 9113, sections 8.1 to 8.5; RFC 8441; RFC 9114,
//! sections 4.1 to 4.4; RFC 9220).
use super::{Protocol, Scheme};
use crate::{
    field_codec::{Decoded, Pseudo, is_name, is_value},
    head::{FieldId, Head, Method, Span, Version},
    http1::{
        chars::{TOKEN, is, plain_target_run, run},
        is_authority, length,
    },
};

/// What kind of header block is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The head of a request.
    Request,
    /// The head of an interim or final response.
    Response,
    /// The trailers of either.
    Trailers,
    /// Nobody wants it; only the decoder's table must see it.
    Ignored,
}

/// Which of its limits a block exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// The bytes, each field with 32 more, or the room of a [`Head`].
    Bytes,
    /// The number of fields, without pseudo-header fields.
    Fields,
}

/// What a finished block is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The head is filled.
    Good,
    /// A stream error (RFC 9113, section 8.1.1; RFC 9114, section 4.1.2).
    Malformed,
    /// Too many fields, or too much of them, but not more than can be answered.
    TooLarge(Excess),
}

/// A block is so many times larger than allowed that it gets no answer: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarTooLarge(
    /// The limit.
    pub Excess,
);

/// How far above the limits a block may go before the connection ends instead of the stream.
const FAR: usize = 4;

/// The last authority that was found good: most requests of a connection repeat it.
#[derive(Clone, Copy, Debug)]
pub struct KnownAuthority {
    bytes: [u8; 47],
    len: u8,
}

impl KnownAuthority {
    /// None yet.
    pub const NONE: KnownAuthority = KnownAuthority { bytes: [0; 47], len: 0 };

    #[inline]
    fn is(&self, authority: &[u8]) -> bool {
        !authority.is_empty() && self.bytes.get(..usize::from(self.len)) == Some(authority)
    }

    fn set(&mut self, authority: &[u8]) {
        if let Some(place) = self.bytes.get_mut(..authority.len()) {
            place.copy_from_slice(authority);
            self.len = authority.len() as u8;
        }
    }
}

/// Where the query starts in a request target that keeps to the grammar: no fragment, and in the path every `%` before
/// two hexadecimal digits that are not `00`.
#[inline]
fn scan_target(target: &[u8]) -> Option<Option<usize>> {
    let mut query_at = None;
    let mut at = 0;
    loop {
        at += plain_target_run(target.get(at..)?);
        match target.get(at..)? {
            [] => return Some(query_at),
            [b'?', ..] => query_at = query_at.or(Some(at)),
            [b'%', ..] if query_at.is_some() => {}
            [b'%', b'0', b'0', ..] => return None,
            [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {}
            _ => return None,
        }
        at += 1;
    }
}

/// Whether `:path` may hold it: a path with or without a query, or `*`.
pub fn is_path(value: &[u8]) -> bool {
    (value.first() == Some(&b'/') || value == b"*") && scan_target(value).is_some()
}

/// Bits of `Message::pseudo_seen`.
const METHOD: u8 = 1 << Pseudo::Method as u8;
const SCHEME: u8 = 1 << Pseudo::Scheme as u8;
const AUTHORITY: u8 = 1 << Pseudo::Authority as u8;
const PATH: u8 = 1 << Pseudo::Path as u8;
const STATUS: u8 = 1 << Pseudo::Status as u8;
const PROTOCOL: u8 = 1 << Pseudo::Protocol as u8;

/// One header block on its way into a [`Head`].
pub struct Message<'a> {
    head: &'a mut Head,
    known_authority: &'a mut KnownAuthority,
    section: Section,
    /// From a server: its names may have `_`.
    from_server: bool,
    bytes_max: usize,
    fields_max: usize,
    /// Names and values so far, and 32 bytes for each field, as the limit counts them.
    pub bytes: usize,
    fields: usize,
    verdict: Verdict,
    pseudo_seen: u8,
    /// A regular field has come: pseudo-header fields may not follow.
    regular_seen: bool,
    /// Of a request.
    pub scheme: Scheme,
    /// Of a request that is an extended CONNECT.
    pub protocol: Protocol,
    /// The `content-length`, if there is one.
    pub content_length: Option<u64>,
    /// Fields go into the head; otherwise they are checked, and of a response the status alone is kept.
    keeps: bool,
}

impl<'a> Message<'a> {
    /// A block whose fields go into `head`, which is cleared. `from_server`: it is a server's (a response, or the
    /// trailers of one). It may have `bytes_max` of fields, each counted with 32 bytes more, and `fields_max` of them,
    /// pseudo-header fields aside.
    #[inline]
    pub fn new(
        head: &'a mut Head,
        known_authority: &'a mut KnownAuthority,
        version: Version,
        section: Section,
        from_server: bool,
        (bytes_max, fields_max): (usize, usize),
    ) -> Self {
        head.clear();
        head.set_version(version);
        Message {
            head,
            known_authority,
            section,
            from_server,
            bytes_max,
            fields_max,
            bytes: 0,
            fields: 0,
            verdict: Verdict::Good,
            pseudo_seen: 0,
            regular_seen: false,
            scheme: Scheme::Other,
            protocol: Protocol::None,
            content_length: None,
            keeps: true,
        }
    }

    /// The same for an owner who wants to know of a response what is wrong with it, and its status.
    #[inline]
    pub fn keeping(self, keeps: bool) -> Self {
        Message { keeps, ..self }
    }

    /// Takes the next field.
    ///
    /// # Errors
    /// When the block is so large that it is not worth decoding to its end.
    #[inline]
    pub fn field(&mut self, field: &Decoded<'_>) -> Result<(), FarTooLarge> {
        self.bytes += field.size();
        self.fields += usize::from(field.pseudo.is_none());
        if self.bytes > self.bytes_max || self.fields > self.fields_max {
            return self.over();
        }
        if self.verdict != Verdict::Good || self.section == Section::Ignored {
            return Ok(());
        }
        let good = match field.pseudo {
            Some(pseudo) => self.pseudo(pseudo, field.value),
            None => self.regular(field),
        };
        if !good && self.verdict == Verdict::Good {
            self.verdict = Verdict::Malformed;
        }
        Ok(())
    }

    #[cold]
    fn over(&mut self) -> Result<(), FarTooLarge> {
        let excess = if self.bytes > self.bytes_max { Excess::Bytes } else { Excess::Fields };
        if self.bytes > self.bytes_max.saturating_mul(FAR) || self.fields > self.fields_max.saturating_mul(FAR) {
            return Err(FarTooLarge(excess));
        }
        if self.verdict == Verdict::Good {
            self.verdict = Verdict::TooLarge(excess);
        }
        Ok(())
    }

    /// A pseudo-header field: before all others, each once, none but those of its section (RFC 9113, section 8.3).
    #[inline]
    fn pseudo(&mut self, pseudo: Pseudo, value: &[u8]) -> bool {
        let bit = 1u8 << pseudo as u8;
        let allowed = match self.section {
            Section::Request => METHOD | SCHEME | AUTHORITY | PATH | PROTOCOL,
            Section::Response => STATUS,
            Section::Trailers | Section::Ignored => 0,
        };
        if self.regular_seen || allowed & !self.pseudo_seen & bit == 0 {
            return false;
        }
        self.pseudo_seen |= bit;
        match pseudo {
            Pseudo::Method => self.method(value),
            Pseudo::Scheme => self.scheme(value),
            Pseudo::Authority => self.authority(value),
            Pseudo::Path => self.path(value),
            Pseudo::Protocol => self.protocol(value),
            Pseudo::Status => self.status(value),
        }
    }

    /// Appends to the head's block; false (and the verdict says so) if it has no room.
    #[inline]
    fn append(&mut self, value: &[u8]) -> Option<Span> {
        let span = self.head.append(value).ok();
        if span.is_none() {
            self.verdict = Verdict::TooLarge(Excess::Bytes);
        }
        span
    }

    #[inline]
    fn method(&mut self, value: &[u8]) -> bool {
        let method = Method::of(value);
        if method == Method::Other && (value.is_empty() || run(value, TOKEN) != value.len()) {
            return false;
        }
        let Some(span) = self.append(value) else { return false };
        self.head.set_method(method, span);
        true
    }

    #[inline]
    fn scheme(&mut self, value: &[u8]) -> bool {
        self.scheme = match value {
            b"https" => Scheme::Https,
            b"http" => Scheme::Http,
            _ => Scheme::Other,
        };
        // RFC 3986, section 3.1.
        self.scheme != Scheme::Other
            || (value.first().is_some_and(u8::is_ascii_alphabetic)
                && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')))
    }

    #[inline]
    fn authority(&mut self, value: &[u8]) -> bool {
        if !self.known_authority.is(value) {
            if !is_authority(value) {
                return false;
            }
            self.known_authority.set(value);
        }
        let Some(span) = self.append(value) else { return false };
        self.head.set_target_authority(span);
        true
    }

    #[inline]
    fn path(&mut self, value: &[u8]) -> bool {
        if value.first() != Some(&b'/') && value != b"*" {
            return false;
        }
        let Some(query_at) = scan_target(value) else { return false };
        let Some(span) = self.append(value) else { return false };
        self.head.set_target(span, query_at);
        true
    }

    fn protocol(&mut self, value: &[u8]) -> bool {
        self.protocol = if value.eq_ignore_ascii_case(b"websocket") { Protocol::WebSocket } else { Protocol::Other };
        !value.is_empty() && run(value, TOKEN) == value.len()
    }

    #[inline]
    fn status(&mut self, value: &[u8]) -> bool {
        let [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = *value else { return false };
        let status = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
        self.head.set_status(status);
        // 101 is about connections that these versions do not have (RFC 9113, section 8.6; RFC 9114, section 4.5).
        status != 101
    }

    #[inline]
    fn regular(&mut self, field: &Decoded<'_>) -> bool {
        self.regular_seen = true;
        if !(field.name_checked || self.is_name(field.name)) || !(field.value_checked || is_value(field.value)) {
            return false;
        }
        let pushed = match field.id {
            // RFC 9113, section 8.2.2.
            FieldId::Connection
            | FieldId::KeepAlive
            | FieldId::ProxyConnection
            | FieldId::TransferEncoding
            | FieldId::Upgrade => return false,
            FieldId::Te if !field.value.eq_ignore_ascii_case(b"trailers") => return false,
            id if self.section == Section::Trailers && !id.allowed_in_trailers() => Ok(()),
            FieldId::ContentLength => {
                let Ok(n) = length(field.value) else { return false };
                if self.content_length.replace(n).is_some() {
                    return false;
                }
                if !self.keeps {
                    return true;
                }
                self.head.push_known(field.id, field.name, field.value)
            }
            _ if !self.keeps => Ok(()),
            FieldId::Cookie => self.head.push_cookie(field.value),
            id => self.head.push_known(id, field.name, field.value),
        };
        if pushed.is_err() {
            self.verdict = Verdict::TooLarge(Excess::Bytes);
        }
        pushed.is_ok()
    }

    /// Whether it is a field name: a token without capitals (RFC 9113, section 8.2.1). `_` may stand in what comes from
    /// servers, and in trailers; in a request's head, servers behind may read it as `-`.
    #[inline]
    fn is_name(&self, name: &[u8]) -> bool {
        let lenient = self.from_server || self.section == Section::Trailers;
        is_name(name) || (lenient && !name.is_empty() && name.iter().all(|&b| is(b, TOKEN) && !b.is_ascii_uppercase()))
    }

    /// Judges the whole: `end` says that no body follows, `connect_protocol` that extended CONNECT was offered.
    pub fn finish(&mut self, end: bool, connect_protocol: bool) -> Verdict {
        if self.verdict != Verdict::Good {
            return self.verdict;
        }
        let good = match self.section {
            Section::Request => self.is_request(connect_protocol) && (!end || self.content_length.unwrap_or(0) == 0),
            Section::Response => self.head.status() != 0 && (!end || self.head.status() >= 200),
            Section::Trailers => end,
            Section::Ignored => true,
        };
        if good { Verdict::Good } else { Verdict::Malformed }
    }

    /// RFC 9113, sections 8.3.1 and 8.5; RFC 8441, section 4.
    fn is_request(&self, connect_protocol: bool) -> bool {
        let connect = self.head.method() == Method::Connect;
        let extended = self.pseudo_seen & PROTOCOL != 0;
        let expected = match (connect, extended) {
            (true, true) if connect_protocol => METHOD | SCHEME | AUTHORITY | PATH | PROTOCOL,
            (_, true) => return false,
            (true, false) => METHOD | AUTHORITY,
            (false, false) => METHOD | SCHEME | PATH,
        };
        let present = if connect { self.pseudo_seen } else { self.pseudo_seen & !AUTHORITY };
        if present != expected {
            return false;
        }
        if self.head.path_and_query() == b"*" && self.head.method() != Method::Options {
            return false;
        }
        self.is_host_good() && !(connect && self.content_length.is_some())
    }

    /// An authority must be there, once, and `Host` may only repeat it.
    #[inline]
    fn is_host_good(&self) -> bool {
        let head = &self.head;
        match (head.target_authority(), head.get(FieldId::Host)) {
            (Some(_), None) => true,
            (Some(authority), Some(host)) => !head.has_many(FieldId::Host) && authority.eq_ignore_ascii_case(host),
            (None, Some(host)) => !head.has_many(FieldId::Host) && is_authority(host),
            (None, None) => false,
        }
    }
}
