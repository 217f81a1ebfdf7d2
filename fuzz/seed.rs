//! Fills the corpora: of the HTTP/1 targets with the judged messages of `tests/vectors/http1.toml`, of the configuration
//! target with the shipped and the golden files, of the HPACK target with requests and responses of one connection.
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
    configurations(&corpus.join("config"))
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
