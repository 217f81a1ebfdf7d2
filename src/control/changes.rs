//! One line for each endpoint that goes out of use or comes back; when hundreds do, a few lines and a count.
use crate::observe::notice;

/// Lines in one period.
const LINES: u32 = 20;
/// A period.
const PERIOD_US: u64 = 10_000_000;

/// Tells of changes, not more than the log can bear.
#[derive(Debug, Default)]
pub struct Changes {
    until_us: u64,
    said: u32,
    unsaid: u32,
}

impl Changes {
    /// Tells of a change, or counts it.
    pub fn tell(&mut self, now_us: u64, line: std::fmt::Arguments<'_>) {
        if self.may(now_us) {
            notice(line);
        }
    }

    fn may(&mut self, now_us: u64) -> bool {
        if now_us >= self.until_us {
            self.flush();
            (self.until_us, self.said) = (now_us + PERIOD_US, 0);
        }
        let may = self.said < LINES;
        if may {
            self.said += 1;
        } else {
            self.unsaid += 1;
        }
        may
    }

    /// Tells how many were not told of, once the period is over.
    pub fn tick(&mut self, now_us: u64) {
        if self.unsaid > 0 && now_us >= self.until_us {
            self.flush();
        }
    }

    fn flush(&mut self) {
        match std::mem::take(&mut self.unsaid) {
            0 => {}
            n => notice(format_args!("and {n} more changes of endpoints; `edge status` has them all")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let mut changes = Changes::default();
        assert_eq!((0..1000).filter(|i| changes.may(*i)).count(), LINES as usize);
        assert_eq!(changes.unsaid, 1000 - LINES);
        changes.tick(PERIOD_US / 2);
        assert_eq!(changes.unsaid, 1000 - LINES);
        changes.tick(PERIOD_US);
        assert_eq!(changes.unsaid, 0);
        assert!(changes.may(PERIOD_US));
    }
}
