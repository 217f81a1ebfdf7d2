//! Which bytes may stand where (RFC 9110, section 5.6; RFC 3986), as one table.

/// May stand in a token: a method, a field name, a chunk extension.
pub(crate) const TOKEN: u8 = 1 << 0;
/// May stand in a request's field name: a token without `_`, which servers behind may read as `-`.
pub(crate) const NAME: u8 = 1 << 1;
/// May stand in a request target: visible ASCII but `#` (fragments are never sent) and `\` (some read it as `/`).
pub(crate) const TARGET: u8 = 1 << 2;
/// May stand in a host name or IPv4 address.
pub(crate) const HOST: u8 = 1 << 3;
/// May stand in a field value or a reason phrase: HTAB, SP, visible ASCII and bytes above 0x7f.
pub(crate) const VALUE: u8 = 1 << 4;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let alphanumeric = b.is_ascii_alphanumeric();
        let mark = matches!(
            b,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'`' | b'|' | b'~'
        );
        if alphanumeric || mark || b == b'_' {
            table[i] |= TOKEN;
        }
        if alphanumeric || mark {
            table[i] |= NAME;
        }
        if b.is_ascii_graphic() && b != b'#' && b != b'\\' {
            table[i] |= TARGET;
        }
        if alphanumeric || matches!(b, b'-' | b'.' | b'_' | b'~') {
            table[i] |= HOST;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            table[i] |= VALUE;
        }
        i += 1;
    }
    table
}

/// Whether `b` belongs to any of these classes.
#[inline]
pub(crate) fn is(b: u8, class: u8) -> bool {
    CLASS[usize::from(b)] & class != 0
}

/// How many bytes from the start belong to the class.
#[inline]
pub(crate) fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|&b| !is(b, class)).unwrap_or(bytes.len())
}

/// Whether it is a token (RFC 9110, section 5.6.2): what a method must be.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && run(bytes, TOKEN) == bytes.len()
}

/// A one in each byte of a word: times `b`, a word of `b`s.
const ONES: u64 = u64::MAX / 0xff;

/// [`run`] of `TOKEN` or `NAME`, eight letters and hyphens at a time; other bytes singly.
#[inline]
pub(crate) fn token_run(bytes: &[u8], class: u8) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let w = u64::from_le_bytes(*word);
        // Sums of bytes below 0x80 that carry into their own top bit only.
        let low = (w | (ONES * 0x20)) & (ONES * 0x7f);
        let from_a = low + ONES * (0x80 - b'a' as u64);
        let above_z = low + ONES * (0x80 - b'z' as u64 - 1);
        let not_hyphen = ((w & (ONES * 0x7f)) ^ (ONES * b'-' as u64)) + ONES * 0x7f;
        let common = ((from_a & !above_z) | !not_hyphen) & !w;
        let others = !common & (ONES * 0x80);
        if others == 0 {
            at += 8;
            continue;
        }
        let first = (others.trailing_zeros() / 8) as usize;
        at += first;
        if !is(word[first & 7], class) {
            return at;
        }
        at += 1;
    }
    at + run(bytes.get(at..).unwrap_or(&[]), class)
}

/// [`run`] of `VALUE`, eight bytes at a time.
#[inline]
pub(crate) fn value_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let w = u64::from_le_bytes(*word);
        let below_space = w.wrapping_sub(ONES * 0x20) & !w;
        let del = w ^ (ONES * 0x7f);
        let hits = (below_space | (del.wrapping_sub(ONES) & !del)) & (ONES * 0x80);
        if hits == 0 {
            at += 8;
            continue;
        }
        // The lowest hit is exact; borrows can only make false ones above it.
        let first = (hits.trailing_zeros() / 8) as usize;
        at += first;
        if word[first & 7] != b'\t' {
            return at;
        }
        at += 1;
    }
    at + run(bytes.get(at..).unwrap_or(&[]), VALUE)
}

/// How many bytes from the start are of `TARGET` and neither `%` nor `?`, eight at a time.
#[inline]
pub(crate) fn plain_target_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let w = u64::from_le_bytes(*word);
        let zero = |x: u64| x.wrapping_sub(ONES) & !x;
        let outside = (w.wrapping_sub(ONES * 0x21) & !w) | w | zero(w ^ (ONES * 0x7f));
        let marks = zero(w ^ (ONES * b'#' as u64))
            | zero(w ^ (ONES * b'%' as u64))
            | zero(w ^ (ONES * b'?' as u64))
            | zero(w ^ (ONES * b'\\' as u64));
        let hits = (outside | marks) & (ONES * 0x80);
        if hits != 0 {
            // The lowest hit is exact; borrows can only make false ones above it.
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or(&[]);
    at + rest.iter().position(|&b| !is(b, TARGET) || matches!(b, b'%' | b'?')).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_runs_agree_with_the_table_for_every_byte_at_every_place() {
        for b in 0..=255u8 {
            for len in 0..20 {
                for at in 0..len {
                    for filler in [b'a', 0xff, b' ', b'\t', 0x80] {
                        let mut bytes = vec![filler; len];
                        bytes[at] = b;
                        assert_eq!(value_run(&bytes), run(&bytes, VALUE), "{bytes:?}");
                    }
                    for filler in *b"aZ-_0:" {
                        let mut bytes = vec![filler; len];
                        bytes[at] = b;
                        assert_eq!(token_run(&bytes, NAME), run(&bytes, NAME), "{bytes:?}");
                        assert_eq!(token_run(&bytes, TOKEN), run(&bytes, TOKEN), "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn plain_targets_end_at_marks_for_every_byte_at_every_place() {
        for b in 0..=255u8 {
            let plain = is(b, TARGET) && b != b'%' && b != b'?';
            for len in 1..20 {
                for at in 0..len {
                    for filler in *b"a!~\"$&>@[]" {
                        let mut bytes = vec![filler; len];
                        bytes[at] = b;
                        assert_eq!(plain_target_run(&bytes), if plain { len } else { at }, "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn classes_hold_what_the_grammar_says() {
        let members = |class| (0..=255u8).filter(|&b| is(b, class)).collect::<Vec<u8>>();
        assert_eq!(members(TOKEN).len(), 26 + 26 + 10 + 15);
        assert_eq!(members(NAME).len(), members(TOKEN).len() - 1);
        assert!(!is(b'_', NAME) && is(b'_', TOKEN));
        for b in *b"()<>@,;:\\\"/[]?={} \t\r\n\0\x7f\x80" {
            assert!(!is(b, TOKEN), "{b}");
        }
        assert_eq!(members(TARGET).len(), 94 - 2);
        assert_eq!(members(VALUE).len(), 1 + 95 + 128);
        assert_eq!(members(HOST).len(), 26 + 26 + 10 + 4);
    }
}
