//! Error codes (RFC 9114, section 8.1; RFC 9204, section 6), and what ends a stream or a connection.
use super::Abuse;
use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal,)*) => {
        impl ErrorCode {
            $($(#[doc = $doc])+ pub const $name: ErrorCode = ErrorCode($value);)*

            /// The name in the registry; `"UNKNOWN"` for codes without one.
            pub const fn as_str(self) -> &'static str {
                match self.0 {
                    $($value => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

/// An application error code of QUIC's RESET_STREAM, STOP_SENDING or CONNECTION_CLOSE; below 2^62. Codes that nobody
/// defined are kept as they came; all of those mean `H3_NO_ERROR`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u64);

codes! {
    /// Nothing is wrong.
    H3_NO_ERROR = 0x100,
    /// A rule was broken that no other code is for.
    H3_GENERAL_PROTOCOL_ERROR = 0x101,
    /// The sender itself failed.
    H3_INTERNAL_ERROR = 0x102,
    /// A stream that the peer may not open, or a second one of its type.
    H3_STREAM_CREATION_ERROR = 0x103,
    /// A stream that the connection needs was closed or reset.
    H3_CLOSED_CRITICAL_STREAM = 0x104,
    /// A frame where it may not be.
    H3_FRAME_UNEXPECTED = 0x105,
    /// A frame that is not laid out as its type asks, or has the wrong size.
    H3_FRAME_ERROR = 0x106,
    /// The peer does what costs too much.
    H3_EXCESSIVE_LOAD = 0x107,
    /// A stream or push id that is not valid there.
    H3_ID_ERROR = 0x108,
    /// A setting that may not be, or a value that it may not have.
    H3_SETTINGS_ERROR = 0x109,
    /// The control stream did not begin with SETTINGS.
    H3_MISSING_SETTINGS = 0x10a,
    /// The request was not processed at all: it can be sent again.
    H3_REQUEST_REJECTED = 0x10b,
    /// The request or its response is not wanted any more.
    H3_REQUEST_CANCELLED = 0x10c,
    /// The request's stream ended before the request was complete.
    H3_REQUEST_INCOMPLETE = 0x10d,
    /// A message that is not well-formed.
    H3_MESSAGE_ERROR = 0x10e,
    /// The connection of a CONNECT broke.
    H3_CONNECT_ERROR = 0x10f,
    /// HTTP/1.1 is asked for.
    H3_VERSION_FALLBACK = 0x110,
    /// A field section could not be decompressed.
    QPACK_DECOMPRESSION_FAILED = 0x200,
    /// The encoder stream could not be read.
    QPACK_ENCODER_STREAM_ERROR = 0x201,
    /// The decoder stream could not be read.
    QPACK_DECODER_STREAM_ERROR = 0x202,
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

/// A connection error (RFC 9114, section 8): close the connection with its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// The code that CONNECTION_CLOSE carries.
    pub code: ErrorCode,
    /// What was wrong, in a few words; never bytes of the peer.
    pub detail: &'static str,
    /// Which limit was exceeded, if it was one.
    pub abuse: Option<Abuse>,
}

impl Fatal {
    #[cold]
    pub(crate) const fn new(code: ErrorCode, detail: &'static str) -> Fatal {
        Fatal { code, detail, abuse: None }
    }

    #[cold]
    pub(super) const fn unexpected(detail: &'static str) -> Fatal {
        Fatal::new(ErrorCode::H3_FRAME_UNEXPECTED, detail)
    }

    #[cold]
    pub(super) const fn frame(detail: &'static str) -> Fatal {
        Fatal::new(ErrorCode::H3_FRAME_ERROR, detail)
    }

    #[cold]
    pub(super) const fn id(detail: &'static str) -> Fatal {
        Fatal::new(ErrorCode::H3_ID_ERROR, detail)
    }

    #[cold]
    pub(super) const fn abuse(abuse: Abuse) -> Fatal {
        Fatal { code: ErrorCode::H3_EXCESSIVE_LOAD, detail: abuse.as_str(), abuse: Some(abuse) }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Fatal {}

/// What ends a request stream, or the connection with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A stream error: what still comes on the stream is passed over. Reset it in both directions with `code`, or, if
    /// there is a status to `respond` with, send that response and stop the reading with `code`.
    Stream {
        /// The code for RESET_STREAM and STOP_SENDING.
        code: ErrorCode,
        /// What was wrong, in a few words; never bytes of the peer.
        detail: &'static str,
        /// 431: the head is too large, but can be answered (server).
        respond: Option<u16>,
    },
    /// The whole connection ends.
    Connection(Fatal),
}

impl Error {
    #[cold]
    pub(super) const fn stream(code: ErrorCode, detail: &'static str) -> Error {
        Error::Stream { code, detail, respond: None }
    }

    #[cold]
    pub(super) const fn message(detail: &'static str) -> Error {
        Error::stream(ErrorCode::H3_MESSAGE_ERROR, detail)
    }
}

impl From<Fatal> for Error {
    #[inline]
    fn from(fatal: Fatal) -> Error {
        Error::Connection(fatal)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Stream { code, detail, .. } => write!(f, "{code}: {detail}"),
            Error::Connection(fatal) => fatal.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
