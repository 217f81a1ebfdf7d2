//! Variable-length integers (RFC 9000, section 16), and those that the end of the input cuts.

/// The largest value.
pub(super) const MAX: u64 = (1 << 62) - 1;

/// The integer at the start of `input`, and its length in bytes. `None`: more bytes are needed.
#[inline]
pub(super) fn read(input: &[u8]) -> Option<(u64, usize)> {
    let (&first, rest) = input.split_first()?;
    let more = (1 << (first >> 6)) - 1;
    let rest = rest.get(..more)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, &b| value << 8 | u64::from(b));
    Some((value, 1 + more))
}

/// The integer that `input` is, if it is one and nothing else.
pub(super) fn exactly(input: &[u8]) -> Option<u64> {
    read(input).filter(|(_, n)| *n == input.len()).map(|(value, _)| value)
}

/// Appends `value`, at most [`MAX`], in as few bytes as it needs.
#[inline]
pub(super) fn write(value: u64, out: &mut Vec<u8>) {
    let value = value.min(MAX);
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// The first bytes of one or two integers whose others have not come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cut {
    bytes: [u8; 16],
    len: u8,
}

impl Cut {
    /// Whether nothing has come.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads with `parse`, which needs at most 16 bytes, what may have begun before `input`. Returns how many bytes of
    /// `input` are done with, all of them if there is no value yet.
    #[inline]
    pub(super) fn read<T>(&mut self, input: &[u8], parse: impl Fn(&[u8]) -> Option<(T, usize)>) -> (usize, Option<T>) {
        if self.len == 0
            && let Some((value, n)) = parse(input)
        {
            return (n, Some(value));
        }
        self.go_on(input, parse)
    }

    #[cold]
    fn go_on<T>(&mut self, input: &[u8], parse: impl Fn(&[u8]) -> Option<(T, usize)>) -> (usize, Option<T>) {
        let before = usize::from(self.len);
        let mut len = before;
        for (place, &b) in self.bytes.iter_mut().skip(before).zip(input) {
            *place = b;
            len += 1;
        }
        match parse(self.bytes.get(..len).unwrap_or(&[])) {
            Some((value, n)) => {
                self.len = 0;
                (n.saturating_sub(before), Some(value))
            }
            None => {
                self.len = len as u8;
                (input.len(), None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_rfc_9000() {
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ] {
            assert_eq!(read(bytes), Some((value, bytes.len())));
            assert_eq!(exactly(bytes), Some(value));
            assert_eq!(read(&bytes[..bytes.len() - 1]), None);
            let mut out = Vec::new();
            write(value, &mut out);
            assert_eq!(out, bytes);
        }
        assert_eq!(read(&[0x40, 0x25]), Some((37, 2)), "a longer form than needed is good");
        assert_eq!(exactly(&[0x25, 0]), None);
    }

    #[test]
    fn every_length_is_read_as_it_was_written() {
        for value in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, MAX] {
            let mut out = Vec::new();
            write(value, &mut out);
            assert_eq!(exactly(&out), Some(value));
            let mut cut = Cut::default();
            let (last, first) = out.split_last().expect("a byte");
            for b in first {
                assert_eq!(cut.read(&[*b], read), (1, None));
            }
            assert_eq!(cut.read(&[*last, 9, 9], read), (1, Some(value)));
            assert!(cut.is_empty());
        }
    }
}
