//! What one connection may cost: sizes, rates, and the name of each excess.

/// Bounds of one connection. Sizes are bytes. Windows and the number of streams are QUIC's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A head's or trailer section's fields, each counted as name, value and 32 (RFC 9114, section 4.2.2); also the
    /// most that a HEADERS frame may hold. At most 64 KiB of them can be kept.
    pub head_bytes: usize,
    /// Fields of a head or trailer section, each cookie crumb one, pseudo-header fields none.
    pub fields: usize,
    /// The dynamic table that the peer's encoder may use (SETTINGS_QPACK_MAX_TABLE_CAPACITY); at most 1 MiB.
    pub table_bytes: u32,
    /// Streams whose heads may wait for the table at once (SETTINGS_QPACK_BLOCKED_STREAMS); at most 1024.
    pub blocked_streams: u32,
    /// Offer extended CONNECT (RFC 9220; server).
    pub connect_protocol: bool,
    /// Heads of all streams that are not complete, or wait for the table; above it, streams are refused. As much as
    /// `head_bytes` at least.
    pub memory_bytes: usize,
    /// Streams that the peer resets, and stream errors that it provokes, in 10 seconds.
    pub resets: u32,
    /// In a second: frames on the control stream, unidirectional streams of no known type, QPACK instructions that no
    /// message explains, and on request streams unknown frames, DATA frames without data and interim responses but for
    /// the first two of each stream.
    pub control_frames: u32,
    /// Fields of answers are put into their heads; otherwise they are checked, and the status alone is kept (client).
    pub keep_fields: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 32 * 1024,
            fields: 100,
            table_bytes: 4096,
            blocked_streams: 16,
            connect_protocol: false,
            memory_bytes: 256 * 1024,
            resets: 100,
            control_frames: 1000,
            keep_fields: true,
        }
    }
}

impl Limits {
    /// The same with every value inside the bounds that the engine's own sizes set.
    pub(super) fn bounded(&self) -> Limits {
        Limits {
            table_bytes: self.table_bytes.min(1024 * 1024),
            blocked_streams: self.blocked_streams.min(1024),
            memory_bytes: self.memory_bytes.max(self.head_bytes),
            ..self.clone()
        }
    }
}

/// How long resets are counted together.
pub(super) const RESETS_MS: u64 = 10_000;
/// How long control frames are counted together.
pub(super) const CONTROL_MS: u64 = 1000;
/// Bytes of QPACK instructions that a message explains.
pub(super) const EXPLAINED_BY_HEAD: u32 = 4096;
/// Bytes of QPACK instructions that may be explained in advance.
pub(super) const EXPLAINED_MAX: u32 = 64 * 1024;
/// Bytes of unexplained QPACK instructions that count as one control frame.
pub(super) const INSTRUCTION_BYTES: usize = 16;

edge_io::abuses! {
    /// Streams that the peer resets (`Limits::resets`); the connection ends.
    RapidReset = "rapid_reset",
    /// Stream errors provoked from this side (`Limits::resets`); the connection ends.
    ProvokedReset = "provoked_reset",
    /// A SETTINGS frame too long; the connection ends.
    Settings = "settings",
    /// GOAWAY frames; the connection ends.
    GoAway = "goaway",
    /// MAX_PUSH_ID frames; the connection ends.
    MaxPushId = "max_push_id",
    /// PRIORITY_UPDATE frames; the connection ends.
    PriorityUpdate = "priority_update",
    /// DATA frames without data; the connection ends.
    Empty = "empty_data",
    /// Frames of unknown types; the connection ends.
    Unknown = "unknown_frame",
    /// Unidirectional streams of unknown types; the connection ends.
    UnknownStream = "unknown_stream",
    /// Interim responses; the connection ends.
    Interim = "interim_response",
    /// QPACK instructions that no message explains; the connection ends.
    Instructions = "qpack_instructions",
    /// Entries copied inside the QPACK table; the connection ends.
    Copies = "qpack_copies",
    /// More blocked streams than `Limits::blocked_streams`; the connection ends.
    BlockedStreams = "blocked_streams",
    /// A head larger than `Limits::head_bytes`: 431 or a reset; far larger: the connection ends.
    HeadBytes = "head_bytes",
    /// More fields than `Limits::fields`: 431 or a reset; far more: the connection ends.
    HeadFields = "head_fields",
    /// `Limits::memory_bytes`: the stream is refused.
    Memory = "memory",
    /// The peer gives no room on our decoder stream; the connection ends.
    ControlOutput = "control_output",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_share_a_label() {
        let labels: std::collections::HashSet<_> = Abuse::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(labels.len(), Abuse::ALL.len());
    }
}
