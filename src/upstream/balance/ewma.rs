//! How long an endpoint takes to answer, as one shard sees it: a moving average that goes up fast and down slowly (after the peak
//! EWMA of Finagle). There one slow answer replaces the average, which makes whoever is asked more look slower, for it has more
//! chances of a slow one; here each answer has its weight, so that endpoints of different weights can be compared.
use std::cell::Cell;

/// What an answer weighs that took longer than the average.
const UP: f32 = 0.5;
/// What one weighs that did not.
const DOWN: f32 = 0.05;
/// Milliseconds after which an old figure weighs 1/e.
const DECAY_MS: f32 = 10_000.0;
/// Past this a latency is as bad as any, µs.
const MOST_US: f32 = 60_000_000.0;
/// What a failure counts as at least, µs: to fail fast must not look like to be fast.
const FAILURE_US: f32 = 250_000.0;
/// How much worse a failure makes an endpoint look.
const FAILURE_FACTOR: f32 = 2.0;

/// The latency of one endpoint. Unknown until something was observed.
#[derive(Debug, Default)]
pub struct Ewma {
    /// µs; 0 = unknown.
    value: Cell<f32>,
    /// When `value` was right, ms of the shard's clock.
    at_ms: Cell<u64>,
}

impl Ewma {
    /// An answer took `latency_us` (to its head). One that comes long after the last weighs more: what was before is old.
    pub fn observe(&self, now_ms: u64, latency_us: u64) {
        let seen = (latency_us as f32).clamp(1.0, MOST_US);
        let old = self.value.get();
        let weight = match old {
            0.0 => 1.0,
            old if seen > old => UP,
            _ => DOWN.max(1.0 - self.weight(now_ms)),
        };
        self.set(old + (seen - old) * weight, now_ms);
    }

    /// An attempt failed in a way that is the endpoint's fault.
    pub fn failed(&self, now_ms: u64) {
        let now = self.get(now_ms).unwrap_or(0.0);
        self.set((now * FAILURE_FACTOR).clamp(FAILURE_US, MOST_US), now_ms);
    }

    fn set(&self, value: f32, now_ms: u64) {
        self.value.set(value);
        self.at_ms.set(now_ms.max(self.at_ms.get()));
    }

    /// The latency in µs; `None` when it is not known. One that was not observed for long gets better by itself, so that whoever
    /// was slow once is asked again.
    pub fn get(&self, now_ms: u64) -> Option<f32> {
        let value = self.value.get();
        (value > 0.0).then(|| value * self.weight(now_ms))
    }

    /// What is left of the figure's weight.
    fn weight(&self, now_ms: u64) -> f32 {
        match now_ms.saturating_sub(self.at_ms.get()) {
            0 => 1.0,
            age => (-(age as f32) / DECAY_MS).exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_count_at_once_and_go_slowly() {
        let e = Ewma::default();
        assert_eq!(e.get(0), None);
        e.observe(1000, 2_000);
        assert_eq!(e.get(1000), Some(2_000.0));
        e.observe(1000, 50_000);
        assert_eq!(e.get(1000), Some(26_000.0), "at once");
        for _ in 0..10 {
            e.observe(1000, 2_000);
        }
        assert!(e.get(1000).unwrap() > 15_000.0, "ten fast ones do not make up for it");
        for _ in 0..100 {
            e.observe(1000, 2_000);
        }
        assert!(e.get(1000).unwrap() < 2_100.0);
    }

    #[test]
    fn how_often_it_is_asked_does_not_make_an_endpoint_slow() {
        // the same latencies, for one every 4 ms and for one every 100 ms
        let mut rng = super::super::Rng::new(5);
        let (often, seldom) = (Ewma::default(), Ewma::default());
        let mut sums = [0.0; 2];
        for ms in (0..400_000).step_by(4) {
            let latency = |rng: &mut super::super::Rng| (-500.0 * (1.0 - rng.unit()).ln()) as u64;
            often.observe(ms, latency(&mut rng));
            if ms % 100 == 0 {
                seldom.observe(ms, latency(&mut rng));
                sums[0] += often.get(ms).unwrap();
                sums[1] += seldom.get(ms).unwrap();
            }
        }
        assert!((sums[0] / sums[1] - 1.0).abs() < 0.1, "{sums:?}");
    }

    #[test]
    fn nobody_is_slow_for_ever() {
        let e = Ewma::default();
        e.observe(0, 1_000_000);
        assert!(e.get(30_000).unwrap() < 50_000.0);
        assert!(e.get(120_000).unwrap() < 10.0);
    }

    #[test]
    fn a_failure_is_no_fast_answer() {
        let e = Ewma::default();
        e.observe(0, 800);
        e.failed(1);
        assert!(e.get(1).unwrap() >= 250_000.0);
        e.failed(2);
        assert!(e.get(2).unwrap() > 490_000.0);
        for n in 0..100 {
            e.failed(n);
        }
        assert!((MOST_US * 0.99..=MOST_US).contains(&e.get(100).unwrap()), "bounded");
    }
}
