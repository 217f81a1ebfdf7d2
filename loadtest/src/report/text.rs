//! The report on a terminal: what an operator wants to know first, within 80 columns.
use super::{
    facts::{self, by_number, error_share, faults, per, words},
    units::{bytes, clean, count, counted, micros, percent, rate, seconds, time},
};
use crate::record::{Counts, Outcome, ShardUse};
use std::io::IsTerminal;

/// Columns that the report keeps to.
const WIDTH: usize = 80;
/// Columns of the names at the left.
const LABEL: usize = 13;
/// Longest URL that is shown whole, characters; it is wrapped.
const URL_MAX: usize = 400;
/// Longest reason, characters.
const REASON_MAX: usize = 400;
/// Statuses, kinds of fault, shards that are listed; of the rest the number is said.
const LIST_MAX: usize = 12;

/// How it looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With ANSI colours. They only repeat what the words say.
    pub colour: bool,
}

impl Style {
    /// For this process's stdout: in colour on a terminal, unless `NO_COLOR` is set (to anything) or `TERM=dumb`.
    pub fn stdout() -> Style {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Style { colour: std::io::stdout().is_terminal() && !refused && !dumb }
    }

    fn alarm(self, text: &str) -> String {
        if self.colour { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn quiet(self, text: &str) -> String {
        if self.colour { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The whole report, each line with its end.
pub fn report(outcome: &Outcome, style: Style) -> String {
    let mut page = Page { text: String::new(), style };
    page.invalid(outcome);
    page.heading(outcome);
    page.gap();
    page.results(outcome);
    page.gap();
    page.latencies(outcome);
    page.gap();
    page.generator(outcome);
    if outcome.verdict.valid {
        page.item("verdict", "valid: the generator kept up, the figures are the server's");
    } else {
        page.gap();
        page.invalid(outcome);
    }
    page.text
}

struct Page {
    text: String,
    style: Style,
}

impl Page {
    fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A name, and what is to be said of it, wrapped behind it.
    fn item(&mut self, label: &str, what: &str) {
        for (i, line) in wrap(what, WIDTH - LABEL).iter().enumerate() {
            let label = format!("{:<LABEL$}", if i == 0 { label } else { "" });
            self.text.push_str(&format!("{}{line}\n", self.style.quiet(&label)));
        }
    }

    /// First and last: nobody should read figures that are not the server's without being told.
    fn invalid(&mut self, outcome: &Outcome) {
        if outcome.verdict.valid {
            return;
        }
        let reasons: Vec<String> =
            outcome.verdict.reasons.iter().take(LIST_MAX).map(|r| clean(r, REASON_MAX)).collect();
        let reasons = if reasons.is_empty() { "no reason was given".to_owned() } else { reasons.join("; ") };
        for line in wrap(&format!("INVALID: {reasons}"), WIDTH) {
            self.text.push_str(&self.style.alarm(&line));
            self.text.push('\n');
        }
        if !self.text.contains("\n\n") {
            self.gap();
        }
    }

    fn heading(&mut self, outcome: &Outcome) {
        let asked = &outcome.asked;
        let others = asked.urls.saturating_sub(1) as u64;
        let more = if others > 0 { format!(" and {}", counted(others, "other", "others")) } else { String::new() };
        self.item("target", &format!("{}{more}", clean(&asked.url, URL_MAX)));
        let protocol = clean(&asked.protocol.join(", "), URL_MAX);
        let protocol = if protocol.is_empty() { "none spoken".to_owned() } else { protocol };
        self.item("protocol", &format!("{protocol}; {}", facts::shape(outcome)));
        self.item("load", &facts::load(outcome));
        let warm =
            if asked.warmup > 0.0 { format!(", after {} of warm-up", seconds(asked.warmup)) } else { String::new() };
        let early = if outcome.interrupted { "; interrupted before its end" } else { "" };
        self.item("measured", &format!("{}{warm}{early}", seconds(outcome.seconds)));
    }

    fn results(&mut self, outcome: &Outcome) {
        let (counts, words) = (&outcome.counts, words(outcome));
        let answered = per(counts.answered as f64, outcome.seconds);
        let of = if words.many == "events" { String::new() } else { format!(" of {} sent", count(counts.sent)) };
        self.item(words.many, &format!("{}/s; {} {}{of}", rate(answered), count(counts.answered), words.answered));
        self.errors(counts);
        if counts.unsent > 0 {
            let what = counted(counts.unsent, "was due and not sent", "were due and not sent");
            self.item("unsent", &format!("{what} when time was up; counted with the time they waited"));
        }
        let statuses = by_number(&counts.status);
        if !statuses.is_empty() {
            self.item(
                "status",
                &list(&statuses.iter().map(|(s, n)| format!("{s}: {}", count(*n))).collect::<Vec<_>>()),
            );
        }
        let flow = |n: u64| format!("{} ({}/s)", bytes(n as f64), bytes(per(n as f64, outcome.seconds)));
        let received = format!("received {}, of it bodies {}", flow(counts.bytes_in), bytes(counts.body_bytes as f64));
        self.item("bytes", &format!("{received}; sent {}", flow(counts.bytes_out)));
        self.connections(outcome);
    }

    fn errors(&mut self, counts: &Counts) {
        let all = faults(counts);
        if all == 0 {
            return self.item("errors", "none");
        }
        let kinds: Vec<String> = by_number(&counts.faults).iter().map(|(f, n)| format!("{f} {}", count(*n))).collect();
        let what = format!("{} ({} of requests): {}", count(all), percent(error_share(counts)), list(&kinds));
        let from = self.text.len();
        self.item("errors", &what);
        let shown = self.text.split_off(from);
        for line in shown.lines() {
            let line = if self.style.colour { self.style.alarm(line) } else { line.to_owned() };
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    fn connections(&mut self, outcome: &Outcome) {
        let counts = &outcome.counts;
        if counts.connections == 0 && counts.closed == 0 {
            return;
        }
        // Handshakes a second are a figure of their own where connections are replaced all the time.
        let pace = per(counts.connections as f64, outcome.seconds);
        let churn = counts.connections > outcome.asked.connections as u64;
        let made = if churn { format!(" ({}/s)", rate(pace)) } else { String::new() };
        let resumed =
            if counts.resumed > 0 { format!(", {} with resumed TLS", count(counts.resumed)) } else { String::new() };
        self.item(
            "connections",
            &format!("{} made{made}{resumed}; {} ended", count(counts.connections), count(counts.closed)),
        );
    }

    fn latencies(&mut self, outcome: &Outcome) {
        if outcome.times.response.count == 0 {
            return self.item("latency", &format!("none: no {} was {}", words(outcome).one, words(outcome).answered));
        }
        let columns = facts::columns(outcome);
        let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        self.row("latency", &names);
        for (i, (name, _)) in facts::rows(&outcome.times.response).iter().enumerate() {
            let of = |s| facts::rows(s).get(i).map_or(0.0, |(_, us)| *us);
            self.row(&format!("  {name}"), &columns.iter().map(|(_, s)| time(of(s))).collect::<Vec<_>>());
        }
        self.row("  count", &columns.iter().map(|(_, s)| count(s.count)).collect::<Vec<_>>());
        if outcome.times.service.is_some() {
            self.item("", "response counts from when it should have been sent, service from sending");
        }
    }

    /// A row of the table: columns as wide as five of them can be.
    fn row(&mut self, label: &str, cells: &[String]) {
        let mut line = format!("{label:<LABEL$}");
        for cell in cells {
            line.push_str(&format!("{cell:>12}"));
        }
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn generator(&mut self, outcome: &Outcome) {
        for (i, shard) in outcome.generator.iter().take(LIST_MAX).enumerate() {
            let label = if i == 0 { "generator" } else { "" };
            self.item(label, &shard_line(shard, outcome.seconds));
        }
        let more = outcome.generator.len().saturating_sub(LIST_MAX);
        if more > 0 {
            self.item("", &format!("and {} more", counted(more as u64, "shard", "shards")));
        }
        if let Some(cpu) = outcome.server_cpu_us {
            let each = per(cpu as f64, outcome.counts.answered as f64);
            let cores = per(cpu as f64 / 1e6, outcome.seconds);
            let one = words(outcome).one;
            self.item("server", &format!("{} of CPU for each {one}; {cores:.2} cores in use", time(each)));
        }
    }
}

fn shard_line(shard: &ShardUse, measured: f64) -> String {
    let share = |us: u64| percent(per(us as f64 / 1e6, measured));
    let mut line = format!("core {}: CPU {}, lag p99 {}", shard.core, share(shard.cpu_us), micros(shard.lag.1));
    line.push_str(&format!(" max {}", micros(shard.lag.2)));
    if let Some((_, p99, max)) = shard.slip {
        line.push_str(&format!(", sent late p99 {} max {}", micros(p99), micros(max)));
    }
    line
}

/// The first of them, and how many there are beside.
fn list(items: &[String]) -> String {
    let mut shown = items.iter().take(LIST_MAX).cloned().collect::<Vec<_>>().join(", ");
    if items.len() > LIST_MAX {
        shown.push_str(&format!(", and {} other kinds", items.len() - LIST_MAX));
    }
    shown
}

/// Lines of at most `width` characters, broken at spaces, and within words that are longer than a line. Figures keep
/// their units: a space between a digit and a unit does not break.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut length) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.iter().collect());
            word = rest;
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        length += word.len();
        line.extend(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
