//! What a field name and a field value may hold in HTTP/2 (RFC 9113, section 8.2.1).

/// Bytes of a name: a token in lower case, and without `_`, which servers behind may read as `-`.
static NAME: [bool; 256] = name_bytes();

const fn name_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
            || matches!(b, b'^' | b'`' | b'|' | b'~');
        i += 1;
    }
    table
}

/// Whether `name` is a field name: one or more token bytes, none of them a capital letter, a colon or `_`.
#[inline]
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&b| NAME[usize::from(b)])
}

/// Whether `value` is a field value: HTAB, SP, visible ASCII and bytes above 0x7f, with no white space at either end.
/// It may be empty.
#[inline]
pub fn is_value(value: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    if blank(value.first()) || blank(value.last()) {
        return false;
    }
    let plain = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
    let (words, rest) = value.as_chunks::<8>();
    rest.iter().all(plain)
        && words.iter().all(|word| {
            // A byte below SP, or DEL, sets the top bit of its place; a borrow may set one for a good byte as well.
            let w = u64::from_le_bytes(*word);
            let below_space = w.wrapping_sub(ONES * 0x20) & !w;
            let del = w ^ (ONES * 0x7f);
            let suspects = (below_space | (del.wrapping_sub(ONES) & !del)) & (ONES * 0x80);
            suspects == 0 || word.iter().all(plain)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_in_lower_case() {
        let good: Vec<u8> = (0..=255u8).filter(|&b| is_name(&[b])).collect();
        assert_eq!(good.len(), 26 + 10 + 14);
        for b in b"ABYZ_:(),/;<=>?@[\\]{}\" \t\r\n\0\x7f\x80\xff" {
            assert!(!is_name(&[b'a', *b, b'a']), "{b}");
        }
        assert!(!is_name(b"") && is_name(b"x-mine") && !is_name(b":path"));
    }

    #[test]
    fn values_are_checked_byte_by_byte_at_every_place() {
        for b in 0..=255u8 {
            let good = b == b'\t' || (b >= b' ' && b != 0x7f);
            for len in 1..20 {
                for at in 0..len {
                    for filler in [b'a', 0xff, 0x80, b'!'] {
                        let mut value = vec![filler; len];
                        value[at] = b;
                        let blank_end = matches!(b, b' ' | b'\t') && (at == 0 || at == len - 1);
                        assert_eq!(is_value(&value), good && !blank_end, "{value:?}");
                    }
                }
            }
        }
        assert!(is_value(b""));
    }
}
