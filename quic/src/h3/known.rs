//! Answers whose heads are the same, byte for byte: read once.
//!
//! A server that is asked the same again and again mostly answers with the same HEADERS frame, but for a date that changes
//! once in a second. What such a frame says does not depend on anything else if it names no entry of QPACK's dynamic table
//! (its Required Insert Count is 0; RFC 9204, section 4.5.1): a comparison then does for decoding and checking it.
use super::{
    Connection, Error, Event,
    stream::{Phase, Stage, Stream},
};

/// Longer frames are read each time, bytes.
const FRAME_MAX: usize = 2048;

/// The last final response's HEADERS frame. Its owner keeps the head that it was read to beside it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Frame header and section; empty: none.
    frame: Vec<u8>,
    content_length: Option<u64>,
    status: u16,
}

impl Known {
    /// The head beside it means something else from now on.
    #[inline]
    pub fn forget(&mut self) {
        self.frame.clear();
    }
}

impl Connection {
    /// As [`Connection::receive`], where `input` is the first of a stream and begins with the frame that is `known`:
    /// what comes of it, without filling a head.
    #[inline]
    pub(crate) fn receive_known(
        &mut self,
        stream: &mut Stream,
        known: &Known,
        input: &[u8],
        fin: bool,
    ) -> Option<Result<(usize, Event), Error>> {
        let n = known.frame.len();
        if n == 0 || !stream.is_fresh() || !input.starts_with(&known.frame) || self.is_dead() {
            return None;
        }
        let last = fin && n == input.len();
        stream.phase = if last { Phase::Done } else { Phase::Frame };
        Some(self.on_final(stream, known.content_length, last, known.status).map(|event| (n, event)))
    }

    /// `taken` bytes of a fresh stream's input were a final response's head, of this status: keeps them, if they are
    /// its frame alone and mean the same on every connection.
    pub(crate) fn learn(&self, known: &mut Known, taken: &[u8], status: u16) {
        known.forget();
        // The type of HEADERS, a length of one or two bytes, and a Required Insert Count of 0.
        let plain = matches!(taken, [1, 0..0x40, 0, ..] | [1, 0x40..0x80, _, 0, ..]);
        if plain && taken.len() <= FRAME_MAX && status >= 200 {
            known.frame.extend_from_slice(taken);
            (known.content_length, known.status) = (self.last_length, status);
        }
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
    fn events(known: Option<&Known>, answer: &[u8], mut stream: Stream) -> Vec<Result<(usize, Option<Event>), Error>> {
        let (mut connection, mut head, mut at) = (client(), Head::new(), 0);
        let mut all = Vec::new();
        loop {
            let rest = &answer[at..];
            let short = known.and_then(|known| connection.receive_known(&mut stream, known, rest, true));
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
            let [short, long] = [Some(&known), None].map(|known| events(known, &answer, Stream::asking(asking, false)));
            assert_eq!(short, long, "{body:?}, HEAD: {asking}");
        }
    }

    #[test]
    fn what_depends_on_a_table_is_not_learned() {
        let (connection, mut known) = (client(), Known::default());
        for taken in [&[1, 3, 2, 0, 0x80][..], &[1, 0x40, 3, 2, 0, 0x80], &[0x21, 0, 1, 3, 0, 0, 0xd9], &[]] {
            connection.learn(&mut known, taken, 200);
            assert!(known.frame.is_empty(), "{taken:?}");
        }
        connection.learn(&mut known, &[1, 3, 0, 0, 0xd8], 103);
        assert!(known.frame.is_empty(), "an interim one");
    }
}
