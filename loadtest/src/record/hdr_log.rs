//! `--hdr FILE`: response times second by second as an HdrHistogram interval log, which that project's tools read.
use super::spread::encode;
use hdrhistogram::Histogram;
use std::{
    io::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The column that people read is milliseconds; the histograms are microseconds.
const MAX_VALUE_DIVISOR: f64 = 1000.0;

/// A log that is being written (format 1.3 of HdrHistogram's `HistogramLogWriter`).
pub struct HdrLog<W: Write> {
    to: W,
}

impl<W: Write> HdrLog<W> {
    /// Begins the log: version, what the figures are, and when the measured time began.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(mut to: W, started: SystemTime) -> io::Result<HdrLog<W>> {
        let epoch = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        writeln!(to, "#[Histogram log format version 1.3]")?;
        writeln!(to, "#[Response times of edge bench: histograms in microseconds, Interval_Max in milliseconds]")?;
        writeln!(to, "#[StartTime: {epoch:.3} (seconds since epoch)]")?;
        writeln!(to, "#[BaseTime: {epoch:.3} (seconds since epoch)]")?;
        writeln!(to, "#[MaxValueDivisor: {MAX_VALUE_DIVISOR:.3}]")?;
        writeln!(to, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")?;
        Ok(HdrLog { to })
    }

    /// Writes what was recorded from `from` on, for so long; `from` counts from the beginning of the measured time.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn interval(&mut self, response: &Histogram<u64>, from: Duration, length: Duration) -> io::Result<()> {
        let (from, length) = (from.as_secs_f64(), length.as_secs_f64());
        let max = response.max() as f64 / MAX_VALUE_DIVISOR;
        writeln!(self.to, "{from:.3},{length:.3},{max:.3},{}", encode(response))
    }

    /// Flushes what was written, and gives the writer back.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::histogram;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use hdrhistogram::serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    };

    #[test]
    fn the_crates_reader_finds_every_interval_again() {
        let mut written = Vec::new();
        let started = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let mut log = HdrLog::begin(Vec::new(), started).unwrap();
        for second in 0..3u64 {
            let mut response = histogram();
            response.record_n(1_500 * (second + 1), 10).unwrap();
            log.interval(&response, Duration::from_secs(second), Duration::from_millis(999)).unwrap();
            written.push(response);
        }
        log.interval(&histogram(), Duration::from_secs(3), Duration::from_secs(1)).unwrap();
        written.push(histogram());
        let bytes = log.end().unwrap();

        let (mut starts, mut read) = (Vec::new(), Vec::new());
        for entry in IntervalLogIterator::new(&bytes) {
            match entry.unwrap() {
                LogEntry::StartTime(at) | LogEntry::BaseTime(at) => starts.push(at),
                LogEntry::Interval(interval) => {
                    assert_eq!(interval.start_timestamp(), Duration::from_secs(read.len() as u64));
                    let payload = STANDARD.decode(interval.encoded_histogram()).unwrap();
                    let one: Histogram<u64> = Deserializer::new().deserialize(&mut payload.as_slice()).unwrap();
                    assert!((interval.max() * MAX_VALUE_DIVISOR - one.max() as f64).abs() < 1.0);
                    read.push(one);
                }
            }
        }
        assert_eq!(starts, [Duration::from_millis(1_700_000_000_250); 2]);
        assert_eq!(read, written);
    }
}
