//! The connection: what its parts are, how it begins and ends, and its queue of output.
use super::{
    Abuse, AbuseCounts, ErrorCode, Fatal, Limits, PREFACE, Priority, Protocol, Scheme,
    control::Peer,
    flow::{Receive, RecentResets, WINDOW_DEFAULT},
    frame::{FrameHeader, kind, setting, write_go_away, write_header, write_settings, write_u32},
    hpack::{Decoder, Encoder, TABLE_BYTES_DEFAULT},
    limits::{CONTROL_MS, RESETS_MS},
    priority::Waiting,
    stream::Streams,
};
use crate::message::{KnownAuthority, Rate};
use std::ops::Range;

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads requests.
    Server,
    /// Sends requests.
    Client,
}

/// What [`Connection::receive`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `head` was filled: a request (server), or an interim or final response (client). Of a request,
    /// [`Connection::scheme`] and [`Connection::protocol`] tell more until the next call.
    Head {
        /// Its stream.
        stream: u32,
        /// No body and no trailers follow.
        end: bool,
    },
    /// A piece of a body; say [`Connection::consumed`] when done with it.
    Data {
        /// Its stream.
        stream: u32,
        /// Where in the input of this call it is; may be empty at the end.
        range: Range<usize>,
        /// It is the last piece and no trailers follow.
        end: bool,
    },
    /// `head` was filled with trailers: the peer's message is complete.
    Trailers {
        /// Its stream.
        stream: u32,
    },
    /// The stream is gone, in both directions.
    Reset {
        /// Which.
        stream: u32,
        /// Why.
        code: ErrorCode,
        /// The peer said so; otherwise it broke a rule and this side ended the stream.
        by_peer: bool,
        /// The peer has not processed the request: it can be sent again elsewhere (RFC 9113, section 8.7).
        unprocessed: bool,
    },
    /// A window grew: streams that were blocked can go on.
    Writable,
    /// The peer takes no new streams. [`Event::Reset`]s follow for those that it did not process.
    GoAway {
        /// The last of our streams that it may have processed.
        last_stream: u32,
        /// Why.
        code: ErrorCode,
    },
    /// The peer's settings came, or changed; blocked streams may be able to go on.
    Settings,
    /// The answer to a [`Connection::ping`].
    Pong(
        /// Its eight bytes.
        [u8; 8],
    ),
    /// So many frames came that nobody is told of that others should have their turn; call again then.
    Busy,
}

/// How far the end of the connection, as this side wants it, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Going {
    No,
    /// "No new streams" was said without a last one: it may not have arrived.
    Announced,
    /// Streams above this one are ignored.
    Last(u32),
}

/// What the next byte of input belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client's preface, of which so many bytes have come.
    Preface(u8),
    /// A frame header, and what is read together with it.
    Frame,
    /// A DATA frame's data.
    Data,
    /// A part of a header block.
    Block,
    /// A payload that nobody wants.
    Skip,
}

/// One HTTP/2 connection; see the [module](super).
pub struct Connection {
    pub(super) role: Role,
    pub(super) limits: Limits,
    pub(super) now_ms: u64,
    pub(super) dead: Option<Fatal>,

    pub(super) phase: Phase,
    pub(super) frames: u64,
    /// Streams refused before the peer can have known the limit.
    pub(super) refused_early: u32,
    /// The frame that is being read, its payload still to come, and the padding behind that.
    pub(super) frame: FrameHeader,
    pub(super) rest: u32,
    pub(super) pad: u32,
    pub(super) block: Option<super::heads::Block>,
    pub(super) fragment: Vec<u8>,
    pub(super) decoder: Decoder,
    pub(super) known_authority: KnownAuthority,
    /// Of the last request.
    pub(super) scheme: Scheme,
    pub(super) protocol: Protocol,

    pub(super) encoder: Encoder,
    pub(super) out: Vec<u8>,
    /// How much of `out` is written already.
    pub(super) out_start: usize,
    pub(super) control: ControlOut,

    pub(super) streams: Streams,
    pub(super) waiting: Waiting,
    /// Streams whose turn to send has come, and which have not sent since.
    pub(super) called: u32,
    /// What the heads of all open streams count.
    pub(super) head_bytes: usize,
    /// The highest id that the peer opened (server), or 0.
    pub(super) peer_last: u32,
    /// Ids that the peer passed over last.
    pub(super) skipped: Range<u32>,
    /// The next id that this side opens (client).
    pub(super) next_id: u32,
    pub(super) recent: RecentResets,
    /// Priorities of streams that are not open yet.
    pub(super) early: Vec<(u32, Priority)>,

    pub(super) receive: Receive,
    pub(super) send_window: i32,
    pub(super) peer: Peer,
    pub(super) settings_acked: bool,
    pub(super) going: Going,
    /// The last of our streams that the peer will process, once it said GOAWAY.
    pub(super) peer_going: Option<u32>,
    /// Streams above `peer_going` may still be in the table.
    pub(super) sweep: Option<ErrorCode>,

    pub(super) resets: Rate,
    pub(super) control_frames: Rate,
    /// WINDOW_UPDATE frames that streams and data so far explain.
    pub(super) explained: u16,
    pub(super) abuses: AbuseCounts,
}

impl Connection {
    /// A connection whose first bytes, a client's preface among them, are in [`Connection::out`].
    pub fn new(role: Role, limits: &Limits, now_ms: u64) -> Connection {
        let limits = limits.bounded();
        // A client's connection carries requests of many users.
        let encoder = Encoder::new(TABLE_BYTES_DEFAULT);
        let mut connection = Connection {
            role,
            now_ms,
            dead: None,
            frames: 0,
            refused_early: 0,
            phase: if role == Role::Server { Phase::Preface(0) } else { Phase::Frame },
            frame: FrameHeader::default(),
            rest: 0,
            pad: 0,
            block: None,
            fragment: Vec::new(),
            decoder: Decoder::new(limits.table_bytes),
            known_authority: KnownAuthority::NONE,
            scheme: Scheme::Other,
            protocol: Protocol::None,
            encoder: if role == Role::Server { encoder } else { encoder.shared() },
            out: Vec::new(),
            out_start: 0,
            control: ControlOut::default(),
            streams: Streams::new(),
            waiting: Waiting::new(),
            called: 0,
            head_bytes: 0,
            peer_last: 0,
            skipped: 0..0,
            next_id: 1,
            recent: RecentResets::default(),
            early: Vec::new(),
            receive: Receive {
                window: limits.connection_window as i32,
                unannounced: 0,
                size: limits.connection_window,
            },
            send_window: WINDOW_DEFAULT as i32,
            peer: Peer::default(),
            settings_acked: false,
            going: Going::No,
            peer_going: None,
            sweep: None,
            resets: Rate::default(),
            control_frames: Rate::default(),
            explained: 0,
            abuses: [0; Abuse::ALL.len()],
            limits,
        };
        connection.begin();
        connection
    }

    /// Queues the preface, SETTINGS, and the connection's window.
    fn begin(&mut self) {
        let server = self.role == Role::Server;
        if !server {
            self.out.extend_from_slice(PREFACE);
        }
        let limits = &self.limits;
        let head_bytes = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
        let entries = [
            (true, setting::HEADER_TABLE_SIZE, limits.table_bytes, TABLE_BYTES_DEFAULT),
            (!server, setting::ENABLE_PUSH, 0, 1),
            (server, setting::MAX_CONCURRENT_STREAMS, limits.streams, u32::MAX),
            (true, setting::INITIAL_WINDOW_SIZE, limits.stream_window, WINDOW_DEFAULT),
            (true, setting::MAX_FRAME_SIZE, limits.frame_bytes, 16_384),
            (true, setting::MAX_HEADER_LIST_SIZE, head_bytes, u32::MAX),
            (server, setting::ENABLE_CONNECT_PROTOCOL, u32::from(limits.connect_protocol), 0),
            (true, setting::NO_RFC7540_PRIORITIES, 1, 0),
        ];
        let mut said = [(0, 0); 8];
        let mut n = 0;
        let differs = entries.iter().filter(|(ours, _, value, default)| *ours && value != default);
        for ((_, id, value, _), place) in differs.zip(&mut said) {
            *place = (*id, *value);
            n += 1;
        }
        write_settings(&mut self.out, said.get(..n).unwrap_or(&said));
        let grown = self.limits.connection_window - WINDOW_DEFAULT;
        if grown > 0 {
            write_u32(&mut self.out, kind::WINDOW_UPDATE, 0, grown);
        }
    }

    /// Bytes to write, in order; [`Connection::sent`] takes off what was written.
    #[inline]
    pub fn out(&self) -> &[u8] {
        self.out.get(self.out_start..).unwrap_or(&[])
    }

    /// The first `n` bytes of [`Connection::out`] were written.
    pub fn sent(&mut self, n: usize) {
        self.out_start = (self.out_start + n).min(self.out.len());
        self.control.sent(n as u64);
        if self.out_start == self.out.len() {
            self.out.clear();
            self.out_start = 0;
            self.control = ControlOut::default();
        } else if self.out_start >= 16 * 1024 && self.out_start * 2 >= self.out.len() {
            // At least as much was written as is moved.
            self.out.copy_within(self.out_start.., 0);
            self.out.truncate(self.out.len() - self.out_start);
            self.out_start = 0;
        }
    }

    /// Bytes that wait to be written.
    #[inline]
    pub(super) fn queued(&self) -> usize {
        self.out.len() - self.out_start
    }

    /// Whether [`Connection::receive`] reads no further requests until some of [`Connection::out`] is written: the peer
    /// asks and does not read.
    #[inline]
    pub fn is_stalled(&self) -> bool {
        self.queued() > self.limits.out_bytes.saturating_mul(2)
    }

    /// Open streams: for a server those whose requests were told with [`Event::Head`].
    #[inline]
    pub fn open_streams(&self) -> usize {
        self.streams.len() as usize
    }

    /// Whether [`Connection::send_request`] would send now (client).
    pub fn can_open(&self) -> bool {
        self.refusal().is_none()
    }

    /// Whether the peer's first SETTINGS have come.
    pub fn has_peer_settings(&self) -> bool {
        self.peer.settings_seen
    }

    /// Whether the peer acknowledged our SETTINGS: if not in time, [`Connection::go_away`] with SETTINGS_TIMEOUT (RFC
    /// 9113, section 6.5.3).
    pub fn is_acknowledged(&self) -> bool {
        self.settings_acked
    }

    /// Whether the preface or a header block is not complete: a peer that stops here holds everything up. Pieces of
    /// DATA may come as slowly as the stream allows. Bytes of `input` that `receive` left are not known here.
    pub fn is_inside_block(&self) -> bool {
        self.block.is_some() || matches!(self.phase, Phase::Preface(_))
    }

    /// Frames that have begun to arrive so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Whether the server offers extended CONNECT (client; RFC 8441, section 3).
    pub fn peer_allows_connect_protocol(&self) -> bool {
        self.peer.connect_protocol
    }

    /// How many streams the peer lets this side open at once (client); no more than our own limit.
    pub fn streams_max(&self) -> usize {
        self.peer.streams.min(self.limits.streams) as usize
    }

    /// The scheme of the request of the last [`Event::Head`] (server).
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What the last [`Event::Head`] asks to switch to, if it is an extended CONNECT (server).
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The priority of an open stream, as the peer last said.
    pub fn priority(&mut self, stream: u32) -> Option<Priority> {
        self.streams.find(stream).map(|slot| self.streams.at(slot).priority)
    }

    /// Gives an open stream another priority, as when its response has a `priority` field (RFC 9218, section 8).
    pub fn set_priority(&mut self, stream: u32, priority: Priority) {
        if let Some(slot) = self.streams.find(stream) {
            self.waiting.change(&mut self.streams, slot, priority);
        }
    }

    /// Counts of each kind of [`Abuse`] since the last call, by `Abuse as usize`.
    pub fn limits_hit(&mut self) -> AbuseCounts {
        std::mem::replace(&mut self.abuses, [0; Abuse::ALL.len()])
    }

    /// Bytes of memory that the connection holds, itself included; heads that the owner keeps for open streams count.
    pub fn memory(&self) -> usize {
        size_of::<Connection>()
            + self.decoder.memory()
            + self.encoder.memory()
            + self.out.capacity()
            + self.fragment.capacity()
            + self.early.capacity() * size_of::<(u32, Priority)>()
            + self.streams.memory()
            + self.recent.memory()
            + self.head_bytes
    }

    /// What counts against `Limits::memory_bytes`.
    #[inline]
    pub(super) fn budgeted(&self) -> usize {
        self.head_bytes + self.fragment.len() + self.queued()
    }

    /// Gives back buffers that hold nothing: for a connection that falls idle.
    pub fn release_memory(&mut self) {
        if self.queued() == 0 {
            self.out = Vec::new();
            self.out_start = 0;
        }
        if self.fragment.is_empty() {
            self.fragment = Vec::new();
        }
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        self.streams.release_memory();
        self.recent.release_memory(self.now_ms);
    }

    /// Ends the connection at once: queues a GOAWAY with the last stream that was read. Write it, then close.
    pub fn go_away(&mut self, code: ErrorCode) {
        self.go_away_last(code, b"");
    }

    pub(super) fn go_away_last(&mut self, code: ErrorCode, detail: &[u8]) {
        let last = match self.going {
            Going::Last(last) => last.min(self.peer_last),
            _ => self.peer_last,
        };
        self.going = Going::Last(last);
        write_go_away(&mut self.out, last, code.0, detail);
    }

    /// Asks the peer to open no more streams, in two steps (RFC 9113, section 6.8): "no more" without a last stream and
    /// a PING; when that is answered, or at the second call, the last stream. What was opened before is finished.
    pub fn go_away_gracefully(&mut self) {
        match self.going {
            Going::No if self.role == Role::Server => {
                self.going = Going::Announced;
                write_go_away(&mut self.out, i32::MAX as u32, ErrorCode::NO_ERROR.0, b"");
                self.ping(DRAIN_PING);
            }
            Going::No | Going::Announced => self.go_away_last(ErrorCode::NO_ERROR, b""),
            Going::Last(_) => {}
        }
    }

    /// Whether this side has said its last stream, and no stream is open: nothing is lost by closing.
    pub fn is_drained(&self) -> bool {
        matches!(self.going, Going::Last(_)) && self.streams.len() == 0
    }

    /// Whether either side has said GOAWAY.
    pub fn is_going_away(&self) -> bool {
        self.going != Going::No || self.peer_going.is_some()
    }

    /// Queues a PING; [`Event::Pong`] brings its eight bytes back.
    pub fn ping(&mut self, data: [u8; 8]) {
        write_header(&mut self.out, 8, kind::PING, 0, 0);
        self.out.extend_from_slice(&data);
    }

    /// Counts an excess; the error that ends the connection for it.
    #[cold]
    pub(super) fn abused(&mut self, abuse: Abuse) -> Fatal {
        self.note(abuse);
        Fatal::abuse(abuse)
    }

    pub(super) fn note(&mut self, abuse: Abuse) {
        if let Some(count) = self.abuses.get_mut(abuse as usize) {
            *count += 1;
        }
    }

    /// Counts a frame that costs work and brings nothing.
    #[inline]
    pub(super) fn count_control(&mut self, abuse: Abuse) -> Result<(), Fatal> {
        let limit = self.limits.control_frames;
        if self.control_frames.exceeds(self.now_ms, CONTROL_MS, limit) { Err(self.abused(abuse)) } else { Ok(()) }
    }

    /// Counts a stream that the peer ended, or made this side end.
    pub(super) fn count_reset(&mut self, abuse: Abuse) -> Result<(), Fatal> {
        let limit = self.limits.resets;
        if self.resets.exceeds(self.now_ms, RESETS_MS, limit) { Err(self.abused(abuse)) } else { Ok(()) }
    }

    /// Notes that `n` bytes were queued that answer the peer's frames.
    pub(super) fn count_reply(&mut self, n: usize) -> Result<(), Fatal> {
        self.control.queued(n, self.queued());
        if self.control.bytes() > self.limits.control_out_bytes {
            return Err(self.abused(Abuse::ControlOutput));
        }
        Ok(())
    }
}

/// What the PING of a graceful end carries.
pub(super) const DRAIN_PING: [u8; 8] = *b"draining";

/// Replies among the queued output: never fewer than there are, at most twice as long ago.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ControlOut {
    /// Replies queued before the mark, and after it.
    before: usize,
    after: usize,
    /// Output up to the mark that is not written.
    to_mark: u64,
}

impl ControlOut {
    /// `n` bytes were queued; now `queued` bytes of output wait.
    #[inline]
    pub(super) fn queued(&mut self, n: usize, queued: usize) {
        if self.to_mark == 0 {
            *self = ControlOut { before: self.after, after: 0, to_mark: queued as u64 };
            self.before += n;
        } else {
            self.after += n;
        }
    }

    #[inline]
    fn sent(&mut self, n: u64) {
        self.to_mark = self.to_mark.saturating_sub(n);
        if self.to_mark == 0 {
            self.before = 0;
        }
    }

    fn bytes(&self) -> usize {
        self.before + self.after
    }
}
