//! Results into files and onto the terminal.
use super::args::Reports;
use crate::cli::{complain, show};
use edge_loadtest::{
    record::Outcome,
    report::{csv, html, json, text},
    slo::{Figure, Judged},
};
use std::{
    fs::File,
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
    /// Opens (and empties) the file; `-` is standard output.
    pub fn open(path: &Path) -> Result<Destination, String> {
        let file = if is_stdout(path) { None } else { Some(create(path)?) };
        Ok(Destination { path: path.to_owned(), file })
    }

    /// Writes it, with an end of line.
    pub fn write(self, text: &[u8]) -> Result<(), String> {
        self.with(|out| out.write_all(text).and_then(|()| out.write_all(b"\n")))
    }

    fn with(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
        let mut out: Box<dyn Write> = match self.file {
            Some(file) => Box::new(BufWriter::new(file)),
            None => Box::new(io::stdout().lock()),
        };
        write(&mut out).and_then(|()| out.flush()).map_err(|e| format!("{}: {e}", self.path.display()))
    }
}

/// Every form that was asked for.
pub(super) struct Outputs {
    to: Vec<(Form, Destination)>,
    /// The text report is shown; not when it would mix with another form on standard output.
    text: bool,
}

impl Outputs {
    /// Opens (and empties) each file that was asked for.
    pub fn open(reports: &Reports) -> Result<Outputs, String> {
        let asked = [(Form::Json, &reports.json), (Form::Csv, &reports.csv), (Form::Html, &reports.html)];
        let asked: Vec<_> = asked.iter().filter_map(|(form, path)| Some((*form, path.as_ref()?))).collect();
        let stdout = asked.iter().filter(|(_, path)| is_stdout(path)).count();
        if stdout > 1 {
            return Err("only one of --json, --csv and --html can be written to standard output".to_owned());
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
    File::create(path).map_err(|e| format!("{}: {e}", path.display()))
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
