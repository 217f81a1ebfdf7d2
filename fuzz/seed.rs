//! Fills the corpora of the HTTP/1 targets with the judged messages of `tests/vectors/http1.toml`.
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
    Ok(())
}
