//! Fills the corpora: of the HTTP/1 targets with the judged messages of `tests/vectors/http1.toml`, of the configuration
//! target with the shipped and the golden files, of the HPACK and QPACK targets with requests and responses of one connection, of
//! the HTTP/2 and HTTP/3 targets with what the engines' two roles send each other.
#[allow(dead_code, unused_imports)]
#[path = "../io/tests/http1/drive.rs"]
mod drive;
#[allow(dead_code, unused_imports)]
#[path = "../io/tests/http1/vectors.rs"]
mod vectors;

fn main() -> std::io::Result<()> {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (n, case) in vectors::load().iter().enumerate() {
        let targets: &[&str] = match case.role {
            vectors::Role::Request => &["h1_request", "h1_differential"],
            vectors::Role::Response => &["h1_response", "h1_differential"],
        };
        for target in targets {
            let folder = corpus.join(target);
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(format!("vector-{n:03}")), case.bytes())?;
        }
    }
    header_blocks(&corpus.join("hpack"))?;
    field_sections(&corpus.join("qpack_decoder"))?;
    http2(&corpus)?;
    http3(&corpus)?;
    configurations(&corpus.join("config"))
}

/// A request and its response, each behind an octet that says how the owner behaves.
fn http2(corpus: &std::path::Path) -> std::io::Result<()> {
    use edge_io::{
        head::Head,
        http2::{Connection, Limits, RequestHead, Role},
    };
    let mut client = Connection::new(Role::Client, &Limits::default(), 0);
    let mut server = Connection::new(Role::Server, &Limits::default(), 0);
    let (from_client, from_server) = (client.out().len(), server.out().len());
    let request = RequestHead { method: b"POST", scheme: b"http", authority: b"a", path: b"/a?b", protocol: None };
    let stream = client.send_request(&request, std::iter::empty(), false).unwrap_or_default();
    let _ = client.send_data(stream, b"a body", true);
    let (mut head, mut at) = (Head::new(), 0);
    while let Ok((n, Some(_))) = server.receive(client.out().get(at..).unwrap_or(&[]), 0, &mut head) {
        at += n;
    }
    let _ = server.send_response(stream, 200, std::iter::empty(), false);
    let _ = server.send_data(stream, b"a body", false);
    let _ = server.send_trailers(stream, std::iter::empty());
    server.go_away_gracefully();
    for (target, bytes) in [("h2_server", &client.out()[from_client..]), ("h2_client", &server.out()[from_server..])] {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for mode in 0..8 {
            std::fs::write(folder.join(format!("exchange-{mode}")), [&[mode][..], bytes].concat())?;
        }
    }
    Ok(())
}

/// The streams of a request and its response, as records behind an octet that says how the owner behaves.
fn http3(corpus: &std::path::Path) -> std::io::Result<()> {
    use edge_quic::h3::{Connection, Limits, Own, RequestHead, Role, Stream, data_header};
    let mut client = Connection::new(Role::Client, &Limits::default(), 0);
    let mut server = Connection::new(Role::Server, &Limits::default(), 0);
    let request = RequestHead { method: b"POST", scheme: b"https", authority: b"a", path: b"/a?b", protocol: None };
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    client.write_request(&mut Stream::new(), 0, &request, std::iter::empty(), &mut asked);
    server.write_response(0, 103, std::iter::empty(), &mut answered);
    server.write_response(0, 200, std::iter::empty(), &mut answered);
    for out in [&mut asked, &mut answered] {
        data_header(6, out);
        out.extend_from_slice(b"a body");
    }
    server.write_trailers(0, std::iter::empty(), &mut answered);
    server.go_away(4);
    // A section that waits for an entry, and the encoder stream that brings it.
    let waits = [1, 5, 2, 0, 0xd1, 0xd7, 0x80];
    let entry = [2, 0x3f, 0xe1, 0x1f, 0xc0, 1, b'a'];
    for (target, engine, message) in [("h3_server", &mut client, &asked), ("h3_client", &mut server, &answered)] {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        let mut records = Vec::new();
        for (what, bytes) in [(5, &engine.out(Own::Control)[..]), (1, &waits), (16, message), (6, &entry), (17, &[])] {
            records.extend_from_slice(&[what, bytes.len() as u8]);
            records.extend_from_slice(bytes);
        }
        for mode in 0..8 {
            std::fs::write(folder.join(format!("exchange-{mode}")), [&[mode | 0x80][..], &records].concat())?;
        }
    }
    Ok(())
}

fn configurations(folder: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for from in ["../configs", "../tests/golden/config"] {
        for entry in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(from))? {
            let path = entry?.path();
            if path.extension().is_some_and(|ext| ext == "toml") {
                std::fs::copy(&path, folder.join(path.file_name().unwrap_or_default()))?;
            }
        }
    }
    Ok(())
}

/// Connections of a few blocks, each behind its length and an octet that stops nowhere.
fn header_blocks(folder: &std::path::Path) -> std::io::Result<()> {
    use edge_io::{
        head::FieldId,
        http2::hpack::{Encoder, Pseudo},
    };
    std::fs::create_dir_all(folder)?;
    for table in [0, 100, 4096] {
        let (mut encoder, mut connection) = (Encoder::new(table), Vec::new());
        for n in 0..4 {
            let (mut block, text) = (Vec::new(), "text/html; charset=utf-8".repeat(n));
            encoder.begin(&mut block);
            encoder.status(&mut block, 200 + n as u16);
            encoder.pseudo(&mut block, Pseudo::Path, b"/a/path?with=query");
            encoder.pseudo(&mut block, Pseudo::Authority, b"www.example.com");
            encoder.field(&mut block, FieldId::ContentType, b"content-type", text.as_bytes());
            encoder.field(&mut block, FieldId::Cookie, b"cookie", b"a=b");
            encoder.field(&mut block, FieldId::Other, b"x-mine", b"the same");
            connection.extend((block.len() as u16).to_be_bytes());
            connection.push(0xff);
            connection.extend(block);
        }
        std::fs::write(folder.join(format!("blocks-{table}")), connection)?;
    }
    Ok(())
}

/// Connections of a few sections and what comes on the encoder stream before them, each behind its stream and length.
fn field_sections(folder: &std::path::Path) -> std::io::Result<()> {
    use edge_io::{field_codec::Pseudo, head::FieldId};
    use edge_quic::h3::qpack::{Decoder, Encoder};
    std::fs::create_dir_all(folder)?;
    for table in [0, 256, 512] {
        let (mut encoder, mut decoder, mut connection) = (Encoder::new(), Decoder::new(512, 0), Vec::new());
        encoder.set_peer(table);
        for n in 0..6u16 {
            let mut section = Vec::new();
            encoder.begin(1, &mut section);
            encoder.status(&mut section, 200 + n % 2);
            encoder.pseudo(&mut section, Pseudo::Path, b"/a/path?with=query");
            encoder.pseudo(&mut section, Pseudo::Authority, b"www.example.com");
            encoder.field(&mut section, FieldId::Cookie, b"cookie", b"a=b");
            encoder.field(&mut section, FieldId::Other, b"x-mine", b"the same");
            encoder.end(&mut section);
            for (stream, piece) in [(1u16, &section[..]), (0, &encoder.out()[..])] {
                connection.extend((stream << 12 | piece.len() as u16).to_be_bytes());
                connection.extend(piece);
            }
            let answer = decoder.on_encoder_stream(&std::mem::take(encoder.out()));
            let read = decoder.decode(1, &section, |_| Ok::<_, ()>(()));
            assert!(answer.is_ok() && read.is_ok());
            assert!(encoder.on_decoder_stream(&std::mem::take(decoder.out())).is_ok());
        }
        std::fs::write(folder.join(format!("sections-{table}")), connection)?;
    }
    Ok(())
}
