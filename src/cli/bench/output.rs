//! Results into files and onto the terminal.
use super::args::Reports;
use crate::cli::{complain, show};
use edge_loadtest::{
    record::{HdrLog, Outcome},
    report::{csv, html, json, text},
    run::LoggedSecond,
    slo::{Figure, Judged},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// The forms a result is written in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    Html,
}

/// Where a result goes, open already: a run of an hour must not end with a folder that is not there.
pub(super) struct Destination {
    path: PathBuf,
    /// `None`: standard output.
    file: Option<File>,
}

impl Destination {
    /// Opens the file; `-` is standard output. What is in it stays until there is something to write: a run that does
    /// not come about costs nobody the last one's result.
    pub fn open(path: &Path) -> Result<Destination, String> {
        let file = if is_stdout(path) { None } else { Some(create(path)?) };
        Ok(Destination { path: path.to_owned(), file })
    }

    /// Writes it, with an end of line.
    pub fn write(self, text: &[u8]) -> Result<(), String> {
        self.with(|out| out.write_all(text).and_then(|()| out.write_all(b"\n")))
    }

    fn with(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
        let path = self.path.clone();
        let mut out = self.begin();
        write(&mut out).and_then(|()| out.flush()).map_err(|e| told(&path, &e))
    }

    /// Empties it, to write.
    fn begin(self) -> Box<dyn Write> {
        match self.file {
            Some(file) => {
                let _ = file.set_len(0); // a pipe or a device has no length
                Box::new(BufWriter::new(file))
            }
            None => Box::new(io::stdout()),
        }
    }
}

fn told(path: &Path, e: &io::Error) -> String {
    format!("{}: {e}", path.display())
}

/// `--hdr`: written while the run lasts, a line for each second.
pub(super) struct HdrFile {
    path: PathBuf,
    state: Hdr,
}

enum Hdr {
    /// Nobody asked.
    None,
    Waiting(Destination),
    Begun(HdrLog<Box<dyn Write>>),
    /// What went wrong: told when the run is over, which it does not end.
    Failed(String),
}

impl HdrFile {
    /// Opens what was asked for.
    pub fn open(reports: &Reports) -> Result<HdrFile, String> {
        let state = reports.hdr.as_deref().map(Destination::open).transpose()?.map_or(Hdr::None, Hdr::Waiting);
        Ok(HdrFile { path: reports.hdr.clone().unwrap_or_default(), state })
    }

    /// A second is over.
    pub fn second(&mut self, second: &LoggedSecond<'_>) {
        let begun = match std::mem::replace(&mut self.state, Hdr::None) {
            Hdr::Waiting(to) => HdrLog::begin(to.begin(), second.started),
            Hdr::Begun(log) => Ok(log),
            other => {
                self.state = other;
                return;
            }
        };
        let written = begun.and_then(|mut log| {
            log.interval(second.response, second.from, second.length)?;
            Ok(log)
        });
        self.state = match written {
            Ok(log) => Hdr::Begun(log),
            Err(e) => Hdr::Failed(told(&self.path, &e)),
        };
    }

    /// The run is over.
    pub fn end(self) -> Result<(), String> {
        match self.state {
            Hdr::Begun(log) => log.end().map(drop).map_err(|e| told(&self.path, &e)),
            Hdr::Failed(why) => Err(why),
            Hdr::None | Hdr::Waiting(_) => Ok(()),
        }
    }
}

/// Every form that was asked for.
pub(super) struct Outputs {
    to: Vec<(Form, Destination)>,
    /// The text report is shown; not when it would mix with another form on standard output.
    text: bool,
}

impl Outputs {
    /// Opens each file that was asked for.
    pub fn open(reports: &Reports) -> Result<Outputs, String> {
        let asked = [(Form::Json, &reports.json), (Form::Csv, &reports.csv), (Form::Html, &reports.html)];
        let asked: Vec<_> = asked.iter().filter_map(|(form, path)| Some((*form, path.as_ref()?))).collect();
        let paths: Vec<&PathBuf> = asked.iter().map(|(_, path)| *path).chain(&reports.hdr).collect();
        let stdout = paths.iter().filter(|path| is_stdout(path)).count();
        if stdout > 1 {
            return Err("only one of --json, --csv, --html and --hdr can be written to standard output".to_owned());
        }
        if let Some((_, path)) = paths.iter().enumerate().find(|(i, path)| paths.iter().take(*i).any(|p| p == *path)) {
            return Err(format!("{}: two reports cannot be written to one file", path.display()));
        }
        let mut to = Vec::new();
        for (form, path) in asked {
            to.push((form, Destination::open(path)?));
        }
        Ok(Outputs { to, text: !reports.quiet && stdout == 0 })
    }

    /// Writes the result in each form, and shows it.
    pub fn write(self, outcome: &Outcome) -> Result<(), String> {
        if self.text {
            show(&text::report(outcome, text::Style::stdout()));
        }
        for (form, to) in self.to {
            to.with(|out| write(form, outcome, out))?;
        }
        Ok(())
    }
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn create(path: &Path) -> Result<File, String> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(|e| told(path, &e))
}

fn write(form: Form, outcome: &Outcome, mut out: impl Write) -> io::Result<()> {
    match form {
        Form::Json => json::write(outcome, &mut out)?,
        Form::Csv => csv::write(outcome, &mut out)?,
        Form::Html => out.write_all(html::page(outcome).as_bytes())?,
    }
    Ok(())
}

/// What became of each assertion, on standard error: standard output may be a result.
pub(super) fn judgement(judged: &[Judged]) {
    for one in judged {
        let word = if one.met { "met    " } else { "NOT MET" };
        let found = match one.figure {
            Some(figure) => Figure(one.objective.metric, figure).to_string(),
            None => "the result has no such figure".to_owned(),
        };
        complain(&format!("{word} {}: {found}\n", one.objective.text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_loadtest::record::histogram;
    use std::time::{Duration, UNIX_EPOCH};

    fn reports(json: &Path, hdr: &Path) -> Reports {
        Reports { json: Some(json.into()), csv: None, html: None, hdr: Some(hdr.into()), quiet: true }
    }

    #[test]
    fn what_a_file_holds_stays_until_there_is_something_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let (json, hdr) = (dir.path().join("a.json"), dir.path().join("a.hdr"));
        for path in [&json, &hdr] {
            std::fs::write(path, "of the last run, which took an hour\n".repeat(100)).unwrap();
        }
        let asked = reports(&json, &hdr);
        let (_outputs, mut log) = (Outputs::open(&asked).unwrap(), HdrFile::open(&asked).unwrap());
        for path in [&json, &hdr] {
            assert!(std::fs::read_to_string(path).unwrap().starts_with("of the last run"));
        }
        let mut response = histogram();
        response.record(7).unwrap();
        let (from, length) = (Duration::ZERO, Duration::from_secs(1));
        log.second(&LoggedSecond { response: &response, started: UNIX_EPOCH, from, length });
        log.second(&LoggedSecond { response: &response, started: UNIX_EPOCH, from: length, length });
        log.end().unwrap();
        let written = std::fs::read_to_string(&hdr).unwrap();
        assert!(written.starts_with("#[Histogram log format") && !written.contains("last run"), "{written}");
        let lines: Vec<&str> = written.lines().rev().take(2).collect();
        assert!(lines[1].starts_with("0.000,1.000,0.007,") && lines[0].starts_with("1.000,1.000,0.007,"), "{written}");
    }

    #[test]
    fn two_reports_are_not_written_to_one_place() {
        let dir = tempfile::tempdir().unwrap();
        let one = dir.path().join("one");
        assert!(Outputs::open(&reports(&one, &one)).err().unwrap().contains("two reports"));
        assert!(!one.exists());
        let stdout = Path::new("-");
        assert!(Outputs::open(&reports(stdout, stdout)).err().unwrap().contains("--hdr"));
    }
}
