//! The line that is live while a run is under way: one line on a terminal, redrawn in place, gone when the run is over.
use super::units::{count, counted, micros, rate};
use crate::record::Progress;
use std::io::{self, IsTerminal, Write};

/// Longest bar, columns: more says no more.
const BAR_MAX: usize = 30;
/// Shortest bar that still says something, columns.
const BAR_MIN: usize = 6;
/// Width where the terminal does not tell.
const WIDTH_DEFAULT: usize = 80;

/// The line for `width` columns, never wider: parts are left out from the least important one on.
pub fn line(progress: &Progress, width: usize) -> String {
    let parts = parts(progress);
    // What stays at every width stands first in this order of importance.
    let mut kept = parts.len();
    while kept > 1 && joined(&parts, kept, None).chars().count() > width {
        kept -= 1;
    }
    let bare = joined(&parts, kept, None);
    let room = width.saturating_sub(bare.chars().count() + 1).min(BAR_MAX);
    let line = if room >= BAR_MIN { joined(&parts, kept, Some(&bar(done(progress), room))) } else { bare };
    line.chars().take(width).collect()
}

/// A part of the line: its place from the left, and its text. The list is in the order of importance.
type Part = (u8, String);

fn parts(p: &Progress) -> Vec<Part> {
    let clock = format!("{}/{}", clock(p.elapsed), clock(p.total));
    let dash = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), micros);
    let mut parts = vec![
        (1, if p.warmup { format!("warm-up {clock}") } else { clock }),
        (3, format!("{}/s", rate(p.rate))),
        (6, if p.errors == 0 { "no errors".to_owned() } else { counted(p.errors, "error", "errors") }),
        (5, format!("p99 {}", dash(p.p99_us))),
        (4, format!("p50 {}", dash(p.p50_us))),
    ];
    if let Some(all) = p.requests.filter(|_| !p.warmup) {
        parts.push((2, format!("{} of {}", count(p.answered), count(all))));
    }
    parts
}

/// The `kept` most important parts from left to right, the bar behind the clock.
fn joined(parts: &[Part], kept: usize, bar: Option<&str>) -> String {
    let mut shown: Vec<&Part> = parts.iter().take(kept).collect();
    shown.sort_by_key(|(place, _)| *place);
    let mut out = String::new();
    for (i, (_, text)) in shown.iter().enumerate() {
        if i > 0 {
            out.push_str("  ");
        }
        out.push_str(text);
        if let Some(bar) = bar.filter(|_| i == 0) {
            out.push(' ');
            out.push_str(bar);
        }
    }
    out
}

/// How much of the run is over, 0 to 1: by time or by number, whichever is nearer to its end.
fn done(p: &Progress) -> f64 {
    let of_time = p.elapsed / p.total;
    let of_number = p.requests.filter(|_| !p.warmup).map_or(0.0, |all| p.answered as f64 / all as f64);
    let share = if of_time.is_finite() { of_time.max(of_number) } else { of_number };
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
}

fn bar(share: f64, width: usize) -> String {
    let full = ((share * width as f64).round() as usize).min(width);
    "━".repeat(full) + &"─".repeat(width - full)
}

/// `12s`, `3m05s`, `1h02m`.
fn clock(seconds: f64) -> String {
    let s = if seconds.is_finite() { seconds.max(0.0).round() as u64 } else { 0 };
    match s {
        0..100 => format!("{s}s"),
        100..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

/// Draws the line on stderr, if that is a terminal; else does nothing.
#[derive(Debug)]
pub struct Live {
    terminal: bool,
    drawn: bool,
}

impl Live {
    /// For this process's stderr. A terminal that knows no control sequences (`TERM=dumb`) gets nothing.
    pub fn stderr() -> Live {
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Live { terminal: io::stderr().is_terminal() && !dumb, drawn: false }
    }

    /// Whether anything is ever drawn: if not, nobody needs to ask for progress.
    pub fn is_shown(&self) -> bool {
        self.terminal
    }

    /// Shows this instead of what was there.
    pub fn draw(&mut self, progress: &Progress) {
        if self.terminal {
            // The last column stays free: a full line would wrap on some terminals.
            put(&mut io::stderr(), &line(progress, width().saturating_sub(1)));
            self.drawn = true;
        }
    }

    /// Takes the line away, so that what is printed next begins at the left.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            put(&mut io::stderr(), "");
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.clear();
    }
}

/// One write, so that the line is never seen half; a terminal that has gone is no reason to end a run.
fn put(out: &mut impl Write, line: &str) {
    let _ = out.write_all(format!("\r{line}\x1b[K").as_bytes()).and_then(|()| out.flush());
}

/// Columns of the terminal behind stderr, asked each time: windows change their size.
fn width() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(WIDTH_DEFAULT, |(w, _)| usize::from(w.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn midway() -> Progress {
        Progress {
            warmup: false,
            elapsed: 12.2,
            total: 30.0,
            answered: 240_000,
            requests: None,
            rate: 19_998.4,
            p50_us: Some(1234),
            p99_us: Some(45_600),
            errors: 0,
        }
    }

    #[test]
    fn all_is_on_a_line_of_80_columns() {
        assert_eq!(
            line(&midway(), 80),
            "12s/30s ━━━━━━━━━━─────────────── 19,998/s  p50 1.23 ms  p99 45.6 ms  no errors"
                .replace("─────────────── ", "───────────────  ")
        );
        let wide = line(&midway(), 300);
        assert_eq!(wide.matches(['━', '─']).count(), BAR_MAX);
        assert_eq!(wide.matches('━').count(), 12, "12.2 of 30 s of 30 columns");
    }

    #[test]
    fn no_line_is_wider_than_asked_and_the_clock_stays_longest() {
        let mut errors = midway();
        errors.errors = 1_234_567;
        errors.requests = Some(1_000_000);
        for progress in [midway(), errors, Progress { warmup: true, ..midway() }] {
            for width in 0..200 {
                assert!(line(&progress, width).chars().count() <= width, "{width}");
            }
        }
        assert_eq!(line(&midway(), 17), "12s/30s  19,998/s");
        assert_eq!(line(&midway(), 9), "12s/30s");
        assert_eq!(line(&midway(), 4), "12s/");
        assert_eq!(line(&midway(), 30), "12s/30s  19,998/s  no errors");
    }

    #[test]
    fn warm_up_errors_and_silence_are_said() {
        let warm = Progress { warmup: true, elapsed: 1.0, total: 2.0, ..midway() };
        assert!(line(&warm, 80).starts_with("warm-up 1s/2s "), "{}", line(&warm, 80));
        let bad = Progress { errors: 1, p50_us: None, p99_us: None, rate: 0.0, ..midway() };
        let shown = line(&bad, 80);
        assert!(shown.ends_with("0/s  p50 –  p99 –  1 error"), "{shown}");
    }

    #[test]
    fn a_run_that_ends_by_number_is_as_far_as_its_number() {
        let by_number = Progress { requests: Some(480_000), elapsed: 1.0, ..midway() };
        assert!(line(&by_number, 200).contains("240,000 of 480,000"));
        assert_eq!(line(&by_number, 200).matches('━').count(), BAR_MAX / 2);
    }

    #[test]
    fn numbers_that_are_none_draw_an_empty_bar() {
        let odd = Progress { elapsed: f64::NAN, total: 0.0, rate: f64::NAN, requests: Some(0), ..Progress::default() };
        assert!(!line(&odd, 80).contains('━'));
        assert!(!line(&odd, 80).contains("NaN"));
    }

    #[test]
    fn long_times_are_in_minutes_and_hours() {
        assert_eq!([clock(99.0), clock(185.0), clock(3723.0)], ["99s", "3m05s", "1h02m"]);
    }

    #[test]
    fn the_line_is_redrawn_in_place_and_cleared_to_its_end() {
        let mut out = Vec::new();
        put(&mut out, "abc");
        put(&mut out, "");
        assert_eq!(out, b"\rabc\x1b[K\r\x1b[K");
    }
}
