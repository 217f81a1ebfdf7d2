//! The comparison as a table.
use super::{Comparison, Decision, Measure, Row};
use crate::slo::time_text;
use std::fmt;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        let (a, b) = self.runs;
        let runs = |n| format!("{n} run{}", if n == 1 { "" } else { "s" });
        writeln!(f, "A: {}; B: {}; figures are means over the seconds\n", runs(a), runs(b))?;
        let head = ["", "A", "B", "change", "95 % interval", "p", "p (ranks)", ""];
        line(f, head.map(str::to_owned))?;
        for row in &self.rows {
            line(f, cells(row))?;
        }
        // In hundredths of a percent, so that 7 % is not 7.000000000000001.
        let threshold = (self.threshold * 1e4).round() / 1e2;
        writeln!(f)?;
        match self.rows.iter().filter(|row| row.regressed).count() {
            0 => writeln!(f, "Nothing became worse by more than {threshold} % that chance does not explain."),
            1 => writeln!(f, "One figure became worse by more than {threshold} %."),
            n => writeln!(f, "{n} figures became worse by more than {threshold} %."),
        }
    }
}

fn line(f: &mut fmt::Formatter<'_>, cells: [String; 8]) -> fmt::Result {
    let [name, a, b, change, interval, p, ranks, word] = cells;
    let line = format!("{name:<18} {a:>11} {b:>11} {change:>9} {interval:>21} {p:>8} {ranks:>9}  {word}");
    writeln!(f, "{}", line.trim_end())
}

fn cells(row: &Row) -> [String; 8] {
    let change = |x: f64| match row.measure.is_ratio() {
        true => format!("{:+.2}%", x * 100.0),
        false => format!("{:+.3}pp", x * 100.0),
    };
    let word = match (row.decision, row.regressed) {
        (Decision::NoDifference, _) => "no difference",
        (Decision::Better, _) => "better",
        (Decision::Worse, false) => "worse",
        (Decision::Worse, true) => "WORSE",
    };
    [
        row.measure.name().to_owned(),
        figure(row.measure, row.a),
        figure(row.measure, row.b),
        change(row.change),
        format!("{} … {}", change(row.interval.0), change(row.interval.1)),
        format!("{:.4}", row.p),
        format!("{:.4}", row.p_ranks),
        word.to_owned(),
    ]
}

fn figure(measure: Measure, value: f64) -> String {
    match measure {
        Measure::AnswersASecond => format!("{value:.1}"),
        Measure::Errors => format!("{:.3}%", value * 100.0),
        _ => time_text(value),
    }
}
