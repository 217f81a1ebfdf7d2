//! The prefix of a field section (RFC 9204, section 4.5.1) and what its indices mean.
use super::Fault;
use edge_io::field_codec::integer;

/// The prefix, decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix {
    /// The Required Insert Count; 0: no references to the dynamic table.
    pub(super) required: u64,
    /// The Base.
    base: u64,
}

impl Prefix {
    /// Reads the prefix: of a decoder whose table never has more than `max_entries` entries, after `inserted` insertions.
    #[inline]
    pub(super) fn read(input: &mut &[u8], max_entries: u64, inserted: u64) -> Result<Prefix, Fault> {
        if let Some(rest) = input.strip_prefix(&[0, 0]) {
            *input = rest;
            return Ok(Prefix::default());
        }
        let encoded = integer::read_62(input, 8).map_err(Fault::Section)?;
        let is_negative = input.first().is_some_and(|first| first & 0x80 != 0);
        let delta = integer::read_62(input, 7).map_err(Fault::Section)?;
        let required = required(encoded, max_entries, inserted).ok_or(Fault::InvalidRequiredInsertCount)?;
        let base = if is_negative {
            required.checked_sub(delta).and_then(|base| base.checked_sub(1))
        } else {
            required.checked_add(delta)
        };
        Ok(Prefix { required, base: base.ok_or(Fault::InvalidBase)? })
    }

    /// The absolute index of a relative one.
    #[inline]
    pub(super) fn relative(self, index: usize) -> Result<u64, Fault> {
        let absolute = self.base.checked_sub(index as u64 + 1).ok_or(Fault::InvalidReference)?;
        self.checked(absolute)
    }

    /// The absolute index of a post-base one.
    #[inline]
    pub(super) fn post_base(self, index: usize) -> Result<u64, Fault> {
        let absolute = self.base.checked_add(index as u64).ok_or(Fault::InvalidReference)?;
        self.checked(absolute)
    }

    #[inline]
    fn checked(self, absolute: u64) -> Result<u64, Fault> {
        if absolute < self.required { Ok(absolute) } else { Err(Fault::InvalidReference) }
    }
}

/// The Required Insert Count from its encoding modulo twice the entries (RFC 9204, section 4.5.1.1).
fn required(encoded: u64, max_entries: u64, inserted: u64) -> Option<u64> {
    let full = 2 * max_entries;
    if encoded == 0 {
        return Some(0);
    }
    if encoded > full {
        return None;
    }
    let most = inserted + max_entries;
    let wrapped = most / full * full;
    let mut required = wrapped + encoded - 1;
    if required > most {
        required = required.checked_sub(full)?;
    }
    (required > 0).then_some(required)
}

/// The encoding of a Required Insert Count that is not 0.
#[inline]
pub(super) fn encoded_required(required: u64, max_entries: u64) -> u64 {
    required % (2 * max_entries).max(1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_that_can_be_meant_comes_back() {
        for max_entries in [1, 2, 3, 128] {
            for inserted in 0..1000u64 {
                for count in (inserted + 1).saturating_sub(max_entries).max(1)..=inserted + max_entries {
                    let encoded = encoded_required(count, max_entries);
                    assert_eq!(required(encoded, max_entries, inserted), Some(count), "{count} of {inserted}");
                }
            }
        }
    }

    #[test]
    fn other_counts_are_refused() {
        assert_eq!(required(0, 0, 0), Some(0));
        assert_eq!(required(1, 0, 0), None);
        assert_eq!(required(257, 128, 500), None);
        assert_eq!(required(1, 128, 0), None, "0 has an encoding of its own");
        assert_eq!(required(200, 128, 0), None, "more than the table can hold in time");
        assert_eq!(required(128 + 1, 128, 0), Some(128));
    }

    #[test]
    fn the_base_is_never_negative() {
        let read = |mut octets: &[u8]| Prefix::read(&mut octets, 128, 10);
        assert_eq!(read(&[0, 0x80]), Err(Fault::InvalidBase));
        assert_eq!(read(&[5, 0x84]), Err(Fault::InvalidBase));
        assert_eq!(read(&[5, 0x83]), Ok(Prefix { required: 4, base: 0 }));
        assert_eq!(read(&[5, 0]), Ok(Prefix { required: 4, base: 4 }));
        assert_eq!(read(&[5, 3]), Ok(Prefix { required: 4, base: 7 }));
    }
}
