//! The peer's unidirectional streams (RFC 9114, section 6.2; RFC 9204, section 4.2).
use super::{
    Abuse, Connection, ErrorCode, Fatal, Role,
    varint::{self, Cut},
};

/// Types of unidirectional streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Control = 0x0,
    Encoder = 0x2,
    Decoder = 0x3,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The type has not come.
    #[default]
    New,
    Known(Kind),
    /// Of a type that we do not know: nothing of it is read.
    Unknown,
}

/// What the engine knows of one of the peer's unidirectional streams.
#[derive(Debug, Default)]
pub struct Uni {
    state: State,
    cut: Cut,
}

/// What is to be done with a unidirectional stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UniNext {
    /// Read on.
    More,
    /// Ask the peer to stop, with this code, and read no more of it.
    Stop(ErrorCode),
}

impl Uni {
    /// A stream of which nothing has come.
    pub fn new() -> Uni {
        Uni::default()
    }

    /// Whether the connection cannot do without it.
    pub fn is_critical(&self) -> bool {
        matches!(self.state, State::Known(_))
    }
}

impl Connection {
    /// Reads all of `input`; `fin`: nothing follows it. Then ask [`Connection::next_control`] and
    /// [`Connection::next_unblocked`].
    ///
    /// # Errors
    /// A connection error; it is told again on every later call.
    pub fn receive_uni(&mut self, uni: &mut Uni, input: &[u8], fin: bool, now_ms: u64) -> Result<UniNext, Fatal> {
        self.alive(now_ms)?;
        self.on_uni(uni, input, fin).map_err(|fatal| self.die(fatal))
    }

    fn on_uni(&mut self, uni: &mut Uni, mut input: &[u8], fin: bool) -> Result<UniNext, Fatal> {
        if uni.state == State::New {
            let (n, kind) = uni.cut.read(input, varint::read);
            let Some(kind) = kind else {
                // That may be (RFC 9114, section 6.2), but not without end.
                return if fin {
                    self.count_control(Abuse::UnknownStream).map(|()| UniNext::More)
                } else {
                    Ok(UniNext::More)
                };
            };
            input = input.get(n..).unwrap_or(&[]);
            uni.state = self.on_uni_type(kind)?;
            if uni.state == State::Unknown {
                return Ok(UniNext::Stop(ErrorCode::H3_STREAM_CREATION_ERROR));
            }
        }
        match uni.state {
            State::New | State::Unknown => return Ok(UniNext::More),
            State::Known(Kind::Control) => self.on_control_stream(input)?,
            State::Known(Kind::Encoder) => {
                self.count_instructions(input.len())?;
                self.decoder.on_encoder_stream(input).map_err(super::heads::fatal)?;
            }
            State::Known(Kind::Decoder) => {
                self.count_instructions(input.len())?;
                self.encoder.on_decoder_stream(input).map_err(super::heads::fatal)?;
            }
        }
        if fin { Err(CLOSED) } else { Ok(UniNext::More) }
    }

    fn on_uni_type(&mut self, kind: u64) -> Result<State, Fatal> {
        let kind = match kind {
            0x0 => Kind::Control,
            0x1 if self.role == Role::Server => {
                return Err(Fatal::new(ErrorCode::H3_STREAM_CREATION_ERROR, "a push stream of a client"));
            }
            // We never allow one (RFC 9114, section 4.6).
            0x1 => return Err(Fatal::id("a push stream that was not allowed")),
            0x2 => Kind::Encoder,
            0x3 => Kind::Decoder,
            _ => {
                self.count_control(Abuse::UnknownStream)?;
                return Ok(State::Unknown);
            }
        };
        let bit = 1 << kind as u8;
        if self.opened & bit != 0 {
            return Err(Fatal::new(ErrorCode::H3_STREAM_CREATION_ERROR, "a second stream of its type"));
        }
        self.opened |= bit;
        Ok(State::Known(kind))
    }

    /// The peer has reset one of its unidirectional streams.
    ///
    /// # Errors
    /// When the connection cannot do without it: H3_CLOSED_CRITICAL_STREAM. When there are too many such streams.
    pub fn uni_was_reset(&mut self, uni: &Uni) -> Result<(), Fatal> {
        if let Some(fatal) = self.dead {
            return Err(fatal);
        }
        let verdict = match uni.state {
            State::New => self.count_control(Abuse::UnknownStream),
            State::Unknown => Ok(()),
            State::Known(_) => Err(CLOSED),
        };
        verdict.map_err(|fatal| self.die(fatal))
    }
}

pub(super) const CLOSED: Fatal = Fatal::new(ErrorCode::H3_CLOSED_CRITICAL_STREAM, "a critical stream was closed");
