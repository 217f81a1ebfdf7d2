//! Active health checks: what is asked of an endpoint, when, and what the answers mean. Pure: the control thread has the
//! clock and the sockets.
use super::balance::Rng;
use std::{ops::RangeInclusive, sync::Arc, time::Duration};

/// Probes are spread by this much either way, per cent of the interval: many edges do not ask at the same instant.
const JITTER_PERCENT: u64 = 10;
/// The first probe of an endpoint comes within this, or within its interval where that is shorter.
const FIRST_WITHIN_US: u64 = 1_000_000;

/// `[pool.NAME.health]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRule {
    /// What is asked.
    pub probe: Probe,
    /// Between the beginnings of two probes of one endpoint.
    pub interval: Duration,
    /// How long connecting, TLS and the answer may take together.
    pub timeout: Duration,
    /// Successes in a row that bring an endpoint back.
    pub healthy: u32,
    /// Failures in a row that take it out.
    pub unhealthy: u32,
}

/// What a probe is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A request over what the pool's endpoints are spoken to.
    Http {
        /// `GET` or another without a body.
        method: Arc<str>,
        /// Path and query.
        path: Arc<str>,
        /// The authority that is asked for; `None` = the endpoint's.
        host: Option<Arc<str>>,
        /// Statuses that are well.
        statuses: Vec<RangeInclusive<u16>>,
    },
    /// A connection, with the TLS handshake where the endpoint wants TLS.
    Tcp,
    /// `grpc.health.v1.Health/Check` over HTTP/2.
    Grpc {
        /// The service that is asked for; empty = the server as a whole.
        service: Arc<str>,
        /// The authority that is asked for; `None` = the endpoint's.
        host: Option<Arc<str>>,
    },
}

/// What is concluded from probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be used.
    Healthy,
    /// It may not.
    Unhealthy,
}

/// What is known of one endpoint from its probes.
#[derive(Clone, Debug)]
pub struct Judge {
    /// As it stands. One that was never asked is healthy.
    verdict: Verdict,
    /// Answers in a row that speak against the verdict.
    against: u32,
}

impl Judge {
    /// One that goes on from `verdict`.
    pub fn new(verdict: Verdict) -> Judge {
        Judge { verdict, against: 0 }
    }

    /// As it stands.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// A probe ended; the new verdict, if it is another one.
    pub fn judge(&mut self, rule: &HealthRule, well: bool) -> Option<Verdict> {
        let (agrees, needed, other) = match self.verdict {
            Verdict::Healthy => (well, rule.unhealthy, Verdict::Unhealthy),
            Verdict::Unhealthy => (!well, rule.healthy, Verdict::Healthy),
        };
        if agrees {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        if self.against < needed {
            return None;
        }
        *self = Judge::new(other);
        Some(other)
    }

    /// Successes that are still needed before it is healthy again.
    pub fn missing(&self, rule: &HealthRule) -> u32 {
        match self.verdict {
            Verdict::Healthy => 0,
            Verdict::Unhealthy => rule.healthy.saturating_sub(self.against),
        }
    }
}

/// When an endpoint is asked.
#[derive(Clone, Debug)]
pub struct Schedule {
    next_us: u64,
    /// A request has passed and succeeded: this many probes are made at once, as long as they succeed.
    hurry: u32,
}

impl Schedule {
    /// One whose first probe comes soon, but not together with those of all other endpoints.
    pub fn new(rule: &HealthRule, now_us: u64, rng: &mut Rng) -> Schedule {
        let within = micros(rule.interval).min(FIRST_WITHIN_US);
        Schedule { next_us: now_us + rng.next_u64() % within.max(1), hurry: 0 }
    }

    /// When the next probe is due.
    pub fn next_us(&self) -> u64 {
        if self.hurry > 0 { 0 } else { self.next_us }
    }

    /// A probe begins: the next one is due an interval after this one was, ±10 %.
    pub fn began(&mut self, rule: &HealthRule, now_us: u64, rng: &mut Rng) {
        let interval = micros(rule.interval);
        let swing = interval * JITTER_PERCENT / 100;
        let next = self.next_us + interval - swing + rng.next_u64() % (2 * swing + 1);
        // Not several at once to make up for those that were missed; and none that was hurried counts for the next.
        self.next_us = match self.hurry {
            0 => next.max(now_us + interval / 2),
            _ => now_us + interval,
        };
    }

    /// A probe ended.
    pub fn ended(&mut self, well: bool) {
        self.hurry = if well { self.hurry.saturating_sub(1) } else { 0 };
    }

    /// There is reason to believe that the endpoint is well again: `probes` are made one after the other at once.
    pub fn hurry(&mut self, probes: u32) {
        self.hurry = probes;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn rule(healthy: u32, unhealthy: u32) -> HealthRule {
        let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(1));
        HealthRule { probe: Probe::Tcp, interval, timeout, healthy, unhealthy }
    }

    #[test]
    fn three_failures_in_a_row_take_out_and_two_successes_bring_back() {
        let (rule, mut judge) = (rule(2, 3), Judge::new(Verdict::Healthy));
        let told: Vec<_> = "++--+---+-++-++".chars().map(|c| judge.judge(&rule, c == '+')).collect();
        let changes: Vec<_> = told.iter().enumerate().filter_map(|(i, v)| v.map(|v| (i, v))).collect();
        assert_eq!(changes, [(7, Verdict::Unhealthy), (11, Verdict::Healthy)]);
    }

    #[test]
    fn what_is_missing_is_what_it_takes() {
        let (rule, mut judge) = (rule(3, 1), Judge::new(Verdict::Healthy));
        assert_eq!(judge.missing(&rule), 0);
        judge.judge(&rule, false);
        for left in (1..=3).rev() {
            assert_eq!(judge.missing(&rule), left);
            judge.judge(&rule, true);
        }
        assert_eq!((judge.verdict(), judge.missing(&rule)), (Verdict::Healthy, 0));
    }

    #[test]
    fn probes_keep_their_interval_however_late_the_clock_is_read() {
        let (rule, mut rng) = (rule(2, 3), Rng::new(42));
        let mut schedule = Schedule::new(&rule, 0, &mut rng);
        assert!(schedule.next_us() < FIRST_WITHIN_US);
        let mut begun = Vec::new();
        for tick in 0..36_000u64 {
            let now = tick * 100_000;
            if now >= schedule.next_us() {
                schedule.began(&rule, now, &mut rng);
                schedule.ended(true);
                begun.push(now);
            }
        }
        assert!((715..=725).contains(&begun.len()), "one per interval in an hour: {}", begun.len());
        let gaps = begun.windows(2).map(|w| w[1] - w[0]);
        assert!(gaps.clone().all(|gap| (4_400_000..=5_600_000).contains(&gap)));
        assert!(gaps.clone().any(|gap| gap < 4_800_000) && gaps.clone().any(|gap| gap > 5_200_000), "spread");
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let (rule, mut rng) = (rule(2, 3), Rng::new(1));
        let mut schedule = Schedule::new(&rule, 0, &mut rng);
        schedule.began(&rule, 60_000_000, &mut rng);
        assert!(schedule.next_us() >= 62_500_000);
    }

    #[test]
    fn a_hurry_ends_with_the_first_failure() {
        let (rule, mut rng) = (rule(2, 3), Rng::new(1));
        let mut schedule = Schedule::new(&rule, 0, &mut rng);
        schedule.began(&rule, 1_000_000, &mut rng);
        schedule.ended(false);
        schedule.hurry(2);
        for well in [true, false] {
            assert_eq!(schedule.next_us(), 0, "at once");
            schedule.began(&rule, 2_000_000, &mut rng);
            schedule.ended(well);
        }
        assert_eq!(schedule.next_us(), 7_000_000);
    }

    proptest! {
        /// A verdict changes exactly when as many answers in a row as the rule says speak against it.
        #[test]
        fn verdicts_follow_runs(answers in proptest::collection::vec(any::<bool>(), 0..200), healthy in 1u32..6, unhealthy in 1u32..6) {
            let (rule, mut judge) = (rule(healthy, unhealthy), Judge::new(Verdict::Healthy));
            let (mut up, mut run) = (true, 0);
            for well in answers {
                let before = judge.verdict();
                let told = judge.judge(&rule, well);
                run = if well == up { 0 } else { run + 1 };
                if run == if up { unhealthy } else { healthy } {
                    (up, run) = (!up, 0);
                }
                let expected = if up { Verdict::Healthy } else { Verdict::Unhealthy };
                prop_assert_eq!(judge.verdict(), expected);
                prop_assert_eq!(told, (before != expected).then_some(expected));
            }
        }
    }
}
