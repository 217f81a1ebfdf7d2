//! Against implementations by others: what we write they read, what they write we read, and of damaged blocks whatever
//! both accept says the same.
use crate::{
    properties::{Block, blocks, write},
    support::{Field, decode},
};
use edge_io::http2::hpack::{Decoder, Encoder};
use proptest::{collection::vec, prelude::*, sample::Index};

/// The flags of one field for `httlib_hpack`: which strings are coded, and whether it is inserted.
fn flags(inserted: bool, coded: u8) -> u8 {
    let form = if inserted { httlib_hpack::Encoder::WITH_INDEXING } else { 0 };
    form | (coded & (httlib_hpack::Encoder::HUFFMAN_NAME | httlib_hpack::Encoder::HUFFMAN_VALUE))
}

fn fluke_fields(decoder: &mut fluke_hpack::Decoder<'_>, block: &[u8]) -> Option<Vec<Field>> {
    decoder.decode(block).ok()
}

/// The fields of a block as they are.
fn pairs(block: &Block) -> Vec<Field> {
    block.fields.iter().map(|f| (f.name.clone(), f.value.clone())).collect()
}

proptest! {
    #[test]
    fn others_read_what_we_write(blocks in blocks(), table in prop::sample::select(vec![0u32, 64, 4096, 10_000])) {
        let (mut encoder, mut out) = (Encoder::new(table), Vec::new());
        let mut fluke = fluke_hpack::Decoder::new();
        for block in &blocks {
            let expected = write(&mut encoder, block, &mut out);
            prop_assert_eq!(fluke_fields(&mut fluke, &out), Some(expected));
        }
    }

    #[test]
    fn we_read_what_others_write(blocks in blocks()) {
        let (mut fluke, mut decoder) = (fluke_hpack::Encoder::new(), Decoder::new(4096));
        for block in &blocks {
            let fields = pairs(block);
            let octets = fluke.encode(fields.iter().map(|(name, value)| (&name[..], &value[..])));
            prop_assert_eq!(decode(&mut decoder, &octets), Ok(fields));
        }
    }

    #[test]
    fn we_read_what_others_code(blocks in blocks(), choices in vec((any::<bool>(), any::<u8>()), 1..40)) {
        let (mut httlib, mut decoder) = (httlib_hpack::Encoder::with_dynamic_size(4096), Decoder::new(4096));
        let mut choices = choices.iter().cycle();
        for block in &blocks {
            let (fields, mut octets) = (pairs(block), Vec::new());
            for ((name, value), (inserted, coded)) in fields.iter().zip(&mut choices) {
                httlib.encode((name.clone(), value.clone(), flags(*inserted, *coded)), &mut octets).expect("encodes");
            }
            prop_assert_eq!(decode(&mut decoder, &octets), Ok(fields));
        }
    }

    #[test]
    fn damaged_blocks_that_both_accept_say_the_same(
        blocks in blocks(),
        damage in vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..6),
    ) {
        let (mut encoder, mut out) = (Encoder::new(4096), Vec::new());
        let mut octets: Vec<Vec<u8>> = Vec::new();
        for block in &blocks {
            write(&mut encoder, &Block { setting: None, ..block.clone() }, &mut out);
            octets.push(out.clone());
        }
        for (block, at, octet) in damage {
            let block = block.index(octets.len());
            if !octets[block].is_empty() {
                let at = at.index(octets[block].len());
                octets[block][at] = octet;
            }
        }
        let (mut decoder, mut fluke) = (Decoder::new(4096), fluke_hpack::Decoder::new());
        fluke.set_max_allowed_table_size(4096);
        for block in &octets {
            let (Ok(ours), Some(theirs)) = (decode(&mut decoder, block), fluke_fields(&mut fluke, block)) else { break };
            prop_assert_eq!(ours, theirs);
        }
    }
}
