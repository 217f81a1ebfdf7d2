//! HEADERS on request streams: field sections become heads, or wait for the QPACK table.
use super::{
    Abuse, Connection, Error, ErrorCode, Event, Fatal, Protocol, Role, Scheme,
    qpack::{Decode, DecodeError, Fault},
    stream::{Phase, Stage, Stream, UNKNOWN},
};
use edge_io::{
    head::{Head, Method, Version},
    message::{Excess, FarTooLarge, Message, Section, Verdict},
};

/// What a message says beyond its head.
struct Read {
    content_length: Option<u64>,
    scheme: Scheme,
    protocol: Protocol,
}

/// A connection error of QPACK's.
#[cold]
pub(super) fn fatal(fault: Fault) -> Fatal {
    let abuse = match fault {
        Fault::TooManyBlocked => Some(Abuse::BlockedStreams),
        Fault::Copies => Some(Abuse::Copies),
        Fault::Backlog => Some(Abuse::ControlOutput),
        _ => None,
    };
    Fatal { code: ErrorCode(fault.code()), detail: fault.as_str(), abuse }
}

impl Connection {
    /// A HEADERS frame begins.
    #[inline]
    pub(super) fn on_headers(&mut self, stream: &mut Stream, length: u64) -> Result<(), Error> {
        if stream.stage == Stage::Trailers || (stream.stage == Stage::Body && stream.connect) {
            return Err(Fatal::unexpected("HEADERS where none may be").into());
        }
        // Compression makes sections smaller; nothing of one that is larger than what it may decode to is kept.
        if length > self.limits.head_bytes as u64 {
            return Err(self.too_large(stream, Excess::Bytes));
        }
        stream.phase = Phase::Section;
        Ok(())
    }

    /// The next piece of a field section; the last one if the stream wants no more of it.
    #[inline]
    pub(super) fn on_section_piece(
        &mut self,
        stream: &mut Stream,
        id: u64,
        piece: &[u8],
        last: bool,
        head: &mut Head,
    ) -> Result<Option<Event>, Error> {
        if stream.rest == 0 && stream.section.is_empty() {
            return self.on_section(stream, id, piece, last, head).map(Some);
        }
        self.hold(stream, piece)?;
        if stream.rest > 0 {
            return Ok(None);
        }
        let section = self.take_held(stream);
        self.on_section(stream, id, &section, last, head).map(Some)
    }

    /// Keeps a part of a field section with its stream.
    fn hold(&mut self, stream: &mut Stream, piece: &[u8]) -> Result<(), Error> {
        if self.held + piece.len() > self.limits.memory_bytes {
            self.note(Abuse::Memory);
            let code = match self.role {
                Role::Server if stream.stage == Stage::Head => ErrorCode::H3_REQUEST_REJECTED,
                _ => ErrorCode::H3_EXCESSIVE_LOAD,
            };
            return Err(Error::stream(code, Abuse::Memory.as_str()));
        }
        self.held += piece.len();
        stream.section.extend_from_slice(piece);
        Ok(())
    }

    /// What was kept with the stream, which counts no more.
    fn take_held(&mut self, stream: &mut Stream) -> Vec<u8> {
        let section = std::mem::take(&mut stream.section);
        self.held = self.held.saturating_sub(section.len());
        section
    }

    /// A complete field section; `last`: nothing follows it on the stream.
    #[inline]
    fn on_section(
        &mut self,
        stream: &mut Stream,
        id: u64,
        section: &[u8],
        last: bool,
        head: &mut Head,
    ) -> Result<Event, Error> {
        let kind = match (stream.stage, self.role) {
            (Stage::Head, Role::Server) => Section::Request,
            (Stage::Head, Role::Client) => Section::Response,
            _ => Section::Trailers,
        };
        let limits = &self.limits;
        let most = (limits.head_bytes, limits.fields);
        let from_server = self.role == Role::Client;
        let message = Message::new(head, &mut self.known_authority, Version::Http3, kind, from_server, most);
        let mut message = message.keeping(limits.keep_fields || self.role == Role::Server);
        match self.decoder.decode(id, section, |field| message.field(&field)) {
            Ok(Decode::Done) => {}
            Ok(Decode::Blocked { required_insert_count }) => {
                return self.block(stream, id, section, last, required_insert_count);
            }
            Err(DecodeError::Stopped(FarTooLarge(excess))) => return Err(Fatal::abuse(excess.into()).into()),
            Err(DecodeError::Fault(fault)) => return Err(fatal(fault).into()),
        }
        let verdict = message.finish(last || kind == Section::Trailers, limits.connect_protocol);
        let read = Read { content_length: message.content_length, scheme: message.scheme, protocol: message.protocol };
        match verdict {
            Verdict::Good => {}
            Verdict::Malformed => return Err(Error::message("malformed message")),
            Verdict::TooLarge(excess) => return Err(self.too_large(stream, excess)),
        }
        stream.phase = if last { Phase::Done } else { Phase::Frame };
        match kind {
            Section::Request => Ok(self.on_request(stream, &read, last, head)),
            Section::Response => self.on_response(stream, &read, last, head.status()),
            Section::Trailers | Section::Ignored => Connection::on_trailers(stream),
        }
    }

    #[inline]
    fn on_request(&mut self, stream: &mut Stream, read: &Read, last: bool, head: &Head) -> Event {
        (self.scheme, self.protocol) = (read.scheme, read.protocol);
        self.explain();
        stream.connect = head.method() == Method::Connect;
        stream.body_left = read.content_length.unwrap_or(UNKNOWN);
        stream.stage = Stage::Body;
        Event::Head { end: last }
    }

    /// An interim or final response.
    fn on_response(&mut self, stream: &mut Stream, read: &Read, last: bool, status: u16) -> Result<Event, Error> {
        if status < 200 {
            self.count_idle(stream, Abuse::Interim)?;
            return Ok(Event::Head { end: false });
        }
        self.last_length = read.content_length;
        self.on_final(stream, read.content_length, last, status)
    }

    /// A final response.
    #[inline]
    pub(super) fn on_final(
        &mut self,
        stream: &mut Stream,
        content_length: Option<u64>,
        last: bool,
        status: u16,
    ) -> Result<Event, Error> {
        self.explain();
        stream.connect &= status < 300;
        let bodiless = stream.head_only || matches!(status, 204 | 304);
        stream.body_left = match content_length {
            _ if bodiless => 0,
            _ if stream.connect => UNKNOWN,
            length => length.unwrap_or(UNKNOWN),
        };
        // RFC 9110, section 8.6: no length where no body can be.
        let wrong_length = status == 204 && content_length.unwrap_or(0) != 0;
        if wrong_length || (last && !stream.is_body_complete()) {
            return Err(Error::message("a content-length that cannot be"));
        }
        stream.stage = Stage::Body;
        Ok(Event::Head { end: last })
    }

    fn on_trailers(stream: &mut Stream) -> Result<Event, Error> {
        if !stream.is_body_complete() {
            return Err(Error::message("less data than content-length says"));
        }
        stream.stage = Stage::Trailers;
        Ok(Event::Trailers)
    }

    /// A section that is larger than allowed.
    #[cold]
    fn too_large(&mut self, stream: &Stream, excess: Excess) -> Error {
        let abuse = Abuse::from(excess);
        self.note(abuse);
        match self.role {
            // RFC 9114, section 4.2.2; what is left of the request need not come (section 4.1.1).
            Role::Server if stream.stage == Stage::Head => {
                Error::Stream { code: ErrorCode::H3_NO_ERROR, detail: abuse.as_str(), respond: Some(431) }
            }
            _ => Error::stream(ErrorCode::H3_EXCESSIVE_LOAD, abuse.as_str()),
        }
    }

    /// A section that needs entries which the encoder stream has not brought yet.
    #[cold]
    fn block(
        &mut self,
        stream: &mut Stream,
        id: u64,
        section: &[u8],
        last: bool,
        required_insert_count: u64,
    ) -> Result<Event, Error> {
        self.hold(stream, section)?;
        self.blocked.push((id, required_insert_count));
        stream.fin = last;
        stream.phase = Phase::Blocked;
        Ok(Event::Blocked)
    }

    /// A stream whose head or trailers can be read now: call [`Connection::resume`] for it. Ask until there is none.
    pub fn next_unblocked(&mut self) -> Option<u64> {
        if self.blocked.is_empty() {
            return None;
        }
        let count = self.decoder.insert_count();
        let at = self.blocked.iter().position(|(_, required)| *required <= count)?;
        Some(self.blocked.remove(at).0)
    }

    /// Reads the head or the trailers that waited for the table: the stream's next event. Then its other input can be
    /// given. `None` if the stream did not wait.
    ///
    /// # Errors
    /// As those of [`Connection::receive`].
    pub fn resume(&mut self, stream: &mut Stream, id: u64, head: &mut Head) -> Result<Option<Event>, Error> {
        if let Some(fatal) = self.dead {
            return Err(fatal.into());
        }
        if stream.phase != Phase::Blocked {
            return Ok(None);
        }
        self.blocked.retain(|(blocked, _)| *blocked != id);
        let section = self.take_held(stream);
        let last = stream.fin;
        match self.on_section(stream, id, &section, last, head) {
            Ok(event) => Ok(Some(event)),
            Err(error) => Err(self.failed(stream, id, error)),
        }
    }

    /// The stream ends before its message was read to its end: it was reset, or nobody wants the rest. Its memory is
    /// given back, and the peer's encoder is told (RFC 9204, section 2.2.2.2).
    pub fn cancelled(&mut self, stream: &mut Stream, id: u64) {
        if stream.phase == Phase::Done {
            return;
        }
        stream.phase = Phase::Done;
        self.take_held(stream);
        self.blocked.retain(|(blocked, _)| *blocked != id);
        self.decoder.cancel_stream(id);
    }
}
