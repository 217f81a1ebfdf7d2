//! Fills the corpora: of the HTTP/1 targets with the judged messages of `tests/vectors/http1.toml`, of the configuration
//! target with the shipped and the golden files.
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
