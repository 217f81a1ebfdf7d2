//! Frame headers, flags and settings as bytes (RFC 9113, sections 4.1 and 6).

/// What a client sends first (RFC 9113, section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest payload that this side sends, and every peer takes (RFC 9113, section 4.2).
pub(super) const PAYLOAD_MAX: usize = 16_384;
/// Bytes of a frame header.
pub(super) const HEADER_BYTES: usize = 9;

pub(super) mod kind {
    //! Frame types.
    pub const DATA: u8 = 0x0;
    pub const HEADERS: u8 = 0x1;
    pub const PRIORITY: u8 = 0x2;
    pub const RST_STREAM: u8 = 0x3;
    pub const SETTINGS: u8 = 0x4;
    pub const PUSH_PROMISE: u8 = 0x5;
    pub const PING: u8 = 0x6;
    pub const GOAWAY: u8 = 0x7;
    pub const WINDOW_UPDATE: u8 = 0x8;
    pub const CONTINUATION: u8 = 0x9;
    pub const PRIORITY_UPDATE: u8 = 0x10;
}

pub(super) mod flag {
    //! Flags.
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

pub(super) mod setting {
    //! Settings.
    pub const HEADER_TABLE_SIZE: u16 = 0x1;
    pub const ENABLE_PUSH: u16 = 0x2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub const MAX_FRAME_SIZE: u16 = 0x5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    /// RFC 8441, section 3.
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
    /// RFC 9218, section 2.1.
    pub const NO_RFC7540_PRIORITIES: u16 = 0x9;
}

/// A frame header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Bytes of payload.
    pub length: u32,
    pub kind: u8,
    pub flags: u8,
    /// Without the reserved bit.
    pub stream: u32,
}

impl FrameHeader {
    #[inline]
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> FrameHeader {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        FrameHeader {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    #[inline]
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame header.
#[inline]
pub(super) fn write_header(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&FrameHeader { length: length as u32, kind, flags, stream }.to_bytes());
}

/// Appends a frame whose payload is one 32-bit number: RST_STREAM, WINDOW_UPDATE.
#[inline]
pub(super) fn write_u32(out: &mut Vec<u8>, kind: u8, stream: u32, value: u32) {
    write_header(out, 4, kind, 0, stream);
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a GOAWAY.
pub(super) fn write_go_away(out: &mut Vec<u8>, last_stream: u32, code: u32, detail: &[u8]) {
    write_header(out, 8 + detail.len(), kind::GOAWAY, 0, 0);
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(detail);
}

/// Appends SETTINGS.
pub(super) fn write_settings(out: &mut Vec<u8>, entries: &[(u16, u32)]) {
    write_header(out, entries.len() * 6, kind::SETTINGS, 0, 0);
    for (id, value) in entries {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Turns the header block that was appended behind a place for a frame header at `start` into a HEADERS frame, and
/// CONTINUATION frames where it is longer than `frame_bytes`.
#[inline]
pub(super) fn finish_headers(out: &mut Vec<u8>, start: usize, stream: u32, end: bool, frame_bytes: usize) {
    let length = out.len().saturating_sub(start + HEADER_BYTES);
    let end_stream = if end { flag::END_STREAM } else { 0 };
    if length > frame_bytes {
        return split_headers(out, start, stream, end_stream, frame_bytes);
    }
    let flags = flag::END_HEADERS | end_stream;
    let header = FrameHeader { length: length as u32, kind: kind::HEADERS, flags, stream };
    if let Some(place) = out.get_mut(start..start + HEADER_BYTES) {
        place.copy_from_slice(&header.to_bytes());
    }
}

#[cold]
fn split_headers(out: &mut Vec<u8>, start: usize, stream: u32, end_stream: u8, frame_bytes: usize) {
    let block = out.split_off(start + HEADER_BYTES);
    out.truncate(start);
    let pieces = block.chunks(frame_bytes);
    let last = pieces.len().saturating_sub(1);
    for (i, piece) in pieces.enumerate() {
        let end_headers = if i == last { flag::END_HEADERS } else { 0 };
        let (kind, flags) = if i == 0 { (kind::HEADERS, end_stream) } else { (kind::CONTINUATION, 0) };
        write_header(out, piece.len(), kind, flags | end_headers, stream);
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_without_the_reserved_bit() {
        let header = FrameHeader { length: 0x01_02_03, kind: 9, flags: 0x2d, stream: 0x7fff_fffe };
        assert_eq!(FrameHeader::parse(&header.to_bytes()), header);
        let mut bytes = header.to_bytes();
        bytes[5] |= 0x80;
        assert_eq!(FrameHeader::parse(&bytes), header);
    }

    #[test]
    fn long_blocks_become_continuations() {
        for length in [0usize, 1, 9, 10, 11, 20, 25] {
            let mut out = vec![0xaa; 3 + HEADER_BYTES];
            out.extend(0..length as u8);
            finish_headers(&mut out, 3, 5, true, 10);
            let (mut at, mut block, mut frames) = (3, Vec::new(), 0);
            while let Some(header) = out[at..].first_chunk() {
                let header = FrameHeader::parse(header);
                assert_eq!(header.stream, 5);
                assert_eq!(header.kind, if frames == 0 { kind::HEADERS } else { kind::CONTINUATION });
                assert_eq!(header.has(flag::END_STREAM), frames == 0);
                at += HEADER_BYTES;
                block.extend_from_slice(&out[at..at + header.length as usize]);
                at += header.length as usize;
                assert_eq!(header.has(flag::END_HEADERS), at == out.len());
                frames += 1;
            }
            assert_eq!(block, (0..length as u8).collect::<Vec<_>>());
            assert_eq!(frames, length.div_ceil(10).max(1));
        }
    }
}
