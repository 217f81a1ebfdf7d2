//! The page: its figures are the result's, it is well-formed, asks for nothing, and no word in it becomes markup.
use super::*;
use crate::{
    record::{Asked, Outcome, Spread},
    report::{
        sample::{Sample, outcome},
        units::count,
    },
};
use roxmltree::{Document, Node};

/// Parses the page: behind its first line it is XML, so that everything that is not closed or escaped is found.
fn checked<T>(page: &str, look: impl Fn(&Document) -> T) -> T {
    let xml = page.strip_prefix("<!doctype html>\n").expect("it begins with the doctype");
    let document = Document::parse(xml).unwrap_or_else(|e| panic!("{e}"));
    look(&document)
}

fn text(node: Node) -> String {
    node.descendants().filter(Node::is_text).filter_map(|n| n.text()).collect()
}

fn classed<'a>(document: &'a Document, class: &str) -> Vec<Node<'a, 'a>> {
    document.descendants().filter(|n| n.attribute("class").is_some_and(|c| c.split(' ').any(|c| c == class))).collect()
}

/// Everything that a page may be made of.
pub(super) fn kinds() -> Vec<(&'static str, Outcome)> {
    let base = Sample::default;
    let reasons = vec![
        "core 1 was busy 99.2 % of the time (limit 95 %): use more cores with --cores".to_owned(),
        "3.1 % of the schedule was sent more than 1 ms late (limit 1 %)".to_owned(),
    ];
    let mut all = vec![
        ("open", outcome(&base())),
        ("closed", outcome(&Sample { open: false, errors: false, stall: None, ..base() })),
        ("second", outcome(&Sample { seconds: 1, stall: None, ..base() })),
        ("long", outcome(&Sample { seconds: 600, stall: Some(301), ..base() })),
        ("invalid", outcome(&Sample { reasons, ..base() })),
        ("statuses", outcome(&Sample { statuses: 40, ..base() })),
        ("silent", outcome(&Sample { rate: 0.0, errors: true, ..base() })),
        ("few", outcome(&Sample { seconds: 5, rate: 2.0, stall: Some(2), errors: false, ..base() })),
    ];
    let mut nothing = outcome(&Sample { seconds: 0, rate: 0.0, ..base() });
    nothing.asked = Asked::default();
    nothing.environment = crate::record::Environment::default();
    nothing.generator.clear();
    nothing.times.connect = None;
    nothing.times.tls = None;
    nothing.interrupted = true;
    all.push(("nothing", nothing));
    let mut hostile = outcome(&base());
    let word = "</title></style></script><script>alert(1)</script>\"' onload=x <img src=http://evil.example/>\u{1b}[2J\u{202e}&#0;\u{0}";
    hostile.asked.url = format!("http://h/{word}");
    hostile.asked.protocol = vec![word.to_owned()];
    hostile.asked.exchange = word.to_owned();
    hostile.asked.arrivals = Some(word.to_owned());
    hostile.verdict.valid = false;
    hostile.verdict.reasons = vec![word.repeat(500)];
    hostile.environment.os = word.to_owned();
    hostile.environment.started = word.to_owned();
    hostile.environment.command = vec![word.to_owned(), "x".repeat(5000)];
    all.push(("hostile", hostile));
    let mut absurd = outcome(&Sample { seconds: 4, ..base() });
    absurd.seconds = -1.0;
    absurd.asked.rate = Some(-1.0);
    absurd.series[0].length = 0.0;
    absurd.series[1].at = -1e300;
    absurd.series[2].at = 1e300;
    absurd.series[2].heat = vec![(255, u64::MAX), (0, 1), (9, 0)];
    absurd.series[3].counts.faults.insert(crate::record::Fault::Body, u64::MAX);
    absurd.series[3].response = Spread { count: 1, max: u64::MAX, p99: u64::MAX, ..Spread::default() };
    absurd.times.response.max = u64::MAX;
    all.push(("absurd", absurd));
    all
}

#[test]
fn every_page_is_well_formed_bounded_and_without_numbers_that_are_none() {
    for (name, outcome) in kinds() {
        let page = page(&outcome);
        checked(&page, |document| {
            for node in document.descendants().filter(Node::is_element) {
                for attribute in node.attributes() {
                    let value = attribute.value();
                    assert!(!value.contains("NaN") && !value.contains("inf"), "{name}: {attribute:?}");
                }
            }
            let shown = text(document.descendants().find(|n| n.has_tag_name("main")).unwrap());
            assert!(!shown.contains("NaN") && !shown.contains(" inf"), "{name}");
            let ids: Vec<_> = document.descendants().filter_map(|n| n.attribute("id")).collect();
            let unique: std::collections::BTreeSet<_> = ids.iter().collect();
            assert_eq!(ids.len(), unique.len(), "{name}: ids are unique");
        });
        assert!(page.len() < 600 << 10, "{name}: {} bytes", page.len());
    }
}

#[test]
fn pages_ask_for_nothing_and_words_stay_words() {
    let plain = page(&outcome(&Sample::default()));
    for (name, outcome) in kinds() {
        checked(&page(&outcome), |document| {
            for node in document.descendants().filter(Node::is_element) {
                let tag = node.tag_name().name();
                assert!(
                    !["img", "link", "iframe", "object", "a", "use", "image", "form"].contains(&tag),
                    "{name}: {tag}"
                );
                for attribute in node.attributes() {
                    let key = attribute.name();
                    assert!(!["src", "href", "style", "srcset", "action"].contains(&key), "{name}: {key}");
                    assert!(!key.starts_with("on"), "{name}: {key}");
                }
            }
            let scripts = document.descendants().filter(|n| n.has_tag_name("script"));
            assert_eq!(scripts.map(text).collect::<Vec<_>>(), [style::SCRIPT], "{name}");
        });
    }
    for word in ["url(", "@import", "http:", "//"] {
        assert!(!style::STYLE.contains(word) && !style::SCRIPT.contains(word), "{word}");
    }
    for text in [style::STYLE, style::SCRIPT] {
        assert!(!text.contains(['<', '&']), "what stands in the page as it is must not be markup");
        assert!(plain.contains(text));
    }
    let policy = style::policy();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert!(plain.contains(&format!("content=\"{policy}\"")));
}

#[test]
fn figures_are_those_of_the_result() {
    let outcome = outcome(&Sample::default());
    checked(&page(&outcome), |document| {
        let rows: Vec<Vec<String>> = classed(document, "figures")[0]
            .descendants()
            .filter(|n| n.has_tag_name("tr"))
            .map(|row| row.children().filter(Node::is_element).map(text).collect())
            .collect();
        assert_eq!(rows[0], ["", "response", "service", "first byte", "connect", "TLS"]);
        let service = outcome.times.service.as_ref().unwrap();
        let row = |name: &str| rows.iter().find(|r| r[0] == name).unwrap();
        assert_eq!(row("p99")[1..3], [micros(outcome.times.response.p99), micros(service.p99)]);
        assert_eq!(row("p99.99")[1..3], [micros(outcome.times.response.p9999), micros(service.p9999)]);
        assert_eq!(row("max")[1..3], [micros(outcome.times.response.max), micros(service.max)]);
        assert_eq!(row("count")[1], count(outcome.times.response.count));
        let all = text(document.root());
        for (status, n) in &outcome.counts.status {
            assert!(all.contains(&format!("{status}{}", count(*n))), "{status}: {n}");
        }
        assert!(all.contains("timeout: no answer in time"), "{all}");
        assert!(all.contains("15–17 s"), "when the errors were");
    });
}

#[test]
fn each_plot_is_there_for_both_widths_with_a_name_and_a_description() {
    checked(&page(&outcome(&Sample::default())), |document| {
        let plots: Vec<_> = document.descendants().filter(|n| n.has_tag_name("svg")).collect();
        assert_eq!(plots.len(), 8, "four plots, two widths");
        for plot in plots {
            let label: Vec<_> = plot.attribute("aria-labelledby").unwrap().split(' ').collect();
            for (id, tag) in label.iter().zip(["title", "desc"]) {
                let named = plot.children().find(|n| n.attribute("id") == Some(*id)).unwrap();
                assert!(named.has_tag_name(tag) && text(named).len() > 10, "{id}");
            }
        }
        let headings: Vec<_> = document.descendants().filter(|n| n.has_tag_name("h2")).map(text).collect();
        assert_eq!(headings.len(), 6, "{headings:?}");
        assert!(
            document
                .descendants()
                .filter(|n| n.has_tag_name("table"))
                .all(|t| t.descendants().any(|n| n.has_tag_name("caption")))
        );
    });
}

#[test]
fn an_invalid_result_says_so_before_anything_else() {
    let reason = "core 1 was busy";
    let invalid = page(&outcome(&Sample { reasons: vec![reason.to_owned()], ..Sample::default() }));
    checked(&invalid, |document| {
        let main = document.descendants().find(|n| n.has_tag_name("main")).unwrap();
        let first = main.children().find(Node::is_element).unwrap();
        assert_eq!(first.attribute("role"), Some("alert"));
        assert!(text(first).contains("INVALID") && text(first).contains(reason));
    });
    assert!(!page(&outcome(&Sample::default())).contains("INVALID"));
}

#[test]
fn long_runs_are_folded_and_say_so() {
    let long = outcome(&Sample { seconds: 700, rate: 400.0, ..Sample::default() });
    let page = page(&long);
    assert!(page.contains("Each point is 3 s, on narrow screens 6 s."));
    assert!(page.len() < 600 << 10, "{} bytes", page.len());
}

#[test]
fn a_closed_loop_is_labelled_and_silence_is_said() {
    let closed = page(&outcome(&Sample { open: false, ..Sample::default() }));
    assert!(closed.contains("Closed loop: latencies are not what users see") && !closed.contains("service time"));
    let silent = page(&outcome(&Sample { rate: 0.0, errors: false, ..Sample::default() }));
    assert!(silent.contains("<h1>No request was answered</h1>"));
    assert!(silent.contains("so there are no latencies"));
}

/// Writes all kinds of pages where `EDGE_BENCH_PAGES` says, to be looked at in a browser.
#[test]
#[ignore = "writes files; for whoever changes how the page looks"]
fn pages_to_look_at() {
    let Some(dir) = std::env::var_os("EDGE_BENCH_PAGES").map(std::path::PathBuf::from) else {
        return eprintln!("skipped: EDGE_BENCH_PAGES names no directory");
    };
    for (name, outcome) in kinds() {
        std::fs::write(dir.join(format!("{name}.html")), page(&outcome)).unwrap();
        let text = crate::report::text::report(&outcome, Default::default());
        std::fs::write(dir.join(format!("{name}.txt")), text).unwrap();
    }
}
