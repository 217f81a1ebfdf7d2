//! As much of WebSocket as a relay needs: the handshake's key, where frames end, and how to say goodbye (RFC 6455).
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use edge_io::head::FieldRef;
use sha1::{Digest, Sha1};

/// What a server proves that it knows (RFC 6455 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`.
pub fn accept(key: &[u8]) -> String {
    BASE64.encode(Sha1::new().chain_update(key.trim_ascii()).chain_update(GUID).finalize())
}

/// A `Sec-WebSocket-Key`, for a handshake that came without one (HTTP/2 has none, RFC 8441 5).
pub fn key(random: [u8; 16]) -> String {
    BASE64.encode(random)
}

/// Whether a field belongs to the HTTP/1.1 handshake alone (RFC 8441 5).
pub fn is_handshake_field(field: &FieldRef<'_>) -> bool {
    const KEY: &[u8] = b"sec-websocket-key";
    const ACCEPT: &[u8] = b"sec-websocket-accept";
    field.name.eq_ignore_ascii_case(KEY) || field.name.eq_ignore_ascii_case(ACCEPT)
}

/// A close frame from a server: 1001, "going away" (RFC 6455 7.4.1).
pub const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// Follows one direction of a connection from frame to frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frames {
    header: [u8; 14],
    have: u8,
    /// Payload bytes of the current frame still to come.
    left: u64,
}

impl Frames {
    /// These bytes went by.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= n as u64;
                bytes = &bytes[n..];
                continue;
            }
            let (byte, rest) = (bytes[0], &bytes[1..]);
            bytes = rest;
            self.header[usize::from(self.have)] = byte;
            self.have += 1;
            if self.have == self.header_len() {
                self.left = self.payload_len();
                self.have = 0;
            }
        }
    }

    /// Whether the last frame is complete, so that another may begin.
    pub fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// RFC 6455 5.2: two bytes, the extended length, the mask.
    fn header_len(&self) -> u8 {
        if self.have < 2 {
            return 2;
        }
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.header[1] & 0x80 != 0 { 4 } else { 0 }
    }

    fn payload_len(&self) -> u64 {
        let h = &self.header;
        match h[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([h[2], h[3]])),
            127 => u64::from_be_bytes([h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9]]),
            n => u64::from(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_the_one_of_the_specification() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(key([7; 16]).len(), 24);
    }

    fn frame(len: usize, masked: bool) -> Vec<u8> {
        let mut f = vec![0x82];
        let mask = if masked { 0x80 } else { 0 };
        match len {
            0..=125 => f.push(mask | len as u8),
            126..=65535 => {
                f.push(mask | 126);
                f.extend((len as u16).to_be_bytes());
            }
            _ => {
                f.push(mask | 127);
                f.extend((len as u64).to_be_bytes());
            }
        }
        f.extend(vec![9; if masked { 4 } else { 0 } + len]);
        f
    }

    #[test]
    fn boundaries_are_found_however_the_bytes_are_split() {
        let sizes = [0, 1, 125, 126, 300, 65535, 65536, 70_000];
        for masked in [false, true] {
            for step in [1usize, 2, 7, 1000, 1 << 20] {
                let mut frames = Frames::default();
                for size in sizes {
                    let bytes = frame(size, masked);
                    let (last, most) = bytes.split_last().expect("not empty");
                    most.chunks(step).for_each(|c| frames.feed(c));
                    assert!(!frames.at_boundary(), "{size} {step}");
                    frames.feed(&[*last]);
                    assert!(frames.at_boundary(), "{size} {step}");
                }
            }
        }
    }
}
