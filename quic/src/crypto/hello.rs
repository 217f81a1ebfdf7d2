//! Whether a ClientHello asks for early data: rustls tells a server only when it accepts it.

/// The extension `early_data` (RFC 8446 4.2.10).
const EARLY_DATA: u16 = 42;
/// Bytes in front of the session ID: type, length, version, random.
const FIXED: usize = 4 + 2 + 32;

/// Where in the ClientHello (RFC 8446 4.1.2) the reader is: after the first three, in front of the next one's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Fixed,
    SessionId,
    CipherSuites,
    Compression,
    ExtensionType,
    ExtensionLength,
    End,
}

/// Reads a ClientHello that comes in pieces, without keeping it. Trusts nothing: whatever comes, it only skips.
#[derive(Debug)]
pub(super) struct Hello {
    at: At,
    /// Bytes to skip before the next field.
    skip: usize,
    /// The field that is being read, and how many of its bytes are still to come.
    value: u16,
    left: u8,
    /// Bytes of extensions that are still to come.
    extensions: usize,
    asks: bool,
}

impl Default for Hello {
    fn default() -> Hello {
        Hello { at: At::Fixed, skip: FIXED, value: 0, left: 1, extensions: 0, asks: false }
    }
}

impl Hello {
    /// Whether it asks for early data, as far as it was read.
    pub fn asks_for_early_data(&self) -> bool {
        self.asks
    }

    /// Reads on.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while self.at != At::End {
            let skipped = self.skip.min(bytes.len());
            bytes = bytes.get(skipped..).unwrap_or_default();
            self.skip -= skipped;
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.value = self.value << 8 | u16::from(*byte);
            self.left -= 1;
            if self.left == 0 {
                let value = std::mem::take(&mut self.value);
                self.field(value);
            }
        }
    }

    /// A field is complete: a length to skip, or an extension's type.
    fn field(&mut self, value: u16) {
        let length = usize::from(value);
        (self.at, self.skip, self.left) = match self.at {
            At::Fixed => (At::SessionId, length, 2),
            At::SessionId => (At::CipherSuites, length, 1),
            At::CipherSuites => (At::Compression, length, 2),
            At::Compression => {
                self.extensions = length;
                (At::ExtensionType, 0, 2)
            }
            At::ExtensionLength => {
                self.extensions = self.extensions.saturating_sub(4 + length);
                (At::ExtensionType, length, 2)
            }
            At::ExtensionType => {
                self.asks = value == EARLY_DATA;
                (At::ExtensionLength, 0, 2)
            }
            At::End => (At::End, 0, 0),
        };
        // What comes after it is another message.
        if self.asks || self.at == At::ExtensionType && self.extensions == 0 {
            self.at = At::End;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With these extensions, each of as many bytes.
    fn hello(extensions: &[(u16, u16)]) -> Vec<u8> {
        let mut all = Vec::new();
        for (kind, length) in extensions {
            all.extend(kind.to_be_bytes());
            all.extend(length.to_be_bytes());
            all.resize(all.len() + usize::from(*length), 42);
        }
        let mut hello = vec![1, 0, 0, 0, 3, 3];
        hello.resize(FIXED, 42);
        hello.extend([3, 0, 42, 0]); // session ID
        hello.extend([0, 4, 0x13, 1, 0, 42]);
        hello.extend([1, 0]);
        hello.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
        hello.extend(all);
        hello
    }

    fn asks(hello: &[u8], piece: usize) -> bool {
        let mut reader = Hello::default();
        hello.chunks(piece).for_each(|piece| reader.read(piece));
        reader.asks_for_early_data()
    }

    #[test]
    fn the_extension_is_found_whatever_the_pieces() {
        for piece in [1, 2, 3, 7, 1200, 5000] {
            assert!(asks(&hello(&[(0, 300), (43, 2), (42, 0), (41, 200)]), piece));
            assert!(asks(&hello(&[(42, 0)]), piece));
            assert!(!asks(&hello(&[(0, 300), (51, 1216), (41, 200)]), piece));
            assert!(!asks(&hello(&[]), piece));
            for first in [&[][..], &[(51, 36)]] {
                assert!(!asks(&[hello(first), vec![0, 42, 0, 0, 0, 42]].concat(), piece), "that is another message");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_skipped(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..3000), piece in 1usize..99) {
            asks(&bytes, piece);
        }
    }
}
