//! What was found, and the curve to it, as text.
use super::{Ended, Found, Step};
use crate::slo::time_text;
use std::fmt;

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["rate", "answered", "p50", "p99", "errors"];
        line(f, &head.map(str::to_owned), "")?;
        let mut curve: Vec<&Step> = self.steps.iter().collect();
        curve.sort_by(|x, y| x.rate.total_cmp(&y.rate));
        for step in curve {
            line(f, &cells(step), &word(step))?;
        }
        writeln!(f)?;
        match &self.ended {
            Ended::Found => {}
            Ended::NothingHeld => writeln!(f, "No rate held, down to {:.1} requests/s.", self.lowest())?,
            Ended::NoLimit => writeln!(f, "Every rate held: the limit is above what was tried.")?,
            Ended::NotConfirmed => writeln!(f, "What held in a step did not hold in a longer run.")?,
            Ended::Generator(reasons) => {
                writeln!(f, "INVALID: the generator did not keep up, so that a limit would be its own.")?;
                for reason in reasons {
                    writeln!(f, "  {reason}")?;
                }
            }
            Ended::Interrupted => writeln!(f, "Interrupted.")?,
            Ended::Failed(why) => writeln!(f, "A step could not run: {why}")?,
        }
        match (self.limit, &self.ended, self.above) {
            (Some(limit), Ended::Found, Some(above)) => {
                writeln!(f, "Limit: {limit:.1} requests/s, confirmed; {above:.1} did not hold.")
            }
            (Some(limit), Ended::Found, None) => writeln!(f, "Limit: {limit:.1} requests/s, confirmed."),
            (Some(limit), ..) => writeln!(f, "The limit is at least {limit:.1} requests/s (not confirmed)."),
            (None, ..) => Ok(()),
        }
    }
}

impl Found {
    fn lowest(&self) -> f64 {
        self.steps.iter().map(|step| step.rate).fold(f64::INFINITY, f64::min)
    }
}

fn line(f: &mut fmt::Formatter<'_>, cells: &[String; 5], word: &str) -> fmt::Result {
    let [rate, answered, p50, p99, errors] = cells;
    let line = format!("{rate:>12} {answered:>12} {p50:>9} {p99:>9} {errors:>9}  {word}");
    writeln!(f, "{}", line.trim_end())
}

fn cells(step: &Step) -> [String; 5] {
    [
        format!("{:.1}", step.rate),
        format!("{:.1}", step.answered),
        time_text(step.p50 as f64),
        time_text(step.p99 as f64),
        format!("{:.3}%", step.errors * 100.0),
    ]
}

fn word(step: &Step) -> String {
    match (step.valid, step.met) {
        (false, _) => "INVALID".to_owned(),
        (true, true) if step.confirmation => "confirmed".to_owned(),
        (true, true) => "held".to_owned(),
        (true, false) => format!("failed: {}", step.failed.join("; ")),
    }
}
