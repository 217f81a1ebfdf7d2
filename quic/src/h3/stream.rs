//! The state of one request stream.
use super::varint::Cut;

/// What the next byte of a stream belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A frame's type and length.
    Frame,
    /// A HEADERS frame's field section.
    Section,
    /// A DATA frame's data.
    Data,
    /// A payload that nobody wants.
    Skip,
    /// Nothing is read before the field section that waits for the table.
    Blocked,
    /// Nobody wants what still comes.
    Done,
}

/// How much of the message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No head, or interim responses only.
    Head,
    /// The head.
    Body,
    /// Head, body and trailers.
    Trailers,
}

/// Frames that carry nothing and do not count, on each stream: senders end a body with an empty DATA frame, and try
/// whether we pass over what we do not know.
const IDLE_FRAMES_FREE: u8 = 2;

/// The length of a body that nobody announced.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// What the engine knows of one request stream: what the peer sends on it. The owner keeps it beside the QUIC stream,
/// and says [`super::Connection::cancelled`] before it drops one whose message has not been read to its end.
#[derive(Debug)]
pub struct Stream {
    pub(super) phase: Phase,
    pub(super) stage: Stage,
    /// The request was HEAD (client).
    pub(super) head_only: bool,
    /// The request is a CONNECT; in the client, one that was not refused.
    pub(super) connect: bool,
    /// Nothing follows the section that waits for the table.
    pub(super) fin: bool,
    /// Frames that carried nothing.
    pub(super) idle_frames: u8,
    /// The header of the frame that begins.
    pub(super) cut: Cut,
    /// Bytes of the frame's payload still to come.
    pub(super) rest: u64,
    /// Bytes that DATA frames must still announce, or [`UNKNOWN`].
    pub(super) body_left: u64,
    /// What has come of a HEADERS frame that is not complete, or waits for the table.
    pub(super) section: Vec<u8>,
}

impl Default for Stream {
    fn default() -> Stream {
        Stream::new()
    }
}

impl Stream {
    /// A stream of which nothing has come.
    pub fn new() -> Stream {
        Stream {
            phase: Phase::Frame,
            stage: Stage::Head,
            head_only: false,
            connect: false,
            fin: false,
            idle_frames: 0,
            cut: Cut::default(),
            rest: 0,
            body_left: UNKNOWN,
            section: Vec::new(),
        }
    }

    /// A stream on which a request was sent (client): whether its method is HEAD, or CONNECT.
    pub(crate) fn asking(head_only: bool, connect: bool) -> Stream {
        Stream { head_only, connect, ..Stream::new() }
    }

    /// Whether a frame that carries nothing, and that begins, is one too many not to count.
    pub(super) fn is_idling(&mut self) -> bool {
        self.idle_frames = self.idle_frames.saturating_add(1);
        self.idle_frames > IDLE_FRAMES_FREE
    }

    /// Whether all of the peer's message that was announced is there.
    #[inline]
    pub(super) fn is_body_complete(&self) -> bool {
        matches!(self.body_left, 0 | UNKNOWN)
    }

    /// Whether the final head of the peer's message has come.
    pub fn has_head(&self) -> bool {
        self.stage != Stage::Head
    }

    /// Whether the stream waits for the peer's encoder stream; until [`super::Connection::next_unblocked`] names it,
    /// nothing of it is read.
    pub fn is_blocked(&self) -> bool {
        self.phase == Phase::Blocked
    }

    /// Whether nothing that may still come is wanted: the message was read to its end, or there was an error.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }
}

const _: () = assert!(size_of::<Stream>() <= 64);
