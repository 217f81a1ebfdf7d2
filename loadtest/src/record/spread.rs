//! A histogram as reports have it: the usual percentiles, and the whole distribution as text that other tools read.
use super::{
    Spread,
    interval::{HIGHEST_US, LOWEST_US, histogram, merge},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};

/// Largest text of a distribution that is read, bytes: all counts of ours at ten bytes each, as base64, is below it.
const HDR_TEXT_MAX: usize = 1 << 20;

/// Buckets of the heat map for one doubling of the time.
const HEAT_PER_DOUBLING: f64 = 4.0;

impl Spread {
    /// With the whole distribution.
    pub fn of(histogram: &Histogram<u64>) -> Spread {
        Spread { hdr: encode(histogram), ..Spread::brief(histogram) }
    }

    /// Percentiles only, as in a [`Second`](super::Second).
    pub fn brief(histogram: &Histogram<u64>) -> Spread {
        if histogram.is_empty() {
            return Spread::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile).clamp(histogram.min(), histogram.max());
        Spread {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            stdev: histogram.stdev(),
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max(),
            hdr: String::new(),
        }
    }

    /// The whole distribution. `None` when it is not there or cannot be read.
    pub fn histogram(&self) -> Option<Histogram<u64>> {
        if self.hdr.is_empty() || self.hdr.len() > HDR_TEXT_MAX {
            return None;
        }
        let bytes = STANDARD.decode(&self.hdr).ok()?;
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
        let mut ours = histogram();
        merge(&mut ours, &read);
        Some(ours)
    }

    /// The value that a share of all values (0 to 1) is not above, µs. From the distribution; without one, from the
    /// percentiles that are there, and `None` for others.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let known = [
            (0.0, self.min),
            (0.5, self.p50),
            (0.75, self.p75),
            (0.9, self.p90),
            (0.95, self.p95),
            (0.99, self.p99),
            (0.999, self.p999),
            (0.9999, self.p9999),
            (1.0, self.max),
        ];
        if let Some((_, us)) = known.iter().find(|(q, _)| (q - quantile).abs() < 1e-9) {
            return Some(*us);
        }
        // In a damaged file the bounds may have changed places.
        self.histogram().map(|h| h.value_at_quantile(quantile).max(self.min).min(self.max))
    }
}

/// HdrHistogram V2, deflated, as base64.
pub(super) fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    match V2DeflateSerializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => STANDARD.encode(bytes),
        // Writing to memory cannot fail; and figures without their distribution are still figures.
        Err(_) => String::new(),
    }
}

/// The bucket of the heat map for a time, µs: bucket `b` holds times from 2^(b/4) to 2^((b+1)/4).
pub fn heat_bucket(us: u64) -> u8 {
    let us = us.clamp(LOWEST_US, HIGHEST_US);
    // Below 128 for an hour; the cast saturates.
    ((us as f64).log2() * HEAT_PER_DOUBLING).floor() as u8
}

/// Where a bucket of the heat map begins, µs.
pub fn heat_from_us(bucket: u8) -> f64 {
    (f64::from(bucket) / HEAT_PER_DOUBLING).exp2()
}

/// The heat map's column of a histogram: buckets that are not empty, in order, and the values in each.
pub fn heat(histogram: &Histogram<u64>) -> Vec<(u8, u64)> {
    let mut column: Vec<(u8, u64)> = Vec::new();
    for value in histogram.iter_recorded() {
        let bucket = heat_bucket(histogram.median_equivalent(value.value_iterated_to()));
        match column.last_mut() {
            Some((last, n)) if *last == bucket => *n += value.count_at_value(),
            _ => column.push((bucket, value.count_at_value())),
        }
    }
    column
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn some() -> Histogram<u64> {
        let mut histogram = histogram();
        let mut random = Random::new(1);
        for _ in 0..10_000 {
            histogram.saturating_record((random.exponential() * 1_000.0) as u64 + 1);
        }
        histogram
    }

    #[test]
    fn a_spread_has_its_distribution_and_gives_it_back() {
        let histogram = some();
        let spread = Spread::of(&histogram);
        assert_eq!(spread.count, 10_000);
        assert!(spread.min <= spread.p50 && spread.p50 <= spread.p75 && spread.p75 <= spread.p90);
        assert!(spread.p90 <= spread.p95 && spread.p95 <= spread.p99 && spread.p99 <= spread.p999);
        assert!(spread.p999 <= spread.p9999 && spread.p9999 <= spread.max);
        assert!((spread.mean - 1_000.0).abs() < 40.0 && (spread.stdev - 1_000.0).abs() < 60.0, "{spread:?}");
        let back = spread.histogram().unwrap();
        assert_eq!(back, histogram);
        assert_eq!(Spread::of(&back), spread);
        assert_eq!(spread.quantile(0.99), Some(spread.p99));
        assert_eq!(spread.quantile(0.42), Some(histogram.value_at_quantile(0.42)));
        let json = serde_json::to_string(&spread).unwrap();
        let read: Spread = serde_json::from_str(&json).unwrap();
        assert_eq!((read.histogram().unwrap(), read.p9999), (histogram, spread.p9999));
    }

    #[test]
    fn a_spread_of_nothing_and_a_distribution_that_is_none() {
        assert_eq!(Spread::of(&histogram()).count, 0);
        assert_eq!(Spread::default().quantile(0.5), None);
        for text in ["", "!", "AAAA", &"A".repeat(100), &"A".repeat(HDR_TEXT_MAX + 4)] {
            let spread = Spread { count: 1, p50: 7, hdr: text.to_owned(), ..Spread::default() };
            assert!(spread.histogram().is_none());
            assert_eq!((spread.quantile(0.5), spread.quantile(0.6)), (Some(7), None));
        }
    }

    #[test]
    fn a_distribution_with_other_bounds_is_taken_over_value_by_value() {
        let mut wide: Histogram<u64> = Histogram::new_with_bounds(1, u64::MAX / 2, 3).unwrap();
        wide.record_n(100, 5).unwrap();
        wide.record(u64::MAX / 4).unwrap();
        let spread = Spread { count: 6, hdr: encode(&wide), ..Spread::default() };
        let ours = spread.histogram().unwrap();
        assert_eq!((ours.len(), ours.count_at(100)), (6, 5));
        assert!(ours.equivalent(ours.max(), HIGHEST_US));
    }

    #[test]
    fn heat_buckets_are_quarters_of_a_doubling() {
        assert_eq!((heat_bucket(0), heat_bucket(1), heat_bucket(2), heat_bucket(1_024)), (0, 0, 4, 40));
        assert_eq!(heat_bucket(u64::MAX), heat_bucket(HIGHEST_US));
        for us in (1..100_000).step_by(7) {
            let bucket = heat_bucket(us);
            assert!(heat_from_us(bucket) <= us as f64 && (us as f64) < heat_from_us(bucket + 1), "{us} in {bucket}");
        }
        let column = heat(&some());
        assert!(column.is_sorted_by_key(|(b, _)| *b) && column.iter().all(|(_, n)| *n > 0));
        assert_eq!(column.iter().map(|(_, n)| n).sum::<u64>(), 10_000);
    }

    #[test]
    fn bounds_that_changed_places_are_no_reason_to_panic() {
        let histogram = some();
        let spread = Spread { min: 9_000, max: 3, ..Spread::of(&histogram) };
        assert_eq!(spread.quantile(0.42), Some(3));
    }
}
