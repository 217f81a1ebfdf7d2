//! `edge bench search`: the highest rate of an open loop at which objectives are met. Pure: what runs a step is an argument.
//!
//! Rates grow by [`RAMP`] until one fails. A server that is asked for too much shows what it can do, so the next guesses are
//! a little below what it answered, then further down. Between a rate that held and one that did not, the middle is tried
//! until both are within [`TOLERANCE`]. The rate that failed is then tried once more, since one bad moment of the machine
//! looks like a limit; and what was found must hold for a longer time, or it is stepped down from.
mod text;

use crate::{
    record::Outcome,
    slo::{Judged, Must, Objective, judge},
};
use serde::Serialize;

/// Most steps, without the confirmation.
pub const STEPS_MAX: usize = 12;
/// Longer runs that may fail to confirm a limit, each a step further down.
pub const CONFIRMATIONS_MAX: usize = 4;
/// The search ends when the lowest rate that failed is so little above the highest that held, as a share.
pub const TOLERANCE: f64 = 0.015;
/// A failed confirmation steps down by this share.
const STEP_DOWN: f64 = 0.01;
/// From one rate to the next while all hold.
pub const RAMP: f64 = 4.0;
/// Guesses after the first failure, as shares of what the server answered in it. Limits by latency are rarely below the last.
const GUESSES: [f64; 4] = [0.98, 0.9, 0.75, 0.5];
/// From one rate to the next while none holds and no guess is left.
const FALL: f64 = 0.25;
/// Figures so many times above or below their limits tell where between both the limit is met.
const NEAR: f64 = 3.0;
/// What is left of the way between a rate that held and one that failed, at least on either side: figures are noisy.
const SPLIT: (f64, f64) = (0.15, 0.85);
/// Of the schedule's requests so many must have been answered or have failed in time, else the server does not keep up.
const KEPT_UP: f64 = 0.99;
/// Lowest and highest rate that is tried, requests a second.
pub const RATES: (f64, f64) = (1.0, 1e8);

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// First rate, requests a second; brought into [`RATES`].
    pub start: f64,
    /// Measured time of a step, seconds.
    pub step_seconds: f64,
    /// Measured time of the confirmation, seconds.
    pub confirm_seconds: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { start: 1_000.0, step_seconds: 10.0, confirm_seconds: 30.0 }
    }
}

/// One rate that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Requests a second that were asked for.
    pub rate: f64,
    /// Requests a second that were answered.
    pub answered: f64,
    /// 50 % of the response times, µs.
    pub p50: u64,
    /// 99 %, µs.
    pub p99: u64,
    /// Share of requests that failed.
    pub errors: f64,
    /// The server kept up, and all objectives were met.
    pub met: bool,
    /// The largest share of its limit that a figure came to, of the objectives that are upper limits; infinite when the
    /// server did not keep up. What holds is at most 1.
    #[serde(skip)]
    pub strain: f64,
    /// What was not met, each as a line.
    pub failed: Vec<String>,
    /// A longer run, to confirm.
    pub confirmation: bool,
    /// The generator's figures were the server's.
    pub valid: bool,
}

/// Why the search ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The limit is found and confirmed.
    Found,
    /// No rate that was tried held.
    NothingHeld,
    /// The highest rate held: the limit is above it.
    NoLimit,
    /// Something held in a step, but not in any of the longer runs.
    NotConfirmed,
    /// The generator did not keep up: a limit would have been its own. The reasons.
    Generator(Vec<String>),
    /// It was interrupted.
    Interrupted,
    /// A step could not run.
    Failed(String),
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The highest rate that held, in a longer run if it ended as [`Ended::Found`].
    pub limit: Option<f64>,
    /// The lowest rate above it that did not.
    pub above: Option<f64>,
    /// Why it ended.
    pub ended: Ended,
    /// All that was tried, in order.
    pub steps: Vec<Step>,
}

struct Search<'a> {
    objectives: &'a [Objective],
    settings: Settings,
    run: &'a mut dyn FnMut(f64, f64) -> Result<Outcome, String>,
    steps: Vec<Step>,
    /// The highest rate that held.
    held: Option<f64>,
    /// The next one last.
    guesses: Vec<f64>,
    /// The failed rate that was tried again.
    again: Option<f64>,
}

/// Searches. `run` measures an open loop at a rate (requests a second) for so many seconds.
pub fn search(
    objectives: &[Objective],
    settings: &Settings,
    run: &mut dyn FnMut(f64, f64) -> Result<Outcome, String>,
) -> Found {
    let mut search = Search {
        objectives,
        settings: *settings,
        run,
        steps: Vec::new(),
        held: None,
        guesses: Vec::new(),
        again: None,
    };
    let ended = search.run_to_end().unwrap_or_else(|ended| ended);
    let above = search.above(search.held.unwrap_or(0.0));
    Found { limit: search.held, above, ended, steps: search.steps }
}

impl Search<'_> {
    fn run_to_end(&mut self) -> Result<Ended, Ended> {
        let start = if self.settings.start.is_finite() { self.settings.start } else { RATES.0 };
        let mut next = Some(start.clamp(RATES.0, RATES.1));
        while let (Some(rate), true) = (next, self.steps.len() < STEPS_MAX) {
            self.step(rate)?;
            next = self.next();
        }
        match self.held {
            None => Ok(Ended::NothingHeld),
            Some(rate) if self.above(rate).is_none() => Ok(Ended::NoLimit),
            Some(_) => self.confirm(),
        }
    }

    /// What to try next; `None` when there is nothing more to learn.
    fn next(&mut self) -> Option<f64> {
        match (self.held, self.above(self.held.unwrap_or(0.0))) {
            // Up, until something fails.
            (Some(low), None) => (low < RATES.1).then(|| (low * RAMP).min(RATES.1)),
            // Between both, or at the upper end once more.
            (Some(low), Some(high)) if high > low * (1.0 + TOLERANCE) => {
                Some(self.guess(low, high).unwrap_or_else(|| self.between(low, high)))
            }
            (Some(_), Some(high)) if self.again != Some(high) => {
                self.again = Some(high);
                self.again
            }
            (Some(_), Some(_)) => None,
            // Down, until something holds.
            (None, high) => {
                let high = high?;
                let fall = (high > RATES.0).then(|| (high * FALL).max(RATES.0));
                self.guess(RATES.0, high).or(fall)
            }
        }
    }

    /// The next guess that lies between these rates, with something to learn from it.
    fn guess(&mut self, low: f64, high: f64) -> Option<f64> {
        while let Some(rate) = self.guesses.pop() {
            if rate > low * (1.0 + TOLERANCE) && rate * (1.0 + TOLERANCE) < high {
                return Some(rate);
            }
        }
        None
    }

    /// Where the limit is to be expected between a rate that held and one that failed: by how near to their limits the
    /// figures were if both were near, else in the middle.
    fn between(&self, low: f64, high: f64) -> f64 {
        let strain = |rate: f64| self.steps.iter().rev().find(|step| step.rate == rate).map_or(0.0, |step| step.strain);
        let (below, above) = (strain(low), strain(high));
        let near = below > 1.0 / NEAR && below < 1.0 && above > 1.0 && above < NEAR;
        let share = if near { -below.ln() / (above.ln() - below.ln()) } else { 0.5 };
        low * (high / low).powf(share.clamp(SPLIT.0, SPLIT.1))
    }

    fn confirm(&mut self) -> Result<Ended, Ended> {
        for _ in 0..CONFIRMATIONS_MAX {
            let Some(rate) = self.held else { break };
            if self.try_rate(rate, self.settings.confirm_seconds, true)? {
                return Ok(Ended::Found);
            }
            self.held = Some(rate * (1.0 - STEP_DOWN)).filter(|rate| *rate >= RATES.0);
        }
        self.held = None;
        Ok(Ended::NotConfirmed)
    }

    fn left(&self) -> usize {
        STEPS_MAX.saturating_sub(self.steps.len())
    }

    /// The lowest rate above this one at which the last word was that it fails.
    fn above(&self, rate: f64) -> Option<f64> {
        let failed = self.steps.iter().filter(|step| step.valid && !step.met && step.rate > rate);
        failed.map(|step| step.rate).min_by(f64::total_cmp)
    }

    fn step(&mut self, rate: f64) -> Result<(), Ended> {
        // From what was known before: whether this one went up to where nothing had failed.
        let upwards = self.above(self.held.unwrap_or(0.0)).is_none();
        if self.try_rate(rate, self.settings.step_seconds, false)? {
            // Lower guesses have nothing to tell any more.
            self.guesses.clear();
            self.held = Some(self.held.map_or(rate, |held| held.max(rate)));
        } else if upwards {
            let answered = self.steps.last().map_or(0.0, |step| step.answered);
            self.guesses = GUESSES.map(|share| answered * share).into_iter().rev().collect();
        }
        Ok(())
    }

    /// Runs at a rate; once more if the generator did not keep up, for a moment of the machine is no limit of it.
    fn try_rate(&mut self, rate: f64, seconds: f64, confirmation: bool) -> Result<bool, Ended> {
        let mut tried = 0;
        loop {
            let outcome = (self.run)(rate, seconds).map_err(Ended::Failed)?;
            let step = step(rate, &outcome, self.objectives, confirmation);
            let met = step.met;
            self.steps.push(step);
            if outcome.interrupted {
                return Err(Ended::Interrupted);
            }
            if outcome.verdict.valid {
                return Ok(met);
            }
            tried += 1;
            if tried == 2 || (!confirmation && self.left() == 0) {
                return Err(Ended::Generator(outcome.verdict.reasons));
            }
        }
    }
}

/// How much of an upper limit a figure came to.
fn share_of_limit(one: &Judged) -> Option<f64> {
    let limit = one.objective.limit;
    let upper = matches!(one.objective.must_be, Must::Below | Must::AtMost) && limit > 0.0;
    one.figure.filter(|_| upper).map(|figure| figure / limit)
}

fn step(rate: f64, outcome: &Outcome, objectives: &[Objective], confirmation: bool) -> Step {
    let judged = judge(objectives, outcome);
    let mut strain = judged.iter().filter_map(share_of_limit).fold(0.0, f64::max);
    let mut failed: Vec<String> = judged.iter().filter(|one| !one.met).map(Judged::to_string).collect();
    let counts = &outcome.counts;
    let scheduled = counts.sent + counts.unsent;
    // Connections that failed are no requests: they do not make up for those that were never sent.
    let lost = counts.faults.iter().filter(|(fault, _)| fault.is_of_request() && !fault.has_answer());
    let finished = counts.answered + lost.map(|(_, n)| n).sum::<u64>();
    if scheduled == 0 || (finished as f64) < KEPT_UP * scheduled as f64 {
        failed.push(format!("the server does not keep up: {finished} of {scheduled} requests ended in time"));
        strain = f64::INFINITY;
    }
    let response = &outcome.times.response;
    Step {
        rate,
        answered: if outcome.seconds > 0.0 { counts.answered as f64 / outcome.seconds } else { 0.0 },
        p50: response.p50,
        p99: response.p99,
        errors: counts.error_share(),
        met: failed.is_empty() && outcome.verdict.valid,
        strain,
        failed,
        confirmation,
        valid: outcome.verdict.valid,
    }
}

#[cfg(test)]
mod tests;
