//! The connection: what its parts are, and its own unidirectional streams.
use super::{
    Abuse, AbuseCounts, Fatal, Limits, Protocol, Scheme, Stream,
    control::ControlIn,
    frame::{kind, write_header},
    limits::{CONTROL_MS, EXPLAINED_BY_HEAD, EXPLAINED_MAX, INSTRUCTION_BYTES, RESETS_MS},
    qpack::{Decoder, Encoder},
    settings::{self, Peer},
    uni::Kind,
    varint,
};
use edge_io::message::{KnownAuthority, Priority, Rate};
use std::{collections::VecDeque, ops::Range};

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads requests.
    Server,
    /// Sends requests.
    Client,
}

/// What [`Connection::receive`] found on a request stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `head` was filled: a request (server), or an interim or final response (client). Of a request,
    /// [`Connection::scheme`] and [`Connection::protocol`] tell more until the next call.
    Head {
        /// No body and no trailers follow. If the stream's end comes later, [`Event::End`] says so.
        end: bool,
    },
    /// A piece of the body.
    Data {
        /// Where in the input of this call it is; not empty.
        range: Range<usize>,
        /// It is the last piece and no trailers follow.
        end: bool,
    },
    /// `head` was filled with trailers: the message is complete. No [`Event::End`] follows.
    Trailers,
    /// The message is complete, without trailers.
    End,
    /// The head or the trailers wait for the peer's encoder stream: give this stream's input again once
    /// [`Connection::next_unblocked`] has named it and [`Connection::resume`] has filled the head.
    Blocked,
}

/// What came on the peer's control stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The peer's settings.
    Settings,
    /// The peer goes away. A client's requests on this stream and higher ones were not processed; what a server is told
    /// is a push id, and means nothing. It never grows.
    GoAway(u64),
    /// What the peer wants the priority of a request's response to be (server; RFC 9218, section 7.2). The stream may
    /// not be open yet, or not any more; whether the peer may open it is not checked.
    PriorityUpdate {
        /// The id of a request stream.
        stream: u64,
        /// Its priority from now on.
        priority: Priority,
    },
}

/// Our own unidirectional streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// SETTINGS and GOAWAY.
    Control,
    /// QPACK's encoder stream (RFC 9204, section 4.2).
    Encoder,
    /// QPACK's decoder stream.
    Decoder,
}

/// One HTTP/3 connection; see the [module](super).
pub struct Connection {
    pub(super) role: Role,
    pub(super) limits: Limits,
    pub(super) now_ms: u64,
    pub(super) dead: Option<Fatal>,

    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) known_authority: KnownAuthority,
    /// Of the last request.
    pub(super) scheme: Scheme,
    pub(super) protocol: Protocol,
    /// The content-length of the last final response (client).
    pub(super) last_length: Option<u64>,

    control_out: Vec<u8>,
    /// The types of the encoder's and of the decoder's stream were written.
    encoder_begun: bool,
    decoder_begun: bool,

    pub(super) control_in: ControlIn,
    pub(super) peer: Peer,
    /// Bit `kind`: the peer has opened that stream.
    pub(super) opened: u8,
    pub(super) max_push_id: Option<u64>,
    pub(super) peer_going: Option<u64>,
    going: Option<u64>,
    pub(super) controls: VecDeque<Control>,

    /// Streams whose sections wait, and for how many insertions.
    pub(super) blocked: Vec<(u64, u64)>,
    /// Bytes of sections that are not complete, or wait.
    pub(super) held: usize,

    resets: Rate,
    control_frames: Rate,
    /// Bytes of QPACK instructions that messages so far explain.
    explained: u32,
    /// Bytes of others that did not make a control frame yet.
    unexplained: usize,
    pub(super) abuses: AbuseCounts,
}

impl Connection {
    /// A connection that has its first bytes in [`Connection::out`]. `now_ms` is a monotonic clock.
    pub fn new(role: Role, limits: &Limits, now_ms: u64) -> Connection {
        let limits = limits.bounded();
        let mut control_out = Vec::with_capacity(48);
        varint::write(Kind::Control as u64, &mut control_out);
        settings::write(role, &limits, now_ms, &mut control_out);
        Connection {
            role,
            now_ms,
            dead: None,
            decoder: Decoder::new(limits.table_bytes, limits.blocked_streams),
            encoder: Encoder::new(),
            known_authority: KnownAuthority::NONE,
            scheme: Scheme::Other,
            protocol: Protocol::None,
            last_length: None,
            control_out,
            encoder_begun: false,
            decoder_begun: false,
            control_in: ControlIn::default(),
            peer: Peer::default(),
            opened: 0,
            max_push_id: None,
            peer_going: None,
            going: None,
            controls: VecDeque::new(),
            blocked: Vec::new(),
            held: 0,
            resets: Rate::default(),
            control_frames: Rate::default(),
            explained: EXPLAINED_BY_HEAD,
            unexplained: 0,
            abuses: [0; Abuse::ALL.len()],
            limits,
        }
    }

    /// Bytes to write on one of our unidirectional streams, its type before all others: take off the front what QUIC
    /// took. Those for the encoder and the decoder are empty until they are needed.
    pub fn out(&mut self, which: Own) -> &mut Vec<u8> {
        let (out, begun, kind) = match which {
            Own::Control => return &mut self.control_out,
            Own::Encoder => (self.encoder.out(), &mut self.encoder_begun, Kind::Encoder),
            Own::Decoder => (self.decoder.out(), &mut self.decoder_begun, Kind::Decoder),
        };
        if !*begun && !out.is_empty() {
            *begun = true;
            out.insert(0, kind as u8);
        }
        out
    }

    /// Whether [`Connection::out`] holds something for any of our streams.
    #[inline]
    pub fn has_out(&self) -> bool {
        !self.control_out.is_empty() || self.encoder.has_out() || self.decoder.has_out()
    }

    /// Tells the peer that requests on this stream and higher ones are not processed (server; RFC 9114, section 5.2), or
    /// that we go away (client: a push id, 0). To drain gracefully, say first 2^62-4 and later the first stream that
    /// was not read. An id that is not lower than the last one is not told again.
    pub fn go_away(&mut self, id: u64) {
        if self.going.is_some_and(|before| id >= before) {
            return;
        }
        self.going = Some(id);
        let mut payload = Vec::with_capacity(8);
        varint::write(id, &mut payload);
        write_header(kind::GOAWAY, payload.len() as u64, &mut self.control_out);
        self.control_out.extend_from_slice(&payload);
    }

    /// Whether the peer's SETTINGS have come.
    pub fn peer_settled(&self) -> bool {
        self.peer.settled
    }

    /// Whether the server offers extended CONNECT (client; RFC 9220, section 3).
    pub fn peer_allows_connect_protocol(&self) -> bool {
        self.peer.connect_protocol
    }

    /// The largest field section that the peer takes, in bytes as it counts them (each field with 32 more), if it told
    /// (RFC 9114, section 4.2.2). It is advice: nothing here refuses to write a larger one.
    pub fn peer_head_bytes_max(&self) -> Option<u64> {
        self.peer.head_bytes
    }

    /// The scheme of the request of the last [`Event::Head`] (server).
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What the last [`Event::Head`] asks to switch to, if it is an extended CONNECT (server).
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What came on the peer's control stream, in order, but that of several settings of one stream's priority only the
    /// last is told.
    pub fn next_control(&mut self) -> Option<Control> {
        self.controls.pop_front()
    }

    /// The peer has reset a request stream, or asked us to stop one.
    ///
    /// # Errors
    /// When it has done so too often (`Limits::resets`): H3_EXCESSIVE_LOAD.
    pub fn reset_by_peer(&mut self, now_ms: u64) -> Result<(), Fatal> {
        self.alive(now_ms)?;
        self.count_reset(Abuse::RapidReset).map_err(|fatal| self.die(fatal))
    }

    /// The peer has asked us to stop one of our unidirectional streams, which no connection can do without (RFC 9114,
    /// section 6.2.1): the connection ends with H3_CLOSED_CRITICAL_STREAM.
    pub fn own_was_stopped(&mut self) -> Fatal {
        self.dead.unwrap_or_else(|| self.die(super::uni::CLOSED))
    }

    /// Counts of each kind of [`Abuse`] since the last call, by `Abuse as usize`.
    pub fn limits_hit(&mut self) -> AbuseCounts {
        std::mem::replace(&mut self.abuses, [0; Abuse::ALL.len()])
    }

    /// Bytes of memory that the connection holds, itself and the incomplete heads of its streams included.
    pub fn memory(&self) -> usize {
        size_of::<Connection>()
            + self.decoder.memory()
            + self.encoder.memory()
            + self.control_out.capacity()
            + self.control_in.memory()
            + self.controls.capacity() * size_of::<Control>()
            + self.blocked.capacity() * size_of::<(u64, u64)>()
            + self.held
    }

    /// Gives back buffers that hold nothing: for a connection that falls idle.
    pub fn release_memory(&mut self) {
        self.control_out.shrink_to_fit();
        self.encoder.out().shrink_to_fit();
        self.decoder.out().shrink_to_fit();
        self.control_in.release_memory();
        self.controls.shrink_to_fit();
        self.blocked.shrink_to_fit();
    }

    #[inline]
    pub(super) fn is_dead(&self) -> bool {
        self.dead.is_some()
    }

    /// Takes the time, unless the connection has ended.
    #[inline]
    pub(super) fn alive(&mut self, now_ms: u64) -> Result<(), Fatal> {
        if let Some(fatal) = self.dead {
            return Err(fatal);
        }
        self.now_ms = now_ms;
        Ok(())
    }

    /// The connection has ended: every later call tells why.
    #[cold]
    pub(super) fn die(&mut self, fatal: Fatal) -> Fatal {
        if let Some(abuse) = fatal.abuse {
            self.note(abuse);
        }
        *self.dead.insert(fatal)
    }

    #[cold]
    pub(super) fn note(&mut self, abuse: Abuse) {
        if let Some(count) = self.abuses.get_mut(abuse as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts a reset, or a stream error.
    pub(super) fn count_reset(&mut self, abuse: Abuse) -> Result<(), Fatal> {
        match self.resets.exceeds(self.now_ms, RESETS_MS, self.limits.resets) {
            true => Err(Fatal::abuse(abuse)),
            false => Ok(()),
        }
    }

    /// Counts a frame of a request stream that carries nothing, unless it is one of the stream's first.
    pub(super) fn count_idle(&mut self, stream: &mut Stream, abuse: Abuse) -> Result<(), Fatal> {
        if stream.is_idling() { self.count_control(abuse) } else { Ok(()) }
    }

    /// Counts a frame that costs more than it tells.
    pub(super) fn count_control(&mut self, abuse: Abuse) -> Result<(), Fatal> {
        match self.control_frames.exceeds(self.now_ms, CONTROL_MS, self.limits.control_frames) {
            true => Err(Fatal::abuse(abuse)),
            false => Ok(()),
        }
    }

    /// A message explains some instructions for the tables.
    #[inline]
    pub(super) fn explain(&mut self) {
        self.explained = (self.explained + EXPLAINED_BY_HEAD).min(EXPLAINED_MAX);
    }

    /// Counts bytes of instructions; those that nothing explains as control frames.
    pub(super) fn count_instructions(&mut self, bytes: usize) -> Result<(), Fatal> {
        let explained = (self.explained as usize).min(bytes);
        self.explained -= explained as u32;
        self.unexplained += bytes - explained;
        while self.unexplained >= INSTRUCTION_BYTES {
            self.unexplained -= INSTRUCTION_BYTES;
            self.count_control(Abuse::Instructions)?;
        }
        Ok(())
    }
}
