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
