//! Durations, sizes, rates and shares as they are typed on a command line: `250ms`, `64k`, `5000/s`, `0.1%`.
use std::time::Duration;

/// Shorter to longer; microseconds of each.
const TIME_UNITS: [(&str, f64); 6] = [("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6), ("h", 3600e6)];
const SIZE_UNITS: [(&str, f64); 10] = [
    ("", 1.0),
    ("B", 1.0),
    ("k", 1024.0),
    ("K", 1024.0),
    ("KiB", 1024.0),
    ("m", 1048576.0),
    ("M", 1048576.0),
    ("MiB", 1048576.0),
    ("g", 1073741824.0),
    ("GiB", 1073741824.0),
];
const COUNT_UNITS: [(&str, f64); 5] = [("", 1.0), ("k", 1e3), ("K", 1e3), ("m", 1e6), ("M", 1e6)];

/// Longest duration that is taken: a week, so that sums stay far from any bound.
const TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// `10s`, `1.5ms`, `250us`, `2m`; a number alone is seconds.
///
/// # Errors
/// A sentence that says what is expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a duration up to {}h, as in 250us, 5ms, 10s, 2m; found {text:?}", 7 * 24);
    let micros = match text.parse::<f64>() {
        Ok(seconds) => seconds * 1e6,
        Err(_) => amount(text, &TIME_UNITS).ok_or_else(expected)?,
    };
    let time = Duration::try_from_secs_f64(micros / 1e6).ok().filter(|time| *time <= TIME_MAX);
    time.ok_or_else(expected)
}

/// `128`, `64k`, `1m`, `1GiB`: bytes, in powers of 1,024.
///
/// # Errors
/// A sentence that says what is expected.
pub fn size(text: &str) -> Result<u64, String> {
    let bytes = amount(text, &SIZE_UNITS).filter(|bytes| *bytes <= (1u64 << 50) as f64 && bytes.fract() == 0.0);
    bytes
        .map(|bytes| bytes as u64)
        .ok_or_else(|| format!("expected a whole number of bytes, as in 128, 64k, 1m; found {text:?}"))
}

/// `5000`, `50k`, `50k/s`, `300/m`: so many a second.
///
/// # Errors
/// A sentence that says what is expected.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, per) = match text.split_once('/') {
        None | Some((_, "s")) => (text.split('/').next().unwrap_or_default(), 1.0),
        Some((number, "m")) => (number, 60.0),
        Some((number, "h")) => (number, 3600.0),
        Some(_) => ("", 1.0),
    };
    let rate = amount(number, &COUNT_UNITS).map(|n| n / per).filter(|rate| *rate > 0.0);
    rate.ok_or_else(|| format!("expected a rate above 0, as in 5000, 50k/s, 300/m; found {text:?}"))
}

/// `1%`, `0.5%`: 0 to 1.
///
/// # Errors
/// A sentence that says what is expected.
pub fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|number| amount(number, &[("", 1.0)]));
    let share = percent.map(|p| p / 100.0).filter(|share| *share <= 1.0);
    share.ok_or_else(|| format!("expected a share from 0% to 100%, as in 0.5%; found {text:?}"))
}

/// A finite number that is not negative, and one of `units`.
fn amount(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    Some(number * factor).filter(|n| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5ms"), Ok(Duration::from_micros(1500)));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("250µs"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "-1s", "1 s", "1e400", "1d", "nan", "inf", "999h", "1.2.3s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("128"), Ok(128));
        assert_eq!(size("1k"), Ok(1024));
        assert_eq!(size("1.5k"), Ok(1536));
        assert_eq!(size("2MiB"), Ok(2 << 20));
        for bad in ["", "k", "-1", "1.3", "1x", "99999999999g"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_and_shares() {
        assert_eq!(rate("5000"), Ok(5000.0));
        assert_eq!(rate("50k/s"), Ok(50_000.0));
        assert_eq!(rate("300/m"), Ok(5.0));
        for bad in ["", "0", "-1", "5/d", "k", "1/s/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert_eq!(share("0.5%"), Ok(0.005));
        for bad in ["", "1", "101%", "-1%", "%"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
