//! Comparisons of results whose truth is known.
use super::*;
use crate::{
    record::{Fault, Second, Spread},
    testing::outcome,
};

/// What a synthetic run is like. All noises are shares, standard deviations.
#[derive(Clone, Copy)]
struct Truth {
    seconds: usize,
    rate: f64,
    time_us: f64,
    /// From second to second.
    noise: f64,
    /// How much of a second's deviation the next one has.
    memory: f64,
    /// From run to run.
    runs: f64,
    errors: f64,
}

const TRUTH: Truth =
    Truth { seconds: 20, rate: 10_000.0, time_us: 2_000.0, noise: 0.02, memory: 0.0, runs: 0.0, errors: 0.0 };

fn run(truth: Truth, random: &mut Random) -> Outcome {
    let mut outcome = outcome();
    outcome.seconds = truth.seconds as f64;
    let [run_a, run_b] = [0; 2].map(|_| 1.0 + truth.runs * random.normal());
    // Stationary from the first second on.
    let step = truth.noise * (1.0 - truth.memory * truth.memory).sqrt();
    let mut state = [0; 4].map(|_| truth.noise * random.normal());
    for second in 0..truth.seconds {
        for x in &mut state {
            *x = truth.memory * *x + step * random.normal();
        }
        let [rate, mean, median, tail] = state.map(|x| 1.0 + x);
        let time = truth.time_us * run_b;
        let response = Spread {
            count: 1,
            mean: time * mean,
            p50: (time * 0.8 * median) as u64,
            p90: (time * 2.0 * (median + tail) / 2.0) as u64,
            p99: (time * 4.0 * (1.0 + 2.0 * (tail - 1.0))) as u64,
            ..Spread::default()
        };
        let mut one = Second { at: second as f64 + 1.0, length: 1.0, response, ..Second::default() };
        one.counts.answered = (truth.rate * run_a * rate) as u64;
        let failed = (one.counts.answered as f64 * truth.errors * random.exponential()) as u64;
        if failed > 0 {
            one.counts.faults.insert(Fault::Reset, failed);
        }
        outcome.series.push(one);
    }
    outcome
}

fn runs(n: usize, truth: Truth, random: &mut Random) -> Vec<Outcome> {
    (0..n).map(|_| run(truth, random)).collect()
}

/// In how many of so many tries a comparison answers yes.
fn share(tries: u64, n: usize, a: Truth, b: Truth, yes: impl Fn(&Comparison) -> bool) -> f64 {
    let found = (0..tries).filter(|seed| {
        let random = &mut Random::of(99, *seed);
        let (a, b) = (runs(n, a, random), runs(n, b, random));
        yes(&compare(&a, &b, &Settings { resamples: 500, seed: *seed, ..Settings::default() }).unwrap())
    });
    found.count() as f64 / tries as f64
}

fn differs(comparison: &Comparison) -> bool {
    comparison.rows.iter().any(|row| row.decision != Decision::NoDifference)
}

fn of(comparison: &Comparison, measure: Measure) -> &Row {
    comparison.rows.iter().find(|row| row.measure == measure).unwrap()
}

#[test]
fn the_same_twice_is_no_difference() {
    let found = share(1_000, 1, TRUTH, TRUTH, differs);
    assert!(found <= 0.05, "{found}");
}

#[test]
fn the_same_twice_is_no_difference_in_short_runs_and_noisy_ones() {
    for truth in [Truth { seconds: 10, ..TRUTH }, Truth { seconds: 10, noise: 0.1, ..TRUTH }] {
        let found = share(300, 1, truth, truth, differs);
        assert!(found <= 0.05, "{found}");
    }
}

#[test]
fn the_same_twice_is_no_difference_when_seconds_remember() {
    for (seconds, memory, noise) in [(20, 0.5, 0.05), (60, 0.8, 0.05)] {
        let truth = Truth { seconds, memory, noise, ..TRUTH };
        let found = share(1_000, 1, truth, truth, differs);
        assert!(found <= 0.05, "{memory}: {found}");
    }
}

#[test]
fn the_same_twice_is_no_difference_when_runs_differ() {
    for (n, seconds) in [(2, 10), (5, 10)] {
        let truth = Truth { seconds, runs: 0.02, memory: 0.3, ..TRUTH };
        let found = share(200, n, truth, truth, differs);
        assert!(found <= 0.05, "{n}: {found}");
    }
}

#[test]
fn five_percent_are_found() {
    let worse = Truth { rate: TRUTH.rate * 0.95, time_us: TRUTH.time_us * 1.05, ..TRUTH };
    let found = |c: &Comparison| {
        of(c, Measure::AnswersASecond).decision == Decision::Worse && of(c, Measure::Mean).decision == Decision::Worse
    };
    for (seconds, memory) in [(20, 0.0), (30, 0.3)] {
        let (a, b) = (Truth { seconds, memory, ..TRUTH }, Truth { seconds, memory, ..worse });
        let share = share(100, 1, a, b, found);
        assert!(share >= 0.95, "{seconds}, {memory}: {share}");
    }
    let (a, b) = (Truth { runs: 0.01, ..TRUTH }, Truth { runs: 0.01, ..worse });
    let share = share(100, 5, a, b, found);
    assert!(share >= 0.9, "{share}");
}

#[test]
fn intervals_hold_the_truth() {
    for (n, truth) in [
        (1, TRUTH),
        (1, Truth { seconds: 10, ..TRUTH }),
        (1, Truth { memory: 0.5, noise: 0.05, seconds: 30, ..TRUTH }),
        (4, Truth { runs: 0.02, ..TRUTH }),
    ] {
        let b = Truth { rate: truth.rate * 1.05, ..truth };
        let inside = |c: &Comparison| {
            let (from, to) = of(c, Measure::AnswersASecond).interval;
            from <= 0.05 && 0.05 <= to
        };
        let held = share(200, n, truth, b, inside);
        assert!(held >= 0.93, "{n}: {held}");
    }
}

#[test]
fn a_regression_is_more_than_the_threshold_and_not_by_chance() {
    let random = &mut Random::new(1);
    let a = runs(3, TRUTH, random);
    let slow = runs(3, Truth { time_us: 2_400.0, ..TRUTH }, random);
    let compared = |a: &[Outcome], b: &[Outcome], threshold| {
        compare(a, b, &Settings { threshold, ..Settings::default() }).unwrap()
    };
    let worse = compared(&a, &slow, 0.05);
    assert!(worse.regressed() && of(&worse, Measure::P99).regressed);
    assert!(!of(&worse, Measure::AnswersASecond).regressed);
    assert!(!compared(&a, &slow, 0.5).regressed(), "worse, but not by half");
    let better = compared(&slow, &a, 0.05);
    assert!(!better.regressed() && of(&better, Measure::Mean).decision == Decision::Better);
    let row = of(&worse, Measure::Mean);
    assert!((row.change - 0.2).abs() < 0.03 && row.interval.0 < row.change && row.change < row.interval.1);
    assert!(row.p < 0.01 && row.p_ranks < 0.001);
    let text = worse.to_string();
    assert!(text.contains("WORSE") && text.contains("p99"), "{text}");
    assert_eq!(text, compared(&a, &slow, 0.05).to_string(), "the same every time");
    assert!(text.ends_with(" figures became worse by more than 5 %.\n"), "{text}");
    assert!(compared(&a, &a, 0.07).to_string().contains("worse by more than 7 % that chance"));
    serde_json::to_string(&worse).unwrap();
}

#[test]
fn errors_that_were_none_are_found() {
    let random = &mut Random::new(1);
    let good = runs(1, TRUTH, random);
    let bad = runs(1, Truth { errors: 0.02, ..TRUTH }, random);
    let settings = Settings::default();
    let compared = compare(&good, &bad, &settings).unwrap();
    let row = of(&compared, Measure::Errors);
    assert!(row.regressed && row.a == 0.0 && (row.change - 0.02).abs() < 0.01, "{row:?}");
    let back = compare(&bad, &good, &settings).unwrap();
    assert_eq!(of(&back, Measure::Errors).decision, Decision::Better);
    let none = compare(&good, &good, &settings).unwrap();
    assert_eq!(of(&none, Measure::Errors).decision, Decision::NoDifference);
    // A single bad second is chance.
    let mut once = good.clone();
    once[0].series[3].counts.faults.insert(Fault::Timeout, 5_000);
    let once = compare(&good, &once, &settings).unwrap();
    assert_eq!(of(&once, Measure::Errors).decision, Decision::NoDifference);
}

#[test]
fn results_that_cannot_be_compared_are_refused() {
    let random = &mut Random::new(1);
    let good = runs(1, TRUTH, random);
    let short = runs(1, Truth { seconds: 4, ..TRUTH }, random);
    let settings = Settings::default();
    assert!(compare(&good, &[], &settings).unwrap_err().contains("B has 0 results"));
    assert!(compare(&short, &good, &settings).unwrap_err().contains("result 1 of A has 4 whole seconds"));
    let mut partial = short.clone();
    partial[0].series.extend(short[0].series.iter().map(|s| Second { length: 0.4, ..s.clone() }));
    assert!(compare(&partial, &good, &settings).is_err());
    let mut silent = good.clone();
    for second in &mut silent[0].series {
        (second.counts.answered, second.response) = (0, Spread::default());
    }
    assert!(compare(&good, &silent, &settings).unwrap_err().contains("no figure"));
}

#[test]
fn what_speaks_against_a_comparison_is_said() {
    let random = &mut Random::new(1);
    let a = runs(1, TRUTH, random);
    let mut b = a.clone();
    let warned = |a: &[Outcome], b: &[Outcome]| compare(a, b, &Settings::default()).unwrap().warnings.join("\n");
    assert!(warned(&a, &b).contains("one run on each side"));
    assert_eq!(warned(&a, &b).lines().count(), 1);
    b[0].verdict.valid = false;
    b[0].verdict.reasons = vec!["its cores were busy".into()];
    b[0].interrupted = true;
    b[0].asked.rate = Some(500.0);
    b[0].asked.connections = 7;
    b[0].asked.protocol = vec!["h2".into()];
    b[0].asked.url = "http://other/x".into();
    b[0].environment.kernel = "other".into();
    let said = warned(&a, &b);
    for expected in [
        "result 1 of B is INVALID: its cores were busy",
        "interrupted after 20 s",
        "the rate differs: A closed loop, B 500/s",
        "the number of connections differs: A 0, B 7",
        "the protocol differs: A , B h2",
        "the URL's path differs",
        "the kernel differs",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let at = |runs: &mut [Outcome], times: &[&str]| {
        for (run, time) in runs.iter_mut().zip(times) {
            run.environment.started = (*time).into();
        }
    };
    let (mut a, mut b) = (runs(2, TRUTH, random), runs(2, TRUTH, random));
    at(&mut a, &["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"]);
    at(&mut b, &["2026-01-01T00:00:03Z", "2026-01-01T00:00:04Z"]);
    assert!(warned(&a, &b).contains("run them in turn"));
    at(&mut b, &["2026-01-01T00:00:01.5Z", "2026-01-01T00:00:04Z"]);
    assert!(warned(&a, &b).is_empty());
}

#[test]
fn what_files_of_strangers_say_does_not_reach_the_terminal_as_it_is() {
    let random = &mut Random::new(5);
    let (a, mut b) = (run(TRUTH, random), run(TRUTH, random));
    b.environment.cpu = format!("x\u{1b}]0;title\u{7}{}", "y".repeat(100_000));
    b.verdict.valid = false;
    b.verdict.reasons = vec!["\u{1b}[2J".into()];
    // Their sum is no number any more.
    for second in &mut b.series {
        second.response.mean = f64::MAX;
        second.counts.faults = [(Fault::Reset, u64::MAX), (Fault::Closed, u64::MAX)].into();
    }
    let comparison = compare(&[a], &[b], &Settings { resamples: 500, ..Settings::default() }).unwrap();
    let text = comparison.to_string();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    assert!(text.contains("processor differs") && text.contains("INVALID") && text.len() < 5_000, "{text}");
    assert!(comparison.rows.iter().all(|row| row.measure != Measure::Mean && row.change.is_finite()));
}
