//! How many requests a pool takes at a time, found by measuring: a gradient limiter.
//!
//! Where an endpoint has room, its latency does not depend on how many requests it has; where it has none, they queue
//! there. The limit follows the ratio of the two latencies and leaves a little to queue, the square root of the limit, so
//! that room that was gained is noticed. From time to time the limit goes down for a moment, to measure the latency
//! without a queue again. After Netflix' concurrency-limits (Gradient2) and Envoy's adaptive concurrency filter.
use std::time::Duration;

/// The limit to begin with.
const FIRST: f64 = 20.0;
/// So much slower than without a queue is still as fast.
const TOLERANCE: f64 = 1.1;
/// The most that one step takes off the limit.
const STEEPEST: f64 = 0.5;
/// Answers that make a measurement, unless they take too long to come.
const SAMPLES: u64 = 25;
/// A measurement takes at most so long, µs, once there is an answer at all.
const WINDOW_MAX_US: u64 = 1_000_000;
/// While it measures without a queue, the limit is so much lower.
const PROBE_SHARE: f64 = 0.25;
/// A probe that gets no answers is given up after this, µs.
const PROBE_MAX_US: u64 = 10_000_000;
/// Steps at nearly the steepest in a row: the latency does not follow the limit, so that it is to be measured anew.
const STUCK: u32 = 6;

/// What the configuration says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveRule {
    /// The limit never goes below.
    pub min: u32,
    /// Nor above.
    pub max: u32,
    /// How often the latency without a queue is measured.
    pub probe_every: Duration,
}

/// What was counted since the last tick.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Answers.
    pub answers: u64,
    /// How long all of them together took to their first byte, µs.
    pub latency_us: u64,
    /// Requests in flight now.
    pub in_flight: u32,
    /// Requests wait for the limit.
    pub waiting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Follows the gradient.
    Follow,
    /// A probe began at this time: those above its limit leave.
    Empty { since_us: u64 },
    /// Only answers to requests that began under the probe's limit count, from this time on.
    Settle { since_us: u64, until_us: u64 },
    /// Measures.
    Measure { since_us: u64 },
}

/// The limiter of one pool.
#[derive(Debug)]
pub struct Adaptive {
    limit: f64,
    /// Latency without a queue, µs; 0 = not measured yet.
    base_us: f64,
    state: State,
    probe_at_us: u64,
    /// Answers of this window, and their latencies.
    answers: u64,
    latency_us: u64,
    window_since_us: u64,
    /// Whether the limit was what held requests back at some time of this window.
    pressed: bool,
    steep: u32,
    last_us: f64,
}

impl Adaptive {
    /// Begins at `now_us`, with a probe as soon as there are answers.
    pub fn new(now_us: u64) -> Adaptive {
        Adaptive {
            limit: FIRST,
            base_us: 0.0,
            state: State::Follow,
            probe_at_us: now_us,
            answers: 0,
            latency_us: 0,
            window_since_us: now_us,
            pressed: false,
            steep: 0,
            last_us: 0.0,
        }
    }

    /// The latency without a queue, as it was last measured.
    pub fn base(&self) -> Option<Duration> {
        (self.base_us > 0.0).then(|| Duration::from_micros(self.base_us as u64))
    }

    /// One tick: what was counted since the last one, and the limit from now on.
    pub fn tick(&mut self, now_us: u64, rule: &AdaptiveRule, sample: Sample) -> u32 {
        self.answers += sample.answers;
        self.latency_us = self.latency_us.saturating_add(sample.latency_us);
        let limit = self.published(rule);
        self.pressed |= sample.waiting || u64::from(sample.in_flight) * 2 >= u64::from(limit);
        match self.state {
            State::Follow => self.follow(now_us, rule),
            State::Empty { since_us } if sample.in_flight <= limit => {
                // Those that are there now began among others: as long as one of them may take.
                let until_us = now_us + self.last_us as u64;
                self.state = State::Settle { since_us, until_us };
            }
            State::Settle { since_us, until_us } if now_us >= until_us => {
                self.begin_window(now_us);
                self.state = State::Measure { since_us };
            }
            State::Measure { .. } => {
                if let Some(latency) = self.measured(now_us) {
                    self.base_us = latency;
                    self.end_probe(now_us, rule);
                }
            }
            State::Empty { .. } | State::Settle { .. } => {}
        }
        if let State::Empty { since_us } | State::Settle { since_us, .. } | State::Measure { since_us } = self.state
            && now_us.saturating_sub(since_us) > PROBE_MAX_US
        {
            self.end_probe(now_us, rule);
        }
        self.published(rule)
    }

    fn published(&self, rule: &AdaptiveRule) -> u32 {
        let limit = if self.state == State::Follow { self.limit } else { self.limit * PROBE_SHARE };
        (limit as u32).clamp(rule.min.max(1), rule.max.max(rule.min).max(1))
    }

    /// The mean latency of this window, once it is long enough.
    fn measured(&self, now_us: u64) -> Option<f64> {
        let old = now_us.saturating_sub(self.window_since_us) >= WINDOW_MAX_US;
        (self.answers >= SAMPLES || old && self.answers > 0).then(|| self.latency_us as f64 / self.answers as f64)
    }

    fn begin_window(&mut self, now_us: u64) {
        self.answers = 0;
        self.latency_us = 0;
        self.pressed = false;
        self.window_since_us = now_us;
    }

    fn end_probe(&mut self, now_us: u64, rule: &AdaptiveRule) {
        self.state = State::Follow;
        self.steep = 0;
        // Not all pools of all nodes at once.
        let jitter = now_us % 1000;
        let every = rule.probe_every.as_micros() as u64;
        self.probe_at_us = now_us + every / 2000 * (2000 - 200 + jitter * 2 / 5);
        // Answers to what began during the probe say nothing of the limit.
        self.begin_window(now_us + self.last_us as u64);
    }

    fn follow(&mut self, now_us: u64, rule: &AdaptiveRule) {
        if now_us < self.window_since_us {
            return self.begin_window(self.window_since_us);
        }
        let Some(latency) = self.measured(now_us) else { return };
        self.last_us = latency;
        let pressed = self.pressed;
        self.begin_window(now_us);
        if self.base_us > 0.0 {
            if !pressed {
                return; // however slow it is, it is not for want of a limit
            }
            self.step(latency, rule);
        }
        if now_us >= self.probe_at_us || self.steep >= STUCK || self.base_us == 0.0 {
            self.state = State::Empty { since_us: now_us };
        }
    }

    fn step(&mut self, latency: f64, rule: &AdaptiveRule) {
        if latency < self.base_us {
            self.base_us = self.base_us * 0.9 + latency * 0.1;
        }
        let gradient = (TOLERANCE * self.base_us / latency.max(1.0)).clamp(STEEPEST, 1.0);
        self.steep = if gradient < 0.7 { self.steep + 1 } else { 0 };
        let next = self.limit * gradient + self.limit.sqrt();
        // Halfway: a window is a sample, and samples scatter.
        self.limit = ((self.limit + next) / 2.0).clamp(f64::from(rule.min.max(1)), f64::from(rule.max.max(1)));
    }
}

#[cfg(test)]
mod tests;
