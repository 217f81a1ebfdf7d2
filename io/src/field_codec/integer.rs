//! Integers with a prefix (RFC 7541, section 5.1; RFC 9204, section 4.1.1).
use super::Malformed;

/// Continuation octets that are read: 28 bits, above every length, index and size that is accepted anywhere here.
const CONTINUATION_MAX: u32 = 4;

/// Reads an integer whose first octet is `input[0]`, with a prefix of `bits` bits, and moves `input` past it.
#[inline]
pub fn read(input: &mut &[u8], bits: u32) -> Result<usize, Malformed> {
    let Some((&first, rest)) = input.split_first() else { return Err(Malformed::Truncated) };
    let mask = u8::MAX >> (8 - bits);
    *input = rest;
    let prefix = first & mask;
    if prefix != mask { Ok(usize::from(prefix)) } else { read_long(input, usize::from(mask)) }
}

/// The rest of an integer that does not fit its prefix.
fn read_long(input: &mut &[u8], prefix: usize) -> Result<usize, Malformed> {
    let mut value = prefix;
    for i in 0..CONTINUATION_MAX {
        let Some((&octet, rest)) = input.split_first() else { return Err(Malformed::Truncated) };
        *input = rest;
        value += usize::from(octet & 0x7f) << (7 * i);
        if octet & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed::IntegerOverflow)
}

/// Reads an integer of up to 62 bits, as stream numbers and counts are (RFC 9204, section 4.1.1); else as [`read`].
pub fn read_62(input: &mut &[u8], bits: u32) -> Result<u64, Malformed> {
    let Some((&first, rest)) = input.split_first() else { return Err(Malformed::Truncated) };
    let mask = u8::MAX >> (8 - bits);
    *input = rest;
    let mut value = u64::from(first & mask);
    if value != u64::from(mask) {
        return Ok(value);
    }
    // Nine octets: 63 bits.
    for i in 0..9 {
        let Some((&octet, rest)) = input.split_first() else { return Err(Malformed::Truncated) };
        *input = rest;
        value += u64::from(octet & 0x7f) << (7 * i);
        if octet & 0x80 == 0 {
            return if value >> 62 == 0 { Ok(value) } else { Err(Malformed::IntegerOverflow) };
        }
    }
    Err(Malformed::IntegerOverflow)
}

/// Writes an integer with a prefix of `bits` bits; the other bits of the first octet are those of `first`.
#[inline]
pub fn write(out: &mut Vec<u8>, first: u8, bits: u32, value: usize) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        out.push(first | value as u8);
    } else {
        write_long(out, first | mask as u8, value - mask);
    }
}

fn write_long(out: &mut Vec<u8>, first: u8, mut rest: usize) {
    out.push(first);
    while rest >= 0x80 {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(first: u8, bits: u32, value: usize) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, first, bits, value);
        out
    }

    #[test]
    fn appendix_c_1() {
        for (bits, value, octets) in
            [(5, 10, &[0b0_1010][..]), (5, 1337, &[0b1_1111, 0b1001_1010, 0b0000_1010]), (8, 42, &[0b0010_1010])]
        {
            assert_eq!(written(0, bits, value), octets);
            assert_eq!(read(&mut &octets[..], bits), Ok(value));
        }
    }

    #[test]
    fn every_prefix_reads_what_it_wrote() {
        let most = (1 << 28) - 1;
        for bits in 4..=8 {
            let mask = (1usize << bits) - 1;
            for value in (0..2000).chain([16_383, 16_384, 65_535, 1 << 20, most + mask]) {
                let mut octets = written(!(mask as u8), bits, value);
                assert_eq!(octets[0] & !(mask as u8), !(mask as u8));
                octets.push(0xaa);
                let mut input = &octets[..];
                assert_eq!(read(&mut input, bits), Ok(value));
                assert_eq!(input, [0xaa]);
                octets.pop();
                for cut in 0..octets.len() {
                    assert_eq!(read(&mut &octets[..cut], bits), Err(Malformed::Truncated));
                }
            }
        }
    }

    #[test]
    fn integers_of_62_bits() {
        for bits in 3..=8 {
            for value in [0, 1, 254, 255, 256, 1 << 35, (1 << 62) - 1] {
                let mut octets = written(0, bits, value);
                octets.push(0xaa);
                let mut input = &octets[..];
                assert_eq!(read_62(&mut input, bits), Ok(value as u64));
                assert_eq!(input, [0xaa]);
                octets.pop();
                for cut in 0..octets.len() {
                    assert_eq!(read_62(&mut &octets[..cut], bits), Err(Malformed::Truncated));
                }
            }
            assert_eq!(read_62(&mut &written(0, bits, 1 << 62)[..], bits), Err(Malformed::IntegerOverflow));
            assert_eq!(read_62(&mut &[0xff; 20][..], bits), Err(Malformed::IntegerOverflow));
        }
    }

    #[test]
    fn long_integers_are_refused() {
        assert_eq!(read(&mut &[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00][..], 7), Err(Malformed::IntegerOverflow));
        assert_eq!(read(&mut &[0xff; 20][..], 7), Err(Malformed::IntegerOverflow));
        assert_eq!(read(&mut &[0x7f, 0x80, 0x80, 0x80, 0x00][..], 7), Ok(127), "leading zeros are allowed");
    }
}
