//! What speaks against comparing two sides.
use crate::{
    plan::url,
    record::{Asked, Outcome},
    report::units::clean,
};
use std::collections::BTreeSet;

/// Most characters of what a file says that are shown: files may be of strangers, and what they say is for terminals too.
const WORDS_MAX: usize = 300;

/// Each a sentence.
pub(super) fn warnings(a: &[Outcome], b: &[Outcome]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (side, runs) in [("A", a), ("B", b)] {
        for (n, run) in runs.iter().enumerate() {
            if !run.verdict.valid {
                let why = run.verdict.reasons.first().map_or("no reason is given", String::as_str);
                warnings.push(format!("result {} of {side} is INVALID: {}", n + 1, clean(why, WORDS_MAX)));
            }
            if run.interrupted {
                warnings.push(format!("result {} of {side} was interrupted after {:.0} s", n + 1, run.seconds));
            }
        }
    }
    let asked = |f: &dyn Fn(&Asked) -> String| differing(a, b, &|run| f(&run.asked));
    let rate = |asked: &Asked| asked.rate.map_or("closed loop".into(), |rate| format!("{rate}/s"));
    let all: [(&str, Option<String>); 10] = [
        ("rate", asked(&rate)),
        ("arrivals", asked(&|asked| asked.arrivals.clone().unwrap_or_else(|| "closed loop".into()))),
        ("number of connections", asked(&|asked| asked.connections.to_string())),
        ("number of requests at once on a connection", asked(&|asked| asked.streams.to_string())),
        ("protocol", asked(&|asked| protocols(asked))),
        ("exchange", asked(&|asked| asked.exchange.clone())),
        ("URL's path", asked(&|asked| path(&asked.url))),
        ("number of URLs", asked(&|asked| asked.urls.to_string())),
        ("processor", differing(a, b, &|run| run.environment.cpu.clone())),
        ("kernel", differing(a, b, &|run| run.environment.kernel.clone())),
    ];
    for (what, differing) in all {
        warnings.extend(differing.map(|how| format!("the {what} differs: {how}")));
    }
    match (a.len(), b.len()) {
        (1, 1) => warnings.push(
            "one run on each side: what differs between runs of the same is not seen; run each several times, in turn"
                .into(),
        ),
        _ if !interleaved(a, b) => warnings.push(
            "the runs of one side are all before those of the other: what changed with time looks like a difference; run \
             them in turn"
                .into(),
        ),
        _ => {}
    }
    warnings
}

fn protocols(asked: &Asked) -> String {
    let sorted: BTreeSet<&str> = asked.protocol.iter().map(String::as_str).collect();
    sorted.into_iter().collect::<Vec<_>>().join(" ")
}

fn path(text: &str) -> String {
    url::parse(text).map_or_else(|_| text.to_owned(), |url| url.target)
}

/// How the sides differ in this, if they do.
fn differing(a: &[Outcome], b: &[Outcome], of: &dyn Fn(&Outcome) -> String) -> Option<String> {
    let values = |runs: &[Outcome]| runs.iter().map(of).collect::<BTreeSet<String>>();
    let shown = |values: &BTreeSet<String>| {
        let all = values.iter().map(String::as_str).take(WORDS_MAX).collect::<Vec<_>>().join(", ");
        clean(&all, WORDS_MAX)
    };
    let (a, b) = (values(a), values(b));
    (a != b || a.len() > 1).then(|| format!("A {}, B {}", shown(&a), shown(&b)))
}

/// Whether some run of each side began after one of the other, or it is not known.
fn interleaved(a: &[Outcome], b: &[Outcome]) -> bool {
    let starts = |runs: &[Outcome]| {
        // RFC 3339 in UTC: the order of the texts is that of the times.
        let all: BTreeSet<String> = runs.iter().map(|run| run.environment.started.clone()).collect();
        (all.first().cloned().unwrap_or_default(), all.last().cloned().unwrap_or_default())
    };
    let ((a_first, a_last), (b_first, b_last)) = (starts(a), starts(b));
    a_last >= b_first && b_last >= a_first
}
