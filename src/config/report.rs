//! What is wrong with a configuration: collected while reading, then shown with line, column and caret.
use super::limits::{REPORT_ITEMS_MAX, REPORT_LINE_CHARS_MAX};
use std::{cell::RefCell, fmt, ops::Range};

/// One mistake or warning, by byte offsets into the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where, in bytes of the source; `None` when it is about the whole file.
    pub at: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What would be right; may be empty.
    pub expected: String,
    /// What to do; may be empty.
    pub help: String,
}

impl Problem {
    /// A problem at `at`.
    pub fn new(at: Range<usize>, message: impl Into<String>) -> Problem {
        Problem { at: Some(at), message: message.into(), expected: String::new(), help: String::new() }
    }

    /// A problem of the whole file.
    pub fn of_file(message: impl Into<String>) -> Problem {
        Problem { at: None, message: message.into(), expected: String::new(), help: String::new() }
    }

    /// With what would be right.
    pub fn expected(self, expected: impl Into<String>) -> Problem {
        Problem { expected: expected.into(), ..self }
    }

    /// With what to do.
    pub fn help(self, help: impl Into<String>) -> Problem {
        Problem { help: help.into(), ..self }
    }
}

/// Collects problems from many readers at once.
#[derive(Debug, Default)]
pub(crate) struct Log {
    mistakes: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Log {
    /// Notes a mistake: the configuration cannot be used.
    pub fn mistake(&self, problem: Problem) {
        self.mistakes.borrow_mut().push(problem);
    }

    /// Notes a warning: it can be used, but is hardly meant so.
    pub fn warning(&self, problem: Problem) {
        self.warnings.borrow_mut().push(problem);
    }

    /// Whether no mistake was noted.
    pub fn is_clean(&self) -> bool {
        self.mistakes.borrow().is_empty()
    }

    /// Whether a report would show no more mistakes: then it is not worth much work to word another.
    pub fn is_full(&self) -> bool {
        self.mistakes.borrow().len() >= REPORT_ITEMS_MAX
    }

    /// The same for warnings.
    pub fn is_full_of_warnings(&self) -> bool {
        self.warnings.borrow().len() >= REPORT_ITEMS_MAX
    }

    /// What was noted, for the source `text` called `file`.
    pub fn into_report(self, file: &str, text: &str) -> Report {
        if self.mistakes.borrow().is_empty() && self.warnings.borrow().is_empty() {
            return Report { file: file.to_owned(), ..Report::default() };
        }
        let lines = LineIndex::new(text);
        let show = |problems: Vec<Problem>| {
            let mut problems = problems;
            problems.sort_by_key(|p| p.at.as_ref().map_or(0, |r| r.start));
            problems.dedup();
            problems
        };
        let mistakes = show(self.mistakes.into_inner());
        let warnings = show(self.warnings.into_inner());
        let total = (mistakes.len(), warnings.len());
        let items = |problems: Vec<Problem>| {
            problems.into_iter().take(REPORT_ITEMS_MAX).map(|p| Item::new(p, &lines)).collect()
        };
        Report { file: file.to_owned(), mistakes: items(mistakes), warnings: items(warnings), total }
    }
}

/// One mistake or warning, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Line and column (in characters), both from 1; `None` when it is about the whole file.
    pub position: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// What would be right; may be empty.
    pub expected: String,
    /// What to do; may be empty.
    pub help: String,
    /// The line, made printable and cut to a window.
    line: String,
    /// Characters of `line` before the caret, and carets.
    caret: (usize, usize),
}

impl Item {
    fn new(problem: Problem, lines: &LineIndex<'_>) -> Item {
        let Problem { at, message, expected, help } = problem;
        let Some(at) = at else {
            return Item { position: None, message, expected, help, line: String::new(), caret: (0, 0) };
        };
        let (number, line, start) = lines.find(at.start);
        let before = line.get(..start).unwrap_or("").chars().count();
        let within = at.end.saturating_sub(at.start).min(line.len().saturating_sub(start));
        let marked = line.get(start..start + within).map_or(1, |s| s.trim_end().chars().count().max(1));
        let (line, caret) = window(line, before, marked);
        Item { position: Some((number, before + 1)), message, expected, help, line, caret }
    }

    fn write(&self, number: usize, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{number}. {file}")?;
        let Some((line, column)) = self.position else {
            writeln!(f, ": {}", self.message)?;
            return self.write_advice(f);
        };
        writeln!(f, ":{line}:{column}: {}", self.message)?;
        let gutter = line.to_string().len();
        writeln!(f, "   {line} | {}", self.line)?;
        writeln!(f, "   {:gutter$} | {:before$}{}", "", "", "^".repeat(self.caret.1), before = self.caret.0)?;
        self.write_advice(f)
    }

    fn write_advice(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.expected.is_empty() {
            writeln!(f, "   expected: {}", self.expected)?;
        }
        if !self.help.is_empty() {
            writeln!(f, "   help: {}", self.help)?;
        }
        Ok(())
    }
}

/// `line` made printable, cut to at most `REPORT_LINE_CHARS_MAX` characters around the caret.
fn window(line: &str, before: usize, marked: usize) -> (String, (usize, usize)) {
    let first = if before < REPORT_LINE_CHARS_MAX / 2 { 0 } else { before - REPORT_LINE_CHARS_MAX / 4 };
    let mut shown: String = line.chars().skip(first).take(REPORT_LINE_CHARS_MAX).map(printable).collect();
    shown.truncate(shown.trim_end().len());
    let prefix = if first > 0 { "… " } else { "" };
    let before = before - first;
    let room = shown.chars().count().saturating_sub(before).max(1);
    (format!("{prefix}{shown}"), (before + prefix.chars().count(), marked.min(room)))
}

/// One character in a terminal, whatever it was.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Where lines begin.
struct LineIndex<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> LineIndex<'t> {
    fn new(text: &'t str) -> LineIndex<'t> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        LineIndex { text, starts }
    }

    /// The line's number from 1, the line without its end, and the offset within it.
    fn find(&self, at: usize) -> (usize, &'t str, usize) {
        let at = at.min(self.text.len());
        let index = self.starts.partition_point(|s| *s <= at).max(1) - 1;
        let start = self.starts.get(index).copied().unwrap_or(0);
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let line = self.text.get(start..end.max(start)).unwrap_or("");
        (index + 1, line, (at - start).min(line.len()))
    }
}

/// Everything that is wrong with a configuration, or doubtful. Its `Display` is what `edge validate` prints.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Report {
    file: String,
    mistakes: Vec<Item>,
    warnings: Vec<Item>,
    /// Mistakes and warnings there were, shown or not.
    total: (usize, usize),
}

impl Report {
    /// What makes the configuration unusable, in the order of the file; at most `REPORT_ITEMS_MAX`.
    pub fn mistakes(&self) -> &[Item] {
        &self.mistakes
    }

    /// What is hardly meant so, in the order of the file; at most `REPORT_ITEMS_MAX`.
    pub fn warnings(&self) -> &[Item] {
        &self.warnings
    }

    /// The warnings as `file:line:column: message` each, for a log.
    pub fn warning_lines(&self) -> Vec<String> {
        let line = |w: &Item| match w.position {
            Some((line, column)) => format!("{}:{line}:{column}: {}", self.file, w.message),
            None => format!("{}: {}", self.file, w.message),
        };
        self.warnings.iter().map(line).collect()
    }

    /// Puts what an earlier stage found in the same source before it.
    pub(crate) fn prepend(&mut self, earlier: Report) {
        self.mistakes.splice(0..0, earlier.mistakes);
        self.warnings.splice(0..0, earlier.warnings);
        self.total = (self.total.0 + earlier.total.0, self.total.1 + earlier.total.1);
    }
}

impl std::error::Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mistakes, warnings) = self.total;
        for (number, item) in (1..).zip(&self.mistakes) {
            item.write(number, &self.file, f)?;
        }
        let hidden = mistakes.saturating_sub(self.mistakes.len());
        if hidden > 0 {
            writeln!(f, "and {hidden} more")?;
        }
        if !self.warnings.is_empty() {
            writeln!(f, "warnings:")?;
        }
        for (number, item) in (1..).zip(&self.warnings) {
            item.write(number, &self.file, f)?;
        }
        let hidden = warnings.saturating_sub(self.warnings.len());
        if hidden > 0 {
            writeln!(f, "and {hidden} more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, at: Range<usize>) -> String {
        let log = Log::default();
        log.mistake(Problem::new(at, "wrong").expected("right").help("do it"));
        log.into_report("f.toml", text).to_string()
    }

    #[test]
    fn caret_stands_under_the_span_in_characters() {
        let text = "a = 1\nü = \"é\"\n";
        let at = text.find("\"é\"").unwrap();
        assert_eq!(
            shown(text, at..at + 4),
            "1. f.toml:2:5: wrong\n   2 | ü = \"é\"\n     |     ^^^\n   expected: right\n   help: do it\n"
        );
    }

    #[test]
    fn offsets_outside_the_text_and_inside_characters_are_survived() {
        for text in ["", "\n", "ü", "a\r\nb"] {
            for start in 0..8 {
                assert!(shown(text, start..start + 3).contains("wrong"));
            }
        }
    }

    #[test]
    fn long_lines_and_control_characters_are_tamed() {
        let text = format!("k = \"{}\u{1b}[31m{}\"", "x".repeat(5000), "y".repeat(5000));
        let out = shown(&text, 5000..5005);
        assert!(!out.contains('\u{1b}'));
        assert!(out.lines().all(|l| l.chars().count() < REPORT_LINE_CHARS_MAX + 20), "{out}");
        let line = out.lines().nth(1).unwrap();
        let caret = out.lines().nth(2).unwrap().chars().position(|c| c == '^').unwrap();
        assert_eq!(line.chars().nth(caret), Some('x'));
    }

    #[test]
    fn too_many_are_counted() {
        let log = Log::default();
        for i in 0..REPORT_ITEMS_MAX + 7 {
            log.mistake(Problem::of_file(format!("m{i}")));
        }
        let out = log.into_report("f", "").to_string();
        assert!(out.ends_with("and 7 more\n"), "{out}");
    }
}
