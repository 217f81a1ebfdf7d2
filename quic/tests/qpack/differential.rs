//! Against ls-qpack, an implementation by others, through files: see `vectors.py`.
use crate::support::{Field, Read, decode, drain, encode_field, hex};
use edge_quic::h3::qpack::{Decoder, Encoder};
use std::fmt::Write as _;

/// Octets as hexadecimal text.
fn text(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// A section of the file with the fields it has.
#[derive(Default)]
struct Section {
    stream: u64,
    octets: Vec<u8>,
    fields: Vec<Field>,
}

/// What reading a file came to.
#[derive(Debug, Default)]
struct Sums {
    sections: usize,
    blocked: usize,
    inserted: u64,
}

/// One connection of the file.
struct Connection {
    decoder: Decoder,
    waiting: Vec<Section>,
}

impl Connection {
    /// Reads a section, or lets it wait; whether it was read.
    fn section(&mut self, section: Section) -> bool {
        match decode(&mut self.decoder, section.stream, &section.octets) {
            Ok(Read::Fields(fields)) => assert_eq!(fields, section.fields, "stream {}", section.stream),
            Ok(Read::Blocked(_)) => {
                self.waiting.push(section);
                return false;
            }
            Err(fault) => panic!("stream {}: {fault}", section.stream),
        }
        true
    }

    /// Takes inserts in small pieces and reads what waited for them.
    fn inserts(&mut self, octets: &[u8]) {
        octets.chunks(3).for_each(|piece| self.decoder.on_encoder_stream(piece).expect("inserts"));
        for section in std::mem::take(&mut self.waiting) {
            self.section(section);
        }
    }
}

fn read(file: &str) -> Sums {
    let (mut sums, mut section) = (Sums::default(), None::<Section>);
    let mut connection = Connection { decoder: Decoder::new(0, 0), waiting: vec![] };
    for line in file.lines().chain(["connection 0 0"]) {
        let mut words = line.split(' ');
        let word = words.next().unwrap_or("");
        let mut next = || words.next().unwrap_or("");
        if word == "field" {
            section.as_mut().expect("a section").fields.push((hex(next()), hex(next())));
            continue;
        }
        if let Some(section) = section.take() {
            sums.sections += 1;
            sums.blocked += usize::from(!connection.section(section));
        }
        match word {
            "connection" => {
                assert!(connection.waiting.is_empty());
                sums.inserted += connection.decoder.insert_count();
                let number = |word: &str| word.parse().expect("a number");
                connection.decoder = Decoder::new(number(next()), number(next()));
            }
            "inserts" => connection.inserts(&hex(next())),
            "section" => {
                section =
                    Some(Section { stream: next().parse().expect("a number"), octets: hex(next()), fields: vec![] });
            }
            word => panic!("what is {word}?"),
        }
    }
    sums
}

#[test]
fn we_read_what_others_write() {
    let sums = read(include_str!("theirs.txt"));
    assert!(sums.sections >= 300 && sums.blocked >= 30 && sums.inserted >= 200, "{sums:?}");
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A request or a response: some fields repeat, some do not.
fn message(dice: &mut Dice, n: u64) -> Vec<Field> {
    let mut fields: Vec<(&str, String)> = if dice.roll(2) == 0 {
        vec![
            (":method", "GET".into()),
            (":scheme", "https".into()),
            (":authority", format!("www{}.example.com", dice.roll(3))),
            (":path", format!("/{}", dice.roll(40))),
            ("user-agent", format!("client/{} (some words)", dice.roll(4))),
            ("cookie", format!("session={}", dice.roll(4))),
        ]
    } else {
        vec![
            (":status", ["200", "304", "418"][dice.roll(3) as usize].into()),
            ("date", format!("Mon, 01 Jan 2024 00:00:{:02} GMT", n / 8 % 60)),
            ("server", "edge".into()),
            ("content-type", ["text/css", "text/x-odd", "image/avif"][dice.roll(3) as usize].into()),
            ("x-frame-options", ["deny", "allow"][dice.roll(2) as usize].into()),
        ]
    };
    for _ in 0..dice.roll(4) {
        let name = ["x-a", "x-trace", "traceparent", "x-some-long-name-of-its-own"][dice.roll(4) as usize];
        let value = [String::new(), "1".into(), n.to_string(), "v".repeat(dice.roll(60) as usize)];
        fields.push((name, value[dice.roll(4) as usize].clone()));
    }
    fields.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes())).collect()
}

/// What our encoder makes of some connections.
fn ours() -> String {
    let (mut file, mut dice) = (String::new(), Dice(9204));
    for table in [0, 256, 512, 4096, 65_536] {
        let _ = writeln!(file, "connection {table} 0");
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(table, 0));
        encoder.set_peer(table);
        for n in 0..if table == 512 { 300 } else { 50 } {
            let (fields, mut section) = (message(&mut dice, n), Vec::new());
            encoder.begin(n * 4, &mut section);
            fields.iter().for_each(|(name, value)| encode_field(&mut encoder, &mut section, name, value));
            encoder.end(&mut section);
            let _ = writeln!(file, "section {} {}", n * 4, text(&section));
            for (name, value) in &fields {
                let _ = writeln!(file, "field {} {}", text(name), text(value));
            }
            assert_eq!(decode(&mut decoder, n * 4, &section), Ok(Read::Fields(fields)));
            let inserts = drain(encoder.out());
            decoder.on_encoder_stream(&inserts).expect("inserts");
            let _ = writeln!(file, "inserts {}", text(&inserts));
            // Acknowledgments come some time.
            if dice.roll(3) == 0 {
                encoder.on_decoder_stream(&drain(decoder.out())).expect("acknowledgments");
            }
        }
    }
    file
}

#[test]
fn others_read_what_we_write() {
    let file = include_str!("ours.txt");
    assert!(file == ours(), "the encoder writes otherwise: run write_ours (ignored), then `vectors.py check`");
    let sums = read(file);
    assert!(sums.sections >= 500 && sums.blocked == 0 && sums.inserted >= 100, "{sums:?}");
}

#[test]
#[ignore = "writes ours.txt, which others have to read then: `vectors.py check`"]
fn write_ours() {
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/qpack/ours.txt"), ours()).expect("written");
}
