//! How large a head, a chunk line and a trailer section may be.

/// Bounds of what one message may make the engine hold. Sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The request or status line, or one field line, without its CRLF.
    pub line_bytes: usize,
    /// The whole head with its empty line; never above 64 KiB, whatever stands here.
    pub head_bytes: usize,
    /// Fields of a head, and of a trailer section.
    pub fields: usize,
    /// A chunk-size line with its extensions, without its CRLF.
    pub chunk_line_bytes: usize,
    /// A trailer section with its empty line; never above 64 KiB.
    pub trailer_bytes: usize,
}

impl Default for Limits {
    /// 8 KiB a line, 32 KiB and 100 fields a head, 256 bytes a chunk line, 8 KiB of trailers.
    fn default() -> Limits {
        Limits { line_bytes: 8192, head_bytes: 32_768, fields: 100, chunk_line_bytes: 256, trailer_bytes: 8192 }
    }
}
