//! The terminal report: its figures are the result's, and it keeps to 80 columns whatever it is given.
use super::*;
use crate::{
    record::{Fault, Spread},
    report::sample::{Sample, outcome},
};

fn plain(outcome: &Outcome) -> String {
    report(outcome, Style::default())
}

/// The line that begins with `label`, without it.
fn line<'a>(text: &'a str, label: &str) -> &'a str {
    let found = text.lines().find(|l| l.trim_start().strip_prefix(label).is_some_and(|rest| rest.starts_with(' ')));
    found.unwrap_or_else(|| panic!("no line {label:?} in\n{text}")).trim_start()[label.len()..].trim()
}

fn awkward() -> Vec<Outcome> {
    let mut long = outcome(&Sample { statuses: 40, ..Sample::default() });
    long.asked.url = format!("https://h/{}", "x".repeat(9000));
    long.asked.protocol = vec!["h1".to_owned(), "h2".to_owned()];
    long.asked.cores = (0..300).collect();
    long.generator = (0..300).map(|core| crate::record::ShardUse { core, ..Default::default() }).collect();
    long.counts.unsent = 123_456_789;
    long.counts.closed = u64::MAX;
    long.counts.connections = u64::MAX;
    long.counts.resumed = u64::MAX;
    long.counts.faults = crate::record::FAULTS.iter().map(|f| (*f, u64::MAX / 2)).collect();
    let nothing = outcome(&Sample { rate: 0.0, ..Sample::default() });
    let mut zero = nothing.clone();
    zero.seconds = 0.0;
    zero.series.clear();
    zero.generator.clear();
    zero.asked = crate::record::Asked::default();
    vec![
        outcome(&Sample::default()),
        outcome(&Sample { open: false, ..Sample::default() }),
        outcome(&Sample { reasons: vec!["core 3 was 99 % busy; ".repeat(30), "x".repeat(200)], ..Sample::default() }),
        long,
        nothing,
        zero,
    ]
}

#[test]
fn it_keeps_to_80_columns_and_has_no_figure_that_is_none() {
    for outcome in awkward() {
        let text = plain(&outcome);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}\n{text}", line.chars().count());
            assert_eq!(line, line.trim_end());
        }
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(!text.contains('\x1b') && text.lines().count() < 100, "{text}");
    }
}

#[test]
fn the_figures_are_those_of_the_result() {
    let outcome = outcome(&Sample::default());
    let text = plain(&outcome);
    let (response, service) = (&outcome.times.response, outcome.times.service.as_ref().unwrap());
    let head = text.lines().find(|l| l.starts_with("latency")).unwrap();
    let names: Vec<&str> = head.split("  ").map(str::trim).filter(|n| !n.is_empty()).collect();
    assert_eq!(names, ["latency", "response", "service", "first byte", "connect", "TLS"]);
    type Value = fn(&Spread) -> u64;
    let rows: [(&str, Value); 8] = [
        ("p50", |s| s.p50),
        ("p75", |s| s.p75),
        ("p90", |s| s.p90),
        ("p95", |s| s.p95),
        ("p99", |s| s.p99),
        ("p99.9", |s| s.p999),
        ("p99.99", |s| s.p9999),
        ("max", |s| s.max),
    ];
    for (name, value) in rows {
        let cells: Vec<&str> = line(&text, name).split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
        assert_eq!(cells[..2], [micros(value(response)), micros(value(service))], "{name}");
        assert_eq!(cells.len(), 5, "{name}: {cells:?}");
    }
    let per_second = rate(outcome.counts.answered as f64 / outcome.seconds);
    let all = count(outcome.counts.answered);
    let sent = count(outcome.counts.sent);
    assert_eq!(line(&text, "requests"), format!("{per_second}/s; {all} answered of {sent} sent"));
    let faults = outcome.counts.faults.values().sum::<u64>();
    assert_eq!(faults, outcome.series.iter().flat_map(|s| s.counts.faults.values()).sum::<u64>());
    assert!(line(&text, "errors").starts_with(&format!("{faults} (")), "{text}");
    assert!(line(&text, "errors").ends_with("timeout 360, reset 74, connect_refused 8"), "{text}");
    assert!(line(&text, "load").starts_with("open loop: 20,000 requests/s asked, poisson arrivals;"), "{text}");
    assert!(line(&text, "target").ends_with("and 2 others"));
    assert!(line(&text, "server").contains("of CPU for each request; 0.62 cores"), "{text}");
    assert!(line(&text, "generator").starts_with("core 0: CPU 43.1 %, lag p99 38 µs max 1.21 ms"), "{text}");
}

#[test]
fn a_closed_loop_is_labelled_and_has_one_latency() {
    let text = plain(&outcome(&Sample { open: false, ..Sample::default() }));
    assert_eq!(line(&text, "load"), "closed loop: latencies are not what users see");
    assert!(!text.contains("service"), "{text}");
}

#[test]
fn an_invalid_result_says_so_first_and_last() {
    let reasons = vec!["core 1 was 99 % busy".to_owned(), "the schedule slipped".to_owned()];
    let text = plain(&outcome(&Sample { reasons, ..Sample::default() }));
    let said = "INVALID: core 1 was 99 % busy; the schedule slipped";
    assert_eq!(text.lines().next(), Some(said));
    assert_eq!(text.lines().last(), Some(said));
    assert!(!text.contains("verdict"), "{text}");
    let valid = plain(&outcome(&Sample::default()));
    assert!(!valid.contains("INVALID") && valid.lines().last().is_some_and(|l| l.starts_with("verdict      valid")));
}

#[test]
fn words_from_outside_do_not_move_the_cursor() {
    let mut outcome = outcome(&Sample { reasons: vec!["a\x1b[2J".to_owned()], ..Sample::default() });
    outcome.asked.url = "http://h/\x1b]0;owned\x07\r\n".to_owned();
    outcome.asked.protocol = vec!["\x1b[31m".to_owned()];
    let text = plain(&outcome);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn colour_only_repeats_what_words_say() {
    let outcome = outcome(&Sample { reasons: vec!["busy".to_owned()], ..Sample::default() });
    let colour = report(&outcome, Style { colour: true });
    assert!(colour.starts_with("\x1b[1;31mINVALID: busy\x1b[0m\n"), "{colour:?}");
    let codes = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
    let stripped: Vec<String> = codes.replace_all(&colour, "").lines().map(|l| l.trim_end().to_owned()).collect();
    assert_eq!(stripped, plain(&outcome).lines().map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn what_is_exchanged_has_its_own_words() {
    let mut outcome = outcome(&Sample { open: false, ..Sample::default() });
    outcome.counts.faults.insert(Fault::Upgrade, 1);
    outcome.asked.exchange = "websocket".to_owned();
    assert!(line(&plain(&outcome), "messages").contains("echoed of"));
    assert!(plain(&outcome).contains("round trip"));
    outcome.asked.exchange = "events".to_owned();
    assert!(line(&plain(&outcome), "events").ends_with("received"));
}

#[test]
fn handshakes_a_second_are_shown_where_connections_are_replaced() {
    let mut outcome = outcome(&Sample::default());
    assert_eq!(line(&plain(&outcome), "connections"), "64 made; 0 ended");
    outcome.counts.connections = 6000;
    outcome.counts.resumed = 5900;
    outcome.counts.closed = 5990;
    assert_eq!(line(&plain(&outcome), "connections"), "6,000 made (200/s), 5,900 with resumed TLS; 5,990 ended");
}

#[test]
fn lines_break_at_spaces_and_within_long_words() {
    assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
    assert_eq!(wrap("aaaaaaa b", 3), ["aaa", "aaa", "a b"]);
    assert_eq!(wrap("", 3), [""]);
}
