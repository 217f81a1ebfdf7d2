//! The Huffman code of RFC 7541, Appendix B. It is canonical, so the lengths say everything: codes and decoding tables
//! are computed from them when this is compiled.
use super::Malformed;

/// End of string: never sent, its first bits are the padding.
const EOS: usize = 256;
/// Code length of each symbol, in bits.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
/// Length of the longest code.
const LONGEST: usize = 30;

/// A symbol's code, in its low bits, and its length.
#[derive(Clone, Copy)]
struct Code {
    bits: u32,
    len: u8,
}

/// Codes by symbol; beside them, for decoding, the symbols in the order of their codes.
struct Canonical {
    codes: [Code; 257],
    /// Symbols by length, then by number.
    sorted: [u16; 257],
    /// Of each length: where its symbols start in `sorted`.
    start: [u16; LONGEST + 2],
    /// Of each length: its first code; one past the last code of it and all shorter ones, at the top of 32 bits.
    first: [u32; LONGEST + 1],
    limit: [u64; LONGEST + 1],
}

const fn canonical() -> Canonical {
    let mut c = Canonical {
        codes: [Code { bits: 0, len: 0 }; 257],
        sorted: [0; 257],
        start: [0; LONGEST + 2],
        first: [0; LONGEST + 1],
        limit: [0; LONGEST + 1],
    };
    let (mut code, mut n, mut len) = (0u32, 0, 1);
    while len <= LONGEST {
        code <<= 1;
        c.start[len] = n as u16;
        c.first[len] = code;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == len {
                c.codes[symbol] = Code { bits: code, len: len as u8 };
                c.sorted[n] = symbol as u16;
                code += 1;
                n += 1;
            }
            symbol += 1;
        }
        c.limit[len] = (code as u64) << (32 - len);
        len += 1;
    }
    c.start[LONGEST + 1] = n as u16;
    assert!(n == 257 && code == 1 << LONGEST, "the lengths do not make a complete code");
    c
}

const CANONICAL: Canonical = canonical();
static CODES: [Code; 257] = CANONICAL.codes;
static SORTED: [u16; 257] = CANONICAL.sorted;
static START: [u16; LONGEST + 2] = CANONICAL.start;
static FIRST: [u32; LONGEST + 1] = CANONICAL.first;
static LIMIT: [u64; LONGEST + 1] = CANONICAL.limit;

/// Bits that one look-up decides: room for two of the commonest letters.
const WINDOW: u32 = 11;

/// What the next [`WINDOW`] bits start with: one or two symbols, or a longer code. From the lowest byte on: the symbols;
/// the bits of both; in the highest byte the bits of the first, and above them ([`COUNT`]) how many symbols, 0 for a
/// longer code.
#[derive(Clone, Copy)]
struct Step(u32);

/// Where the count is, in bits from the lowest.
const COUNT: u32 = 30;

impl Step {
    const fn one(symbol: u8, bits: u8) -> Step {
        Step(symbol as u32 | (bits as u32) << 16 | (bits as u32) << 24 | 1 << COUNT)
    }

    const fn two(first: u8, first_bits: u8, second: u8, bits: u8) -> Step {
        Step(first as u32 | (second as u32) << 8 | (bits as u32) << 16 | (first_bits as u32) << 24 | 2 << COUNT)
    }

    const fn symbols(self) -> [u8; 2] {
        (self.0 as u16).to_le_bytes()
    }

    const fn bits(self) -> u32 {
        self.0 >> 16 & 0x3f
    }

    const fn first_bits(self) -> u32 {
        self.0 >> 24 & 0x3f
    }

    const fn count(self) -> usize {
        (self.0 >> COUNT) as usize
    }
}

static STEPS: [Step; 1 << WINDOW] = steps();

/// The symbol whose code starts `window`, of which `len` bits are there; `None` for a code that is longer.
const fn first_symbol(window: u32, len: u32) -> Option<u8> {
    let mut bits = 5;
    while bits <= len {
        let code = window >> (len - bits);
        let of_length = CANONICAL.start[bits as usize + 1] - CANONICAL.start[bits as usize];
        let first = CANONICAL.first[bits as usize];
        if of_length > 0 && code >= first && code < first + of_length as u32 {
            return Some(CANONICAL.sorted[CANONICAL.start[bits as usize] as usize + (code - first) as usize] as u8);
        }
        bits += 1;
    }
    None
}

const fn steps() -> [Step; 1 << WINDOW] {
    let mut table = [Step(0); 1 << WINDOW];
    let mut window = 0;
    while window < 1 << WINDOW {
        if let Some(one) = first_symbol(window, WINDOW) {
            let bits = LENGTHS[one as usize];
            let rest = WINDOW - bits as u32;
            table[window as usize] = match first_symbol(window & ((1 << rest) - 1), rest) {
                Some(two) => Step::two(one, bits, two, bits + LENGTHS[two as usize]),
                None => Step::one(one, bits),
            };
        }
        window += 1;
    }
    table
}

/// Most bytes that `coded` coded bytes become, and what the decoder writes beyond them: the room [`decode`] needs.
#[inline]
pub const fn room(coded: usize) -> usize {
    coded * 8 / 5 + 2
}

/// The bits still to be decoded: the next one on top of `bits`.
struct Reader<'a> {
    input: &'a [u8],
    bits: u64,
    /// How many of `bits` are taken from `input`. Those below may be there already: they come again, the same.
    count: u32,
}

impl Reader<'_> {
    /// At least 56 bits, or all there are.
    #[inline]
    fn fill(&mut self) {
        if let Some(word) = self.input.first_chunk::<8>() {
            self.bits |= u64::from_be_bytes(*word) >> self.count;
            let bytes = (63 - self.count) / 8;
            self.input = self.input.get(bytes as usize..).unwrap_or(&[]);
            self.count += bytes * 8;
            return;
        }
        while self.count <= 56 {
            let Some((&byte, rest)) = self.input.split_first() else { return };
            self.input = rest;
            self.bits |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline]
    fn skip(&mut self, bits: u32) {
        self.bits <<= bits;
        self.count -= bits;
    }

    /// The symbol of a code longer than [`WINDOW`], or of any code when few bits are left.
    #[cold]
    fn long(&mut self) -> Result<u8, Malformed> {
        let top = self.bits >> 32;
        let len = (5..=LONGEST).find(|&len| top < LIMIT[len]).unwrap_or(LONGEST);
        if len as u32 > self.count {
            return Err(Malformed::InvalidHuffman);
        }
        let nth = (top >> (32 - len)) as u32 - FIRST[len];
        let symbol = SORTED.get(usize::from(START[len]) + nth as usize).copied().unwrap_or(EOS as u16);
        self.skip(len as u32);
        u8::try_from(symbol).map_err(|_| Malformed::InvalidHuffman)
    }

    /// Whether what is left is padding: fewer than 8 bits, all of them ones (RFC 7541, section 5.2).
    #[inline]
    fn is_padding(&self) -> bool {
        self.input.is_empty() && self.count < 8 && self.bits.leading_ones() >= self.count
    }
}

/// Decodes `input` into the start of `out`, which has [`room`], and says how many bytes came of it.
pub fn decode(input: &[u8], out: &mut [u8]) -> Result<usize, Malformed> {
    let mut reader = Reader { input, bits: 0, count: 0 };
    let mut n = 0;
    reader.fill();
    while reader.count >= WINDOW {
        // As many steps as the bits surely suffice for, so that what is left is asked once for all of them.
        for _ in 0..reader.count / WINDOW {
            let step = STEPS[(reader.bits >> (64 - WINDOW)) as usize];
            let Some(place) = out.get_mut(n..n + 2) else { return Err(Malformed::InvalidHuffman) };
            if step.count() == 0 {
                reader.fill();
                place[0] = reader.long()?;
                n += 1;
                break;
            }
            place.copy_from_slice(&step.symbols());
            n += step.count();
            reader.skip(step.bits());
        }
        reader.fill();
    }
    // Fewer bits than a window: symbol by symbol, until only padding can be left.
    while !reader.is_padding() {
        let step = STEPS[(reader.bits >> (64 - WINDOW)) as usize];
        let first = step.first_bits();
        if first == 0 || first > reader.count {
            return Err(Malformed::InvalidHuffman);
        }
        let Some(place) = out.get_mut(n) else { return Err(Malformed::InvalidHuffman) };
        *place = step.symbols()[0];
        n += 1;
        reader.skip(first);
    }
    Ok(n)
}

/// How many bytes `text` takes when coded.
#[inline]
pub fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&b| usize::from(LENGTHS_BY_BYTE[usize::from(b)])).sum();
    bits.div_ceil(8)
}

/// [`LENGTHS`] without EOS, so that every byte is an index.
static LENGTHS_BY_BYTE: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = LENGTHS[i];
        i += 1;
    }
    table
};

/// Appends `text`, coded and padded.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    // `count` stays below 32 between symbols, so that the longest code fits.
    let (mut bits, mut count) = (0u64, 0u32);
    for &b in text {
        let code = CODES[usize::from(b)];
        bits = bits << code.len | u64::from(code.bits);
        count += u32::from(code.len);
        if count >= 32 {
            count -= 32;
            out.extend_from_slice(&((bits >> count) as u32).to_be_bytes());
        }
    }
    let padding = count.wrapping_neg() % 8;
    bits = bits << padding | ((1 << padding) - 1);
    count += padding;
    while count > 0 {
        count -= 8;
        out.push((bits >> count) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = vec![0; room(input.len())];
        let n = decode(input, &mut out)?;
        out.truncate(n);
        Ok(out)
    }

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out);
        assert_eq!(out.len(), encoded_len(text));
        out
    }

    /// A string of `0` and `1`, padded with ones.
    fn bits(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
        digits.chunks(8).map(|c| (0..8).fold(0, |n, i| n << 1 | u8::from(c.get(i) != Some(&b'0')))).collect()
    }

    #[test]
    fn some_codes_of_appendix_b() {
        for (symbol, bits, len) in [
            (0, 0x1ff8, 13),
            (b'0', 0, 5),
            (b'a', 3, 5),
            (b'z', 0x7b, 7),
            (b'&', 0xf8, 8),
            (b'\\', 0x7fff0, 19),
            (128, 0xfffe6, 20),
            (249, 0x0fff_fffe, 28),
            (b'\n', 0x3fff_fffc, 30),
            (22, 0x3fff_fffe, 30),
        ] {
            let code = CODES[usize::from(symbol)];
            assert_eq!((code.bits, code.len), (bits, len), "{symbol}");
        }
        assert_eq!((CODES[EOS].bits, CODES[EOS].len), (0x3fff_ffff, 30));
    }

    #[test]
    fn every_pair_of_bytes_and_every_length_comes_back() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                let text = [a, b];
                assert_eq!(decoded(&encoded(&text)).as_deref(), Ok(&text[..]));
            }
            for n in 0..40 {
                let text = vec![a; n];
                assert_eq!(decoded(&encoded(&text)), Ok(text));
            }
        }
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        assert_eq!(decoded(&encoded(&all)), Ok(all));
    }

    #[test]
    fn padding_is_short_and_all_ones() {
        assert_eq!(decoded(b""), Ok(vec![]));
        for (input, good) in [
            ("00011", true),                                 // a
            ("00011 110", false),                            // not all ones
            ("00011 000", false),                            // cut code that is not padding
            ("00011 111 11111111", false),                   // more than 7 bits
            ("11111111", false),                             // nothing but padding, and too much of it
            ("1111111", false),                              // the same, by its last byte
            ("00011 00011 00011 1", true),                   // aaa
            ("111111111111111111111111111111 00", false),    // EOS
            ("00011 111111111111111111111111111111", false), // EOS behind a letter
            ("11111111 11111110", false),                    // a long code, cut
        ] {
            assert_eq!(decoded(&bits(input)).is_ok(), good, "{input}");
        }
        for n in 1..200 {
            let mut padded = encoded(&vec![b'a'; n]);
            padded.push(0xff);
            assert_eq!(decoded(&padded), Err(Malformed::InvalidHuffman), "{n}");
            assert_eq!(decoded(&vec![0xff; n]), Err(Malformed::InvalidHuffman), "{n}");
        }
    }

    #[test]
    fn every_padding_of_every_symbol() {
        for symbol in 0..=255u8 {
            let code = encoded(&[symbol]);
            let spare = (code.len() * 8) as u32 - u32::from(CODES[usize::from(symbol)].len);
            for wrong in 0..(1u16 << spare) - 1 {
                let mut input = code.clone();
                let last = input.len() - 1;
                input[last] = (input[last] & !(((1u16 << spare) - 1) as u8)) | wrong as u8;
                let fine = decoded(&input);
                // Other bits may be another whole symbol with padding of its own.
                if let Ok(text) = fine {
                    assert_eq!(encoded(&text), input);
                }
            }
        }
    }

    #[test]
    fn the_room_suffices() {
        for n in 0..100 {
            let input = vec![0; n];
            assert_eq!(decoded(&input).map_or(0, |text| text.len()), if n % 5 == 0 { n * 8 / 5 } else { 0 });
        }
    }
}
