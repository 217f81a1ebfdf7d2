//! Two results side by side.
use super::{args, exit as own};
use crate::cli::{exit, fail, show};
use edge_loadtest::{
    compare::{self, Settings},
    record::Outcome,
    report::json,
};
use std::{path::PathBuf, process::ExitCode};

/// Reads, compares, and says so with the exit code.
pub(super) fn run(args: &args::Compare) -> ExitCode {
    let (before, after) = match (read(&args.before), read(&args.after)) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(why), _) | (_, Err(why)) => return fail(exit::USAGE, &why),
    };
    let settings = Settings { threshold: args.threshold, ..Settings::default() };
    let compared = match compare::compare(&before, &after, &settings) {
        Ok(compared) => compared,
        Err(why) => return fail(exit::USAGE, &why),
    };
    if args.json {
        match serde_json::to_string_pretty(&compared) {
            Ok(text) => show(&(text + "\n")),
            Err(e) => return fail(exit::RUNTIME, &e.to_string()),
        }
    } else {
        show(&compared.to_string());
    }
    ExitCode::from(if compared.regressed() { own::NOT_MET } else { 0 })
}

fn read(paths: &[PathBuf]) -> Result<Vec<Outcome>, String> {
    let one = |path: &PathBuf| json::read_file(path).map_err(|e| format!("{}: {e}", path.display()));
    paths.iter().map(one).collect()
}
