//! How streams end from this side, and how windows that the peer used grow back.
use super::{
    Connection, ErrorCode,
    frame::{kind, write_u32},
    stream::Slot,
};

impl Connection {
    /// Queues a RST_STREAM, and takes in for a while what the peer may have in flight: at most `allowance` of data.
    pub(super) fn write_reset(&mut self, stream: u32, code: ErrorCode, allowance: Option<u32>) {
        write_u32(&mut self.out, kind::RST_STREAM, stream, code.0);
        if let Some(allowance) = allowance {
            self.recent.push(stream, allowance, self.now_ms);
        }
    }

    /// Forgets a stream: leaves the queue, returns to the connection's window what the owner did not take.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.waiting.remove(&mut self.streams, slot);
        let stream = self.streams.at(slot);
        let (unconsumed, head_bytes) = (stream.unconsumed, stream.head_bytes as usize);
        self.called = self.called.saturating_sub(u32::from(stream.called));
        self.streams.remove(slot);
        self.head_bytes -= head_bytes;
        if unconsumed > 0 {
            self.give_back(unconsumed);
        }
    }

    /// Returns bytes to the connection's receive window.
    #[inline]
    pub(super) fn give_back(&mut self, n: u32) {
        if let Some(increment) = self.receive.give_back(n) {
            write_u32(&mut self.out, kind::WINDOW_UPDATE, 0, increment);
            self.control.queued(13, self.queued());
        }
    }

    /// Ends a stream that is open: RST_STREAM, and it is forgotten.
    pub(super) fn end_stream(&mut self, slot: Slot, code: ErrorCode) {
        let stream = self.streams.at(slot);
        let id = stream.id;
        let allowance = stream.recv_open.then_some(stream.recv_window.max(0) as u32);
        self.write_reset(id, code, allowance);
        self.forget(slot);
    }

    /// Ends a stream that this side wants no more, if it is still open; without an event. What the peer has in flight
    /// for it is taken in silence. Use NO_ERROR for a complete response whose request may stay incomplete (RFC 9113,
    /// section 8.1).
    pub fn reset(&mut self, stream: u32, code: ErrorCode) {
        if let Some(slot) = self.streams.find(stream) {
            self.end_stream(slot, code);
        }
    }

    /// The owner is done with `n` bytes of a stream's data: the peer may send as much again. WINDOW_UPDATE is queued when
    /// half a window is used up. Streams that ended are settled already.
    pub fn consumed(&mut self, stream: u32, n: usize) {
        let Some(slot) = self.streams.find(stream) else { return };
        let stream = self.streams.at(slot);
        let n = u32::try_from(n).unwrap_or(u32::MAX).min(stream.unconsumed);
        stream.unconsumed -= n;
        self.announce(slot, n);
        self.give_back(n);
    }

    /// Counts `n` bytes as done with on the stream's own window.
    pub(super) fn announce(&mut self, slot: Slot, n: u32) {
        let stream = self.streams.at(slot);
        stream.unannounced += n;
        // Without more to come, nobody needs a larger window.
        let enough = stream.body_left <= stream.recv_window.max(0) as u64;
        if !stream.recv_open || enough || stream.unannounced < (self.limits.stream_window / 2).max(1) {
            return;
        }
        let increment = std::mem::take(&mut stream.unannounced);
        stream.recv_window += increment as i32;
        let id = stream.id;
        write_u32(&mut self.out, kind::WINDOW_UPDATE, id, increment);
        self.control.queued(13, self.queued());
    }
}
