//! What can be seen in the plots, in words: for those who do not see them, and for those who want to know where to look.
use crate::{
    record::{Outcome, Second},
    report::{
        facts::{by_number, error_share, faults, meaning, per, words},
        plot::points::Points,
        units::{count, counted, micros, percent, rate},
    },
};

/// What a folded point of times is.
pub const FOLDED_TIMES: &str = "Of the medians the middle one is drawn, of the others the highest.";

/// The result in a sentence.
pub fn headline(outcome: &Outcome) -> String {
    let words = words(outcome);
    if outcome.counts.answered == 0 {
        return match faults(&outcome.counts) {
            0 => format!("No {} was {}", words.one, words.answered),
            n => format!("No {} was {}: {}", words.one, words.answered, counted(n, "error", "errors")),
        };
    }
    let per_second = rate(per(outcome.counts.answered as f64, outcome.seconds));
    let share = error_share(&outcome.counts);
    let errors = if share > 0.0 { format!("; {} failed", percent(share)) } else { String::new() };
    format!("{per_second} {} a second, 99 % within {}{errors}", words.many, micros(outcome.times.response.p99))
}

/// Of the curve by percentile.
pub fn percentiles(outcome: &Outcome) -> String {
    let s = &outcome.times.response;
    let many = words(outcome).many;
    let mut out = format!("Half of the {many} took up to {}, 99 % up to {}", micros(s.p50), micros(s.p99));
    if s.count >= 1000 {
        out.push_str(&format!("; one in a thousand took {} or longer", micros(s.p999)));
    }
    out.push_str(&format!(", the longest {}.", micros(s.max)));
    out
}

/// A second as people name it: the one that begins at 14 s.
fn begins(second: &Second) -> String {
    let from = (second.at - second.length).max(0.0);
    format!("{} s", (from * 10.0).round() / 10.0)
}

/// Of rate and errors.
pub fn rates(outcome: &Outcome) -> String {
    let rate_of = |s: &Second| per(s.counts.answered as f64, s.length);
    let mean = rate(per(outcome.counts.answered as f64, outcome.seconds));
    let mut out = format!("{mean} a second on average");
    // The last one may be a fraction of a second, with few answers: it says little.
    let whole = || outcome.series.iter().filter(|s| s.length >= 0.5);
    let low = whole().min_by(|a, b| rate_of(a).total_cmp(&rate_of(b)));
    let high = whole().max_by(|a, b| rate_of(a).total_cmp(&rate_of(b)));
    if let (Some(low), Some(high)) = (low, high)
        && outcome.series.len() > 1
    {
        out.push_str(&format!(
            ", {} in the slowest second (at {}), {} in the fastest (at {})",
            rate(rate_of(low)),
            begins(low),
            rate(rate_of(high)),
            begins(high)
        ));
    }
    out.push_str(". ");
    out.push_str(&errors(outcome));
    out
}

fn errors(outcome: &Outcome) -> String {
    let Some((kind, n)) = by_number(&outcome.counts.faults).first().copied() else {
        return "No errors.".to_owned();
    };
    let all = faults(&outcome.counts);
    let mut out = counted(all, "error", "errors");
    let mut bad = outcome.series.iter().filter(|s| faults(&s.counts) > 0);
    if let Some(first) = bad.next() {
        let last = bad.next_back().unwrap_or(first);
        let end = (last.at * 10.0).round() / 10.0;
        out.push_str(&format!(" between {} and {end} s", begins(first)));
    }
    match n == all {
        true => out.push_str(&format!(", each of kind {kind} ({}).", meaning(kind))),
        false => out.push_str(&format!(", {} of them {kind} ({}).", count(n), meaning(kind))),
    }
    out
}

/// Of the times second by second.
pub fn times(outcome: &Outcome) -> String {
    let answered = || outcome.series.iter().filter(|s| s.response.count > 0);
    let Some(worst) = answered().max_by_key(|s| s.response.p99) else { return String::new() };
    let best = answered().min_by_key(|s| s.response.p99).unwrap_or(worst);
    let silent = outcome.series.len() - answered().count();
    let mut out = if outcome.series.len() > 1 {
        format!(
            "99 % were within {} in the best second and within {} in the worst (at {}).",
            micros(best.response.p99),
            micros(worst.response.p99),
            begins(worst)
        )
    } else {
        format!("99 % were within {}.", micros(worst.response.p99))
    };
    if silent > 0 {
        out.push_str(&format!(" Nothing came in {} (shaded).", counted(silent as u64, "second", "seconds")));
    }
    out
}

/// Of the heat map.
pub fn heat(outcome: &Outcome) -> String {
    let words = words(outcome);
    format!(
        "Each cell holds the {} of a moment that took about the same time; the more of them, the stronger its colour. Bands \
         are {} that behave alike.",
        words.many, words.many
    )
}

/// That points stand for more than a second each; empty where they do not.
pub fn folded([wide, narrow]: &[Points; 2]) -> String {
    match (wide.folded, narrow.folded) {
        (1, 1) => String::new(),
        (1, n) => format!("On narrow screens each point is {n} s."),
        (w, n) => format!("Each point is {w} s, on narrow screens {n} s."),
    }
}
