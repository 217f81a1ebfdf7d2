//! Whether a ClientHello asks for early data: rustls tells a server only when it accepts it.

/// The extension `early_data` (RFC 8446 4.2.10).
const EARLY_DATA: u16 = 42;
/// Bytes in front of the session ID: type, length, version, random.
const FIXED: usize = 4 + 2 + 32;

/// Where in the ClientHello (RFC 8446 4.1.2) the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Fixed,
    SessionId,
    CipherSuites,
    Compression,
    Extensions,
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
    asks: bool,
}

impl Default for Hello {
    fn default() -> Hello {
        Hello { at: At::Fixed, skip: FIXED, value: 0, left: 1, asks: false }
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
            At::Compression => (At::Extensions, 0, 2),
            At::Extensions | At::ExtensionLength => (At::ExtensionType, length, 2),
            At::ExtensionType if value == EARLY_DATA => {
                self.asks = true;
                (At::End, 0, 0)
            }
            At::ExtensionType => (At::ExtensionLength, 0, 2),
            At::End => (At::End, 0, 0),
        };
    }
}
