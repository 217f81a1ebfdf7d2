//! The page: one file that reads the same offline, on a phone, on paper and without its script.
//!
//! It asks nobody for anything: its content security policy forbids every request, and names its own style and script by
//! their digests, so that words of a server that came through after all could neither run nor load.
mod findings;
mod style;
mod tables;

use super::{
    facts::{self, faults, per, words},
    plot::{Size, heat, percentiles, points::Points, points::points, rates, svg::escape, times},
    units::{counted, micros, percent, rate, seconds},
};
use crate::record::Outcome;
use std::fmt::Write as _;

/// Reasons that are listed.
const REASONS_MAX: usize = 12;

/// The whole page. It is well-formed XML behind its first line.
pub fn page(outcome: &Outcome) -> String {
    let drawn = Size::BOTH.map(|size| points(outcome, size.points()));
    let mut out = String::with_capacity(256 << 10);
    head(&mut out, outcome);
    banner(&mut out, outcome);
    introduction(&mut out, outcome);
    key_figures(&mut out, outcome);
    figures(&mut out, outcome, &drawn);
    out.push_str("<section><h2>All figures</h2>\n");
    tables::latencies(&mut out, outcome);
    out.push_str("<div class=\"pair\">\n");
    tables::statuses(&mut out, outcome);
    tables::faults(&mut out, outcome);
    out.push_str("</div>\n");
    tables::traffic(&mut out, outcome);
    tables::generator(&mut out, outcome);
    out.push_str("</section>\n");
    tables::environment(&mut out, outcome);
    out.push_str("</main>\n<script>");
    out.push_str(style::SCRIPT);
    out.push_str("</script>\n</body>\n</html>\n");
    out
}

fn head(out: &mut String, outcome: &Outcome) {
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<meta name=\"referrer\" content=\"no-referrer\"/>\n\
         <title>edge bench: {}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n",
        style::policy(),
        escape(&outcome.asked.url),
        style::STYLE
    );
}

/// What nobody should miss: the figures are not the server's, or not of the whole run.
fn banner(out: &mut String, outcome: &Outcome) {
    if !outcome.verdict.valid {
        out.push_str("<div class=\"invalid\" role=\"alert\"><strong>INVALID</strong>\n");
        out.push_str("<p>These figures are not the server’s: the load generator did not keep up.</p>\n<ul>\n");
        let reasons = &outcome.verdict.reasons;
        for reason in reasons.iter().take(REASONS_MAX) {
            let _ = writeln!(out, "<li>{}</li>", escape(reason));
        }
        if reasons.is_empty() {
            out.push_str("<li>No reason was given.</li>\n");
        }
        out.push_str("</ul></div>\n");
    }
    if outcome.interrupted {
        out.push_str("<p class=\"early\">Interrupted: this is what was measured until then.</p>\n");
    }
}

/// The result in a sentence, and what was measured.
fn introduction(out: &mut String, outcome: &Outcome) {
    let asked = &outcome.asked;
    let _ =
        writeln!(out, "<header><p class=\"kicker\">edge bench</p>\n<h1>{}</h1>", escape(&findings::headline(outcome)));
    let others = asked.urls.saturating_sub(1) as u64;
    let more = if others > 0 { format!(" and {}", counted(others, "other", "others")) } else { String::new() };
    let protocol = if asked.protocol.is_empty() { "no protocol spoken".to_owned() } else { asked.protocol.join(", ") };
    let warm = if asked.warmup > 0.0 { format!(" after {} of warm-up", seconds(asked.warmup)) } else { String::new() };
    let _ = writeln!(out, "<p class=\"url\">{}{}</p>", escape(&asked.url), escape(&more));
    let _ = writeln!(
        out,
        "<p class=\"deck\">{}; {}.<br/>{}.<br/>{}{warm}, {}.</p></header>",
        escape(&protocol),
        escape(&facts::shape(outcome)),
        escape(&capital(&facts::load(outcome))),
        seconds(outcome.seconds),
        escape(&outcome.environment.started)
    );
}

/// With a capital, where a sentence begins.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn key_figures(out: &mut String, outcome: &Outcome) {
    let (counts, response, words) = (&outcome.counts, &outcome.times.response, words(outcome));
    let time = |us: u64| if response.count > 0 { micros(us) } else { "–".to_owned() };
    let errors = faults(counts);
    let share = percent(facts::error_share(counts));
    let rate = rate(per(counts.answered as f64, outcome.seconds));
    let mut all = vec![
        (format!("{} a second", words.many), rate, ""),
        ("median".to_owned(), time(response.p50), ""),
        ("99 %".to_owned(), time(response.p99), ""),
        ("99.9 %".to_owned(), time(response.p999), ""),
        ("largest".to_owned(), time(response.max), ""),
        ("errors".to_owned(), share, if errors > 0 { " class=\"wrong\"" } else { "" }),
    ];
    if let Some(cpu) = outcome.server_cpu_us.filter(|_| counts.answered > 0) {
        let each = super::units::time(per(cpu as f64, counts.answered as f64));
        all.push((format!("server CPU a {}", words.one), each, ""));
    }
    out.push_str("<dl class=\"key\">\n");
    for (name, value, class) in all {
        let _ = writeln!(out, "<div{class}><dt>{}</dt><dd>{}</dd></div>", escape(&name), escape(&value));
    }
    out.push_str("</dl>\n");
}

/// One figure: its heading, what can be seen in it, its key, and the drawings for both widths.
struct Figure {
    heading: &'static str,
    finding: String,
    key: &'static str,
    note: String,
    drawings: Vec<String>,
}

impl Figure {
    fn write(self, out: &mut String) {
        let _ = write!(
            out,
            "<figure><h2>{}</h2>\n<figcaption>{}</figcaption>\n{}",
            escape(self.heading),
            escape(&self.finding),
            self.key
        );
        self.drawings.iter().for_each(|d| out.push_str(d));
        out.push_str("<p class=\"read\" aria-hidden=\"true\"></p>\n");
        if !self.note.is_empty() {
            let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(&self.note));
        }
        out.push_str("</figure>\n");
    }
}

fn figures(out: &mut String, outcome: &Outcome, drawn: &[Points; 2]) {
    let sizes = || Size::BOTH.into_iter().zip(drawn);
    let folded = findings::folded(drawn);
    let finding = findings::percentiles(outcome);
    let drawings: Vec<String> =
        Size::BOTH.into_iter().filter_map(|size| percentiles::plot(outcome, size, &finding)).collect();
    if !drawings.is_empty() {
        let (key, note) = match outcome.times.service {
            Some(_) => (
                KEY_BOTH,
                "Response time counts from when a request should have been sent, service time from when it \
                                   was. Where the curves part, requests had to wait for a place.",
            ),
            None => (
                "",
                "Both axes are logarithmic. In a closed loop a slow server is asked less often, so that users may \
                          see more of the right end of this curve than is counted here.",
            ),
        };
        Figure { heading: "Latency by percentile", finding, key, note: note.to_owned(), drawings }.write(out);
    }
    if !outcome.series.is_empty() {
        let finding = findings::rates(outcome);
        let drawings = sizes().map(|(size, points)| rates::plot(outcome, points, size, &finding)).collect();
        Figure { heading: "Rate and errors over time", finding, key: "", note: folded.clone(), drawings }.write(out);
    }
    let finding = findings::times(outcome);
    let drawings: Vec<String> =
        sizes().filter_map(|(size, points)| times::plot(outcome, points, size, &finding)).collect();
    if !drawings.is_empty() {
        let note = if folded.is_empty() { String::new() } else { format!("{folded} {}", findings::FOLDED_TIMES) };
        Figure { heading: "Latency over time", finding, key: KEY_TIMES, note, drawings }.write(out);
    }
    let finding = findings::heat(outcome);
    let drawings: Vec<String> =
        sizes().filter_map(|(size, points)| heat::plot(outcome, points, size, &finding)).collect();
    if !drawings.is_empty() {
        Figure { heading: "Where the answers lie", finding, key: "", note: folded, drawings }.write(out);
    }
}

const KEY_BOTH: &str =
    "<p class=\"lines\"><span class=\"ka\">response time</span> <span class=\"kb dash\">service time</span></p>\n";
const KEY_TIMES: &str = "<p class=\"lines\"><span class=\"km\">largest</span> <span class=\"kb\">99 %</span> <span class=\"ka\">median</span></p>\n";

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
