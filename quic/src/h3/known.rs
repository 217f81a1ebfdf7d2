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
