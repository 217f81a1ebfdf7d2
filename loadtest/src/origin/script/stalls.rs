//! When the whole origin stands still. Meanwhile nothing is answered, and no work gets done.
//!
//! It is told in two times: real time, and working time, which stands still in a stall. A request takes its delay of
//! working time, so that one that comes in a stall is answered its delay behind the stall's end.
use super::Mistake;
use crate::units::duration;
use std::{str::FromStr, time::Duration};

/// Planned stalls at most.
const STALLS_MAX: usize = 64;

/// All stalls, ascending and apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stalls {
    /// From, for how long, µs since the start.
    once: Vec<(u64, u64)>,
    /// At the end of each such time, for how long, µs.
    every: Option<(u64, u64)>,
}

impl Stalls {
    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.once.is_empty() && self.every.is_none()
    }

    /// Stands still from `from` since the start, for `long`. Stalls that overlap become one.
    ///
    /// # Errors
    /// There are too many.
    pub fn at(mut self, from: Duration, long: Duration) -> Result<Stalls, Mistake> {
        if self.once.len() == STALLS_MAX {
            return Err(Mistake(format!("there are more than {STALLS_MAX} planned stalls")));
        }
        self.once.push((super::micros(from), super::micros(long)));
        self.once.sort_unstable();
        self.once.dedup_by(|next, before| {
            let overlap = next.0 <= before.0.saturating_add(before.1);
            if overlap {
                before.1 = before.1.max(next.0.saturating_add(next.1).saturating_sub(before.0));
            }
            overlap
        });
        Ok(self)
    }

    /// Stands still for `long` at the end of each `period` since the start, which is longer.
    ///
    /// # Errors
    /// `long` leaves no time to work, or there are planned stalls too.
    pub fn every(mut self, period: Duration, long: Duration) -> Result<Stalls, Mistake> {
        if !self.once.is_empty() {
            return Err(Mistake("stalls at a time and stalls again and again do not go together".into()));
        }
        if long >= period {
            return Err(Mistake(format!(
                "a stall of {long:?} every {period:?} leaves no time to work: the stall must be shorter"
            )));
        }
        self.every = Some((super::micros(period), super::micros(long)));
        Ok(self)
    }

    /// Working time at real time `now`, both µs since the start.
    pub fn working(&self, now: u64) -> u64 {
        if let Some((period, long)) = self.every {
            let (rounds, into) = (now / period, now % period);
            let work = period - long;
            // The first stall begins at `period`, so a round is a stall and then work, but for the first.
            return if rounds == 0 { into } else { period + (rounds - 1) * work + into.saturating_sub(long) };
        }
        let lost = |(from, long): &(u64, u64)| now.saturating_sub(*from).min(*long);
        now - self.once.iter().map(lost).sum::<u64>()
    }

    /// The first real time at which so much work can be done and something be answered: never in a stall.
    pub fn real(&self, working: u64) -> u64 {
        if let Some((period, long)) = self.every {
            let work = period - long;
            return match working.checked_sub(period) {
                None => working,
                Some(behind) => (1 + behind / work).saturating_mul(period).saturating_add(long + behind % work),
            };
        }
        let mut real = working;
        for (from, long) in &self.once {
            if *from > real {
                break;
            }
            real = real.saturating_add(*long);
        }
        real
    }

    /// When what is due at real time `at` may go out.
    pub fn release(&self, at: u64) -> u64 {
        if self.is_empty() { at } else { self.real(self.working(at)) }
    }
}

/// `3s,1s`: from, for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallAt(pub Duration, pub Duration);

impl FromStr for StallAt {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<StallAt, Mistake> {
        let wrong = || Mistake(format!("`{text}`: when and for how long is expected, as in 3s,1s"));
        let (from, long) = text.split_once(',').ok_or_else(wrong)?;
        Ok(StallAt(duration(from).map_err(Mistake)?, duration(long).map_err(Mistake)?))
    }
}

/// `10s=1s`: every so long, for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseEvery(pub Duration, pub Duration);

impl FromStr for PauseEvery {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<PauseEvery, Mistake> {
        let wrong = || Mistake(format!("`{text}`: every how long, and for how long, is expected, as in 10s=1s"));
        let (period, long) = text.split_once('=').ok_or_else(wrong)?;
        Ok(PauseEvery(duration(period).map_err(Mistake)?, duration(long).map_err(Mistake)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_request_takes_its_delay_of_working_time() {
        let stalls = Stalls::default().at(ms(3000), ms(1000)).unwrap();
        // (comes, takes, is answered), ms
        for (comes, takes, answered) in [
            (0, 5, 5),
            (2990, 5, 2995),
            (2998, 5, 4003),
            (3000, 0, 4000),
            (3500, 0, 4000),
            (3500, 5, 4005),
            (3999, 0, 4000),
            (4000, 5, 4005),
            (9000, 5, 9005),
        ] {
            let due = stalls.real(stalls.working(comes * MS) + takes * MS);
            assert_eq!(due, answered * MS, "{comes} + {takes}");
        }
        assert_eq!((stalls.release(2999 * MS), stalls.release(3001 * MS)), (2999 * MS, 4000 * MS));
    }

    #[test]
    fn again_and_again() {
        let stalls = Stalls::default().every(ms(10_000), ms(1000)).unwrap();
        for (comes, takes, answered) in [
            (0, 0, 0),
            (9_999, 0, 9_999),
            (9_999, 1, 11_000),
            (10_000, 0, 11_000),
            (10_500, 5, 11_005),
            (15_000, 0, 15_000),
            (20_300, 0, 21_000),
            (19_000, 3_000, 23_000),
            (19_000, 12_000, 33_000),
        ] {
            let due = stalls.real(stalls.working(comes * MS) + takes * MS);
            assert_eq!(due, answered * MS, "{comes} + {takes}");
        }
    }

    #[test]
    fn nothing_is_released_in_a_stall_and_nothing_early() {
        let planned =
            Stalls::default().at(ms(50), ms(20)).unwrap().at(ms(10), ms(5)).unwrap().at(ms(60), ms(30)).unwrap();
        assert_eq!(planned.once, [(10 * MS, 5 * MS), (50 * MS, 40 * MS)], "overlapping ones are one");
        let periodic = Stalls::default().every(ms(30), ms(7)).unwrap();
        for now in 0..200_u64 {
            let at = now * MS;
            let still = (10..15).contains(&now) || (50..90).contains(&now);
            assert_eq!(planned.release(at) > at, still, "{now}");
            assert_eq!(periodic.release(at) > at, now >= 30 && now % 30 < 7, "{now}");
            assert!(planned.working(at) <= planned.working(at + 1) && periodic.working(at) <= periodic.working(at + 1));
        }
        assert_eq!(Stalls::default().release(77), 77);
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        assert!("3s".parse::<StallAt>().unwrap_err().0.contains("3s,1s"));
        assert!("3s,x".parse::<StallAt>().unwrap_err().0.contains("expected a duration"));
        assert!("10s".parse::<PauseEvery>().unwrap_err().0.contains("10s=1s"));
        assert!(Stalls::default().every(ms(5), ms(5)).unwrap_err().0.contains("no time to work"));
        assert!(Stalls::default().at(ms(1), ms(1)).unwrap().every(ms(5), ms(1)).is_err());
    }
}
