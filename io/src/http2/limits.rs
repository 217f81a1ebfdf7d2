//! What one connection may cost: sizes, rates, and the name of each excess.

/// Bounds of one connection. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams open at once: those that the peer may open (server, SETTINGS_MAX_CONCURRENT_STREAMS), or that we open
    /// at most (client). At most 32,768, whatever stands here.
    pub streams: u32,
    /// Receive window of each stream; below 2^31.
    pub stream_window: u32,
    /// Receive window of the connection; 65,535 to 2^31-1, smaller ones count as 65,535 (RFC 9113, section 6.9.2).
    pub connection_window: u32,
    /// A head's or trailer section's fields, each counted as name, value and 32 (RFC 9113, section 6.5.2). At most
    /// 64 KiB of them can be kept.
    pub head_bytes: usize,
    /// Fields of a head or trailer section, each cookie crumb one, pseudo-header fields none.
    pub fields: usize,
    /// Largest payload of a frame that the peer may send (SETTINGS_MAX_FRAME_SIZE, 16,384 to 2^24-1).
    pub frame_bytes: u32,
    /// The dynamic table that the peer's encoder may use (SETTINGS_HEADER_TABLE_SIZE).
    pub table_bytes: u32,
    /// Heads of all open streams, parts of header blocks, and queued output together; above it, streams are refused.
    pub memory_bytes: usize,
    /// Queued output above which `send_data` takes nothing more; at twice as much no new streams are read.
    pub out_bytes: usize,
    /// Queued replies to control frames (acknowledgements, resets, window updates) that the peer does not read.
    pub control_out_bytes: usize,
    /// RST_STREAM frames of the peer, and stream errors that it provokes, in 10 seconds.
    pub resets: u32,
    /// PING, SETTINGS, GOAWAY, PRIORITY, PRIORITY_UPDATE and unknown frames, DATA frames without data, interim
    /// responses, frames for streams that are gone, and WINDOW_UPDATE frames that neither our data nor new streams
    /// explain, in a second.
    pub control_frames: u32,
    /// CONTINUATION frames of one header block.
    pub continuations: u32,
    /// Offer extended CONNECT (RFC 8441; server).
    pub connect_protocol: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            streams: 128,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            head_bytes: 32 * 1024,
            fields: 100,
            frame_bytes: 16_384,
            table_bytes: 4096,
            memory_bytes: 1024 * 1024,
            out_bytes: 64 * 1024,
            control_out_bytes: 16 * 1024,
            resets: 100,
            control_frames: 1000,
            continuations: 8,
            connect_protocol: false,
        }
    }
}

impl Limits {
    /// The same with every value inside the bounds that the protocol and the engine's own sizes set.
    pub(super) fn bounded(&self) -> Limits {
        const WINDOW_MAX: u32 = i32::MAX as u32;
        Limits {
            streams: self.streams.clamp(1, 32_768),
            stream_window: self.stream_window.clamp(1, WINDOW_MAX),
            connection_window: self.connection_window.clamp(65_535, WINDOW_MAX),
            frame_bytes: self.frame_bytes.clamp(16_384, (1 << 24) - 1),
            out_bytes: self.out_bytes.max(OUT_ROOM_MIN),
            ..self.clone()
        }
    }
}

/// Room in the queue below which only what fits whole is appended: no slivers.
pub(super) const OUT_ROOM_MIN: usize = 1024;
/// How long resets are counted together.
pub(super) const RESETS_MS: u64 = 10_000;
/// How long control frames are counted together.
pub(super) const CONTROL_MS: u64 = 1000;

crate::abuses! {
    /// RST_STREAM frames (`Limits::resets`); GOAWAY.
    RapidReset = "rapid_reset",
    /// Stream errors provoked from this side (`Limits::resets`); GOAWAY.
    ProvokedReset = "provoked_reset",
    /// CONTINUATION frames (`Limits::continuations`); GOAWAY.
    Continuation = "continuation",
    /// SETTINGS frames, or entries of one; GOAWAY.
    Settings = "settings",
    /// GOAWAY frames; GOAWAY.
    GoAway = "goaway",
    /// PING frames; GOAWAY.
    Ping = "ping",
    /// PRIORITY frames; GOAWAY.
    Priority = "priority",
    /// PRIORITY_UPDATE frames; GOAWAY.
    PriorityUpdate = "priority_update",
    /// WINDOW_UPDATE frames that no data explains; GOAWAY.
    WindowUpdate = "window_update",
    /// DATA frames without data and without an end; GOAWAY.
    Empty = "empty_data",
    /// Frames of unknown types; GOAWAY.
    Unknown = "unknown_frame",
    /// RST_STREAM, interim responses and frames for streams that are gone; GOAWAY.
    Stray = "stray_frame",
    /// A head larger than `Limits::head_bytes`: 431 and RST_STREAM; far larger: GOAWAY.
    HeadBytes = "head_bytes",
    /// More fields than `Limits::fields`: 431 and RST_STREAM; far more: GOAWAY.
    HeadFields = "head_fields",
    /// Names copied within the HPACK table; GOAWAY.
    NameCopies = "name_copies",
    /// `Limits::memory_bytes`: the stream is refused.
    Memory = "memory",
    /// `Limits::control_out_bytes`; GOAWAY.
    ControlOutput = "control_output",
    /// More streams than `Limits::streams`, after the peer acknowledged it: the stream is refused.
    Streams = "streams",
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
