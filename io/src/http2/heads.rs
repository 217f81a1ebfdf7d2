//! Header blocks: HEADERS and CONTINUATION, and what becomes of the stream that they are for.
use super::{
    Abuse, Connection, ErrorCode, Event, Fatal, Priority, Role,
    connection::{Going, Phase},
    flow::WINDOW_DEFAULT,
    frame::{FrameHeader, HEADER_BYTES, PAYLOAD_MAX, finish_headers, flag},
    hpack::{DecodeError, Fault},
    receive::Step,
    stream::{Slot, Stream, UNKNOWN},
};
use crate::{
    head::{FieldId, Head, Method, Version},
    message::{FarTooLarge, Message, Protocol, Scheme, Section, Verdict},
};

/// Streams refused in good faith, by the limit of streams.
const GOOD_FAITH: u32 = 8;

/// A header block that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub stream: u32,
    /// HEADERS had END_STREAM.
    end: bool,
    /// HEADERS made the stream depend on itself.
    self_dependent: bool,
    continuations: u32,
}

/// What a message says beyond its head.
struct Read {
    verdict: Verdict,
    bytes: u32,
    content_length: Option<u64>,
    scheme: Scheme,
    protocol: Protocol,
}

impl Connection {
    #[inline]
    pub(super) fn on_headers(&mut self, frame: FrameHeader, payload: &[u8], head: &mut Head) -> Step {
        if frame.stream == 0 {
            return Err(Fatal::protocol("HEADERS on stream 0"));
        }
        self.check_headers_id(frame.stream)?;
        // What is counted is counted once the block is there: until then this may run again.
        if self.is_stalled() && self.role == Role::Server {
            return Ok(None);
        }
        let Some((mut front, pad)) = Connection::padding(frame, payload)? else { return Ok(None) };
        let mut self_dependent = false;
        if frame.has(flag::PRIORITY) {
            if front + 5 > frame.length {
                return Err(Fatal::frame_size("HEADERS too short for its priority"));
            }
            let Some(dependency) = payload.get(front as usize..).and_then(<[u8]>::first_chunk::<4>) else {
                return Ok(None);
            };
            if payload.len() < front as usize + 5 {
                return Ok(None);
            }
            self_dependent = u32::from_be_bytes(*dependency) & 0x7fff_ffff == frame.stream;
            front += 5;
        }
        let Some(length) = frame.length.checked_sub(front + pad) else {
            return Err(Fatal::protocol("more padding than payload"));
        };
        let end = frame.has(flag::END_STREAM);
        let block = Block { stream: frame.stream, end, self_dependent, continuations: 0 };
        if frame.has(flag::END_HEADERS)
            && let Some(bytes) = payload.get(front as usize..(front + length) as usize)
        {
            self.skip(pad);
            let event = self.on_block(block, bytes, head)?;
            return Ok(Some(((front + length) as usize, event)));
        }
        self.block = Some(block);
        self.fragment_starts(length, pad)?;
        Ok(Some((front as usize, None)))
    }

    /// Whether HEADERS may come for this id at all (RFC 9113, sections 5.1 and 5.1.1).
    #[inline]
    fn check_headers_id(&self, id: u32) -> Result<(), Fatal> {
        if self.streams.find(id).is_some() {
            return Ok(());
        }
        if self.role == Role::Server && id & 1 == 1 && id > self.peer_last {
            return Ok(());
        }
        if self.is_idle(id) {
            return Err(Fatal::protocol("HEADERS on a stream that the peer may not open"));
        }
        if self.is_tolerated(id) {
            return Ok(());
        }
        if self.skipped.contains(&id) {
            return Err(Fatal::protocol("HEADERS on a lower stream than before"));
        }
        Err(Fatal::new(ErrorCode::STREAM_CLOSED, "HEADERS on a closed stream"))
    }

    pub(super) fn on_continuation(&mut self, frame: FrameHeader) -> Step {
        let Some(block) = &mut self.block else {
            return Err(Fatal::protocol("CONTINUATION without HEADERS"));
        };
        block.continuations += 1;
        if block.continuations > self.limits.continuations {
            return Err(self.abused(Abuse::Continuation));
        }
        self.fragment_starts(frame.length, 0)?;
        Ok(Some((0, None)))
    }

    /// `length` bytes of header block, then `pad` of padding, follow and are gathered.
    fn fragment_starts(&mut self, length: u32, pad: u32) -> Result<(), Fatal> {
        // Compression makes blocks smaller; those that are larger than what they may decode to are made to cost.
        if self.fragment.len() + length as usize > self.limits.head_bytes.max(self.limits.frame_bytes as usize) {
            return Err(self.abused(Abuse::HeadBytes));
        }
        (self.rest, self.pad, self.phase) = (length, pad, Phase::Block);
        Ok(())
    }

    pub(super) fn on_block_piece(&mut self, input: &[u8], head: &mut Head) -> Step {
        let n = input.len().min(self.rest as usize);
        if n == 0 && self.rest > 0 {
            return Ok(None);
        }
        self.fragment.extend_from_slice(input.get(..n).unwrap_or(&[]));
        self.rest -= n as u32;
        if self.rest > 0 {
            return Ok(Some((n, None)));
        }
        let pad = std::mem::take(&mut self.pad);
        self.skip(pad);
        if !self.frame.has(flag::END_HEADERS) {
            return Ok(Some((n, None)));
        }
        let Some(block) = self.block.take() else { return Ok(Some((n, None))) };
        let mut fragment = std::mem::take(&mut self.fragment);
        let event = self.on_block(block, &fragment, head)?;
        fragment.clear();
        self.fragment = fragment;
        Ok(Some((n, event)))
    }

    /// A complete header block.
    #[inline]
    fn on_block(&mut self, block: Block, bytes: &[u8], head: &mut Head) -> Result<Option<Event>, Fatal> {
        match self.streams.find(block.stream) {
            Some(slot) => self.on_open_stream(block, slot, bytes, head),
            None if self.role == Role::Server && block.stream > self.peer_last => self.on_request(block, bytes, head),
            None => {
                // In flight when we ended the stream.
                self.count_control(Abuse::Stray)?;
                self.read(Section::Ignored, block, bytes, head)?;
                Ok(None)
            }
        }
    }

    /// Decodes a block into `head`.
    #[inline]
    fn read(&mut self, section: Section, block: Block, bytes: &[u8], head: &mut Head) -> Result<Read, Fatal> {
        let limits = &self.limits;
        let from_server = self.role == Role::Client;
        let most = (limits.head_bytes, limits.fields);
        let known = &mut self.known_authority;
        let mut message = Message::new(head, known, Version::Http2, section, from_server, most);
        let decoded = self.decoder.decode(bytes, |field| message.field(&field));
        let verdict = message.finish(block.end, limits.connect_protocol);
        let read = Read {
            verdict,
            bytes: u32::try_from(message.bytes).unwrap_or(u32::MAX),
            content_length: message.content_length,
            scheme: message.scheme,
            protocol: message.protocol,
        };
        match decoded {
            Ok(()) => Ok(read),
            Err(DecodeError::Stopped(FarTooLarge(excess))) => Err(self.abused(excess.into())),
            Err(DecodeError::Fault(Fault::NameCopies)) => Err(self.abused(Abuse::NameCopies)),
            Err(DecodeError::Fault(fault)) => Err(Fatal::new(ErrorCode::COMPRESSION_ERROR, fault.as_str())),
        }
    }

    /// A request opens a stream.
    #[inline]
    fn on_request(&mut self, block: Block, bytes: &[u8], head: &mut Head) -> Result<Option<Event>, Fatal> {
        let id = block.stream;
        if id > self.peer_last + 2 || (self.peer_last == 0 && id > 1) {
            self.skipped = self.peer_last + 1..id;
        }
        self.peer_last = id;
        if matches!(self.going, Going::Last(_)) {
            self.read(Section::Ignored, block, bytes, head)?;
            self.count_control(Abuse::Stray)?;
            return Ok(None);
        }
        let read = self.read(Section::Request, block, bytes, head)?;
        let fault = match read.verdict {
            Verdict::TooLarge(excess) => return self.refuse_too_large(block, excess.into()),
            Verdict::Malformed => Some(ErrorCode::PROTOCOL_ERROR),
            Verdict::Good if block.self_dependent => Some(ErrorCode::PROTOCOL_ERROR),
            Verdict::Good => self.admission_fault(read.bytes),
        };
        if let Some(code) = fault {
            return self.refuse(block, code);
        }
        (self.scheme, self.protocol) = (read.scheme, read.protocol);
        let priority = self.request_priority(id, head);
        let connect = head.method() == Method::Connect;
        let recv_window = self.recv_window_initial();
        self.head_bytes += read.bytes as usize;
        self.explained = self.explained.saturating_add(2).min(EXPLAINED_MAX);
        self.streams.insert(Stream {
            id,
            send_window: self.peer.initial_window,
            recv_window,
            body_left: read.content_length.unwrap_or(UNKNOWN),
            head_bytes: read.bytes,
            recv_open: !block.end,
            head_received: true,
            connect,
            priority,
            ..Stream::default()
        });
        Ok(Some(Event::Head { stream: id, end: block.end }))
    }

    /// Whether one more stream fits: their number and the connection's memory.
    #[inline]
    fn admission_fault(&mut self, bytes: u32) -> Option<ErrorCode> {
        if self.streams.len() >= self.limits.streams {
            if self.settings_acked {
                self.note(Abuse::Streams);
            }
            return Some(ErrorCode::REFUSED_STREAM);
        }
        if self.budgeted() + bytes as usize > self.limits.memory_bytes {
            self.note(Abuse::Memory);
            return Some(ErrorCode::REFUSED_STREAM);
        }
        None
    }

    /// A new stream's receive window: until the peer acknowledged our settings it may use the default one.
    #[inline]
    pub(super) fn recv_window_initial(&self) -> i32 {
        let size = self.limits.stream_window;
        (if self.settings_acked { size } else { size.max(WINDOW_DEFAULT) }) as i32
    }

    /// The priority of a new request: a PRIORITY_UPDATE that came before it, its field, or the default (RFC 9218).
    #[inline]
    fn request_priority(&mut self, id: u32, head: &Head) -> Priority {
        if !self.early.is_empty()
            && let Some(at) = self.early.iter().position(|(early, _)| *early == id)
        {
            return self.early.swap_remove(at).1;
        }
        head.get(FieldId::Priority).map(Priority::parse).unwrap_or_default()
    }

    /// Ends a stream that nobody was told of.
    #[cold]
    fn refuse(&mut self, block: Block, code: ErrorCode) -> Result<Option<Event>, Fatal> {
        let allowance = (!block.end).then_some(self.recv_window_initial() as u32);
        self.write_reset(block.stream, code, allowance);
        // Before it knows the limit, a client may open too many streams in good faith, but not without end.
        self.refused_early = self.refused_early.saturating_add(u32::from(!self.settings_acked));
        let good_faith = !self.settings_acked && self.refused_early <= self.limits.streams.saturating_mul(GOOD_FAITH);
        if code != ErrorCode::REFUSED_STREAM || !good_faith {
            self.count_reset(Abuse::ProvokedReset)?;
        }
        self.count_reply(13)?;
        Ok(None)
    }

    /// Answers a request whose head is too large with 431 (RFC 9113, section 10.5.1).
    #[cold]
    fn refuse_too_large(&mut self, block: Block, abuse: Abuse) -> Result<Option<Event>, Fatal> {
        self.note(abuse);
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEADER_BYTES]);
        self.encoder.begin(&mut self.out);
        self.encoder.status(&mut self.out, 431);
        finish_headers(&mut self.out, start, block.stream, true, PAYLOAD_MAX);
        self.count_reply(self.out.len() - start)?;
        if block.end {
            return self.count_reset(Abuse::ProvokedReset).map(|()| None);
        }
        self.refuse(block, ErrorCode::NO_ERROR)
    }

    /// A response, or trailers.
    fn on_open_stream(
        &mut self,
        block: Block,
        slot: Slot,
        bytes: &[u8],
        head: &mut Head,
    ) -> Result<Option<Event>, Fatal> {
        let stream = self.streams.at(slot);
        let section = match (stream.recv_open, stream.head_received) {
            (false, _) => Section::Ignored,
            (true, false) => Section::Response,
            (true, true) => Section::Trailers,
        };
        let read = self.read(section, block, bytes, head)?;
        if section == Section::Ignored {
            return self.stream_error(block.stream, ErrorCode::STREAM_CLOSED);
        }
        if let Verdict::TooLarge(excess) = read.verdict {
            self.note(excess.into());
            return self.stream_error(block.stream, ErrorCode::ENHANCE_YOUR_CALM);
        }
        if read.verdict == Verdict::Malformed || block.self_dependent {
            return self.stream_error(block.stream, ErrorCode::PROTOCOL_ERROR);
        }
        if section == Section::Response {
            return self.on_response(block, slot, &read, head.status());
        }
        // RFC 9113, section 8.1.1: all that was announced must have come.
        if !matches!(self.streams.at(slot).body_left, 0 | UNKNOWN) {
            return self.stream_error(block.stream, ErrorCode::PROTOCOL_ERROR);
        }
        self.finish_receiving(slot);
        Ok(Some(Event::Trailers { stream: block.stream }))
    }

    /// An interim or final response.
    fn on_response(&mut self, block: Block, slot: Slot, read: &Read, status: u16) -> Result<Option<Event>, Fatal> {
        let event = Event::Head { stream: block.stream, end: block.end };
        if status < 200 {
            self.count_control(Abuse::Stray)?;
            return Ok(Some(event));
        }
        let budget = self.limits.memory_bytes.saturating_sub(self.budgeted());
        if read.bytes as usize > budget {
            self.note(Abuse::Memory);
            return self.stream_error(block.stream, ErrorCode::ENHANCE_YOUR_CALM);
        }
        let stream = self.streams.at(slot);
        let bodiless = stream.bodiless || matches!(status, 204 | 304);
        stream.head_received = true;
        stream.body_left = match read.content_length {
            _ if bodiless => 0,
            _ if stream.connect && status < 300 => UNKNOWN,
            Some(n) => n,
            None => UNKNOWN,
        };
        // RFC 9110, section 8.6: no length where no body can be.
        let wrong_length = status == 204 && read.content_length.unwrap_or(0) != 0;
        if wrong_length || (block.end && !matches!(stream.body_left, 0 | UNKNOWN)) {
            return self.stream_error(block.stream, ErrorCode::PROTOCOL_ERROR);
        }
        stream.head_bytes += read.bytes;
        self.head_bytes += read.bytes as usize;
        if block.end {
            self.finish_receiving(slot);
        }
        Ok(Some(event))
    }
}

/// Most WINDOW_UPDATE frames that are kept as explained in advance.
pub(super) const EXPLAINED_MAX: u16 = 1024;
