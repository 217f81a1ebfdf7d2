//! What holds for all fields, all octets and every order in which things arrive.
use crate::{
    model::{Insert, Line, Model, Section},
    support::{Field, Read, decode, drain, encode_field, statics},
};
use edge_io::head::FieldId;
use edge_quic::h3::qpack::{Decoder, Encoder, Pseudo};
use proptest::{collection::vec, prelude::*, sample::select};

pub fn name() -> impl Strategy<Value = Vec<u8>> {
    let known = FieldId::ALL.iter().map(|id| id.as_str()).chain(Pseudo::ALL.map(Pseudo::as_str));
    let known: Vec<Vec<u8>> = known.map(|name| name.as_bytes().to_vec()).collect();
    prop_oneof![
        4 => select(known),
        2 => select(vec![&b"x-a"[..], b"x-frame-options", b"X-Powered-By", b"expect-ct"]).prop_map(<[u8]>::to_vec),
        1 => "[a-z-]{1,40}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..300),
    ]
}

pub fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => select(vec![&b""[..], b"a", b"GET", b"200", b"302", b"gzip, deflate, br", b"text/html; charset=utf-8"])
            .prop_map(<[u8]>::to_vec),
        2 => "[ -~]{0,60}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..1500),
        1 => (any::<u8>(), 0..5000usize).prop_map(|(b, n)| vec![b; n]),
    ]
}

/// What happens next between our encoder and our decoder.
#[derive(Clone, Debug)]
enum Step {
    /// A section with these of the connection's fields, on the stream of this number.
    Write(u64, Vec<usize>),
    /// Of the encoder stream, so many bytes arrive; or of the decoder stream.
    Inserts(usize),
    Acknowledgments(usize),
    /// One of the sections on their way arrives, or its stream is reset before that.
    Section(usize),
    Reset(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40u64, vec(0..12usize, 1..8)).prop_map(|(stream, fields)| Step::Write(stream * 4, fields)),
        3 => (1..300usize).prop_map(Step::Inserts),
        3 => (1..20usize).prop_map(Step::Acknowledgments),
        4 => any::<usize>().prop_map(Step::Section),
        1 => any::<usize>().prop_map(Step::Reset),
    ]
}

/// The first `n` bytes, or all, are taken away.
fn take(bytes: &mut Vec<u8>, n: usize) -> Vec<u8> {
    bytes.drain(..n.min(bytes.len())).collect()
}

/// Both sides of a connection and what is on its way between them.
struct Pair {
    encoder: Encoder,
    decoder: Decoder,
    inserts: Vec<u8>,
    acknowledgments: Vec<u8>,
    /// Of each stream the sections arrive in order.
    sections: Vec<(u64, Vec<u8>, Vec<Field>)>,
    /// Streams that were reset.
    gone: Vec<u64>,
}

impl Pair {
    fn new(table: u32) -> Pair {
        let (mut encoder, decoder) = (Encoder::new(), Decoder::new(table, 0));
        encoder.set_peer(table);
        Pair { encoder, decoder, inserts: vec![], acknowledgments: vec![], sections: vec![], gone: vec![] }
    }

    fn write(&mut self, stream: u64, fields: Vec<Field>) {
        if self.gone.contains(&stream) {
            return;
        }
        let mut octets = b"in front".to_vec();
        self.encoder.begin(stream, &mut octets);
        for (name, value) in &fields {
            encode_field(&mut self.encoder, &mut octets, name, value);
        }
        self.encoder.end(&mut octets);
        assert!(octets.starts_with(b"in front"));
        let expected = fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        self.sections.push((stream, octets.split_off(8), expected));
        self.inserts.extend(drain(self.encoder.out()));
    }

    fn inserts_arrive(&mut self, n: usize) {
        self.decoder.on_encoder_stream(&take(&mut self.inserts, n)).expect("inserts");
        self.acknowledgments.extend(drain(self.decoder.out()));
    }

    fn acknowledgments_arrive(&mut self, n: usize) {
        self.encoder.on_decoder_stream(&take(&mut self.acknowledgments, n)).expect("acknowledgments");
    }

    /// The first section of the stream that the section `at` is of arrives.
    fn section_arrives(&mut self, at: usize) {
        let Some(at) = at.checked_rem(self.sections.len()) else { return };
        let stream = self.sections[at].0;
        let first = self.sections.iter().position(|s| s.0 == stream).expect("a section");
        let (_, octets, fields) = self.sections.remove(first);
        assert_eq!(decode(&mut self.decoder, stream, &octets), Ok(Read::Fields(fields)), "never blocked");
        self.acknowledgments.extend(drain(self.decoder.out()));
    }

    fn reset(&mut self, at: usize) {
        let Some(at) = at.checked_rem(self.sections.len()) else { return };
        let stream = self.sections[at].0;
        self.sections.retain(|s| s.0 != stream);
        self.gone.push(stream);
        self.decoder.cancel_stream(stream);
        self.acknowledgments.extend(drain(self.decoder.out()));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_in_any_order(
        pool in vec((name(), value()), 12),
        steps in vec(step(), 1..300),
        table in select(vec![0u32, 255, 256, 300, 1000, 4096, 8192, 65_536, 1 << 20]),
    ) {
        let mut pair = Pair::new(table);
        for step in steps {
            match step {
                Step::Write(stream, fields) => pair.write(stream, fields.iter().map(|&i| pool[i].clone()).collect()),
                Step::Inserts(n) => pair.inserts_arrive(n),
                Step::Acknowledgments(n) => pair.acknowledgments_arrive(n),
                Step::Section(at) => pair.section_arrives(at),
                Step::Reset(at) => pair.reset(at),
            }
            // A table twice, its entries, what is not sent (drained above), sections, and the state.
            let most = 2 * 4096 + 128 * 24 + 3 * 4096 + 10 * 1024;
            prop_assert!(pair.encoder.memory() <= most, "{}", pair.encoder.memory());
        }
        (0..pair.sections.len()).for_each(|_| pair.section_arrives(0));
        pair.inserts_arrive(usize::MAX);
        pair.acknowledgments_arrive(usize::MAX);
    }
}

/// What happens next between the model and our decoder.
#[derive(Clone, Debug)]
enum Turn {
    Capacity(usize),
    Insert(Insert),
    Write(Vec<Line>, usize),
    Inserts(usize),
    Section(usize),
    Cancel(usize),
}

fn small() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["[ -~]{0,60}".prop_map(String::into_bytes), vec(any::<u8>(), 0..90)]
}

fn insert() -> impl Strategy<Value = Insert> {
    prop_oneof![
        (0..99usize, small(), any::<bool>()).prop_map(|(index, value, coded)| Insert::StaticName {
            index,
            value,
            coded
        }),
        (0..100usize, small(), any::<bool>()).prop_map(|(at, value, coded)| Insert::DynamicName { at, value, coded }),
        (name(), small(), any::<bool>()).prop_map(|(name, value, coded)| Insert::Literal { name, value, coded }),
        (0..100usize).prop_map(|at| Insert::Duplicate { at }),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    let flags = || (any::<bool>(), any::<bool>());
    prop_oneof![
        (0..99usize).prop_map(Line::Static),
        (0..100usize).prop_map(Line::Dynamic),
        (0..99usize, value(), flags()).prop_map(|(index, value, (coded, never))| Line::StaticName {
            index,
            value,
            coded,
            never
        }),
        (0..100usize, small(), flags()).prop_map(|(at, value, (coded, never))| Line::DynamicName {
            at,
            value,
            coded,
            never
        }),
        (name(), value(), flags()).prop_map(|(name, value, (coded, never))| Line::Literal {
            name,
            value,
            coded,
            never
        }),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        1 => prop_oneof![Just(0), 0..2000usize, Just(2000)].prop_map(Turn::Capacity),
        8 => insert().prop_map(Turn::Insert),
        4 => (vec(line(), 0..6), 0..=100usize).prop_map(|(lines, base)| Turn::Write(lines, base)),
        4 => prop_oneof![1..4usize, 1..400usize].prop_map(Turn::Inserts),
        4 => any::<usize>().prop_map(Turn::Section),
        1 => any::<usize>().prop_map(Turn::Cancel),
    ]
}

/// What our decoder says on its stream.
#[derive(Default)]
struct Said {
    increments: u64,
    acknowledged: Vec<u64>,
    cancelled: Vec<u64>,
}

fn understand(mut octets: &[u8]) -> Said {
    let mut said = Said::default();
    while let Some(&first) = octets.first() {
        let bits = if first & 0x80 != 0 { 7 } else { 6 };
        let number = edge_io::field_codec::integer::read_62(&mut octets, bits).expect("whole");
        match first >> 6 {
            0 => said.increments += number,
            1 => said.cancelled.push(number),
            _ => said.acknowledged.push(number),
        }
    }
    said
}

proptest! {
    #[test]
    fn all_that_an_encoder_may_do_is_understood(turns in vec(turn(), 1..200), keeps: bool) {
        const TABLE: usize = 2000;
        let mut model = Model::new(TABLE, statics());
        let mut decoder = Decoder::new(TABLE as u32, u32::MAX);
        let (mut pending, mut sent): (Vec<Section>, usize) = (vec![], 0);
        let (mut said, mut acknowledged, mut cancelled, mut stream) = (Vec::new(), vec![], vec![], 0);
        model.set_capacity(TABLE, &[]);
        let all = [Turn::Inserts(usize::MAX)].into_iter().chain((0..turns.len()).map(Turn::Section));
        for turn in turns.clone().into_iter().chain(all) {
            match turn {
                Turn::Capacity(bytes) => model.set_capacity(bytes, &pending),
                Turn::Insert(insert) => model.insert(&insert, &pending),
                Turn::Write(lines, base) => {
                    stream += 4;
                    pending.push(model.section(stream, &lines, base));
                }
                Turn::Inserts(n) => {
                    let end = sent.saturating_add(n).min(model.stream.len());
                    decoder.on_encoder_stream(&model.stream[sent..end]).expect("inserts");
                    sent = end;
                }
                Turn::Section(at) if !pending.is_empty() => {
                    let at = at % pending.len();
                    let section = &pending[at];
                    match decode(&mut decoder, section.stream, &section.octets) {
                        Ok(Read::Fields(fields)) => {
                            prop_assert_eq!(&fields, &section.fields);
                            if section.required > 0 {
                                acknowledged.push(section.stream);
                            }
                            pending.remove(at);
                        }
                        Ok(Read::Blocked(required)) => prop_assert_eq!(required, section.required),
                        Err(fault) => prop_assert!(false, "{}", fault),
                    }
                }
                Turn::Cancel(at) if !pending.is_empty() => {
                    let section = pending.remove(at % pending.len());
                    decoder.cancel_stream(section.stream);
                    cancelled.push(section.stream);
                }
                Turn::Section(_) | Turn::Cancel(_) => {}
            }
            if !keeps {
                said.extend(drain(decoder.out()));
            }
        }
        prop_assert!(pending.is_empty());
        said.extend(drain(decoder.out()));
        let said = understand(&said);
        prop_assert_eq!(said.acknowledged, acknowledged);
        prop_assert_eq!(said.cancelled, cancelled);
        prop_assert!(said.increments <= model.inserted() as u64);
        prop_assert_eq!(decoder.insert_count(), model.inserted() as u64);
        prop_assert!(!decoder.has_out());
    }

    #[test]
    fn cuts_do_not_matter(inserts in vec(insert(), 1..60), damage in prop::option::of((any::<usize>(), any::<u8>()))) {
        let mut model = Model::new(4096, statics());
        model.set_capacity(4096, &[]);
        inserts.iter().for_each(|i| model.insert(i, &[]));
        let mut stream = model.stream.clone();
        if let Some((at, octet)) = damage {
            let at = at % stream.len();
            stream[at] = octet;
        }
        let (mut whole, mut cut) = (Decoder::new(4096, 0), Decoder::new(4096, 0));
        let outcome = whole.on_encoder_stream(&stream);
        let again = stream.iter().try_for_each(|octet| cut.on_encoder_stream(&[*octet]));
        prop_assert_eq!(outcome, again);
        prop_assert_eq!(whole.insert_count(), cut.insert_count());
        prop_assert!(cut.memory() <= 2 * 4096 + 128 * 24 + 4 * 4096 + 16 * 1024, "{}", cut.memory());
        if damage.is_none() {
            prop_assert_eq!(whole.insert_count(), model.inserted() as u64);
        }
    }

    #[test]
    fn no_octets_panic(
        pieces in vec((0..3u8, vec(any::<u8>(), 0..300), 0..20u64), 1..12),
        inserts in vec(insert(), 0..20),
        table: u16,
    ) {
        let mut model = Model::new(table.into(), statics());
        model.set_capacity(table.into(), &[]);
        inserts.iter().for_each(|i| model.insert(i, &[]));
        let (mut decoder, mut encoder) = (Decoder::new(table.into(), 2), Encoder::new());
        encoder.set_peer(table.into());
        decoder.on_encoder_stream(&model.stream).expect("inserts");
        for (kind, octets, stream) in pieces {
            match kind {
                0 => _ = decoder.on_encoder_stream(&octets),
                1 => _ = decode(&mut decoder, stream, &octets),
                _ => _ = encoder.on_decoder_stream(&octets),
            }
        }
    }
}
