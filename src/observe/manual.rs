//! Writes `docs/METRICS.md` from the table of metrics.
use super::{
    metrics::{NO_ROUTE, OTHER, SERIES_MAX},
    names::{self, Metric},
    stats::{
        APPLY_RESULTS, BOUNDS_US, CIRCUIT_STATES, CLASSES, DIRECTIONS, DROPPED, EARLY_DATA, EJECTIONS, HEDGE_OUTCOMES,
        HTTP3_CODES, LIMITS, METHODS, PROTOCOLS, QUEUES, REFUSALS, RETRY_OUTCOMES, TLS_GROUPS, TLS_RESULTS,
        TLS_VERSIONS, TRANSPORTS,
    },
};
use crate::message::{Category, Priority};
use edge_io::http2;
use edge_quic::h3;
use std::fmt::Write as _;

const HEAD: &str = "\
# Metrics

Generated from `src/observe/names.rs`; `EDGE_BLESS=1 cargo test -p edge observe::` writes it anew.

`GET /metrics` on the admin listener answers in Prometheus' text format 0.0.4. Counters are exact: each has one writer,
its shard, and the shards are summed at the scrape. They live as long as the process, across reloads. A series with a
label that can take many values appears with its first event, so an alert on one must take absence for 0.

| metric | type | labels | what it tells |
|---|---|---|---|
";

/// The text of `docs/METRICS.md`.
pub fn metrics_md() -> String {
    let mut out = String::from(HEAD);
    for metric in names::ALL {
        // Writing into a `String` cannot fail.
        let _ =
            writeln!(out, "| `{}` | {} | {} | {} |", metric.name, metric.kind.as_str(), labels(metric), metric.help);
    }
    out.push_str("\n## Values of labels\n\n| label | values |\n|---|---|\n");
    for (label, values) in values() {
        let _ = writeln!(out, "| `{label}` | {values} |");
    }
    let bounds: Vec<String> = BOUNDS_US.iter().map(|&us| (us as f64 / 1e6).to_string()).collect();
    let _ = writeln!(out, "\nUpper bounds of every histogram's buckets, in seconds: {}, +Inf.", bounds.join(", "));
    out
}

fn labels(metric: &Metric) -> String {
    metric.labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(" ")
}

fn words<'a>(all: impl IntoIterator<Item = &'a str>) -> String {
    all.into_iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" ")
}

fn values() -> [(&'static str, String); 25] {
    let categories = Category::ALL.map(Category::as_str);
    let busiest = format!("the {SERIES_MAX} with the most hits, the rest summed up as `{OTHER}`");
    [
        ("route", format!("ids of routes: {busiest}; `{NO_ROUTE}` for requests that found none")),
        ("pool", format!("names of pools: {busiest}")),
        ("endpoint", format!("endpoints as the configuration spells them: {busiest}")),
        ("listener", "names of listeners".to_owned()),
        ("shard", "0 and up".to_owned()),
        ("method", words(METHODS)),
        ("code_class", words(CLASSES)),
        ("protocol", words(PROTOCOLS)),
        ("category", words(categories)),
        ("outcome", format!("of retries {}; of hedges {}", words(RETRY_OUTCOMES), words(HEDGE_OUTCOMES))),
        ("limit", words(LIMITS)),
        (
            "kind",
            format!(
                "of HTTP/2 {}; of HTTP/3 {}",
                words(http2::Abuse::ALL.iter().map(|kind| kind.as_str())),
                words(h3::Abuse::ALL.iter().map(|kind| kind.as_str()))
            ),
        ),
        (
            "result",
            format!(
                "{}; of handshakes {}; of early data {}",
                words(APPLY_RESULTS),
                words(TLS_RESULTS),
                words(EARLY_DATA)
            ),
        ),
        ("transport", words(TRANSPORTS)),
        ("version", format!("of the program, or of a configuration; of handshakes {}", words(TLS_VERSIONS))),
        ("group", words(TLS_GROUPS)),
        ("resumed", words(["no", "yes"])),
        ("direction", words(DIRECTIONS)),
        (
            "reason",
            format!(
                "of packets {}; of endpoints left out {}; of requests refused {}",
                words(DROPPED),
                words(EJECTIONS),
                words(REFUSALS)
            ),
        ),
        ("code", words(HTTP3_CODES)),
        ("name", format!("first names of certificates: the {SERIES_MAX} that expire first")),
        ("state", format!("of connections {}; of circuits {}", words(["idle", "active"]), words(CIRCUIT_STATES))),
        ("queue", words(QUEUES)),
        ("priority", words(Priority::ALL.map(Priority::as_str))),
        ("driver", words(["io_uring", "epoll"])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
        let text = metrics_md();
        if std::env::var_os("EDGE_BLESS").is_some() {
            std::fs::write(&path, &text).expect("docs/ takes files");
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "docs/METRICS.md is out of date: EDGE_BLESS=1 cargo test -p edge observe:: writes it anew"
        );
    }

    #[test]
    fn every_label_is_explained() {
        let explained = values().map(|(label, _)| label);
        let free = ["source"]; // a configuration's own
        for metric in names::ALL {
            for label in metric.labels {
                assert!(explained.contains(label) || free.contains(label), "{label} of {}", metric.name);
            }
        }
    }
}
