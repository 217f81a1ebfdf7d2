//! Bodies: finds the data in what follows a head, without copying it (RFC 9112, sections 6 and 7.1).
use super::{
    Framing, Limits, Reject,
    chars::{TOKEN, VALUE, is},
    field_lines::{FieldLines, Rules},
};
use crate::head::Head;
use std::ops::Range;

/// What one call of [`BodyDecoder::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Where in the input body data is; may be empty.
    pub data: Range<usize>,
    /// Whether the message has ended: what follows `consumed` belongs to the next one.
    pub done: bool,
}

/// Extension bytes that a body may have on top of what its data excuses, before it counts as an attack.
const EXTENSION_EXCESS_MAX: u32 = 16 * 1024;
/// Digits of a chunk size: what fits 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// Where in the body the decoder is.
#[derive(Clone, Copy, Debug)]
enum State {
    Done,
    Failed(Reject),
    /// Bytes left by `Content-Length`.
    Length(u64),
    /// All bytes until the peer closes.
    UntilClose,
    /// In a chunk-size line.
    Size(Size),
    /// Bytes left of a chunk's data.
    Data(u64),
    /// Before the CR behind a chunk's data.
    DataCr,
    DataLf,
    /// At the start of the trailer section.
    TrailerStart,
    /// Behind the CR of a trailer section without fields.
    EndLf,
    /// In a trailer section with fields, which are collected in the trailers' block.
    Trailers(FieldLines),
}

/// A chunk-size line, as far as it has been read.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    value: u64,
    digits: u8,
    part: Part,
    line_bytes: u32,
}

/// The part of a chunk-size line that the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Digits,
    /// Behind a `;`: a name must begin.
    NameStart,
    Name,
    /// Behind a `=`: a token or a quoted string must begin.
    ValueStart,
    Token,
    Quoted,
    /// Behind a `\` in a quoted string.
    Escaped,
    /// Behind a quoted string.
    QuotedEnd,
    /// Behind the CR.
    Lf,
}

/// Finds the body's data in the bytes behind a head. Resumes at any byte, holds no data, allocates nothing but what
/// trailer fields need.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    /// Chunk extension bytes not yet excused by data.
    extension_excess: u32,
}

impl BodyDecoder {
    /// A decoder for a body delimited like this.
    pub fn new(framing: Framing) -> BodyDecoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::Size(Size::default()),
            Framing::Close | Framing::Tunnel => State::UntilClose,
        };
        BodyDecoder { state, extension_excess: 0 }
    }

    /// Reads on: `input` starts where the last call's `consumed` ended. Returns after one piece of data, at the end of
    /// the message, or when the input is used up; only in the first two cases may input be left. `trailers` takes the
    /// trailer fields that a recipient may use, complete when the step is `done`; the others are dropped, and so are
    /// chunk extensions. It is cleared before the trailer section of a chunked body, and not touched by other bodies.
    ///
    /// # Errors
    /// The first fault in order of the bytes; the same again on every later call.
    pub fn decode(&mut self, input: &[u8], limits: &Limits, trailers: &mut Head) -> Result<Step, Reject> {
        let result = self.step(input, limits, trailers);
        if let Err(fault) = result {
            self.state = State::Failed(fault);
        }
        result
    }

    /// Whether the message has ended.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The peer closed.
    ///
    /// # Errors
    /// [`Reject::Truncated`] unless the message has ended or is one that the close ends.
    pub fn end_of_input(&self) -> Result<(), Reject> {
        match self.state {
            State::Done | State::UntilClose => Ok(()),
            State::Failed(fault) => Err(fault),
            _ => Err(Reject::Truncated),
        }
    }

    /// How many bytes of data are still to come, where that is known.
    pub fn remaining_hint(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(n) => Some(n),
            _ => None,
        }
    }

    fn step(&mut self, input: &[u8], limits: &Limits, trailers: &mut Head) -> Result<Step, Reject> {
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok(Step { consumed: at, data: at..at, done: true }),
                State::Failed(fault) => return Err(fault),
                State::Length(left) => return Ok(self.data(input, at, left, State::Length, State::Done)),
                State::Data(left) => return Ok(self.data(input, at, left, State::Data, State::DataCr)),
                State::UntilClose => return Ok(Step { consumed: input.len(), data: at..input.len(), done: false }),
                State::Trailers(lines) => return self.trailer_lines(lines, input, at, limits, trailers),
                _ => {}
            }
            let Some(&b) = input.get(at) else {
                return Ok(Step { consumed: at, data: at..at, done: false });
            };
            match self.state {
                State::Size(size) => self.state = self.size_byte(size, b, limits)?,
                State::DataCr if b == b'\r' => self.state = State::DataLf,
                State::DataLf if b == b'\n' => self.state = State::Size(Size::default()),
                State::DataCr | State::DataLf => return Err(Reject::BadChunkEnd),
                State::TrailerStart => {
                    trailers.clear();
                    if b != b'\r' {
                        self.state = State::Trailers(FieldLines::starting_at(0));
                        continue;
                    }
                    self.state = State::EndLf;
                }
                State::EndLf if b == b'\n' => self.state = State::Done,
                State::EndLf => return Err(Reject::BareCr),
                // The others have returned above.
                _ => {}
            }
            at += 1;
        }
    }

    /// One piece of data from `at` on; `left` bytes are to come, and after them `then`.
    fn data(&mut self, input: &[u8], at: usize, left: u64, during: fn(u64) -> State, then: State) -> Step {
        let have = input.len().saturating_sub(at);
        let take = usize::try_from(left).map_or(have, |left| left.min(have));
        let left = left - take as u64;
        self.state = if left == 0 { then } else { during(left) };
        Step { consumed: at + take, data: at..at + take, done: self.is_done() }
    }

    /// One byte of a chunk-size line. Only the grammar without optional whitespace is taken: what stands for it in
    /// RFC 9112 section 7.1.1 ("bad whitespace") is where parsers differ.
    fn size_byte(&mut self, mut size: Size, b: u8, limits: &Limits) -> Result<State, Reject> {
        if size.part == Part::Lf {
            return if b == b'\n' { self.end_of_size(size) } else { Err(Reject::BareCr) };
        }
        if b == b'\n' {
            return Err(Reject::BareLf);
        }
        size.part = match (size.part, b) {
            (Part::Digits, _) if b.is_ascii_hexdigit() => {
                if size.digits == SIZE_DIGITS_MAX {
                    return Err(Reject::BadChunkSize);
                }
                size.digits += 1;
                size.value = size.value << 4 | u64::from(hex_digit(b));
                Part::Digits
            }
            (Part::Digits, _) if size.digits == 0 => return Err(Reject::BadChunkSize),
            (Part::Digits | Part::Name | Part::Token | Part::QuotedEnd, b'\r') => Part::Lf,
            (Part::Digits | Part::Name | Part::Token | Part::QuotedEnd, b';') => Part::NameStart,
            (Part::Digits, _) => return Err(Reject::BadChunkSize),
            (Part::NameStart | Part::Name, _) if is(b, TOKEN) => Part::Name,
            (Part::Name, b'=') => Part::ValueStart,
            (Part::ValueStart, b'"') => Part::Quoted,
            (Part::ValueStart | Part::Token, _) if is(b, TOKEN) => Part::Token,
            (Part::Quoted, b'"') => Part::QuotedEnd,
            (Part::Quoted, b'\\') => Part::Escaped,
            (Part::Quoted | Part::Escaped, _) if is(b, VALUE) => Part::Quoted,
            _ => return Err(Reject::BadChunkExtension),
        };
        if size.part != Part::Lf {
            size.line_bytes += 1;
            if size.line_bytes as usize > limits.chunk_line_bytes {
                return Err(Reject::ChunkLineTooLong);
            }
        }
        Ok(State::Size(size))
    }

    fn end_of_size(&mut self, size: Size) -> Result<State, Reject> {
        if size.value > i64::MAX as u64 {
            return Err(Reject::BadChunkSize);
        }
        // Extensions cost the sender as much as data and the recipient more: they must not be most of the body.
        let extensions = size.line_bytes - u32::from(size.digits);
        let excused = u32::try_from(size.value).unwrap_or(u32::MAX).saturating_add(16);
        self.extension_excess = self.extension_excess.saturating_add(extensions).saturating_sub(excused);
        if self.extension_excess > EXTENSION_EXCESS_MAX {
            return Err(Reject::ChunkOverhead);
        }
        Ok(if size.value == 0 { State::TrailerStart } else { State::Data(size.value) })
    }

    /// Trailer fields are collected in the trailers' own block, which then holds them: the input need not be kept.
    fn trailer_lines(
        &mut self,
        mut lines: FieldLines,
        input: &[u8],
        at: usize,
        limits: &Limits,
        trailers: &mut Head,
    ) -> Result<Step, Reject> {
        let rules = Rules {
            line_bytes: limits.line_bytes,
            section_bytes: limits.trailer_bytes,
            fields: limits.fields,
            name_class: TOKEN,
            too_large: Reject::TrailersTooLarge,
            trailers: true,
        };
        let mut block = trailers.take_block();
        let before = block.len();
        let room = limits.trailer_bytes.saturating_add(1).saturating_sub(before);
        let rest = input.get(at..).unwrap_or(&[]);
        let taken = rest.get(..room).unwrap_or(rest);
        block.extend_from_slice(taken);
        let result = lines.parse(&block, &rules, trailers);
        if let Ok(Some(n)) = result {
            block.truncate(n);
        }
        let after = block.len();
        trailers.return_block(block);
        match result? {
            Some(_) => {
                self.state = State::Done;
                let consumed = at + after.saturating_sub(before);
                Ok(Step { consumed, data: consumed..consumed, done: true })
            }
            None => {
                self.state = State::Trailers(lines);
                let consumed = at + taken.len();
                Ok(Step { consumed, data: consumed..consumed, done: false })
            }
        }
    }
}

/// The value of a hexadecimal digit.
fn hex_digit(b: u8) -> u8 {
    match b {
        b'0'..=b'9' => b - b'0',
        _ => (b | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body says, fed in pieces of `size` bytes: data, trailers, and the bytes left over.
    fn read(framing: Framing, bytes: &[u8], size: usize, limits: &Limits) -> Result<(Vec<u8>, String, usize), Reject> {
        let mut decoder = BodyDecoder::new(framing);
        let (mut data, mut trailers) = (Vec::new(), Head::new());
        let (mut at, mut end) = (0, 0);
        while end < bytes.len() || at < end {
            end = (end + size).min(bytes.len());
            loop {
                let input = &bytes[at..end];
                let step = decoder.decode(input, limits, &mut trailers)?;
                assert!(step.consumed <= input.len() && step.data.end <= step.consumed);
                data.extend_from_slice(&input[step.data.clone()]);
                at += step.consumed;
                if step.done {
                    return Ok((data, format!("{:?}", trailers.fields().collect::<Vec<_>>()), bytes.len() - at));
                }
                if step.consumed == input.len() {
                    break;
                }
                assert!(!step.data.is_empty(), "input was left without data or end");
            }
        }
        decoder.end_of_input().map(|()| (data, String::new(), 0))
    }

    /// The same with every size of piece: all must agree.
    fn decode(framing: Framing, bytes: &str, limits: &Limits) -> Result<(String, String, usize), Reject> {
        let whole = read(framing, bytes.as_bytes(), bytes.len().max(1), limits);
        for size in 1..bytes.len() {
            assert_eq!(read(framing, bytes.as_bytes(), size, limits), whole, "{bytes:?} in pieces of {size}");
        }
        whole.map(|(data, trailers, left)| (String::from_utf8(data).unwrap(), trailers, left))
    }

    fn chunked(bytes: &str) -> Result<(String, String, usize), Reject> {
        decode(Framing::Chunked, bytes, &Limits::default())
    }

    fn body(data: &str, left: usize) -> Result<(String, String, usize), Reject> {
        Ok((data.into(), "[]".into(), left))
    }

    #[test]
    fn lengths_take_what_they_say() {
        let limits = Limits::default();
        assert_eq!(decode(Framing::Length(5), "12345GET", &limits), body("12345", 3));
        assert_eq!(decode(Framing::Length(0), "GET", &limits), body("", 3));
        assert_eq!(decode(Framing::None, "GET", &limits), body("", 3));
        assert_eq!(decode(Framing::Length(5), "1234", &limits), Err(Reject::Truncated));
        assert_eq!(decode(Framing::Close, "1234", &limits), Ok(("1234".into(), String::new(), 0)));
        assert_eq!(decode(Framing::Tunnel, "1234", &limits), Ok(("1234".into(), String::new(), 0)));
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(chunked("0\r\n\r\nGET"), body("", 3));
        assert_eq!(chunked("3\r\nabc\r\n00A\r\n0123456789\r\n0000\r\n\r\n"), body("abc0123456789", 0));
        assert_eq!(chunked("1;a\r\nx\r\n1;a=b;c=\"d\\\"; \t\u{e9}\"\r\ny\r\n0;e\r\n\r\n"), body("xy", 0));
    }

    #[test]
    fn faults_of_chunks_are_named() {
        for (bytes, fault) in [
            ("\r\n", Reject::BadChunkSize),
            (" 5\r\n", Reject::BadChunkSize),
            ("5 \r\n", Reject::BadChunkSize),
            ("5\t;a\r\n", Reject::BadChunkSize),
            ("+5\r\n", Reject::BadChunkSize),
            ("-5\r\n", Reject::BadChunkSize),
            ("0x5\r\n", Reject::BadChunkSize),
            ("g\r\n", Reject::BadChunkSize),
            ("5_0\r\n", Reject::BadChunkSize),
            ("8000000000000000\r\n", Reject::BadChunkSize),
            ("ffffffffffffffff\r\n", Reject::BadChunkSize),
            ("00000000000000005\r\n", Reject::BadChunkSize),
            ("5\n", Reject::BareLf),
            ("5\rx", Reject::BareCr),
            ("5;a\n", Reject::BareLf),
            ("5;\r\n", Reject::BadChunkExtension),
            ("5; a\r\n", Reject::BadChunkExtension),
            ("5;a=\r\n", Reject::BadChunkExtension),
            ("5;a =b\r\n", Reject::BadChunkExtension),
            ("5;a=\"b\r\n", Reject::BadChunkExtension),
            ("5;a=\"b\"c\r\n", Reject::BadChunkExtension),
            ("5;a=\"\0\"\r\n", Reject::BadChunkExtension),
            ("1\r\nab\r\n", Reject::BadChunkEnd),
            ("1\r\na\n", Reject::BadChunkEnd),
            ("1\r\na\rb", Reject::BadChunkEnd),
            ("0\r\n\ra", Reject::BareCr),
            ("0\r\n\n", Reject::BareLf),
            ("0\r\n a: b\r\n\r\n", Reject::LeadingWhitespace),
            ("0\r\na : b\r\n\r\n", Reject::WhitespaceBeforeColon),
            ("0\r\na: b\r\n c\r\n\r\n", Reject::ObsFold),
            ("0\r\na: b\n\r\n", Reject::BareLf),
            ("0\r\nGET / HTTP/1.1\r\n\r\n", Reject::WhitespaceBeforeColon),
            ("", Reject::Truncated),
            ("5\r\nabc", Reject::Truncated),
            ("0\r\n", Reject::Truncated),
            ("0\r\na: b\r\n", Reject::Truncated),
        ] {
            assert_eq!(chunked(bytes), Err(fault), "{bytes:?}");
        }
    }

    #[test]
    fn trailers_are_kept_unless_they_would_change_the_message() {
        let (data, trailers, left) = chunked(
            "1\r\nx\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 5\r\nHost: h\r\nAuthorization: a\r\nSet-Cookie: b\r\n\
             X-Forwarded-For: 1\r\nconnection: close\r\nex_y: 1\r\nETag:  \"e\" \r\n\r\nGET",
        )
        .unwrap();
        assert_eq!((data.as_str(), left), ("x", 3));
        assert_eq!(trailers, "[Grpc-Status: 0, ETag: \\\"e\\\"]");
    }

    #[test]
    fn trailers_of_the_message_before_are_gone() {
        let (limits, mut trailers) = (Limits::default(), Head::new());
        for (bytes, fields) in [(&b"0\r\na: b\r\n\r\n"[..], 1), (b"0\r\n\r\n", 0)] {
            let step = BodyDecoder::new(Framing::Chunked).decode(bytes, &limits, &mut trailers).unwrap();
            assert_eq!((step.done, trailers.len()), (true, fields));
        }
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let limits = Limits { line_bytes: 10, chunk_line_bytes: 8, trailer_bytes: 20, fields: 2, ..Limits::default() };
        let chunked = |bytes: &str| decode(Framing::Chunked, bytes, &limits).map(|(data, _, _)| data);
        assert_eq!(chunked("1;123456\r\nx\r\n0\r\n\r\n"), Ok("x".into()));
        assert_eq!(chunked("1;1234567\r\nx\r\n0\r\n\r\n"), Err(Reject::ChunkLineTooLong));
        assert_eq!(chunked("0\r\na:34567890\r\n\r\n"), Ok("".into()));
        assert_eq!(chunked("0\r\na:345678901\r\n\r\n"), Err(Reject::FieldTooLong));
        assert_eq!(chunked("0\r\na:3456789\r\nb:3456\r\n\r\n"), Err(Reject::TrailersTooLarge));
        assert_eq!(chunked("0\r\na:3456789\r\nb:345\r\n\r\n"), Ok("".into()));
        assert_eq!(chunked("0\r\na:3\r\nb:3\r\nc:3\r\n\r\n"), Err(Reject::TooManyFields));
    }

    #[test]
    fn extensions_must_not_outweigh_data() {
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(200));
        let many = chunk.repeat(1000) + "0\r\n\r\n";
        let limits = Limits::default();
        assert_eq!(read(Framing::Chunked, many.as_bytes(), 4096, &limits), Err(Reject::ChunkOverhead));
        let signed = format!("1000;chunk-signature={}\r\n{}\r\n", "0".repeat(64), "x".repeat(0x1000));
        let many = signed.repeat(1000) + "0\r\n\r\n";
        let (data, _, left) = read(Framing::Chunked, many.as_bytes(), 4096, &limits).unwrap();
        assert_eq!((data.len(), left), (0x1000 * 1000, 0));
        let tiny = "1\r\nx\r\n".repeat(100_000) + "0\r\n\r\n";
        assert_eq!(read(Framing::Chunked, tiny.as_bytes(), 4096, &limits).unwrap().0.len(), 100_000);
    }

    #[test]
    fn a_decoder_knows_what_is_left_and_fails_for_good() {
        let (limits, mut trailers) = (Limits::default(), Head::new());
        let mut decoder = BodyDecoder::new(Framing::Length(5));
        assert_eq!(decoder.remaining_hint(), Some(5));
        decoder.decode(b"ab", &limits, &mut trailers).unwrap();
        assert_eq!((decoder.remaining_hint(), decoder.is_done()), (Some(3), false));
        decoder.decode(b"cde", &limits, &mut trailers).unwrap();
        assert_eq!((decoder.remaining_hint(), decoder.is_done()), (Some(0), true));
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        assert_eq!(decoder.remaining_hint(), None);
        for input in ["x", "0\r\n\r\n"] {
            let fault = decoder.decode(input.as_bytes(), &limits, &mut trailers).unwrap_err();
            assert_eq!(fault, Reject::BadChunkSize);
        }
        assert_eq!(decoder.end_of_input(), Err(Reject::BadChunkSize));
    }
}
