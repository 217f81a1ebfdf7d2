//! Error codes (RFC 9113, section 7), and what ends a connection or refuses a call.
use super::Abuse;
use std::fmt;

/// An error code of RST_STREAM or GOAWAY. Codes that nobody defined are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// Nothing is wrong.
    pub const NO_ERROR: ErrorCode = ErrorCode(0x0);
    /// A rule of the protocol was broken.
    pub const PROTOCOL_ERROR: ErrorCode = ErrorCode(0x1);
    /// The sender itself failed.
    pub const INTERNAL_ERROR: ErrorCode = ErrorCode(0x2);
    /// A flow-control window was overrun or grown too far.
    pub const FLOW_CONTROL_ERROR: ErrorCode = ErrorCode(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: ErrorCode = ErrorCode(0x4);
    /// A frame for a stream, or a direction of it, that has ended.
    pub const STREAM_CLOSED: ErrorCode = ErrorCode(0x5);
    /// A frame of a size that it may not have.
    pub const FRAME_SIZE_ERROR: ErrorCode = ErrorCode(0x6);
    /// The stream was not processed at all.
    pub const REFUSED_STREAM: ErrorCode = ErrorCode(0x7);
    /// The stream is not wanted any more.
    pub const CANCEL: ErrorCode = ErrorCode(0x8);
    /// A header block could not be decompressed.
    pub const COMPRESSION_ERROR: ErrorCode = ErrorCode(0x9);
    /// The connection of a CONNECT broke.
    pub const CONNECT_ERROR: ErrorCode = ErrorCode(0xa);
    /// The peer does what costs too much.
    pub const ENHANCE_YOUR_CALM: ErrorCode = ErrorCode(0xb);
    /// The transport is not secure enough.
    pub const INADEQUATE_SECURITY: ErrorCode = ErrorCode(0xc);
    /// HTTP/1.1 is asked for.
    pub const HTTP_1_1_REQUIRED: ErrorCode = ErrorCode(0xd);

    /// The name in the registry; `"UNKNOWN"` for codes without one.
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            0x0 => "NO_ERROR",
            0x1 => "PROTOCOL_ERROR",
            0x2 => "INTERNAL_ERROR",
            0x3 => "FLOW_CONTROL_ERROR",
            0x4 => "SETTINGS_TIMEOUT",
            0x5 => "STREAM_CLOSED",
            0x6 => "FRAME_SIZE_ERROR",
            0x7 => "REFUSED_STREAM",
            0x8 => "CANCEL",
            0x9 => "COMPRESSION_ERROR",
            0xa => "CONNECT_ERROR",
            0xb => "ENHANCE_YOUR_CALM",
            0xc => "INADEQUATE_SECURITY",
            0xd => "HTTP_1_1_REQUIRED",
            _ => "UNKNOWN",
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:#x})", self.as_str(), self.0)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A connection error (RFC 9113, section 5.4.1): the GOAWAY that says so is queued; send it, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// The code that the GOAWAY carries.
    pub code: ErrorCode,
    /// What was wrong, in a few words; never bytes of the peer.
    pub detail: &'static str,
    /// Which limit was exceeded, if it was one.
    pub abuse: Option<Abuse>,
}

impl Fatal {
    #[cold]
    pub(super) const fn new(code: ErrorCode, detail: &'static str) -> Fatal {
        Fatal { code, detail, abuse: None }
    }

    #[cold]
    pub(super) const fn protocol(detail: &'static str) -> Fatal {
        Fatal::new(ErrorCode::PROTOCOL_ERROR, detail)
    }

    #[cold]
    pub(super) const fn frame_size(detail: &'static str) -> Fatal {
        Fatal::new(ErrorCode::FRAME_SIZE_ERROR, detail)
    }

    #[cold]
    pub(super) const fn abuse(abuse: Abuse) -> Fatal {
        Fatal { code: ErrorCode::ENHANCE_YOUR_CALM, detail: abuse.as_str(), abuse: Some(abuse) }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Fatal {}

/// The stream, or the direction of it that the call is about, has ended: there is nothing to send on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream has ended")
    }
}

impl std::error::Error for Gone {}

/// Why no request can be sent on this connection; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many streams are open as the peer, or our limit, allows: one must end first.
    Streams,
    /// One of the two sides has sent GOAWAY.
    GoingAway,
    /// All 2^30 stream ids are used up.
    IdsExhausted,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Streams => "too many open streams",
            Refused::GoingAway => "the connection is going away",
            Refused::IdsExhausted => "no stream id is left",
        })
    }
}

impl std::error::Error for Refused {}
