//! Event streams (the WHATWG's HTML standard, section 9.2.6): where events end, and what their data begin with. Keeps no
//! bytes, so that a line may be as long as it likes; what an event may measure is bounded all the same.

/// Digits of a number of microseconds that is looked at: what fits 64 bits.
const DIGITS_MAX: u8 = 19;
/// The byte order mark that may begin a stream.
const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
/// The field that is looked at.
const DATA: &[u8; 4] = b"data";

/// An event that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The decimal number that its data begin with.
    pub number: Option<u64>,
    /// Bytes of the stream that it took.
    pub bytes: u64,
}

/// An event is larger than is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Where in a line the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// So many bytes of it were those of `data`.
    Name(u8),
    /// Behind the colon of `data`, where a space may be.
    ValueStart,
    /// In the number that the data begin with.
    Number,
    /// In what nobody looks at.
    Rest,
}

/// Reads a stream, however it is cut.
#[derive(Clone, Debug)]
pub struct Parser {
    /// Bytes of the mark that came; 3 once it is decided.
    mark: u8,
    place: Place,
    /// The last byte was a CR: an LF behind it is part of that line's end.
    cr: bool,
    /// The event has data, and whether they are past their number.
    has_data: bool,
    number: Option<u64>,
    digits: u8,
    bytes: u64,
    bytes_max: u64,
}

impl Parser {
    /// Of events of at most `bytes_max`.
    pub fn new(bytes_max: u64) -> Parser {
        Parser {
            mark: 0,
            place: Place::Name(0),
            cr: false,
            has_data: false,
            number: None,
            digits: 0,
            bytes: 0,
            bytes_max,
        }
    }

    /// The next event at the front of `input`, which is moved on; `None` when all of it is read.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event>, TooLarge> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            let Some(byte) = self.unmark(*byte) else { continue };
            if byte == b'\n' && std::mem::take(&mut self.cr) {
                continue;
            }
            self.cr = byte == b'\r';
            self.bytes += 1;
            if self.bytes > self.bytes_max {
                return Err(TooLarge);
            }
            if !matches!(byte, b'\r' | b'\n') {
                self.place = self.within(byte);
            } else if let Some(event) = self.line_end() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Leaves out the mark. A stream that begins with a part of it has a strange first line, which is no field of ours.
    fn unmark(&mut self, byte: u8) -> Option<u8> {
        match MARK.get(usize::from(self.mark)) {
            Some(expected) if *expected == byte => {
                self.mark += 1;
                None
            }
            Some(_) => {
                if self.mark > 0 {
                    self.place = Place::Rest;
                }
                self.mark = MARK.len() as u8;
                Some(byte)
            }
            None => Some(byte),
        }
    }

    #[inline]
    fn within(&mut self, byte: u8) -> Place {
        match self.place {
            Place::Name(n) if DATA.get(usize::from(n)) == Some(&byte) => Place::Name(n + 1),
            Place::Name(4) if byte == b':' => Place::ValueStart,
            Place::ValueStart if byte == b' ' && !self.has_data => Place::Number,
            Place::ValueStart | Place::Number if !self.has_data => self.digit(byte),
            _ => Place::Rest,
        }
    }

    fn digit(&mut self, byte: u8) -> Place {
        if !byte.is_ascii_digit() || self.digits == DIGITS_MAX {
            self.has_data = true; // so far and no further
            return Place::Rest;
        }
        self.digits += 1;
        self.number = Some(self.number.unwrap_or(0) * 10 + u64::from(byte - b'0'));
        Place::Number
    }

    /// The event, if the line was the empty one behind its data.
    fn line_end(&mut self) -> Option<Event> {
        let place = std::mem::replace(&mut self.place, Place::Name(0));
        match place {
            Place::Name(0) => {
                let event = Event { number: self.number.take(), bytes: self.bytes };
                let has_data = std::mem::take(&mut self.has_data);
                (self.digits, self.bytes) = (0, 0);
                return has_data.then_some(event);
            }
            Place::Name(4) | Place::ValueStart | Place::Number => self.has_data = true,
            Place::Name(_) | Place::Rest => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8], step: usize) -> Vec<(Option<u64>, u64)> {
        let (mut parser, mut got) = (Parser::new(1 << 20), Vec::new());
        for mut piece in bytes.chunks(step) {
            while let Some(event) = parser.next(&mut piece).unwrap() {
                got.push((event.number, event.bytes));
            }
            assert!(piece.is_empty());
        }
        got
    }

    fn numbers(bytes: &str) -> Vec<Option<u64>> {
        let whole: Vec<_> = read(bytes.as_bytes(), bytes.len().max(1)).into_iter().map(|(n, _)| n).collect();
        for step in 1..5 {
            assert!(read(bytes.as_bytes(), step).into_iter().map(|(n, _)| n).eq(whole.iter().copied()), "{bytes:?}");
        }
        whole
    }

    #[test]
    fn events_and_their_numbers() {
        for (stream, want) in [
            ("", vec![]),
            ("data: 17\n\n", vec![Some(17)]),
            ("data:17\n\n", vec![Some(17)]),
            ("data:  17\n\n", vec![None]),
            ("data: 17 apples\r\n\r\n", vec![Some(17)]),
            ("data: 17\r\rdata: 18\r\n\r\ndata: 19\n\n", vec![Some(17), Some(18), Some(19)]),
            ("\u{feff}data: 17\n\n", vec![Some(17)]),
            ("data: apples 17\n\n", vec![None]),
            ("data: apples\ndata: 17\n\n", vec![None]),
            ("data: 17\ndata: 18\n\n", vec![Some(17)]),
            ("data\n\n", vec![None]),
            ("data:\n\n", vec![None]),
            ("data: 17\n", vec![]),
            ("data: 17", vec![]),
            (": 17\n\n", vec![]),
            (":data: 17\n\n", vec![]),
            ("dat: 17\n\n", vec![]),
            ("datas: 17\n\n", vec![]),
            ("event: x\nid: 4\n\n\n\ndata: 5\n\n", vec![Some(5)]),
            ("id: 4\ndata: 5\nevent: x\n\n", vec![Some(5)]),
            ("data: 17\n\r\n", vec![Some(17)]),
            ("data: 1234567890123456789999\n\n", vec![Some(1_234_567_890_123_456_789)]),
        ] {
            assert_eq!(numbers(stream), want, "{stream:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_told() {
        let mut parser = Parser::new(10);
        assert_eq!(parser.next(&mut &b"data: 1\n\n"[..]), Ok(Some(Event { number: Some(1), bytes: 9 })));
        assert_eq!(parser.next(&mut &b"data: 123456"[..]), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn it_reads_what_an_origin_sends_however_it_is_cut(
            events in prop::collection::vec((any::<u32>(), "[a-z ]{0,20}", 0usize..3, any::<bool>()), 0..10),
            step in 1usize..40,
        ) {
            let (mut bytes, mut want) = (String::new(), Vec::new());
            for (number, text, end, comment) in &events {
                let end = ["\n", "\r\n", "\r"][*end];
                if *comment {
                    bytes += &format!(": ping{end}");
                }
                bytes += &format!("id: 7{end}data: {number} {text}{end}{end}");
                want.push(Some(u64::from(*number)));
            }
            let got: Vec<_> = read(bytes.as_bytes(), step).into_iter().map(|(n, _)| n).collect();
            prop_assert_eq!(got, want);
        }

        #[test]
        fn nothing_that_comes_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..50) {
            read(&bytes, step);
        }
    }
}
