//! The figures themselves.
use crate::{
    record::{Outcome, Second},
    report::{
        env, facts,
        facts::{by_number, meaning, per, words},
        plot::svg::escape,
        units::{bytes, count, micros, percent, rate, seconds, shell, time},
    },
};
use std::fmt::Write as _;

/// Rows that are shown at once; what is beyond can be unfolded.
const ROWS: usize = 12;
/// Rows of any table.
const ROWS_MAX: usize = 1000;
/// Shards that are listed.
const SHARDS_MAX: usize = 256;

/// A row for each percentile, a column for each phase: also on a phone.
pub fn latencies(out: &mut String, outcome: &Outcome) {
    if outcome.times.response.count == 0 {
        let words = words(outcome);
        let _ = writeln!(out, "<p>No {} was {}, so there are no latencies.</p>", words.one, words.answered);
        return;
    }
    let columns = facts::columns(outcome);
    let heads: Vec<String> =
        columns.iter().map(|(name, _)| format!("<th scope=\"col\">{}</th>", escape(name))).collect();
    let _ = writeln!(
        out,
        "<table class=\"figures\"><caption>Latency</caption>\n<thead><tr><td></td>{}</tr></thead>\n<tbody>",
        heads.concat()
    );
    for (i, (name, _)) in facts::rows(&outcome.times.response).iter().enumerate() {
        let cell = |s| time(facts::rows(s).get(i).map_or(0.0, |(_, us)| *us));
        row(out, name, columns.iter().map(|(_, s)| cell(s)));
    }
    row(out, "deviation", columns.iter().map(|(_, s)| time(s.stdev)));
    row(out, "count", columns.iter().map(|(_, s)| count(s.count)));
    out.push_str("</tbody></table>\n");
}

fn row(out: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let cells: String = cells.map(|c| format!("<td>{}</td>", escape(&c))).collect();
    let _ = writeln!(out, "<tr><th scope=\"row\">{}</th>{cells}</tr>", escape(name));
}

/// Rows, the first of them at once and the others to unfold.
fn folded(out: &mut String, caption: &str, heads: &[&str], rows: &[(String, Vec<String>)]) {
    let (first, rest) = rows.split_at(rows.len().min(ROWS));
    table(out, caption, heads, first);
    if !rest.is_empty() {
        let _ = writeln!(out, "<details><summary>{} more</summary>", rest.len());
        table(out, &format!("{caption}, continued"), heads, rest.get(..ROWS_MAX).unwrap_or(rest));
        out.push_str("</details>\n");
    }
}

fn table(out: &mut String, caption: &str, heads: &[&str], rows: &[(String, Vec<String>)]) {
    let heads: String = heads.iter().map(|h| format!("<th scope=\"col\">{}</th>", escape(h))).collect();
    let _ = writeln!(out, "<table><caption>{}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>", escape(caption));
    for (name, cells) in rows {
        row(out, name, cells.iter().cloned());
    }
    out.push_str("</tbody></table>\n");
}

/// Answers by status.
pub fn statuses(out: &mut String, outcome: &Outcome) {
    let found = by_number(&outcome.counts.status);
    if found.is_empty() {
        return;
    }
    let all: u64 = found.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n));
    let rows: Vec<_> = found
        .iter()
        .map(|(status, n)| (status.to_string(), vec![count(*n), percent(per(*n as f64, all as f64))]))
        .collect();
    out.push_str("<div>\n");
    folded(out, "Answers by status", &["status", "answers", "share"], &rows);
    out.push_str("</div>\n");
}

/// What went wrong, and when.
pub fn faults(out: &mut String, outcome: &Outcome) {
    let found = by_number(&outcome.counts.faults);
    if found.is_empty() {
        out.push_str("<div><h3>Errors</h3>\n<p>None.</p></div>\n");
        return;
    }
    let rows: Vec<_> = found
        .iter()
        .map(|(fault, n)| {
            let has = |s: &&Second| s.counts.faults.get(fault).is_some_and(|n| *n > 0);
            let mut seen = outcome.series.iter().filter(has);
            let first = seen.next();
            let last = seen.next_back().or(first);
            let tenth = |s: f64| (s.max(0.0) * 10.0).round() / 10.0;
            let when = match (first, last) {
                (Some(first), Some(last)) => format!("{}–{} s", tenth(first.at - first.length), tenth(last.at)),
                _ => "–".to_owned(),
            };
            (format!("{fault}: {}", meaning(*fault)), vec![count(*n), when])
        })
        .collect();
    out.push_str("<div>\n");
    folded(out, "Errors by kind", &["kind", "errors", "seen"], &rows);
    out.push_str("</div>\n");
}

/// Names and values.
fn list(out: &mut String, rows: &[(&str, String)]) {
    out.push_str("<dl class=\"list\">\n");
    for (name, value) in rows.iter().filter(|(_, v)| !v.is_empty()) {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    out.push_str("</dl>\n");
}

/// Counts of what went over the wire.
pub fn traffic(out: &mut String, outcome: &Outcome) {
    let (counts, words) = (&outcome.counts, words(outcome));
    let flow = |n: u64| format!("{}, {}/s", bytes(n as f64), bytes(per(n as f64, outcome.seconds)));
    let made = per(counts.connections as f64, outcome.seconds);
    let mut connections = format!("{} made ({}/s)", count(counts.connections), rate(made));
    if counts.resumed > 0 {
        connections.push_str(&format!(", {} with resumed TLS", count(counts.resumed)));
    }
    connections.push_str(&format!(", {} ended", count(counts.closed)));
    let unsent = match counts.unsent {
        0 => String::new(),
        n => format!("{}; they count with the time they had waited", count(n)),
    };
    out.push_str("<h3>Traffic</h3>\n");
    let answered = words.answered;
    list(
        out,
        &[
            ("sent", format!("{} {}", count(counts.sent), words.many)),
            (answered, format!("{} {}", count(counts.answered), words.many)),
            ("due and not sent", unsent),
            ("received", format!("{}; bodies {}", flow(counts.bytes_in), bytes(counts.body_bytes as f64))),
            ("written", flow(counts.bytes_out)),
            ("connections", connections),
        ],
    );
}

/// Whether the generator kept up.
pub fn generator(out: &mut String, outcome: &Outcome) {
    if !outcome.generator.is_empty() {
        let busy = |us: u64| percent(per(us as f64 / 1e6, outcome.seconds));
        let late = outcome.generator.iter().any(|s| s.slip.is_some());
        let mut heads = vec!["core", "CPU", "lag p99", "lag max"];
        if late {
            heads.extend(["late p99", "late max"]);
        }
        let rows: Vec<_> = outcome
            .generator
            .iter()
            .take(SHARDS_MAX)
            .map(|shard| {
                let mut cells = vec![busy(shard.cpu_us), micros(shard.lag.1), micros(shard.lag.2)];
                if let Some((_, p99, max)) = shard.slip {
                    cells.extend([micros(p99), micros(max)]);
                } else if late {
                    cells.extend(["–".to_owned(), "–".to_owned()]);
                }
                (shard.core.to_string(), cells)
            })
            .collect();
        folded(out, "The generator’s own shards", &heads, &rows);
        out.push_str("<p class=\"note\">Lag: how late the shard’s clock ticked. ");
        if late {
            out.push_str("Late: how late requests were sent though a place was free. ");
        }
        out.push_str(if outcome.verdict.valid { "It kept up.</p>\n" } else { "It did not keep up.</p>\n" });
    }
    if let Some(cpu) = outcome.server_cpu_us {
        let each = per(cpu as f64, outcome.counts.answered as f64);
        let cores = per(cpu as f64 / 1e6, outcome.seconds);
        out.push_str("<h3>The server</h3>\n");
        list(
            out,
            &[
                ("CPU", format!("{}, {cores:.2} cores", seconds(cpu as f64 / 1e6))),
                ("for each answer", if each > 0.0 { time(each) } else { "–".to_owned() }),
            ],
        );
    }
}

/// Where, when and how: enough to do it again.
pub fn environment(out: &mut String, outcome: &Outcome) {
    let (here, asked) = (&outcome.environment, &outcome.asked);
    out.push_str("<section><h2>How it was measured</h2>\n");
    let memory = if here.memory > 0 { bytes(here.memory as f64) } else { String::new() };
    let cpu = if here.cpu.is_empty() { String::new() } else { format!("{} × {}", here.cpus, here.cpu) };
    list(
        out,
        &[
            ("edge", here.version.clone()),
            ("started", here.started.clone()),
            ("system", here.os.clone()),
            ("kernel", here.kernel.clone()),
            ("processors", cpu),
            ("memory", memory),
            ("seed", asked.seed.to_string()),
        ],
    );
    if !here.command.is_empty() {
        // Taken out once more: a page is what is sent around.
        let command = shell(&env::without_secrets(&here.command));
        let _ = writeln!(out, "<pre>{}</pre>", escape(&command));
    }
    out.push_str("</section>\n");
}
