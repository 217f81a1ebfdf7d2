//! A result as JSON: written for `--json`, and read again where results are compared.
use super::units::clean;
use crate::record::{Outcome, SCHEMA};
use serde::Deserialize;
use std::{
    fmt, fs,
    io::{self, Read, Write},
    path::Path,
};

/// Largest file that is read, bytes: a day of seconds, each with a heat map's column, is about half of it.
const FILE_MAX: u64 = 256 << 20;

/// Most characters of what is wrong with a file.
const WHY_MAX: usize = 300;

/// Why a file is not a result that can be used.
#[derive(Debug)]
pub enum ReadError {
    /// It cannot be read.
    Io(io::Error),
    /// It is larger than any result is; its limit, bytes.
    TooLarge(u64),
    /// It is not JSON, or ends in the middle.
    NotJson(String),
    /// JSON, but not what `--json` writes.
    NotAResult,
    /// A later version wrote it.
    Newer(u64),
    /// A field is missing, or is not what it should be.
    Wrong(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(e) => write!(f, "cannot be read: {e}"),
            ReadError::TooLarge(max) => write!(f, "is larger than {} MiB, which no result is", max >> 20),
            ReadError::NotJson(why) => write!(f, "is not JSON ({why}); expected what `edge bench --json` writes"),
            ReadError::NotAResult => f.write_str(
                "is JSON, but no result: there is no number `schema`; expected what `edge bench --json` writes",
            ),
            ReadError::Newer(schema) => write!(
                f,
                "was written by a later edge (schema {schema}, this one reads up to {SCHEMA}); read it with that version"
            ),
            // It may hold words of the file.
            ReadError::Wrong(why) => {
                let why = clean(why, WHY_MAX);
                write!(f, "is a damaged result: {why}; measure again with `edge bench --json`")
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// What is looked at first, so that a file of a later version is not called damaged.
#[derive(Deserialize)]
struct Marked {
    schema: u64,
}

/// The result as one line of JSON, with its end of line.
///
/// # Errors
/// Those of `out`.
pub fn write(outcome: &Outcome, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut out, outcome)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Reads what [`write()`] wrote; fields that are not known are passed over.
///
/// # Errors
/// Why it cannot be used, for people.
pub fn read(bytes: &[u8]) -> Result<Outcome, ReadError> {
    // A list, a string or nothing at all is JSON too; only what does not parse is not. Nothing of it is kept here: as a
    // tree, a file of short numbers would take many times its size.
    let marked: Result<Marked, _> = serde_json::from_slice(bytes);
    let schema = match marked {
        Ok(marked) => marked.schema,
        Err(e) if e.is_data() => return Err(ReadError::NotAResult),
        Err(e) => return Err(ReadError::NotJson(e.to_string())),
    };
    if schema > u64::from(SCHEMA) {
        return Err(ReadError::Newer(schema));
    }
    // From the text once more: that tells line and column.
    let outcome: Outcome = serde_json::from_slice(bytes).map_err(|e| ReadError::Wrong(e.to_string()))?;
    match outcome.seconds > 0.0 || outcome.series.is_empty() {
        true => Ok(outcome),
        false => Err(ReadError::Wrong(format!("`seconds` is {}, though it has seconds", outcome.seconds))),
    }
}

/// Reads a file.
///
/// # Errors
/// Why it cannot be used; the caller says which file it is.
pub fn read_file(path: &Path) -> Result<Outcome, ReadError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(ReadError::Io)?;
    let read_bytes = file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if read_bytes as u64 > FILE_MAX {
        return Err(ReadError::TooLarge(FILE_MAX));
    }
    read(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{Sample, outcome};

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&outcome(&Sample::default()), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_is_read_again_the_same() {
        let first = outcome(&Sample::default());
        let again = read(&written()).unwrap();
        assert_eq!(again.counts, first.counts);
        assert_eq!(again.asked, first.asked);
        assert_eq!(again.verdict, first.verdict);
        assert_eq!(again.times.response, first.times.response);
        assert_eq!(again.times.service, first.times.service);
        assert_eq!(again.series.len(), first.series.len());
        assert_eq!(again.series[3].heat, first.series[3].heat);
        let mut bytes = Vec::new();
        write(&again, &mut bytes).unwrap();
        assert_eq!(bytes, written(), "and it is written again the same");
        assert!(bytes.ends_with(b"\n") && !bytes[..bytes.len() - 1].contains(&b'\n'), "one line");
    }

    #[test]
    fn it_has_every_field_that_the_documentation_promises() {
        let value: serde_json::Value = serde_json::from_slice(&written()).unwrap();
        let documentation = include_str!("../../../docs/BENCH.md");
        for path in REQUIRED {
            let pointer = format!("/{}", path.replace("[]", "/0").replace('.', "/"));
            assert!(value.pointer(&pointer).is_some(), "{path} is not written");
            let leaf = path.rsplit('.').next().unwrap_or(path).trim_end_matches("[]");
            assert!(documentation.contains(&format!("`{leaf}`")), "docs/BENCH.md says nothing of {path}");
        }
    }

    /// Fields that a program may rely on.
    const REQUIRED: &[&str] = &[
        "schema",
        "environment.version",
        "environment.started",
        "environment.kernel",
        "environment.cpu",
        "environment.cpus",
        "environment.memory",
        "environment.os",
        "environment.command",
        "asked.url",
        "asked.urls",
        "asked.protocol",
        "asked.exchange",
        "asked.rate",
        "asked.arrivals",
        "asked.connections",
        "asked.streams",
        "asked.warmup",
        "asked.cores",
        "asked.seed",
        "verdict.valid",
        "verdict.reasons",
        "seconds",
        "counts.sent",
        "counts.answered",
        "counts.body_bytes",
        "counts.bytes_in",
        "counts.bytes_out",
        "counts.connections",
        "counts.resumed",
        "counts.closed",
        "counts.status",
        "counts.faults",
        "counts.unsent",
        "times.response.count",
        "times.response.min",
        "times.response.mean",
        "times.response.stdev",
        "times.response.p50",
        "times.response.p75",
        "times.response.p90",
        "times.response.p95",
        "times.response.p99",
        "times.response.p999",
        "times.response.p9999",
        "times.response.max",
        "times.response.hdr",
        "times.service",
        "times.first_byte",
        "times.connect",
        "times.tls",
        "series[].at",
        "series[].length",
        "series[].counts",
        "series[].response",
        "series[].heat",
        "series[].server_cpu_us",
        "generator[].core",
        "generator[].cpu_us",
        "generator[].waited_us",
        "generator[].lag",
        "generator[].slip",
        "generator[].slipped",
        "server_cpu_us",
        "interrupted",
    ];

    #[test]
    fn a_file_that_is_no_result_is_told_apart() {
        let why = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(why("").starts_with("is not JSON"), "{}", why(""));
        assert!(why("{\"schema\":1,").starts_with("is not JSON"));
        for other in ["[]", "3", "null", "{}", "{\"schema\":\"1\"}"] {
            assert!(why(other).contains("no result"), "{other}: {}", why(other));
        }
        assert!(why("{\"schema\":2,\"new\":[]}").contains("later edge (schema 2, this one reads up to 1)"));
        assert!(why("{\"schema\":1}").contains("missing field `environment`"), "{}", why("{\"schema\":1}"));
        let cut = String::from_utf8(written()).unwrap().replace("\"verdict\"", "\"verdikt\"");
        assert!(why(&cut).contains("missing field `verdict`"), "{}", why(&cut));
    }

    #[test]
    fn fields_of_a_later_edition_are_passed_over() {
        let more = String::from_utf8(written()).unwrap().replacen('{', "{\"tomorrow\":{\"x\":1},", 1);
        assert!(read(more.as_bytes()).is_ok());
    }

    #[test]
    fn files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        assert!(matches!(read_file(&path), Err(ReadError::Io(_))));
        fs::write(&path, written()).unwrap();
        assert_eq!(read_file(&path).unwrap().counts, outcome(&Sample::default()).counts);
    }

    #[test]
    fn words_of_a_damaged_file_do_not_reach_the_terminal_as_they_are() {
        let mut value: serde_json::Value = serde_json::from_slice(&written()).unwrap();
        value["counts"]["faults"][format!("\u{1b}[2J{}", "x".repeat(10_000))] = 1.into();
        let why = read(value.to_string().as_bytes()).unwrap_err().to_string();
        assert!(why.starts_with("is a damaged result") && why.len() < 1_000, "{why:?}");
        assert!(!why.chars().any(char::is_control), "{why:?}");
    }
}
