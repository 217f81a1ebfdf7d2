//! Durations, sizes, shares and rates as people write them.
use super::{DELAY_MAX, SIZE_MAX};
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

/// A number and the unit behind it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    number.is_finite().then_some((number, unit.trim()))
}

/// A unit of time in seconds.
fn time_unit(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

/// Any duration, without a bound but that of the type.
pub(super) fn any_duration(text: &str) -> Result<Duration, Mistake> {
    let wrong =
        || Mistake(format!("`{text}` is no duration: a number with a unit is expected, as in 250us, 5ms, 1.5s or 2m"));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    if number == 0.0 && unit.is_empty() {
        return Ok(Duration::ZERO);
    }
    let seconds = number * time_unit(unit).ok_or_else(wrong)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| Mistake(format!("`{text}` is too long a time")))
}

/// A delay: `250us`, `5ms`, `1.5s`, `0`.
///
/// # Errors
/// It is no duration, or longer than `DELAY_MAX`.
pub fn duration(text: &str) -> Result<Duration, Mistake> {
    let duration = any_duration(text)?;
    if duration > DELAY_MAX {
        return Err(Mistake(format!("`{text}` is longer than {} s, the longest delay", DELAY_MAX.as_secs())));
    }
    Ok(duration)
}

/// The unit of a duration, to be used for another number.
pub(super) fn unit_of(text: &str) -> &str {
    split(text).map_or("", |(_, unit)| unit)
}

/// A size in bytes: `300`, `1k`, `1.5m`, `1g`; a k is 1024 bytes.
///
/// # Errors
/// It is no size, or above `SIZE_MAX`.
pub fn size(text: &str) -> Result<u64, Mistake> {
    let wrong = || {
        Mistake(format!(
            "`{text}` is no size: bytes are expected, as in 300, 1k, 64KiB, 1.5m or 1g (a k is 1024 bytes)"
        ))
    };
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let bytes = (number * factor).round();
    if bytes > SIZE_MAX as f64 {
        return Err(Mistake(format!("`{text}` is more than 1g, the largest answer")));
    }
    Ok(bytes as u64)
}

/// A share: `1%`, `0.5%` or `0.01`, as 0 to 1.
///
/// # Errors
/// It is no share.
pub fn share(text: &str) -> Result<f64, Mistake> {
    let wrong = || Mistake(format!("`{text}` is no share: 0% to 100% is expected, as in 1%, 0.5% or 0.005"));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let share = match unit {
        "%" => number / 100.0,
        // 1 could mean all of them or one in a hundred.
        "" if number < 1.0 => number,
        _ => return Err(wrong()),
    };
    if share <= 1.0 { Ok(share) } else { Err(wrong()) }
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
        let wrong =
            || Mistake(format!("`{text}` is no rate: requests in a time are expected, as in 5000/s, 5k/s or 30/m"));
        let (number, per) = text.split_once('/').unwrap_or((text, "s"));
        let (number, unit) = split(number).ok_or_else(wrong)?;
        let factor = match unit {
            "" => 1.0,
            "k" => 1e3,
            "m" => 1e6,
            _ => return Err(wrong()),
        };
        let per = time_unit(per.trim()).ok_or_else(wrong)?;
        Rate::new(number * factor / per).ok_or_else(|| {
            Mistake(format!("`{text}` is no rate that can be kept: above 0, at most 1000000000 a second"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, us) in
            [("250us", 250), ("250µs", 250), ("5ms", 5000), ("1.5s", 1_500_000), ("0", 0), ("1m", 60_000_000)]
        {
            assert_eq!(duration(text).unwrap(), Duration::from_micros(us), "{text}");
        }
        for (text, bytes) in [("300", 300), ("1k", 1024), ("64KiB", 65_536), ("1.5m", 1_572_864), ("1g", 1 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, s) in [("1%", 0.01), ("0.5%", 0.005), ("0.25", 0.25), ("100%", 1.0), ("0", 0.0)] {
            assert!((share(text).unwrap() - s).abs() < 1e-12, "{text}");
        }
        for (text, rate) in [("5000/s", 5000.0), ("5k", 5000.0), ("30/m", 0.5), ("1/ms", 1000.0)] {
            assert!((text.parse::<Rate>().unwrap().per_second() - rate).abs() < 1e-9, "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (mistake, part) in [
            (duration("5").unwrap_err(), "as in 250us, 5ms"),
            (duration("fast").unwrap_err(), "`fast` is no duration"),
            (duration("61s").unwrap_err(), "longer than 60 s"),
            (duration("-1s").unwrap_err(), "no duration"),
            (any_duration("99999999999999999999999999h").unwrap_err(), "too long"),
            (size("1.1g").unwrap_err(), "more than 1g"),
            (size("1kB ").unwrap_err(), "a k is 1024"),
            (size("").unwrap_err(), "no size"),
            (share("1").unwrap_err(), "as in 1%"),
            (share("101%").unwrap_err(), "0% to 100%"),
            ("0/s".parse::<Rate>().unwrap_err(), "above 0"),
            ("many".parse::<Rate>().unwrap_err(), "as in 5000/s"),
            ("5/x".parse::<Rate>().unwrap_err(), "as in 5000/s"),
        ] {
            assert!(mistake.0.contains(part), "{mistake}");
        }
    }
}
