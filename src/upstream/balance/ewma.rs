//! How long an endpoint takes to answer, as one shard sees it: a moving average that goes up at once and down with time
//! (peak EWMA, as Finagle has it).
use std::cell::Cell;

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
    /// An answer took `latency_us` (to its head). A figure above the average replaces it, one below weighs as much as time went
    /// by since the last: so one slow answer is noticed at once, and a hundred fast ones in a millisecond are one sign.
    pub fn observe(&self, now_ms: u64, latency_us: u64) {
        let seen = (latency_us as f32).clamp(1.0, MOST_US);
        let old = self.value.get();
        let new = if seen >= old { seen } else { seen + (old - seen) * self.weight(now_ms) };
        self.value.set(new);
        self.at_ms.set(now_ms.max(self.at_ms.get()));
    }

    /// An attempt failed in a way that is the endpoint's fault.
    pub fn failed(&self, now_ms: u64) {
        let worse = (self.value.get() * self.weight(now_ms) * FAILURE_FACTOR).max(FAILURE_US);
        self.observe(now_ms, worse as u64);
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
    fn peaks_count_at_once_and_go_with_time() {
        let e = Ewma::default();
        assert_eq!(e.get(0), None);
        e.observe(1000, 2_000);
        assert_eq!(e.get(1000), Some(2_000.0));
        e.observe(1000, 50_000);
        assert_eq!(e.get(1000), Some(50_000.0), "at once");
        for _ in 0..100 {
            e.observe(1000, 2_000);
        }
        assert_eq!(e.get(1000), Some(50_000.0), "no time went by");
        let mut last = 50_000.0;
        for second in 2..=60 {
            e.observe(second * 1000, 2_000);
            let now = e.get(second * 1000).unwrap();
            assert!(now < last && now >= 2_000.0, "{now}");
            last = now;
        }
        assert!(last < 2_200.0, "{last}");
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
        assert_eq!(e.get(100), Some(MOST_US), "bounded");
    }
}
