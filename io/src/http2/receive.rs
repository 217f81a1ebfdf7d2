//! Input: from bytes to frames to events; DATA. Other frames are in `heads` and `control`.
use super::{
    Abuse, Connection, ErrorCode, Event, Fatal, PREFACE, Role,
    connection::{Going, Phase},
    frame::{FrameHeader, HEADER_BYTES, flag, kind},
    stream::{Slot, UNKNOWN},
};
use crate::head::Head;

/// Frames without an event that one call works through.
const FRAMES_AT_ONCE: u64 = 256;

/// What came of some input: so many bytes are done with, and perhaps an event. `None`: more bytes are needed.
pub(super) type Step = Result<Option<(usize, Option<Event>)>, Fatal>;

impl Connection {
    /// Works through `input` until there is an event or more bytes are needed. Returns how many bytes are done with;
    /// the others are to be given again, with more behind them. Call it again until there is no event. An event may
    /// come without input.
    ///
    /// While [`Connection::is_stalled`], requests stay in `input`: write first, read later. Otherwise
    /// a call makes progress if `input` holds [`Connection::INPUT_BYTES_MIN`] or all there is. Data are not copied. A
    /// header block is decoded where it is, if all of it is there.
    ///
    /// # Errors
    /// A connection error; it is told again on every later call.
    #[inline]
    pub fn receive(&mut self, input: &[u8], now_ms: u64, head: &mut Head) -> Result<(usize, Option<Event>), Fatal> {
        if let Some(fatal) = self.dead {
            return Err(fatal);
        }
        self.now_ms = now_ms;
        self.advance(input, head).map_err(|fatal| self.die(fatal))
    }

    /// Bytes of input with which [`Connection::receive`] always gets on.
    pub const INPUT_BYTES_MIN: usize = 2048;

    #[cold]
    fn die(&mut self, fatal: Fatal) -> Fatal {
        self.dead = Some(fatal);
        self.go_away_last(fatal.code, fatal.detail.as_bytes());
        fatal
    }

    fn advance(&mut self, input: &[u8], head: &mut Head) -> Result<(usize, Option<Event>), Fatal> {
        if let Some(event) = self.sweep() {
            return Ok((0, Some(event)));
        }
        let mut at = 0;
        let enough = self.frames + FRAMES_AT_ONCE;
        loop {
            if self.frames >= enough {
                return Ok((at, Some(Event::Busy)));
            }
            let rest = input.get(at..).unwrap_or(&[]);
            let step = match self.phase {
                Phase::Frame => self.on_frame(rest, head)?,
                Phase::Data => self.on_data_piece(rest),
                Phase::Block => self.on_block_piece(rest, head)?,
                Phase::Skip => self.on_skip(rest),
                Phase::Preface(seen) => self.on_preface(rest, seen)?,
            };
            let Some((n, event)) = step else { return Ok((at, None)) };
            let start = at;
            at += n;
            match event {
                None => {}
                Some(Event::Data { stream, range, end }) => {
                    let range = start + range.start..start + range.end;
                    return Ok((at, Some(Event::Data { stream, range, end })));
                }
                event => return Ok((at, event)),
            }
        }
    }

    fn on_preface(&mut self, input: &[u8], seen: u8) -> Step {
        let expected = PREFACE.get(usize::from(seen)..).unwrap_or(&[]);
        let n = expected.len().min(input.len());
        if input.get(..n) != expected.get(..n) {
            return Err(Fatal::protocol("no HTTP/2 preface"));
        }
        if n == expected.len() {
            self.phase = Phase::Frame;
        } else if n == 0 {
            return Ok(None);
        } else {
            self.phase = Phase::Preface(seen + n as u8);
        }
        Ok(Some((n, None)))
    }

    fn on_skip(&mut self, input: &[u8]) -> Option<(usize, Option<Event>)> {
        let n = input.len().min(self.rest as usize);
        self.rest -= n as u32;
        if self.rest == 0 {
            self.phase = Phase::Frame;
        }
        (n > 0).then_some((n, None))
    }

    /// Passes over `length` bytes of payload that come next.
    pub(super) fn skip(&mut self, length: u32) {
        self.rest = length;
        self.phase = if length > 0 { Phase::Skip } else { Phase::Frame };
    }

    /// A frame header, and what of its payload is read at once.
    #[inline]
    fn on_frame(&mut self, input: &[u8], head: &mut Head) -> Step {
        let Some((header, payload)) = input.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let frame = FrameHeader::parse(header);
        if frame.length > self.limits.frame_bytes {
            return Err(Fatal::frame_size("frame too large"));
        }
        if !self.peer.settings_seen && (frame.kind != kind::SETTINGS || frame.has(flag::ACK)) {
            return Err(Fatal::protocol("the first frame is not SETTINGS"));
        }
        if let Some(block) = &self.block
            && (frame.kind != kind::CONTINUATION || frame.stream != block.stream)
        {
            return Err(Fatal::protocol("a frame inside a header block"));
        }
        self.frame = frame;
        self.frames += 1;
        let step = match frame.kind {
            kind::DATA => self.on_data(frame, payload),
            kind::HEADERS => self.on_headers(frame, payload, head),
            kind::CONTINUATION => self.on_continuation(frame),
            kind::PUSH_PROMISE => Err(Fatal::protocol("PUSH_PROMISE")),
            kind::PRIORITY
            | kind::RST_STREAM
            | kind::SETTINGS
            | kind::PING
            | kind::GOAWAY
            | kind::WINDOW_UPDATE
            | kind::PRIORITY_UPDATE => self.on_control(frame, payload),
            _ => {
                self.count_control(Abuse::Unknown)?;
                self.skip(frame.length);
                Ok(Some((0, None)))
            }
        };
        Ok(step?.map(|(n, event)| (n + HEADER_BYTES, event)))
    }

    /// Whether a stream with this id was never opened (RFC 9113, section 5.1).
    pub(super) fn is_idle(&self, id: u32) -> bool {
        match self.role {
            Role::Server => id & 1 == 0 || id > self.peer_last,
            Role::Client => id & 1 == 0 || id >= self.next_id,
        }
    }

    /// Whether frames for a stream that is gone are expected for a while: we ended it, or one side goes away.
    pub(super) fn is_tolerated(&self, id: u32) -> bool {
        let above = match (self.role, self.going, self.peer_going) {
            (Role::Server, Going::Last(last), _) | (Role::Client, _, Some(last)) => id > last,
            _ => false,
        };
        above || self.recent.expects(id, self.now_ms)
    }

    /// The padding of a frame (RFC 9113, section 6.1): the bytes in front of the payload proper, and behind it. `None`
    /// until its length has come.
    #[inline]
    pub(super) fn padding(frame: FrameHeader, payload: &[u8]) -> Result<Option<(u32, u32)>, Fatal> {
        if !frame.has(flag::PADDED) {
            return Ok(Some((0, 0)));
        }
        if frame.length == 0 {
            return Err(Fatal::frame_size("no room for the padding's length"));
        }
        match payload.first() {
            None => Ok(None),
            Some(pad) if u32::from(*pad) >= frame.length => Err(Fatal::protocol("more padding than payload")),
            Some(pad) => Ok(Some((1, u32::from(*pad)))),
        }
    }

    /// The start of a DATA frame: all that is checked is checked here, for the frame as a whole.
    #[inline]
    fn on_data(&mut self, frame: FrameHeader, payload: &[u8]) -> Step {
        if frame.stream == 0 {
            return Err(Fatal::protocol("DATA on stream 0"));
        }
        let Some((front, pad)) = Connection::padding(frame, payload)? else { return Ok(None) };
        if !self.receive.take(frame.length) {
            return Err(Fatal::new(ErrorCode::FLOW_CONTROL_ERROR, "the connection's window is overrun"));
        }
        let length = frame.length - front - pad;
        let end = frame.has(flag::END_STREAM);
        let Some(slot) = self.streams.find(frame.stream) else {
            self.on_stray_data(frame)?;
            return Ok(Some((0, None)));
        };
        if let Some(code) = self.data_fault(slot, frame.length, length, end) {
            self.give_back(frame.length);
            self.skip(frame.length);
            return self.stream_error(frame.stream, code).map(|event| Some((0, event)));
        }
        if length == 0 && !end {
            self.count_control(Abuse::Empty)?;
        }
        let stream = self.streams.at(slot);
        stream.recv_window -= frame.length as i32;
        stream.unconsumed += length;
        if stream.body_left != UNKNOWN {
            stream.body_left -= u64::from(length);
        }
        if front > 0 {
            self.announce(slot, front + pad);
            self.give_back(front + pad);
        }
        (self.rest, self.pad, self.phase) = (length, pad, Phase::Data);
        Ok(Some((front as usize, None)))
    }

    /// What is wrong with a DATA frame for an open stream.
    #[inline]
    fn data_fault(&mut self, slot: Slot, frame_length: u32, length: u32, end: bool) -> Option<ErrorCode> {
        let stream = self.streams.at(slot);
        if !stream.recv_open {
            return Some(ErrorCode::STREAM_CLOSED);
        }
        if !stream.head_received {
            return Some(ErrorCode::PROTOCOL_ERROR);
        }
        if i64::from(frame_length) > i64::from(stream.recv_window) {
            return Some(ErrorCode::FLOW_CONTROL_ERROR);
        }
        let left = stream.body_left;
        let length = u64::from(length);
        // RFC 9113, section 8.1.1.
        let mismatch = left != UNKNOWN && (length > left || (end && length != left));
        mismatch.then_some(ErrorCode::PROTOCOL_ERROR)
    }

    /// DATA for a stream that is not open: the connection's window is all that still knows it.
    #[cold]
    fn on_stray_data(&mut self, frame: FrameHeader) -> Result<(), Fatal> {
        if self.is_idle(frame.stream) {
            return Err(Fatal::protocol("DATA on an idle stream"));
        }
        if !self.is_tolerated(frame.stream) {
            return Err(Fatal::new(ErrorCode::STREAM_CLOSED, "DATA on a closed stream"));
        }
        if !self.recent.take(frame.stream, frame.length) {
            return Err(Fatal::new(ErrorCode::FLOW_CONTROL_ERROR, "the window of a reset stream is overrun"));
        }
        if frame.length == 0 {
            self.count_control(Abuse::Stray)?;
        }
        self.give_back(frame.length);
        self.skip(frame.length);
        Ok(())
    }

    /// A piece of a DATA frame's data. Nobody is told of it when the stream was ended in the middle of the frame.
    #[inline]
    fn on_data_piece(&mut self, input: &[u8]) -> Option<(usize, Option<Event>)> {
        let n = input.len().min(self.rest as usize);
        if n == 0 && self.rest > 0 {
            return None;
        }
        self.rest -= n as u32;
        let complete = self.rest == 0;
        if complete {
            let pad = std::mem::take(&mut self.pad);
            self.skip(pad);
        }
        let id = self.frame.stream;
        let end = complete && self.frame.has(flag::END_STREAM);
        let event = match self.streams.find(id) {
            Some(slot) if n > 0 || end => {
                if end {
                    self.finish_receiving(slot);
                }
                Some(Event::Data { stream: id, range: 0..n, end })
            }
            _ => None,
        };
        Some((n, event))
    }

    /// The peer's direction of a stream has ended.
    #[inline]
    pub(super) fn finish_receiving(&mut self, slot: Slot) {
        let stream = self.streams.at(slot);
        stream.recv_open = false;
        if !stream.send_open {
            self.forget(slot);
        }
    }

    /// A stream error (RFC 9113, section 5.4.2): RST_STREAM, and the owner is told if it knows the stream. All of them
    /// count against `Limits::resets`.
    #[cold]
    pub(super) fn stream_error(&mut self, id: u32, code: ErrorCode) -> Result<Option<Event>, Fatal> {
        let event = match self.streams.find(id) {
            Some(slot) => {
                self.end_stream(slot, code);
                Some(Event::Reset { stream: id, code, by_peer: false, unprocessed: false })
            }
            None => {
                self.write_reset(id, code, None);
                None
            }
        };
        self.count_reset(Abuse::ProvokedReset)?;
        self.count_reply(13)?;
        Ok(event)
    }
}
