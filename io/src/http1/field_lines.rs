//! Field lines up to the empty line: the part that a head and a trailer section share.
use super::{
    Reject,
    chars::{NAME, TOKEN, is, token_run, value_run},
};
use crate::head::{BLOCK_BYTES_MAX, FieldId, Head, Span};

/// Bounds and manners of one section.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Bytes of one line, without its CRLF.
    pub line_bytes: usize,
    /// Bytes from the start of the buffer to the end of the section, empty line included.
    pub section_bytes: usize,
    /// Fields of the section.
    pub fields: usize,
    /// Which bytes make a name: `NAME` in requests, else `TOKEN`.
    pub name_class: u8,
    /// What to say when the section is too large.
    pub too_large: Reject,
    /// Drops fields that no trailer section may have.
    pub trailers: bool,
}

/// Where in the section the parser is. It looks at every byte once, however the bytes arrive: each verdict follows from
/// the bytes up to one place, so that no way to split them changes it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FieldLines {
    /// Whether no line has ended yet.
    first: bool,
    in_value: bool,
    line_start: u32,
    name_end: u32,
    /// Where to go on.
    pos: u32,
}

impl FieldLines {
    /// A parser for a section that starts at `at` of its buffer.
    pub(super) fn starting_at(at: usize) -> FieldLines {
        FieldLines { first: true, in_value: false, line_start: at as u32, name_end: 0, pos: at as u32 }
    }

    /// Reads on. `buf` starts where the buffer of the first call started. Adds offsets into it to `head`, field by field.
    /// `Some(n)`: the section ends before byte `n`. `None`: more bytes are needed.
    #[inline]
    pub(super) fn parse(&mut self, buf: &[u8], rules: &Rules, head: &mut Head) -> Result<Option<usize>, Reject> {
        let section_end = rules.section_bytes.min(BLOCK_BYTES_MAX);
        let mut line_start = self.line_start as usize;
        let mut pos = self.pos as usize;
        loop {
            // One byte more than a line may have: there its CR must be.
            let line_end = section_end.min(line_start.saturating_add(rules.line_bytes).saturating_add(1));
            let window = buf.get(..line_end).unwrap_or(buf);
            if !self.in_value {
                pos += token_run(window.get(pos..).unwrap_or(&[]), rules.name_class);
                match window.get(pos) {
                    Some(b':') if pos > line_start => {}
                    Some(b'\r') if pos == line_start => return self.end_of_section(buf, pos, section_end, rules),
                    Some(&b) => return Err(name_fault(b, pos == line_start, self.first)),
                    None => return self.more(buf.len(), line_start, pos, line_end, section_end, rules),
                }
                self.name_end = pos as u32;
                self.in_value = true;
                pos += 1;
            }
            pos += value_run(window.get(pos..).unwrap_or(&[]));
            match window.get(pos) {
                Some(b'\r') => {}
                Some(b'\n') => return Err(Reject::BareLf),
                Some(_) => return Err(Reject::ControlInValue),
                None => return self.more(buf.len(), line_start, pos, line_end, section_end, rules),
            }
            if pos + 2 > section_end {
                return Err(rules.too_large);
            }
            match buf.get(pos + 1) {
                Some(b'\n') => {}
                Some(_) => return Err(Reject::BareCr),
                None => {
                    self.line_start = line_start as u32;
                    self.pos = pos as u32;
                    return Ok(None);
                }
            }
            if head.len() >= rules.fields {
                return Err(Reject::TooManyFields);
            }
            add(buf, line_start, self.name_end as usize, pos, rules.trailers, head);
            self.in_value = false;
            self.first = false;
            pos += 2;
            line_start = pos;
        }
    }

    /// A CR at the start of a line: the LF behind it ends the section.
    fn end_of_section(
        &mut self,
        buf: &[u8],
        pos: usize,
        section_end: usize,
        rules: &Rules,
    ) -> Result<Option<usize>, Reject> {
        if pos + 2 > section_end {
            return Err(rules.too_large);
        }
        match buf.get(pos + 1) {
            Some(b'\n') => Ok(Some(pos + 2)),
            Some(_) => Err(Reject::BareCr),
            None => {
                self.line_start = pos as u32;
                self.pos = pos as u32;
                Ok(None)
            }
        }
    }

    /// The window is used up: either a limit is reached, or the bytes are.
    fn more(
        &mut self,
        have: usize,
        line_start: usize,
        pos: usize,
        line_end: usize,
        section_end: usize,
        rules: &Rules,
    ) -> Result<Option<usize>, Reject> {
        if have >= line_end {
            return Err(if line_end == section_end { rules.too_large } else { Reject::FieldTooLong });
        }
        self.line_start = line_start as u32;
        self.pos = pos as u32;
        Ok(None)
    }
}

/// Records the line `name_start..cr`, with the colon at `name_end`.
#[inline]
fn add(buf: &[u8], name_start: usize, name_end: usize, cr: usize, trailers: bool, head: &mut Head) {
    let name = buf.get(name_start..name_end).unwrap_or(&[]);
    let id = FieldId::of(name);
    if trailers && (!id.allowed_in_trailers() || name.contains(&b'_')) {
        return;
    }
    let value = buf.get(name_end + 1..cr).unwrap_or(&[]);
    let (mut start, mut end) = (name_end + 1, cr);
    start += value.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
    if start < end {
        end -= value.iter().rev().take_while(|&&b| b == b' ' || b == b'\t').count();
    }
    head.add_field(id, Span::new(name_start, name_end), Span::new(start, end));
}

/// What a byte that ends a name too early says about the line.
#[cold]
fn name_fault(b: u8, at_line_start: bool, first: bool) -> Reject {
    match b {
        b'\n' => Reject::BareLf,
        b':' => Reject::EmptyName,
        b' ' | b'\t' if at_line_start && first => Reject::LeadingWhitespace,
        b' ' | b'\t' if at_line_start => Reject::ObsFold,
        b' ' | b'\t' => Reject::WhitespaceBeforeColon,
        _ if is(b, TOKEN) && !is(b, NAME) => Reject::UnderscoreInName,
        _ => Reject::BadName,
    }
}
