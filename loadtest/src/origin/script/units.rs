//! Durations, sizes, shares and rates within the bounds of a script.
use super::{DELAY_MAX, SIZE_MAX};
use crate::units;
use std::{fmt, str::FromStr, time::Duration};

/// What is wrong with a text, what was expected, and an example: one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake(pub String);

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mistake {}

/// A delay: `250us`, `5ms`, `1.5s`, `0`.
///
/// # Errors
/// It is no duration, or longer than `DELAY_MAX`.
pub fn duration(text: &str) -> Result<Duration, Mistake> {
    let duration = units::duration(text).map_err(Mistake)?;
    if duration > DELAY_MAX {
        return Err(Mistake(format!("`{text}` is longer than {} s, the longest delay", DELAY_MAX.as_secs())));
    }
    Ok(duration)
}

/// The unit of a duration, to be used for another number.
pub(super) fn unit_of(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
}

/// A size in bytes: `300`, `1k`, `1.5m`, `1g`; a k is 1024 bytes.
///
/// # Errors
/// It is no size, or above `SIZE_MAX`.
pub fn size(text: &str) -> Result<u64, Mistake> {
    let bytes = units::size(text).map_err(Mistake)?;
    if bytes > SIZE_MAX {
        return Err(Mistake(format!("`{text}` is more than 1g, the largest answer")));
    }
    Ok(bytes)
}

/// A share: `1%`, `0.5%`, as 0 to 1.
///
/// # Errors
/// It is no share.
pub fn share(text: &str) -> Result<f64, Mistake> {
    units::share(text).map_err(Mistake)
}

/// Events a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// `per_second` events a second; above 0, at most 10^9.
    pub fn new(per_second: f64) -> Option<Rate> {
        (per_second > 0.0 && per_second <= 1e9).then_some(Rate(per_second))
    }

    /// Events a second.
    pub fn per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Rate, Mistake> {
        let rate = units::rate(text).map_err(Mistake)?;
        Rate::new(rate).ok_or_else(|| Mistake(format!("`{text}` is more than 1000000000 a second")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_bounds_and_what_is_not() {
        assert_eq!((duration("60s"), size("1g")), (Ok(DELAY_MAX), Ok(SIZE_MAX)));
        assert_eq!("5k/s".parse::<Rate>().map(Rate::per_second), Ok(5000.0));
        assert_eq!((unit_of("5ms"), unit_of("2"), unit_of("1.5µs")), ("ms", "", "µs"));
        for (mistake, part) in [
            (duration("fast").unwrap_err(), "expected a duration"),
            (duration("61s").unwrap_err(), "longer than 60 s"),
            (size("2g").unwrap_err(), "more than 1g"),
            (size("").unwrap_err(), "expected a whole number"),
            (share("1").unwrap_err(), "0% to 100%"),
            ("0/s".parse::<Rate>().unwrap_err(), "above 0"),
            ("2000m/s".parse::<Rate>().unwrap_err(), "more than"),
        ] {
            assert!(mistake.0.contains(part), "{mistake}");
        }
    }
}
