//! A message head: one block of bytes and offsets into it. No allocation per field, reusable, bounded by 64 KiB.
mod field;
mod list;
mod method;
pub mod spare;

pub use field::FieldId;
pub use list::{has_member, members};
pub use method::{Method, Version};

use std::fmt;

/// Most bytes that a head's block holds: offsets are 16 bits wide.
pub const BLOCK_BYTES_MAX: usize = u16::MAX as usize;

/// The head would not fit its block ([`BLOCK_BYTES_MAX`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("message head larger than 64 KiB")
    }
}

impl std::error::Error for TooLarge {}

/// A range of the block.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// `start..end`; the caller has checked both against [`BLOCK_BYTES_MAX`].
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= BLOCK_BYTES_MAX);
        Span { start: start as u16, end: end as u16 }
    }

    #[inline]
    fn of(self, block: &[u8]) -> &[u8] {
        // A head that is not complete has offsets into bytes that are not here yet: it reads as empty.
        block.get(usize::from(self.start)..usize::from(self.end)).unwrap_or(&[])
    }

    #[inline]
    fn len(self) -> usize {
        usize::from(self.end.saturating_sub(self.start))
    }

    #[inline]
    fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// One field line: where its name and value are.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
    id: FieldId,
}

/// One field of a head, borrowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FieldRef<'a> {
    /// Which known name it is, or `Other`.
    pub id: FieldId,
    /// The name as it arrived.
    pub name: &'a [u8],
    /// The value without leading and trailing whitespace.
    pub value: &'a [u8],
}

impl fmt::Debug for FieldRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.escape_ascii(), self.value.escape_ascii())
    }
}

/// The head of a request or a response, or a trailer section.
#[derive(Clone)]
pub struct Head {
    block: Vec<u8>,
    fields: Vec<Field>,
    /// Ids that occur.
    seen: u128,
    /// Ids that occur more than once.
    repeated: u128,
    fields_bytes: u32,
    /// The block is a parsed head, byte for byte: field lines can be copied from it as they stand.
    verbatim: bool,
    status: u16,
    method: Method,
    version: Version,
    /// Whether the authority comes from the request target (or `:authority`) instead of `Host`.
    target_authority: bool,
    method_span: Span,
    authority: Span,
    /// Path, and query with its `?`.
    target: Span,
    /// Where the path ends.
    path_end: u16,
    reason: Span,
}

impl Default for Head {
    fn default() -> Head {
        Head::new()
    }
}

impl Head {
    /// An empty head. Allocates nothing until it is filled.
    pub fn new() -> Head {
        Head {
            block: Vec::new(),
            fields: Vec::new(),
            seen: 0,
            repeated: 0,
            fields_bytes: 0,
            verbatim: false,
            status: 0,
            method: Method::Other,
            version: Version::Http11,
            target_authority: false,
            method_span: Span::default(),
            authority: Span::default(),
            target: Span::default(),
            path_end: 0,
            reason: Span::default(),
        }
    }

    /// Empties the head and keeps its memory.
    pub fn clear(&mut self) {
        self.block.clear();
        self.fields.clear();
        self.seen = 0;
        self.repeated = 0;
        self.fields_bytes = 0;
        self.verbatim = false;
        self.status = 0;
        self.method = Method::Other;
        self.version = Version::Http11;
        self.target_authority = false;
        self.method_span = Span::default();
        self.authority = Span::default();
        self.target = Span::default();
        self.path_end = 0;
        self.reason = Span::default();
    }

    /// Bytes of memory that the head holds for itself.
    pub fn capacity(&self) -> usize {
        self.block.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    /// Gives the request another method; without room for it, the head keeps the one it has.
    pub fn set_method_name(&mut self, name: &[u8]) {
        if let Ok(span) = self.append(name) {
            self.verbatim = false;
            self.method = Method::of(name);
            self.method_span = span;
        }
    }

    /// The request's method.
    #[inline]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The request's method as it arrived.
    #[inline]
    pub fn method_bytes(&self) -> &[u8] {
        self.method_span.of(&self.block)
    }

    /// The path without the query: it starts with `/`, or is `*`; empty for CONNECT and for responses.
    #[inline]
    pub fn path(&self) -> &[u8] {
        Span { start: self.target.start, end: self.path_end }.of(&self.block)
    }

    /// The query without its `?`, if the target has one.
    #[inline]
    pub fn query(&self) -> Option<&[u8]> {
        if self.path_end >= self.target.end {
            return None;
        }
        Some(Span { start: self.path_end + 1, end: self.target.end }.of(&self.block))
    }

    /// Path and query as one piece: the request target in origin-form or asterisk-form.
    #[inline]
    pub fn path_and_query(&self) -> &[u8] {
        self.target.of(&self.block)
    }

    /// The effective `host[:port]`: the target's when it has one, else the first `Host` (RFC 9112, section 3.2.2).
    /// Empty when the request names none.
    #[inline]
    pub fn authority(&self) -> &[u8] {
        self.authority.of(&self.block)
    }

    /// The authority, if it comes from the request target instead of `Host`.
    #[inline]
    pub fn target_authority(&self) -> Option<&[u8]> {
        self.target_authority.then(|| self.authority())
    }

    /// The version of the protocol that the head arrived with.
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The response's status, 100 to 599; 0 in a request.
    #[inline]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The response's reason phrase; may be empty.
    #[inline]
    pub fn reason(&self) -> &[u8] {
        self.reason.of(&self.block)
    }

    /// The fields, in order of arrival.
    #[inline]
    pub fn fields(&self) -> impl Iterator<Item = FieldRef<'_>> {
        self.fields.iter().map(|f| FieldRef { id: f.id, name: f.name.of(&self.block), value: f.value.of(&self.block) })
    }

    /// Appends the lines of the fields that `keep` wants, each with its CRLF. Neighbours are copied in one go.
    #[inline]
    pub fn write_lines(&self, out: &mut Vec<u8>, keep: impl Fn(&FieldRef<'_>) -> bool) {
        if !self.verbatim {
            for field in self.fields().filter(|f| keep(f)) {
                crate::http1::write_valid_field(out, field.name, field.value);
            }
            return;
        }
        let (mut start, mut end) = (0, 0);
        for field in &self.fields {
            let seen = FieldRef { id: field.id, name: field.name.of(&self.block), value: field.value.of(&self.block) };
            if !keep(&seen) {
                continue;
            }
            if usize::from(field.name.start) != end {
                out.extend_from_slice(self.block.get(start..end).unwrap_or(&[]));
                start = usize::from(field.name.start);
            }
            end = self.line_end(field);
        }
        out.extend_from_slice(self.block.get(start..end).unwrap_or(&[]));
    }

    /// Where the field's line ends in a verbatim block: behind its CRLF, before which there may be whitespace.
    #[inline]
    fn line_end(&self, field: &Field) -> usize {
        let value_end = usize::from(field.value.end);
        let rest = self.block.get(value_end..).unwrap_or(&[]);
        value_end + rest.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1)
    }

    /// Number of fields.
    #[inline]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no fields.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether a field with this id occurs: one bit. Always false for `Other`.
    #[inline]
    pub fn has(&self, id: FieldId) -> bool {
        self.seen & id.bit() != 0
    }

    /// Whether a field with this id occurs more than once: one bit. Always false for `Other`.
    #[inline]
    pub fn has_many(&self, id: FieldId) -> bool {
        self.repeated & id.bit() != 0
    }

    /// Whether any of these ids occurs; `ids` is a union of [`FieldId::bit`]s.
    #[inline]
    pub(crate) fn has_any(&self, ids: u128) -> bool {
        self.seen & ids != 0
    }

    /// The value of the first field with this id; `None` for `Other`.
    #[inline]
    pub fn get(&self, id: FieldId) -> Option<&[u8]> {
        if !self.has(id) {
            return None;
        }
        self.fields.iter().find(|f| f.id == id).map(|f| f.value.of(&self.block))
    }

    /// The values of all fields with this id, in order of arrival; nothing for `Other`.
    #[inline]
    pub fn get_all(&self, id: FieldId) -> impl Iterator<Item = &[u8]> {
        let fields = if self.has(id) { &self.fields[..] } else { &[] };
        fields.iter().filter(move |f| f.id == id).map(|f| f.value.of(&self.block))
    }

    /// The value of the first field with this name, in any case: for names that have no id.
    pub fn get_name(&self, name: &[u8]) -> Option<&[u8]> {
        match FieldId::of(name) {
            FieldId::Other => self
                .fields
                .iter()
                .find(|f| f.id == FieldId::Other && f.name.of(&self.block).eq_ignore_ascii_case(name))
                .map(|f| f.value.of(&self.block)),
            id => self.get(id),
        }
    }

    /// Bytes of all field lines, each counted as `name: value` CRLF.
    #[inline]
    pub fn fields_bytes(&self) -> usize {
        self.fields_bytes as usize
    }

    /// Clears the head and makes it a request's. An empty `authority` leaves it to a later `Host` field.
    ///
    /// # Errors
    /// [`TooLarge`] when the three together exceed [`BLOCK_BYTES_MAX`]; the head is then empty.
    pub fn set_request(
        &mut self,
        method: &[u8],
        authority: &[u8],
        path_and_query: &[u8],
        version: Version,
    ) -> Result<(), TooLarge> {
        self.clear();
        if method.len() + authority.len() + path_and_query.len() > BLOCK_BYTES_MAX {
            return Err(TooLarge);
        }
        self.method = Method::of(method);
        self.version = version;
        self.method_span = self.append(method)?;
        self.authority = self.append(authority)?;
        self.target_authority = !authority.is_empty();
        let target = self.append(path_and_query)?;
        self.set_target(target, memchr::memchr(b'?', path_and_query));
        Ok(())
    }

    /// Clears the head and makes it a response's.
    ///
    /// # Errors
    /// [`TooLarge`] when the reason exceeds [`BLOCK_BYTES_MAX`]; the head is then empty.
    pub fn set_response(&mut self, status: u16, reason: &[u8], version: Version) -> Result<(), TooLarge> {
        self.clear();
        self.reason = self.append(reason)?;
        self.status = status;
        self.version = version;
        Ok(())
    }

    /// Adds a field at the end. Name and value are taken as they are: whoever builds a head keeps to the grammar.
    ///
    /// # Errors
    /// [`TooLarge`] when the block would exceed [`BLOCK_BYTES_MAX`]; the head is then unchanged.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), TooLarge> {
        if self.block.len() + name.len() + value.len() > BLOCK_BYTES_MAX || self.fields.len() >= BLOCK_BYTES_MAX {
            return Err(TooLarge);
        }
        self.verbatim = false;
        let name_span = self.append(name)?;
        let value_span = self.append(value)?;
        self.add_field(FieldId::of(name), name_span, value_span);
        Ok(())
    }

    /// Appends bytes to the block: what a part of the head will point to.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<Span, TooLarge> {
        let start = self.block.len();
        let end = start + bytes.len();
        if end > BLOCK_BYTES_MAX {
            return Err(TooLarge);
        }
        self.block.extend_from_slice(bytes);
        Ok(Span::new(start, end))
    }
}

/// What a parser calls: first offsets, line by line, then the bytes, once.
impl Head {
    /// [`Head::push`] of a name whose id is known already.
    #[inline]
    pub(crate) fn push_known(&mut self, id: FieldId, name: &[u8], value: &[u8]) -> Result<(), TooLarge> {
        if self.block.len() + name.len() + value.len() > BLOCK_BYTES_MAX {
            return Err(TooLarge);
        }
        let name = self.append(name)?;
        let value = self.append(value)?;
        self.add_field(id, name, value);
        Ok(())
    }

    /// Adds a cookie crumb to the one `cookie` field, with `; ` between (RFC 9113, section 8.2.3). Crumbs that follow
    /// each other are joined in place; others cost a copy of the crumbs so far.
    pub(crate) fn push_cookie(&mut self, crumb: &[u8]) -> Result<(), TooLarge> {
        let Some(at) = self.fields.iter().position(|f| f.id == FieldId::Cookie) else {
            return self.push_known(FieldId::Cookie, FieldId::Cookie.as_str().as_bytes(), crumb);
        };
        let Some(field) = self.fields.get_mut(at) else { return Ok(()) };
        let (start, end) = (usize::from(field.value.start), usize::from(field.value.end));
        let moved = if end == self.block.len() { 0 } else { end - start };
        let from = if moved == 0 { start } else { self.block.len() };
        if self.block.len() + moved + 2 + crumb.len() > BLOCK_BYTES_MAX {
            return Err(TooLarge);
        }
        if moved != 0 {
            self.block.extend_from_within(start..end);
        }
        self.block.extend_from_slice(b"; ");
        self.block.extend_from_slice(crumb);
        field.value = Span::new(from, self.block.len());
        self.fields_bytes += (2 + crumb.len()) as u32;
        Ok(())
    }

    #[inline]
    pub(crate) fn set_method(&mut self, method: Method, span: Span) {
        self.method = method;
        self.method_span = span;
    }

    #[inline]
    pub(crate) fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// `query_at`: where in the target its `?` is.
    #[inline]
    pub(crate) fn set_target(&mut self, target: Span, query_at: Option<usize>) {
        self.target = target;
        self.path_end = match query_at {
            Some(at) => target.start.saturating_add(at as u16).min(target.end),
            None => target.end,
        };
    }

    #[inline]
    pub(crate) fn set_target_authority(&mut self, authority: Span) {
        self.authority = authority;
        self.target_authority = true;
    }

    #[inline]
    pub(crate) fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    #[inline]
    pub(crate) fn set_reason(&mut self, reason: Span) {
        self.reason = reason;
    }

    #[inline]
    pub(crate) fn add_field(&mut self, id: FieldId, name: Span, value: Span) {
        self.fields.push(Field { name, value, id });
        let bit = id.bit();
        self.repeated |= self.seen & bit;
        self.seen |= bit;
        self.fields_bytes += (name.len() + value.len() + 4) as u32;
        if id == FieldId::Host && !self.target_authority && self.authority.is_empty() {
            self.authority = value;
        }
    }

    /// The bytes that all offsets so far point into.
    #[inline]
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        self.block.clear();
        self.block.extend_from_slice(bytes);
        self.verbatim = true;
    }

    /// Gives an absolute-form target without a path its `/` (or, for OPTIONS without a query, `*`; RFC 9112,
    /// section 3.2.4), behind the bytes that [`Head::fill`] copied.
    pub(crate) fn root_path(&mut self) -> Result<(), TooLarge> {
        let query = self.target;
        let start = self.block.len();
        let root = if self.method == Method::Options && query.is_empty() { b'*' } else { b'/' };
        if start + 1 + query.len() > BLOCK_BYTES_MAX {
            return Err(TooLarge);
        }
        self.block.push(root);
        self.block.extend_from_within(usize::from(query.start)..usize::from(query.end));
        let query_at = (!query.is_empty()).then_some(1);
        self.set_target(Span::new(start, self.block.len()), query_at);
        Ok(())
    }

    /// Lends the block to a parser that reads it while it adds fields; [`Head::return_block`] gives it back.
    #[inline]
    pub(crate) fn take_block(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.block)
    }

    #[inline]
    pub(crate) fn return_block(&mut self, block: Vec<u8>) {
        self.block = block;
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status != 0 {
            write!(f, "{:?} {} {}", self.version, self.status, self.reason().escape_ascii())?;
        } else {
            let (method, target) = (self.method_bytes().escape_ascii(), self.path_and_query().escape_ascii());
            write!(f, "{method} {target} {:?} authority {}", self.version, self.authority().escape_ascii())?;
        }
        f.write_str(" ")?;
        f.debug_list().entries(self.fields()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_request_reads_back() {
        let mut head = Head::new();
        head.set_request(b"GET", b"", b"/a/b?c=%20", Version::Http11).unwrap();
        head.push(b"host", b"example.com").unwrap();
        head.push(b"X-Mine", b"1").unwrap();
        head.push(b"x-mine", b"2").unwrap();
        head.push(b"Accept", b"a").unwrap();
        head.push(b"accept", b"b").unwrap();
        assert_eq!(head.method(), Method::Get);
        assert_eq!(head.method_bytes(), b"GET");
        assert_eq!(head.path(), b"/a/b");
        assert_eq!(head.query(), Some(&b"c=%20"[..]));
        assert_eq!(head.path_and_query(), b"/a/b?c=%20");
        assert_eq!(head.authority(), b"example.com");
        assert_eq!(head.target_authority(), None);
        assert_eq!(head.len(), 5);
        assert_eq!(head.get_name(b"X-MINE"), Some(&b"1"[..]));
        assert_eq!(head.get_name(b"ACCEPT"), Some(&b"a"[..]));
        assert_eq!(head.get_name(b"nothing"), None);
        assert_eq!(head.get_all(FieldId::Accept).collect::<Vec<_>>(), [b"a", b"b"]);
        assert!(head.has(FieldId::Accept) && head.has_many(FieldId::Accept));
        assert!(head.has(FieldId::Host) && !head.has_many(FieldId::Host));
        assert!(!head.has(FieldId::Other) && head.get(FieldId::Other).is_none());
        assert_eq!(head.get_all(FieldId::Other).count(), 0);
        assert_eq!(
            head.fields_bytes(),
            "host: example.com\r\nX-Mine: 1\r\nx-mine: 2\r\nAccept: a\r\naccept: b\r\n".len()
        );
    }

    #[test]
    fn queries_may_be_empty_or_absent() {
        let mut head = Head::new();
        for (target, path, query) in
            [("/", "/", None), ("/?", "/", Some("")), ("*", "*", None), ("/a?b?c", "/a", Some("b?c"))]
        {
            head.set_request(b"GET", b"h", target.as_bytes(), Version::Http2).unwrap();
            assert_eq!(head.path(), path.as_bytes());
            assert_eq!(head.query(), query.map(str::as_bytes));
            assert_eq!(head.target_authority(), Some(&b"h"[..]));
        }
    }

    #[test]
    fn the_block_is_bounded_and_reused() {
        let mut head = Head::new();
        assert_eq!(head.set_request(b"GET", b"", &vec![b'/'; BLOCK_BYTES_MAX], Version::Http11), Err(TooLarge));
        assert_eq!(head.path(), b"");
        head.set_response(200, b"OK", Version::Http11).unwrap();
        assert_eq!(head.push(b"a", &vec![b'x'; BLOCK_BYTES_MAX - 2]), Err(TooLarge));
        assert_eq!(head.len(), 0);
        head.push(b"a", &vec![b'x'; BLOCK_BYTES_MAX - 3]).unwrap();
        assert_eq!(head.push(b"", b"y"), Err(TooLarge));
        let capacity = head.block.capacity();
        head.clear();
        assert_eq!((head.len(), head.status(), head.fields_bytes()), (0, 0, 0));
        assert!(!head.has(FieldId::Host));
        assert_eq!(head.block.capacity(), capacity);
    }
}
