//! Searches against servers whose limit is known.
use super::*;
use crate::{random::Random, record::Spread, slo::parse, testing::outcome};

/// What a measured step of a made-up server looks like.
struct Server {
    /// Requests a second that it can answer.
    capacity: f64,
    /// 99 % of the response times below the capacity, µs, by the share of it that is used.
    p99: fn(f64) -> f64,
    /// Beyond the capacity: requests fail, instead of waiting.
    sheds: bool,
    /// Standard deviation of times measured for ten seconds, a share.
    noise: f64,
}

/// As a single server with requests of 1 ms at random times: ln(100) / θ, θ from the decay of its queue.
fn queue(used: f64) -> f64 {
    1_000.0 * (1.0 + 4.605 * used / (2.0 * (1.0 - used)))
}

fn flat(_: f64) -> f64 {
    900.0
}

impl Server {
    fn step(&self, rate: f64, seconds: f64, random: &mut Random) -> Outcome {
        let mut outcome = outcome();
        outcome.seconds = seconds;
        outcome.asked.rate = Some(rate);
        let scheduled = (rate * seconds) as u64;
        let able = (self.capacity * seconds * (1.0 + 0.002 * random.normal())) as u64;
        let answered = scheduled.min(able);
        let noise = (self.noise * (10.0 / seconds).sqrt() * random.normal()).exp();
        let beyond = scheduled - answered;
        let p99 = match rate < self.capacity {
            true => (self.p99)(rate / self.capacity) * noise,
            // What waits at the end has waited for as long as the server lags behind.
            false if !self.sheds => 900.0 + 1e6 * seconds * (1.0 - self.capacity / rate),
            false => 900.0 * noise,
        };
        outcome.times.response =
            Spread { count: answered, p50: (p99 / 3.0) as u64, p99: p99 as u64, ..Spread::default() };
        outcome.counts.answered = answered;
        if self.sheds {
            outcome.counts.sent = scheduled;
            outcome.counts.faults.insert(crate::record::Fault::Refused, beyond);
        } else {
            (outcome.counts.sent, outcome.counts.unsent) = (answered, beyond);
        }
        outcome
    }
}

fn find(server: &Server, slo: &str, start: f64, seed: u64) -> Found {
    let mut random = Random::of(17, seed);
    let settings = Settings { start, ..Settings::default() };
    search(&parse(slo).unwrap(), &settings, &mut |rate, seconds| Ok(server.step(rate, seconds, &mut random)))
}

/// Searches with 200 seeds, each for a server of another size: all limits must be within 3 %.
fn all_within(make: impl Fn(f64) -> Server, slo: &str, limit_of: f64) {
    for seed in 0..200 {
        let capacity = 10f64.powf(2.0 + 3.0 * Random::of(23, seed).unit());
        let found = find(&make(capacity), slo, 1_000.0, seed);
        let (limit, truth) = (found.limit.unwrap_or(0.0), capacity * limit_of);
        assert_eq!(found.ended, Ended::Found, "{found}");
        assert!((limit / truth - 1.0).abs() <= 0.03, "seed {seed}: {limit} of {truth}\n{found}");
        assert!(found.steps.iter().filter(|step| !step.confirmation).count() <= STEPS_MAX);
        assert!(found.above.is_none_or(|above| above > limit));
    }
}

#[test]
fn the_limit_of_a_throttled_server_is_found() {
    let server = |sheds| move |capacity| Server { capacity, p99: flat, sheds, noise: 0.2 };
    all_within(server(false), "p99<5ms,err<0.1%", 1.0);
    all_within(server(true), "p99<5ms,err<0.1%", 1.0);
}

#[test]
fn objectives_without_a_time_need_a_server_that_keeps_up() {
    all_within(|capacity| Server { capacity, p99: flat, sheds: false, noise: 0.2 }, "err<0.1%", 1.0);
}

#[test]
fn the_limit_by_latency_of_a_queue_is_found() {
    // p99 = limit where used / (1 − used) = 2 (limit − 1) / 4.605, limit in milliseconds.
    for (slo, ms) in [("p99<20ms", 20.0f64), ("p99<8ms", 8.0)] {
        let odds = 2.0 * (ms - 1.0) / 4.605;
        all_within(|capacity| Server { capacity, p99: queue, sheds: false, noise: 0.05 }, slo, odds / (1.0 + odds));
    }
}

#[test]
fn where_it_starts_does_not_matter() {
    for start in [1.0, 50.0, 1e6, 1e8, f64::NAN, -3.0] {
        let found = find(&Server { capacity: 2_000.0, p99: flat, sheds: false, noise: 0.1 }, "p99<5ms", start, 1);
        assert_eq!(found.ended, Ended::Found, "{start}: {found}");
        assert!((found.limit.unwrap() / 2_000.0 - 1.0).abs() <= 0.03, "{start}: {found}");
    }
}

#[test]
fn one_bad_moment_is_no_limit() {
    for bad in 0..4 {
        let server = Server { capacity: 9_000.0, p99: flat, sheds: false, noise: 0.05 };
        let (mut random, mut n) = (Random::new(4), 0);
        let found = search(&parse("p99<5ms").unwrap(), &Settings::default(), &mut |rate, seconds| {
            let mut outcome = server.step(rate, seconds, &mut random);
            if n == bad {
                outcome.times.response.p99 = 800_000;
            }
            n += 1;
            Ok(outcome)
        });
        assert!((found.limit.unwrap() / 9_000.0 - 1.0).abs() <= 0.03, "{bad}: {found}");
    }
}

#[test]
fn a_generator_that_does_not_keep_up_has_no_limit_to_tell() {
    let server = Server { capacity: 1e6, p99: flat, sheds: false, noise: 0.05 };
    let mut random = Random::new(4);
    let mut run = |rate: f64, seconds: f64| {
        let mut outcome = server.step(rate, seconds, &mut random);
        if rate > 10_000.0 {
            outcome.verdict.valid = false;
            outcome.verdict.reasons = vec!["its cores were busy".into()];
        }
        Ok(outcome)
    };
    let found = search(&parse("p99<5ms").unwrap(), &Settings::default(), &mut run);
    assert_eq!(found.ended, Ended::Generator(vec!["its cores were busy".into()]));
    assert_eq!((found.limit, found.above), (Some(4_000.0), None));
    assert_eq!(found.steps.iter().filter(|step| !step.valid).count(), 2, "once more, and then no more");
    let text = found.to_string();
    assert!(text.contains("its cores were busy") && text.contains("at least 4000.0"), "{text}");
    assert!(!text.contains("Limit:"), "{text}");
}

#[test]
fn a_limit_that_does_not_last_is_stepped_down_from() {
    // A bucket: for a short time more than it can keep up.
    let short = Server { capacity: 1_020.0, p99: flat, sheds: false, noise: 0.01 };
    let long = Server { capacity: 1_000.0, p99: flat, sheds: false, noise: 0.01 };
    let mut random = Random::new(4);
    let found = search(&parse("p99<5ms").unwrap(), &Settings::default(), &mut |rate, seconds| {
        Ok(if seconds > 10.0 { &long } else { &short }.step(rate, seconds, &mut random))
    });
    assert_eq!(found.ended, Ended::Found, "{found}");
    assert!(found.limit.unwrap() <= 1_000.0 && found.limit.unwrap() >= 970.0, "{found}");
    assert!(found.steps.iter().filter(|step| step.confirmation).count() >= 2);
    let mut random = Random::new(4);
    let never = Server { capacity: 10.0, ..long };
    let found = search(&parse("p99<5ms").unwrap(), &Settings::default(), &mut |rate, seconds| {
        Ok(if seconds > 10.0 { &never } else { &short }.step(rate, seconds, &mut random))
    });
    assert_eq!((found.ended, found.limit), (Ended::NotConfirmed, None));
}

#[test]
fn failed_connections_do_not_stand_for_requests_that_were_never_sent() {
    let mut outcome = outcome();
    outcome.seconds = 10.0;
    (outcome.counts.sent, outcome.counts.answered, outcome.counts.unsent) = (900, 900, 100);
    outcome.counts.faults.insert(crate::record::Fault::ConnectRefused, 5_000);
    let one = step(100.0, &outcome, &[], false);
    assert!(!one.met && one.failed[0].contains("900 of 1000"), "{one:?}");
    outcome.counts.faults = [(crate::record::Fault::Reset, 100)].into();
    outcome.counts.sent = 1_000;
    outcome.counts.unsent = 0;
    assert!(step(100.0, &outcome, &[], false).met, "what failed has ended, and is for the objectives to judge");
}

#[test]
fn searches_without_a_limit_end() {
    let server = Server { capacity: 100.0, p99: flat, sheds: false, noise: 0.01 };
    let nothing = find(&server, "p99<1us", 1_000.0, 1);
    assert_eq!((nothing.ended.clone(), nothing.limit), (Ended::NothingHeld, None));
    assert!(nothing.steps.len() <= STEPS_MAX && nothing.to_string().contains("No rate held"));
    let endless = find(&Server { capacity: 1e12, ..server }, "p99<5ms", 1_000.0, 1);
    assert_eq!((endless.ended.clone(), endless.limit), (Ended::NoLimit, Some(1e8)));
    assert!(endless.to_string().contains("at least 100000000.0"));
    let failed = search(&[], &Settings::default(), &mut |_, _| Err("no server".into()));
    assert_eq!(failed.ended, Ended::Failed("no server".into()));
    assert!(failed.to_string().contains("no server"));
    let mut random = Random::new(1);
    let server = Server { capacity: 100.0, p99: flat, sheds: false, noise: 0.01 };
    let stopped = search(&[], &Settings::default(), &mut |rate, seconds| {
        let mut outcome = server.step(rate, seconds, &mut random);
        outcome.interrupted = true;
        Ok(outcome)
    });
    assert_eq!((stopped.ended, stopped.steps.len()), (Ended::Interrupted, 1));
}
