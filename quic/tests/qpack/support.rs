//! What the tests share: decoding to owned fields, and octets written as hexadecimal text.
use edge_io::{
    field_codec::{Pseudo, is_name, is_value},
    head::FieldId,
};
use edge_quic::h3::qpack::{Decode, DecodeError, Decoded, Decoder, Encoder, Fault};

/// A field with its own bytes.
pub type Field = (Vec<u8>, Vec<u8>);

/// What came of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    Fields(Vec<Field>),
    Blocked(u64),
}

/// All fields of a section, if it is not blocked.
pub fn decode(decoder: &mut Decoder, stream: u64, section: &[u8]) -> Result<Read, Fault> {
    let mut fields = Vec::new();
    let outcome = decoder.decode(stream, section, |field| {
        assert_facts(&field);
        fields.push((field.name.to_vec(), field.value.to_vec()));
        Ok::<_, ()>(())
    });
    match outcome {
        Ok(Decode::Done) => Ok(Read::Fields(fields)),
        Ok(Decode::Blocked { required_insert_count }) => {
            assert!(fields.is_empty() && required_insert_count > decoder.insert_count());
            Ok(Read::Blocked(required_insert_count))
        }
        Err(DecodeError::Fault(fault)) => Err(fault),
        Err(DecodeError::Stopped(())) => unreachable!("nothing stops it"),
    }
}

/// What the decoder says of a field holds.
pub fn assert_facts(field: &Decoded<'_>) {
    assert_eq!(field.pseudo, Pseudo::of(field.name));
    let id = FieldId::of(field.name);
    let exact = id.as_str().as_bytes() == field.name;
    assert_eq!(field.id, if exact { id } else { FieldId::Other });
    assert!(!field.name_checked || is_name(field.name) || field.pseudo.is_some(), "{field:?}");
    assert!(!field.value_checked || is_value(field.value), "{field:?}");
    assert_eq!(field.size(), field.name.len() + field.value.len() + 32);
}

/// Encodes one field by whichever method is its own.
pub fn encode_field(encoder: &mut Encoder, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    match Pseudo::of(name) {
        Some(Pseudo::Status) if value.len() == 3 && value.iter().all(u8::is_ascii_digit) => {
            encoder.status(out, value.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0')));
        }
        Some(pseudo) => encoder.pseudo(out, pseudo, value),
        None => {
            let id = FieldId::of(name);
            let known = id.as_str().as_bytes().eq_ignore_ascii_case(name);
            encoder.field(out, if known { id } else { FieldId::Other }, name, value);
        }
    }
}

/// A section with these fields.
pub fn encode(encoder: &mut Encoder, stream: u64, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(stream, &mut out);
    fields.iter().for_each(|(name, value)| encode_field(encoder, &mut out, name.as_bytes(), value.as_bytes()));
    encoder.end(&mut out);
    out
}

/// What waits in a buffer of instructions, which is empty then.
pub fn drain(out: &mut Vec<u8>) -> Vec<u8> {
    std::mem::take(out)
}

/// Octets of hexadecimal digits; white space is for the eye.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let octet = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|s| u8::from_str_radix(s, 16).ok());
    digits.chunks(2).map(|pair| octet(pair).expect("hexadecimal")).collect()
}

/// Owned fields of string pairs.
pub fn fields(list: &[(&str, &str)]) -> Vec<Field> {
    list.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// An integer with a prefix (RFC 9204, section 4.1.1).
pub fn integer(first: u8, bits: u32, value: u64) -> Vec<u8> {
    let mask = (1u64 << bits) - 1;
    if value < mask {
        return vec![first | value as u8];
    }
    let (mut octets, mut rest) = (vec![first | mask as u8], value - mask);
    while rest >= 0x80 {
        octets.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    octets.push(rest as u8);
    octets
}

/// The static table, as our decoder has it.
pub fn statics() -> Vec<Field> {
    let mut decoder = Decoder::new(0, 0);
    let mut section = vec![0, 0];
    (0..99).for_each(|index| section.extend(integer(0xc0, 6, index)));
    match decode(&mut decoder, 0, &section) {
        Ok(Read::Fields(fields)) => fields,
        other => panic!("{other:?}"),
    }
}
