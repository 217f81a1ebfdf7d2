//! The configuration: TOML read strictly, with all mistakes found in one run.
//!
//! `limits` says which keys there are, with defaults and bounds. `raw` reads them into plain values, `check` looks at
//! them together, `report` shows what is wrong. Nothing is opened or bound, and nothing is compiled: that is the
//! floor above (`snapshot::compile`), which points its own findings at this source through [`Config::span_in_route`].
mod address;
mod check;
mod http3;
pub mod limits;
pub mod manual;
mod matches;
pub mod raw;
pub mod report;
mod resolver;
mod routes;
pub mod rules;
mod section;
mod split;
mod suggest;
pub mod tls;
mod units;
mod upstream;

use limits::FILE_BYTES_MAX;
use raw::{Listener, Place, Policy, Pool, Route, Server};
pub use report::Report;
use report::{Log, Problem};
use section::Origin;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::Read as _,
    ops::Range,
    path::{Path, PathBuf},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A configuration that was read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it came from: a path, or a word such as `--proxy`.
    pub file: PathBuf,
    /// SHA-256 of the source.
    pub sha256: [u8; 32],
    /// Node-wide settings.
    pub server: Server,
    /// In file order.
    pub listeners: Vec<Listener>,
    /// In file order.
    pub pools: Vec<Pool>,
    /// In file order.
    pub policies: Vec<Policy>,
    /// In file order.
    pub routes: Vec<Route>,
    /// What is hardly meant so; it has no mistakes.
    pub warnings: Report,
    /// The source.
    text: String,
}

/// Reads and checks the file at `path`, at most 16 MiB.
///
/// # Errors
/// All that is wrong with it, or that it cannot be read.
pub fn load(path: &Path) -> Result<Config, Report> {
    let failed = |message: String| {
        let log = Log::default();
        log.mistake(Problem::of_file(message));
        log.into_report(&path.display().to_string(), "")
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    match String::from_utf8(bytes) {
        Ok(text) => parse_owned(text, path),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
            Err(failed(format!("line {line} is not UTF-8")))
        }
    }
}

/// Reads and checks `text`, which came from `file` (for messages; relative paths start at its directory).
///
/// # Errors
/// All that is wrong with it. Never panics, whatever `text` is.
pub fn parse(text: &str, file: &Path) -> Result<Config, Report> {
    parse_owned(text.to_owned(), file)
}

/// As [`parse`], without a second copy of what may be megabytes.
fn parse_owned(text: String, file: &Path) -> Result<Config, Report> {
    let name = file.display().to_string();
    let log = Log::default();
    if text.len() as u64 > FILE_BYTES_MAX {
        log.mistake(Problem::of_file(format!("has more than {FILE_BYTES_MAX} bytes")));
        return Err(log.into_report(&name, ""));
    }
    let base = file.parent().unwrap_or(Path::new(""));
    let raw::Read { server, listeners, pools, policies, routes } = raw::read(&text, base, &log);
    let mut config = Config {
        file: file.to_owned(),
        sha256: Sha256::digest(text.as_bytes()).into(),
        server,
        listeners,
        pools,
        policies,
        routes,
        warnings: Report::default(),
        text,
    };
    check::no_id_twice(&config, &log);
    let clean = log.is_clean();
    if !clean {
        // Compiling will not be reached: what it would find is told now.
        rules::router(&config, &log);
        (0..config.routes.len()).for_each(|index| drop(rules::rule(&config, index, &log)));
    }
    let report = log.into_report(&name, &config.text);
    if !clean {
        return Err(report);
    }
    config.warnings = report;
    Ok(config)
}

impl Config {
    /// The source.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether two sources say the same, whatever their text.
    pub fn says_the_same(&self, other: &Config) -> bool {
        let routes = |config: &Config| -> Vec<Route> {
            config
                .routes
                .iter()
                .map(|route| Route { place: Place::Element { start: 0, end: 0 }, ..route.clone() })
                .collect()
        };
        self.server == other.server
            && self.listeners == other.listeners
            && self.pools == other.pools
            && self.policies == other.policies
            && routes(self) == routes(other)
    }

    /// Where in the source the value is that `path` leads to in route `index`: keys, and numbers for elements of
    /// lists. As far as the path leads: a number after something that is no list is passed over.
    pub(crate) fn span_in_route(&self, index: usize, path: &[&str]) -> Range<usize> {
        let Some(place) = self.routes.get(index).map(|route| route.place) else { return 0..0 };
        let (Place::Table { start, end } | Place::Element { start, end }) = place;
        let range = start as usize..end as usize;
        let origin = Origin::at(range.start);
        let piece = self.text.get(range.clone()).unwrap_or("");
        let span = match place {
            Place::Table { .. } => DeTable::parse(piece)
                .ok()
                .and_then(|p| routes::only_element(p.get_ref()).map(|route| walk(route, path))),
            Place::Element { .. } => DeValue::parse(piece).ok().map(|route| walk(&route, path)),
        };
        span.map_or(range, |span| origin.locate(span))
    }

    /// As [`Config::span_in_route`], unless nobody will see it: finding a place parses the route again.
    pub(crate) fn span_unless(&self, unseen: bool, index: usize, path: &[&str]) -> Range<usize> {
        if unseen { self.text.len()..self.text.len() } else { self.span_in_route(index, path) }
    }

    /// A report of what a later stage found in this source.
    pub(crate) fn report(&self, log: Log) -> Report {
        log.into_report(&self.file.display().to_string(), &self.text)
    }
}

/// The value of the key that stands at place `n` in the file.
fn nth<'a>(table: &'a DeTable<'a>, n: usize) -> Option<&'a Spanned<DeValue<'a>>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries.get(n).map(|(_, value)| *value)
}

/// Follows `path` from `value` as far as it leads.
fn walk(value: &Spanned<DeValue<'_>>, path: &[&str]) -> Range<usize> {
    let mut value = value;
    for step in path {
        let next = match value.get_ref() {
            DeValue::Table(table) => table.get(*step).or_else(|| nth(table, step.parse().ok()?)),
            DeValue::Array(list) => step.parse().ok().and_then(|n: usize| list.get(n)),
            _ => None,
        };
        value = next.unwrap_or(value);
    }
    value.span()
}

#[cfg(test)]
mod tests;
