//! Frames (RFC 9114, section 7): their header, their types, and how one of HEADERS is written.
use super::varint;

/// Types of frames (RFC 9114, section 11.2.1; RFC 9218, section 10).
pub(super) mod kind {
    pub const DATA: u64 = 0x0;
    pub const HEADERS: u64 = 0x1;
    pub const CANCEL_PUSH: u64 = 0x3;
    pub const SETTINGS: u64 = 0x4;
    pub const PUSH_PROMISE: u64 = 0x5;
    pub const GOAWAY: u64 = 0x7;
    pub const MAX_PUSH_ID: u64 = 0xd;
    /// PRIORITY_UPDATE of a request stream.
    pub const PRIORITY_UPDATE: u64 = 0xf0700;
    /// PRIORITY_UPDATE of a push.
    pub const PRIORITY_UPDATE_PUSH: u64 = 0xf0701;
}

/// A frame's type and the length of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub kind: u64,
    pub length: u64,
}

impl FrameHeader {
    /// Reads a header, and tells its length. `None`: more bytes are needed.
    #[inline]
    pub(super) fn read(input: &[u8]) -> Option<(FrameHeader, usize)> {
        let (kind, a) = varint::read(input)?;
        let (length, b) = varint::read(input.get(a..)?)?;
        Some((FrameHeader { kind, length }, a + b))
    }

    /// A type of HTTP/2 that means nothing here and must not come (RFC 9114, section 7.2.8).
    #[inline]
    pub(super) fn is_of_http2(self) -> bool {
        matches!(self.kind, 0x2 | 0x6 | 0x8 | 0x9)
    }
}

/// Appends the header of a frame.
pub(super) fn write_header(kind: u64, length: u64, out: &mut Vec<u8>) {
    varint::write(kind, out);
    varint::write(length, out);
}

/// Appends the header of a DATA frame: its `length` bytes, at most 2^62-1, are to follow on the stream.
#[inline]
pub fn data_header(length: u64, out: &mut Vec<u8>) {
    write_header(kind::DATA, length, out);
}

/// Bytes of a HEADERS frame before its payload, if that is shorter than 16 KiB.
const ROOM: usize = 3;

/// Leaves room for the header of a HEADERS frame; its payload is to follow. Returns where it starts.
#[inline]
pub(super) fn begin_headers(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[kind::HEADERS as u8, 0x40, 0]);
    start
}

/// Fills in the length of the HEADERS frame that starts at `start` and ends where `out` does.
#[inline]
pub(super) fn finish_headers(out: &mut Vec<u8>, start: usize) {
    let length = out.len().saturating_sub(start + ROOM);
    if length < 0x4000
        && let Some(place) = out.get_mut(start + 1..start + ROOM)
    {
        place.copy_from_slice(&(length as u16 | 0x4000).to_be_bytes());
    } else {
        finish_long(out, start, length as u64);
    }
}

/// The length needs more bytes than were left for it.
#[cold]
fn finish_long(out: &mut Vec<u8>, start: usize, length: u64) {
    let mut header = Vec::new();
    write_header(kind::HEADERS, length, &mut header);
    out.splice(start..start + ROOM, header);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_any_length() {
        for length in [0, 1, 63, 64, 16_383, 16_384, 100_000] {
            let mut out = b"before".to_vec();
            let start = begin_headers(&mut out);
            out.resize(out.len() + length, 7);
            finish_headers(&mut out, start);
            let (header, n) = FrameHeader::read(&out[6..]).expect("a header");
            assert_eq!(header, FrameHeader { kind: kind::HEADERS, length: length as u64 });
            assert_eq!(out.len(), 6 + n + length);
            assert!(out[6 + n..].iter().all(|&b| b == 7));
        }
    }
}
