//! Output: heads, data, trailers, and which stream goes on when there is room.
use super::{
    Connection, Gone, Refused, Role,
    connection::Going,
    frame::{FrameHeader, HEADER_BYTES, PAYLOAD_MAX, finish_headers, flag, kind, write_header},
    heads::EXPLAINED_MAX,
    hpack::Pseudo,
    limits::OUT_ROOM_MIN,
    stream::{Slot, Stream},
};
use crate::{
    head::FieldRef,
    message::{Priority, RequestHead, is_hop_by_hop},
};

impl Connection {
    /// Sends a response's head. `status` below 200 is an interim response: more heads follow, and `end` is not heeded.
    /// Fields that only HTTP/1.1 has are left out (RFC 9113, section 8.2.2); names are written in lower case.
    ///
    /// # Errors
    /// [`Gone`] when the stream has ended or has its head already.
    pub fn send_response<'f>(
        &mut self,
        stream: u32,
        status: u16,
        fields: impl Iterator<Item = FieldRef<'f>>,
        end: bool,
    ) -> Result<(), Gone> {
        let slot = self.streams.find(stream).ok_or(Gone)?;
        let state = self.streams.at(slot);
        if !state.send_open || state.head_sent {
            return Err(Gone);
        }
        let interim = status < 200;
        state.head_sent = !interim;
        let end = end && !interim;
        let start = self.begin_headers();
        self.encoder.status(&mut self.out, status);
        self.write_fields(fields);
        finish_headers(&mut self.out, start, stream, end, PAYLOAD_MAX);
        if end {
            self.finish_sending(slot);
        }
        Ok(())
    }

    /// Opens a stream with a request; returns its id.
    ///
    /// # Errors
    /// [`Refused`]; nothing was sent.
    pub fn send_request<'f>(
        &mut self,
        request: &RequestHead<'_>,
        fields: impl Iterator<Item = FieldRef<'f>>,
        end: bool,
    ) -> Result<u32, Refused> {
        if let Some(refused) = self.refusal() {
            return Err(refused);
        }
        let id = self.next_id;
        self.next_id += 2;
        let connect = request.method == b"CONNECT";
        self.explained = self.explained.saturating_add(2).min(EXPLAINED_MAX);
        let slot = self.streams.insert(Stream {
            id,
            send_window: self.peer.initial_window,
            recv_window: self.recv_window_initial(),
            head_sent: true,
            bodiless: request.method == b"HEAD",
            connect,
            priority: Priority::default(),
            ..Stream::default()
        });
        let start = self.begin_headers();
        self.write_request(request, connect && request.protocol.is_none());
        self.write_fields(fields);
        finish_headers(&mut self.out, start, id, end, PAYLOAD_MAX);
        if end {
            self.finish_sending(slot);
        }
        Ok(id)
    }

    fn write_request(&mut self, request: &RequestHead<'_>, tunnel: bool) {
        let (encoder, out) = (&mut self.encoder, &mut self.out);
        encoder.pseudo(out, Pseudo::Method, request.method);
        if let Some(protocol) = request.protocol {
            encoder.pseudo(out, Pseudo::Protocol, protocol);
        }
        if !tunnel {
            encoder.pseudo(out, Pseudo::Scheme, request.scheme);
            encoder.pseudo(out, Pseudo::Path, request.path);
        }
        if !request.authority.is_empty() {
            encoder.pseudo(out, Pseudo::Authority, request.authority);
        }
    }

    /// Why no stream can be opened now.
    #[inline]
    pub(super) fn refusal(&self) -> Option<Refused> {
        if self.dead.is_some() || self.peer_going.is_some() || self.going != Going::No || self.role == Role::Server {
            Some(Refused::GoingAway)
        } else if self.next_id > i32::MAX as u32 {
            Some(Refused::IdsExhausted)
        } else if self.open_streams() >= self.streams_max() {
            Some(Refused::Streams)
        } else {
            None
        }
    }

    /// Sends trailers, which end the message; all data must have been taken before.
    ///
    /// # Errors
    /// [`Gone`] when the stream has ended, or has no head yet.
    pub fn send_trailers<'f>(&mut self, stream: u32, fields: impl Iterator<Item = FieldRef<'f>>) -> Result<(), Gone> {
        let slot = self.streams.find(stream).ok_or(Gone)?;
        let state = self.streams.at(slot);
        if !state.send_open || !state.head_sent {
            return Err(Gone);
        }
        let start = self.begin_headers();
        self.write_fields(fields);
        finish_headers(&mut self.out, start, stream, true, PAYLOAD_MAX);
        self.finish_sending(slot);
        Ok(())
    }

    /// Leaves room for a frame header, and begins a block behind it.
    #[inline]
    fn begin_headers(&mut self) -> usize {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEADER_BYTES]);
        self.encoder.begin(&mut self.out);
        start
    }

    #[inline]
    fn write_fields<'f>(&mut self, fields: impl Iterator<Item = FieldRef<'f>>) {
        for field in fields {
            if !is_hop_by_hop(field.id) {
                self.encoder.field(&mut self.out, field.id, field.name, field.value);
            }
        }
    }

    /// Sends data, as much as windows and the queue let; returns how much. When that is not all, the stream is listed
    /// for [`Connection::next_writable`]. `end` holds once all is taken; with no data it ends the message at once.
    ///
    /// # Errors
    /// [`Gone`] when the stream has ended, or has no head yet.
    pub fn send_data(&mut self, stream: u32, data: &[u8], end: bool) -> Result<usize, Gone> {
        let slot = self.streams.find(stream).ok_or(Gone)?;
        let state = self.streams.at(slot);
        if !state.send_open || !state.head_sent {
            return Err(Gone);
        }
        if data.is_empty() {
            if end {
                write_header(&mut self.out, 0, kind::DATA, flag::END_STREAM, stream);
                self.finish_sending(slot);
            }
            return Ok(0);
        }
        if state.blocked {
            return Ok(0); // its turn comes
        }
        if std::mem::take(&mut state.called) {
            self.called = self.called.saturating_sub(1);
        }
        let mut rest = data;
        while !rest.is_empty() {
            let n = self.room(slot, rest.len());
            let Some((piece, behind)) = rest.split_at_checked(n).filter(|_| n > 0) else {
                self.block_stream(slot);
                break;
            };
            rest = behind;
            let ends = end && rest.is_empty();
            let flags = if ends { flag::END_STREAM } else { 0 };
            let header = FrameHeader { length: n as u32, kind: kind::DATA, flags, stream };
            self.out.reserve(HEADER_BYTES + n);
            self.out.extend_from_slice(&header.to_bytes());
            self.out.extend_from_slice(piece);
            // Slivers that the peer's small window makes explain nothing.
            if rest.is_empty() || n >= OUT_ROOM_MIN {
                self.explained = self.explained.saturating_add(2).min(EXPLAINED_MAX);
            }
            self.send_window -= n as i32;
            self.streams.at(slot).send_window -= n as i32;
            if ends {
                self.finish_sending(slot);
            } else if !rest.is_empty() && self.must_yield(slot) {
                self.block_stream(slot);
                break;
            }
        }
        Ok(data.len() - rest.len())
    }

    /// How much of `length` bytes may go out in the next frame.
    #[inline]
    fn room(&mut self, slot: Slot, length: usize) -> usize {
        let window = self.streams.at(slot).send_window.min(self.send_window).max(0) as usize;
        let n = length.min(PAYLOAD_MAX).min(window);
        let queue = self.limits.out_bytes.saturating_sub(self.queued());
        if queue >= n {
            n
        } else if queue >= OUT_ROOM_MIN {
            queue
        } else {
            0
        }
    }

    /// Whether a stream that shares gives way after a frame: others wait that are not behind it.
    #[inline]
    fn must_yield(&mut self, slot: Slot) -> bool {
        if self.waiting.is_empty() && self.called == 0 {
            return false;
        }
        let priority = self.streams.at(slot).priority;
        priority.incremental && (self.called > 0 || self.waiting.rivals(priority))
    }

    fn block_stream(&mut self, slot: Slot) {
        self.streams.at(slot).blocked = true;
        self.wake(slot);
    }

    /// Lists a blocked stream whose own window has room; whether it is blocked no more by it.
    pub(super) fn wake(&mut self, slot: Slot) -> bool {
        let stream = self.streams.at(slot);
        let ready = stream.blocked && stream.send_window > 0;
        if ready {
            self.waiting.push(&mut self.streams, slot);
        } else {
            self.waiting.remove(&mut self.streams, slot);
        }
        ready
    }

    /// Whether [`Connection::next_writable`] has one.
    pub(super) fn has_writable(&self) -> bool {
        !self.waiting.is_empty()
            && self.send_window > 0
            && self.limits.out_bytes.saturating_sub(self.queued()) >= OUT_ROOM_MIN
    }

    /// The stream that was blocked and goes on first: by urgency; then those that are not incremental, by id; then the
    /// others in turn (RFC 9218, section 10). It leaves the list: send its data now, or when they are there. Ask until
    /// there is none.
    pub fn next_writable(&mut self) -> Option<u32> {
        if !self.has_writable() {
            return None;
        }
        let slot = self.waiting.pop(&mut self.streams)?;
        let stream = self.streams.at(slot);
        stream.blocked = false;
        if !std::mem::replace(&mut stream.called, true) {
            self.called += 1;
        }
        Some(stream.id)
    }

    /// Our direction of a stream has ended.
    #[inline]
    fn finish_sending(&mut self, slot: Slot) {
        let stream = self.streams.at(slot);
        stream.send_open = false;
        stream.blocked = false;
        let over = !stream.recv_open;
        if over {
            self.forget(slot);
        } else {
            self.waiting.remove(&mut self.streams, slot);
        }
    }
}
