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
        self.histogram().map(|h| h.value_at_quantile(quantile).clamp(self.min, self.max))
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
