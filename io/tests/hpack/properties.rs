//! What holds for all fields and all octets: what is written is read back, whatever becomes of the tables; nothing
//! panics; skipping and decoding leave the same table.
use crate::support::{Field, decode, encode_field};
use edge_io::{
    head::FieldId,
    http2::hpack::{DecodeError, Decoder, Encoder, Pseudo},
};
use proptest::{collection::vec, prelude::*, sample::select};

/// A field of one block.
#[derive(Clone, Debug)]
pub struct Sent {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    pub never: bool,
}

/// One block, and the setting that may come before it.
#[derive(Clone, Debug)]
pub struct Block {
    pub setting: Option<u32>,
    pub fields: Vec<Sent>,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let known = FieldId::ALL.iter().map(|id| id.as_str()).chain(Pseudo::ALL.map(Pseudo::as_str));
    let known: Vec<Vec<u8>> = known.map(|name| name.as_bytes().to_vec()).collect();
    prop_oneof![
        4 => select(known),
        2 => select(vec![&b"x-a"[..], b"x-frame-options", b"X-Powered-By", b"from"]).prop_map(<[u8]>::to_vec),
        1 => "[a-z-]{1,40}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..300),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => select(vec![&b""[..], b"a", b"GET", b"200", b"302", b"gzip, deflate", b"text/html; charset=utf-8"])
            .prop_map(<[u8]>::to_vec),
        2 => "[ -~]{0,60}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..1500),
        1 => (any::<u8>(), 0..5000usize).prop_map(|(b, n)| vec![b; n]),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    (name(), value(), prop::bool::weighted(0.1)).prop_map(|(name, value, never)| Sent { name, value, never })
}

/// Blocks of one connection.
pub fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let setting = prop::option::weighted(0.3, prop_oneof![0..300u32, select(vec![0, 64, 4096, 8192, 65_536])]);
    let block = (setting, vec(sent(), 1..12)).prop_map(|(setting, fields)| Block { setting, fields });
    vec(block, 1..12)
}

/// Writes a block and says which fields it should have.
pub fn write(encoder: &mut Encoder, block: &Block, out: &mut Vec<u8>) -> Vec<Field> {
    if let Some(setting) = block.setting {
        encoder.set_max(setting);
    }
    out.clear();
    encoder.begin(out);
    for field in &block.fields {
        match Pseudo::of(&field.name) {
            None if field.never => encoder.never_indexed(out, FieldId::Other, &field.name, &field.value),
            _ => encode_field(encoder, out, &field.name, &field.value),
        }
    }
    block.fields.iter().map(|f| (f.name.to_ascii_lowercase(), f.value.clone())).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(blocks in blocks(), table in select(vec![0u32, 100, 4096, 20_000]), shared: bool) {
        let mut encoder = Encoder::new(table);
        if shared {
            encoder = encoder.shared();
        }
        let (mut decoder, mut out) = (Decoder::new(4096), Vec::new());
        for block in &blocks {
            if let Some(setting) = block.setting {
                decoder.set_max(setting);
            }
            let expected = write(&mut encoder, block, &mut out);
            prop_assert_eq!(decode(&mut decoder, &out), Ok(expected));
        }
        let most = 2 * 65_536 + 65_536 / 32 * 24;
        prop_assert!(encoder.memory() <= most && decoder.memory() <= most + 16 * 1024);
    }

    #[test]
    fn skipping_keeps_the_table_in_step(blocks in blocks(), stops in vec(0..12usize, 12)) {
        let mut encoder = Encoder::new(4096);
        let (mut whole, mut skipping, mut out) = (Decoder::new(4096), Decoder::new(4096), Vec::new());
        for (block, stop) in blocks.iter().zip(stops) {
            if let Some(setting) = block.setting {
                whole.set_max(setting);
                skipping.set_max(setting);
            }
            let expected = write(&mut encoder, block, &mut out);
            prop_assert_eq!(decode(&mut whole, &out), Ok(expected.clone()));
            let mut got: Vec<Field> = Vec::new();
            let outcome = skipping.decode(&out, |field| {
                if got.len() == stop {
                    return Err(());
                }
                got.push((field.name.to_vec(), field.value.to_vec()));
                Ok(())
            });
            prop_assert_eq!(&got[..], &expected[..stop.min(expected.len())]);
            prop_assert_eq!(outcome, if stop < expected.len() { Err(DecodeError::Stopped(())) } else { Ok(()) });
        }
        // All entries that either has.
        for index in 0..300usize {
            let mut octets = vec![0xff];
            let mut rest = index;
            while rest >= 0x80 {
                octets.push(0x80 | (rest & 0x7f) as u8);
                rest >>= 7;
            }
            octets.push(rest as u8);
            let (a, b) = (decode(&mut whole, &octets), decode(&mut skipping, &octets));
            prop_assert_eq!(a, b);
        }
    }

    #[test]
    fn no_octets_panic(blocks in vec(vec(any::<u8>(), 0..400), 1..8), setting: u16) {
        let mut decoder = Decoder::new(u32::from(setting));
        for block in &blocks {
            if decode(&mut decoder, block).is_err() {
                decoder.set_max(u32::from(setting));
            }
        }
    }
}
