//! Answers whose heads are the same, byte for byte: read once.
//!
//! A server that is asked the same again and again mostly answers with the same HEADERS frame, but for a date that changes
//! once in a second. What such a frame says does not depend on anything else if it names no entry of QPACK's dynamic table
//! (its Required Insert Count is 0; RFC 9204, section 4.5.1): a comparison then does for decoding and checking it.
//!
//! Many servers give each answer a number of its own, in a field like `x-request-id`. Where nothing but the value of one
//! such field changes, and not its length, the comparison leaves that value out, and the value alone is checked.
use super::{
    Connection, Error, Event,
    frame::FrameHeader,
    qpack::{Decoded, Decoder},
    stream::{Phase, Stage, Stream},
};
use edge_io::{field_codec::is_value, head::FieldId};
use std::ops::Range;

/// Longer frames are read each time, bytes.
const FRAME_MAX: usize = 2048;

/// The last final response's HEADERS frame. Its owner keeps the head that it was read to beside it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Frame header and section; empty: none.
    frame: Vec<u8>,
    /// Where in the frame the value of a field is that changed from this answer to the last one; empty: nowhere.
    varies: Range<usize>,
    /// Heads that were not like it, one after the other.
    misses: u32,
    content_length: Option<u64>,
    status: u16,
}

impl Known {
    /// The head beside it means something else from now on.
    #[inline]
    pub fn forget(&mut self) {
        self.frame.clear();
        self.varies = 0..0;
    }

    /// Whether `input` begins with the frame, or with one that differs in a value which means nothing to its reader.
    #[inline]
    fn begins(&self, input: &[u8]) -> bool {
        let Some(other) = input.get(..self.frame.len()) else { return false };
        let Range { start, end } = self.varies;
        let same = |part: fn(&[u8], usize) -> &[u8], at| part(&self.frame, at) == part(other, at);
        same(before, start) && same(from, end) && other.get(start..end).is_some_and(is_value)
    }

    /// Keeps `frame`, and which value changed if nothing else did. It is looked for less and less often while no head is
    /// like the one before: then it costs more than it saves.
    fn keep(&mut self, frame: &[u8], decoder: Option<&mut Decoder>) {
        self.misses = self.misses.saturating_add(1);
        let looks = self.misses.is_power_of_two() && self.frame.len() == frame.len();
        let varies = decoder.filter(|_| looks).and_then(|decoder| varying(&self.frame, frame, decoder));
        self.varies = varies.unwrap_or_default();
        self.frame.clear();
        self.frame.extend_from_slice(frame);
    }
}

fn before(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(..at).unwrap_or(bytes)
}

fn from(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

/// Where the value is that alone is different in two well-formed HEADERS frames of one length without dynamic references,
/// if its place takes whatever a value may be.
fn varying(old: &[u8], new: &[u8], decoder: &mut Decoder) -> Option<Range<usize>> {
    let differs = |(a, b): (&u8, &u8)| a != b;
    let first = old.iter().zip(new).position(differs)?;
    let last = old.iter().zip(new).rposition(differs)?;
    let (_, header) = FrameHeader::read(new)?;
    let mut found = None;
    let each = |field: Decoded<'_>| {
        // One that is written out lies in the frame itself; then its length is written before it, and is the same in both.
        let start = (field.value.as_ptr() as usize).wrapping_sub(new.as_ptr() as usize);
        let range = start..start.wrapping_add(field.value.len());
        if range.contains(&first) && range.contains(&last) && range.end <= new.len() && is_free(&field) {
            found = Some(range);
        }
        Ok::<(), ()>(())
    };
    decoder.decode(0, new.get(header..)?, each).ok()?;
    found
}

/// Whether any value is as good as another: it is not read, and no rule is about it.
fn is_free(field: &Decoded<'_>) -> bool {
    use FieldId::*;
    let ruled =
        matches!(field.id, ContentLength | Te | Connection | KeepAlive | ProxyConnection | TransferEncoding | Upgrade);
    field.pseudo.is_none() && !ruled
}

impl Connection {
    /// As [`Connection::receive`], where `input` is the first of a stream and begins with the frame that is `known`:
    /// what comes of it, without filling a head.
    #[inline]
    pub(crate) fn receive_known(
        &mut self,
        stream: &mut Stream,
        known: &mut Known,
        input: &[u8],
        fin: bool,
    ) -> Option<Result<(usize, Event), Error>> {
        let n = known.frame.len();
        if n == 0 || !stream.is_fresh() || !known.begins(input) || self.is_dead() {
            return None;
        }
        known.misses = 0;
        let last = fin && n == input.len();
        stream.phase = if last { Phase::Done } else { Phase::Frame };
        Some(self.on_final(stream, known.content_length, last, known.status).map(|event| (n, event)))
    }

    /// `taken` bytes of a fresh stream's input were a final response's head, of this status: keeps them, if they are
    /// its frame alone and mean the same on every connection.
    pub(crate) fn learn(&mut self, known: &mut Known, taken: &[u8], status: u16) {
        // The type of HEADERS, a length of one or two bytes, and a Required Insert Count of 0.
        let plain = matches!(taken, [1, 0..0x40, 0, ..] | [1, 0x40..0x80, _, 0, ..]);
        if !plain || taken.len() > FRAME_MAX || status < 200 {
            return known.forget();
        }
        // An owner who reads fields has them from the head, which a known frame does not fill.
        let decoder = (!self.limits.keep_fields).then_some(&mut self.decoder);
        known.keep(taken, decoder);
        (known.content_length, known.status) = (self.last_length, status);
    }
}

impl Stream {
    /// Whether nothing of it was read.
    #[inline]
    pub(crate) fn is_fresh(&self) -> bool {
        self.phase == Phase::Frame && self.stage == Stage::Head && self.idle_frames == 0 && self.cut.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};
    use edge_io::head::Head;

    /// Status 200, a content-length of 5.
    const HEAD: &[u8] = &[1, 6, 0, 0, 0xd9, 0x54, 1, b'5'];

    fn client() -> Connection {
        Connection::new(Role::Client, &Limits::default(), 0)
    }

    /// What comes of an answer that is given at once, read the long way or, if it can be, the short one.
    fn events(
        mut known: Option<&mut Known>,
        answer: &[u8],
        mut stream: Stream,
    ) -> Vec<Result<(usize, Option<Event>), Error>> {
        let (mut connection, mut head, mut at) = (client(), Head::new(), 0);
        let mut all = Vec::new();
        loop {
            let rest = &answer[at..];
            let short = known.as_deref_mut().and_then(|known| connection.receive_known(&mut stream, known, rest, true));
            let one = match short {
                Some(done) => done.map(|(n, event)| (n, Some(event))),
                None => connection.receive(&mut stream, 0, rest, true, 0, &mut head),
            };
            at += one.as_ref().map_or(0, |(n, _)| *n);
            let goes_on = matches!(one, Ok((_, Some(_)))) && !stream.is_done();
            all.push(one);
            if !goes_on {
                return all;
            }
        }
    }

    #[test]
    fn the_short_way_comes_to_the_same() {
        let (mut connection, mut head, mut known) = (client(), Head::new(), Known::default());
        let mut stream = Stream::new();
        let first = connection.receive(&mut stream, 0, HEAD, false, 0, &mut head);
        assert_eq!(first, Ok((HEAD.len(), Some(Event::Head { end: false }))));
        connection.learn(&mut known, HEAD, 200);
        let bodies: [&[u8]; 6] =
            [b"", b"\0\x05hello", b"\0\x04hell", b"\0\x06hello!", b"\0\x02he\0\x03llo", b"\x01\x03\0\0\xd9"];
        for (body, asking) in bodies.into_iter().flat_map(|body| [(body, false), (body, true)]) {
            let answer = [HEAD, body].concat();
            let [short, long] =
                [Some(&mut known), None].map(|known| events(known, &answer, Stream::asking(asking, false)));
            assert_eq!(short, long, "{body:?}, HEAD: {asking}");
        }
    }

    /// A HEADERS frame with status 200, a content-length of 5 and these fields, written out.
    fn frame(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut section = HEAD[2..].to_vec();
        for (name, value) in fields {
            section.extend([0x27, name.len() as u8 - 7]);
            section.extend_from_slice(name);
            section.push(value.len() as u8);
            section.extend_from_slice(value);
        }
        assert!(section.len() < 0x40);
        [&[1, section.len() as u8], section.as_slice()].concat()
    }

    /// What has learned these frames, one after the other, as a client that asks for no fields.
    fn learned(frames: &[Vec<u8>]) -> Known {
        let mut known = Known::default();
        for frame in frames {
            lean().learn(&mut known, frame, 200);
        }
        known
    }

    fn lean() -> Connection {
        Connection::new(Role::Client, &Limits { keep_fields: false, ..Limits::default() }, 0)
    }

    #[test]
    fn a_value_that_changes_from_answer_to_answer_is_checked_alone() {
        let of = |id: &[u8]| frame(&[(b"x-request", id), (b"x-other", b"same")]);
        let mut known = learned(&[of(b"abcd"), of(b"aqrd")]);
        assert!(known.begins(&of(b"wxyz")), "one more id");
        // Every byte at every place of the value: as the long way has it.
        for (byte, at) in (0..=255u8).flat_map(|byte| (0..4).map(move |at| (byte, at))) {
            let mut id = *b"wxyz";
            id[at] = byte;
            let answer = [of(&id), b"\0\x05hello".to_vec()].concat();
            let [short, long] = [Some(&mut known), None].map(|known| events(known, &answer, Stream::new()));
            assert_eq!(short, long, "{id:?}");
            assert_eq!(short[0].is_ok(), is_value(&id), "{id:?}");
        }
        // Every other byte of the frame: no longer what is known.
        let (frame, varies) = (of(b"aqrd"), known.varies.clone());
        for at in (0..frame.len()).filter(|at| !varies.contains(at)) {
            let mut other = frame.clone();
            other[at] ^= 1;
            assert!(!known.begins(&other), "byte {at}");
            let answer = [other, b"\0\x05hello".to_vec()].concat();
            let [short, long] = [Some(&mut known), None].map(|known| events(known, &answer, Stream::new()));
            assert_eq!(short, long, "byte {at}");
        }
    }

    #[test]
    fn values_that_mean_something_are_compared() {
        let two = |a: &[u8], b: &[u8]| frame(&[(b"x-request", a), (b"x-other", b)]);
        assert_eq!(learned(&[two(b"a", b"a"), two(b"b", b"b")]).varies, 0..0, "two of them");
        assert_eq!(learned(&[two(b"a", b"aa"), two(b"a", b"a")]).varies, 0..0, "another length");
        let named = |name: &[u8]| frame(&[(name, b"value")]);
        assert_eq!(learned(&[named(b"x-request"), named(b"x-sequest")]).varies, 0..0, "a name");
        let length = |digit: u8| vec![1, 6, 0, 0, 0xd9, 0x54, 1, digit];
        assert_eq!(learned(&[length(b'5'), length(b'6')]).varies, 0..0, "the length");
        let status = |digit: u8| vec![1, 7, 0, 0, 0x5f, 0x09, 3, b'2', digit, b'0'];
        assert_eq!(learned(&[status(b'0'), status(b'1')]).varies, 0..0, "the status");
        let coded = |byte: u8| vec![1, 9, 0, 0, 0xd9, 0x23, b'x', b'-', b'a', 0x81, byte];
        assert_eq!(learned(&[coded(0x1f), coded(0x27)]).varies, 0..0, "Huffman coded");
        let mut known = Known::default();
        for id in [b"abcd", b"aqrd"] {
            client().learn(&mut known, &frame(&[(b"x-request", id)]), 200);
        }
        assert_eq!(known.varies, 0..0, "an owner who reads fields");
    }

    #[test]
    fn what_changes_is_looked_for_less_often_in_vain() {
        let of = |id: u8, date: u8| frame(&[(b"x-request", &[id]), (b"x-other", &[date])]);
        let mut known = learned(&[of(b'a', b'a'), of(b'b', b'b'), of(b'c', b'c')]);
        for (id, finds) in [(b'd', true), (b'e', false)] {
            lean().learn(&mut known, &of(id, b'c'), 200);
            assert_eq!(known.varies != (0..0), finds, "{}: after {} misses", char::from(id), known.misses);
        }
        let hit = lean().receive_known(&mut Stream::new(), &mut known, &of(b'e', b'c'), false);
        assert!(hit.is_some_and(|event| event.is_ok()) && known.misses == 0);
        lean().learn(&mut known, &of(b'f', b'c'), 200);
        assert!(known.begins(&of(b'g', b'c')));
    }

    #[test]
    fn what_depends_on_a_table_is_not_learned() {
        let (mut connection, mut known) = (client(), Known::default());
        for taken in [&[1, 3, 2, 0, 0x80][..], &[1, 0x40, 3, 2, 0, 0x80], &[0x21, 0, 1, 3, 0, 0, 0xd9], &[]] {
            connection.learn(&mut known, taken, 200);
            assert!(known.frame.is_empty(), "{taken:?}");
        }
        connection.learn(&mut known, &[1, 3, 0, 0, 0xd8], 103);
        assert!(known.frame.is_empty(), "an interim one");
    }
}
