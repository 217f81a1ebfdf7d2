//! What `edge validate` says to each mistake: `tests/golden/config/NAME.toml` with `NAME.stderr` beside it.
//!
//! `EDGE_BLESS=1 cargo test --test config_errors` writes the expected files anew; read the difference before committing.
use std::{
    fs,
    path::{Path, PathBuf},
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config")
}

/// What validating says, with the directory taken out of it. Nothing said means that the file is valid.
fn says(path: &Path) -> String {
    let said = match edge::snapshot::validate(path) {
        Ok(valid) => {
            let alarms = valid.alarms.into_iter().map(|alarm| format!("alarm: {alarm}\n"));
            alarms.chain(valid.warnings.into_iter().map(|warning| format!("warning: {warning}\n"))).collect()
        }
        Err(report) => report.to_string(),
    };
    said.replace(&format!("{}/", golden().display()), "")
}

#[test]
fn every_mistake_is_told_as_expected() {
    let mut names: Vec<PathBuf> = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
    names.sort();
    let mut wrong = Vec::new();
    for path in &names {
        let (said, expected) = (says(path), path.with_extension("stderr"));
        if std::env::var_os("EDGE_BLESS").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if said != expected {
            wrong.push(format!("--- {}\nexpected:\n{expected}\nsaid:\n{said}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(names.len() >= 40, "only {} files", names.len());
}
