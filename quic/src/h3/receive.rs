//! Request streams: from bytes to frames to events; DATA. HEADERS are in `heads`.
use super::{
    Abuse, Connection, Error, ErrorCode, Event, Fatal, Role,
    frame::{FrameHeader, kind},
    stream::{Phase, Stage, Stream, UNKNOWN},
};
use edge_io::head::Head;

/// A frame that its stream's end cuts off (RFC 9114, section 7.1).
const TRUNCATED: Error = Error::Connection(Fatal::frame("a frame that its stream's end cuts off"));

impl Connection {
    /// Works through what came on a request stream, until there is an event or all of `input` is done with. Returns how
    /// many bytes are done with. Call it again with the others until there is no event. `fin`: nothing follows `input`
    /// on this stream; then the last event is one that says so, or [`Event::Trailers`]. After [`Event::Blocked`],
    /// nothing is taken until [`Connection::resume`].
    ///
    /// Data are not copied. A HEADERS frame is decoded where it is, if all of it is there.
    ///
    /// # Errors
    /// A stream error, after which the stream is done with; or a connection error, which is told again on every later
    /// call.
    #[inline]
    pub fn receive(
        &mut self,
        stream: &mut Stream,
        id: u64,
        input: &[u8],
        fin: bool,
        now_ms: u64,
        head: &mut Head,
    ) -> Result<(usize, Option<Event>), Error> {
        self.alive(now_ms)?;
        self.advance(stream, id, input, fin, head).map_err(|error| self.failed(stream, id, error))
    }

    /// What an error does to the stream and the connection.
    #[cold]
    pub(super) fn failed(&mut self, stream: &mut Stream, id: u64, error: Error) -> Error {
        let error = match error {
            Error::Stream { .. } => self.count_reset(Abuse::ProvokedReset).map_or_else(Error::from, |()| error),
            Error::Connection(_) => error,
        };
        self.cancelled(stream, id);
        match error {
            Error::Connection(fatal) => Error::Connection(self.die(fatal)),
            error => error,
        }
    }

    fn advance(
        &mut self,
        stream: &mut Stream,
        id: u64,
        input: &[u8],
        fin: bool,
        head: &mut Head,
    ) -> Result<(usize, Option<Event>), Error> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or(&[]);
            // What there is of the payload that is being read.
            let n = usize::try_from(stream.rest).map_or(rest.len(), |wanted| wanted.min(rest.len()));
            match stream.phase {
                Phase::Frame if rest.is_empty() => {
                    return if fin { self.on_fin(stream).map(|event| (at, event)) } else { Ok((at, None)) };
                }
                Phase::Frame => {
                    let (n, header) = stream.cut.read(rest, FrameHeader::read);
                    at += n;
                    if let Some(header) = header {
                        self.on_frame(stream, header)?;
                    }
                    continue;
                }
                Phase::Done => return Ok((input.len(), None)),
                Phase::Blocked => {
                    stream.fin |= fin && rest.is_empty();
                    return Ok((at, None));
                }
                Phase::Data | Phase::Section | Phase::Skip if n == 0 && stream.rest > 0 => {
                    return if fin { Err(TRUNCATED) } else { Ok((at, None)) };
                }
                Phase::Data | Phase::Section | Phase::Skip => {}
            }
            let start = at;
            at += n;
            stream.rest -= n as u64;
            let complete = stream.rest == 0;
            let last = fin && at == input.len();
            match stream.phase {
                Phase::Section => {
                    let piece = rest.get(..n).unwrap_or(&[]);
                    if let Some(event) = self.on_section_piece(stream, id, piece, last, head)? {
                        return Ok((at, Some(event)));
                    }
                }
                Phase::Data => {
                    if complete {
                        stream.phase = Phase::Frame;
                    }
                    let end = last && complete && stream.is_body_complete();
                    if end {
                        stream.phase = Phase::Done;
                    }
                    return Ok((at, Some(Event::Data { range: start..at, end })));
                }
                _ if complete => stream.phase = Phase::Frame,
                _ => {}
            }
        }
    }

    /// A frame begins.
    #[inline]
    fn on_frame(&mut self, stream: &mut Stream, frame: FrameHeader) -> Result<(), Error> {
        stream.rest = frame.length;
        match frame.kind {
            kind::HEADERS => self.on_headers(stream, frame.length),
            kind::DATA => self.on_data(stream, frame.length),
            _ => self.on_other(stream, frame),
        }
    }

    #[inline]
    fn on_data(&mut self, stream: &mut Stream, length: u64) -> Result<(), Error> {
        if stream.stage != Stage::Body {
            return Err(Fatal::unexpected("DATA before the head, or behind the trailers").into());
        }
        if length == 0 {
            return self.count_idle(stream, Abuse::Empty).map_err(Error::from);
        }
        if stream.body_left != UNKNOWN {
            let left = stream.body_left.checked_sub(length);
            stream.body_left = left.ok_or(Error::message("more data than content-length says"))?;
        }
        stream.phase = Phase::Data;
        Ok(())
    }

    /// A frame that is neither HEADERS nor DATA.
    #[cold]
    fn on_other(&mut self, stream: &mut Stream, frame: FrameHeader) -> Result<(), Error> {
        let fatal = match frame.kind {
            // We never allowed a push (RFC 9114, section 7.2.5).
            kind::PUSH_PROMISE if self.role == Role::Client => Fatal::id("PUSH_PROMISE that was not allowed"),
            kind::PUSH_PROMISE => Fatal::unexpected("PUSH_PROMISE of a client"),
            kind::SETTINGS
            | kind::GOAWAY
            | kind::CANCEL_PUSH
            | kind::MAX_PUSH_ID
            | kind::PRIORITY_UPDATE
            | kind::PRIORITY_UPDATE_PUSH => Fatal::unexpected("a frame of the control stream on a request's"),
            _ if frame.is_of_http2() => Fatal::unexpected("a frame of HTTP/2"),
            _ => {
                self.count_idle(stream, Abuse::Unknown)?;
                stream.phase = Phase::Skip;
                return Ok(());
            }
        };
        Err(fatal.into())
    }

    /// The end of the stream, between two frames unless one was cut off.
    fn on_fin(&mut self, stream: &mut Stream) -> Result<Option<Event>, Error> {
        if !stream.cut.is_empty() {
            return Err(TRUNCATED);
        }
        match stream.stage {
            Stage::Head if self.role == Role::Server => {
                Err(Error::stream(ErrorCode::H3_REQUEST_INCOMPLETE, "the stream ended before the request's head"))
            }
            Stage::Head => Err(Error::message("the stream ended before the final response")),
            Stage::Body if !stream.is_body_complete() => Err(Error::message("less data than content-length says")),
            Stage::Body => {
                stream.phase = Phase::Done;
                Ok(Some(Event::End))
            }
            Stage::Trailers => {
                stream.phase = Phase::Done;
                Ok(None)
            }
        }
    }
}
