//! Durations, sizes and rates as they are typed: `"250ms"`, `"64KiB"`, `"500B/s"`.

/// A number that cannot be read: what would do instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// A corrected spelling, if one suggests itself.
    pub try_this: Option<String>,
}

const TIME_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Other spellings of the units, and what they most likely mean.
const TIME_ALIASES: [(&str, &str); 12] = [
    ("msec", "ms"),
    ("millis", "ms"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("mins", "m"),
    ("minutes", "m"),
    ("hour", "h"),
    ("hours", "h"),
    ("", "s"),
];
const SIZE_ALIASES: [(&str, &str); 10] = [
    ("k", "KiB"),
    ("kb", "KiB"),
    ("m", "MiB"),
    ("mb", "MiB"),
    ("g", "GiB"),
    ("gb", "GiB"),
    ("kib", "KiB"),
    ("mib", "MiB"),
    ("gib", "GiB"),
    ("", "B"),
];

/// Milliseconds of `"250ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`.
pub(crate) fn time(text: &str) -> Result<u64, Unreadable> {
    amount(text, &TIME_UNITS, &TIME_ALIASES)
}

/// Bytes of `"512B"`, `"64KiB"`, `"10MiB"`, `"1GiB"`.
pub(crate) fn size(text: &str) -> Result<u64, Unreadable> {
    amount(text, &SIZE_UNITS, &SIZE_ALIASES)
}

/// Bytes per second of `"500B/s"`, `"64KiB/s"`.
pub(crate) fn rate(text: &str) -> Result<u64, Unreadable> {
    let per_second = |u: Unreadable| Unreadable { try_this: u.try_this.map(|t| format!("{t}/s")) };
    match text.strip_suffix("/s") {
        Some(text) => size(text).map_err(per_second),
        None => Err(Unreadable {
            try_this: match size(text) {
                Ok(_) => Some(format!("{text}/s")),
                Err(u) => per_second(u).try_this,
            },
        }),
    }
}

/// Thousandths of `"10%"`, `"2.5%"`.
pub(crate) fn percent(text: &str) -> Result<u64, Unreadable> {
    let read = |number: &str| {
        let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let digits = is_number(whole) && is_number(tenth) && tenth.len() == 1;
        let (whole, tenth) = (whole.parse::<u64>().ok()?, tenth.parse::<u64>().ok()?);
        whole.checked_mul(10)?.checked_add(tenth).filter(|_| digits)
    };
    match text.strip_suffix('%') {
        Some(number) => read(number).ok_or(Unreadable { try_this: read(number.trim()).map(show_percent) }),
        None => Err(Unreadable { try_this: read(text.trim()).map(show_percent) }),
    }
}

fn amount(text: &str, units: &[(&str, u64)], aliases: &[(&str, &str)]) -> Result<u64, Unreadable> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| Unreadable { try_this: None })?;
    if let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) {
        return number.checked_mul(*factor).ok_or(Unreadable { try_this: None });
    }
    let meant = unit.trim().to_ascii_lowercase();
    let meant = aliases.iter().find(|(alias, _)| *alias == meant).map(|(_, name)| *name);
    let meant = meant.or_else(|| units.iter().find(|(n, _)| n.eq_ignore_ascii_case(unit.trim())).map(|(n, _)| *n));
    Err(Unreadable { try_this: meant.map(|name| format!("{number}{name}")) })
}

/// `ms` milliseconds in the largest unit that divides them.
pub(crate) fn show_time(ms: u64) -> String {
    show(ms, &TIME_UNITS)
}

/// `bytes` in the largest unit that divides them.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS)
}

/// `permille` thousandths as a percentage.
pub(crate) fn show_percent(permille: u64) -> String {
    match (permille / 10, permille % 10) {
        (whole, 0) => format!("{whole}%"),
        (whole, tenth) => format!("{whole}.{tenth}%"),
    }
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = |unit: &&(&str, u64)| amount >= unit.1 && amount.is_multiple_of(unit.1);
    match units.iter().rev().find(fits).or(units.first()) {
        Some((name, factor)) => format!("{}{name}", amount / factor),
        None => amount.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip(result: Result<u64, Unreadable>) -> String {
        result.unwrap_err().try_this.unwrap_or_default()
    }

    #[test]
    fn amounts_are_read_in_their_units() {
        assert_eq!(time("250ms"), Ok(250));
        assert_eq!(time("5m"), Ok(300_000));
        assert_eq!(time("7d"), Ok(604_800_000));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(rate("500B/s"), Ok(500));
        assert_eq!((percent("10%"), percent("2.5%"), percent("100%")), (Ok(100), Ok(25), Ok(1000)));
    }

    #[test]
    fn near_misses_are_corrected() {
        assert_eq!(tip(time("30")), "30s");
        assert_eq!(tip(time("30 seconds")), "30s");
        assert_eq!(tip(time("5MIN")), "5m");
        assert_eq!(tip(size("10MB")), "10MiB");
        assert_eq!(tip(size("512b")), "512B");
        assert_eq!(tip(rate("500B")), "500B/s");
        assert_eq!(tip(rate("1k")), "1KiB/s");
        assert_eq!(tip(percent("10")), "10%");
        assert_eq!(tip(percent("2.5 %")), "2.5%");
        assert!(["%", "-1%", "1.25%", ".5%", "1.%", "ten%"].iter().all(|text| tip(percent(text)).is_empty()));
    }

    #[test]
    fn nonsense_and_overflow_have_no_correction() {
        for text in ["", "s", "-1s", "1.5s", "soon", "1m30s", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(tip(time(text)), "", "{text}");
        }
    }

    #[test]
    fn shown_amounts_read_back() {
        for n in [0, 1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 1024, 10 << 20, 1 << 40] {
            assert_eq!(time(&show_time(n)), Ok(n));
            assert_eq!(size(&show_size(n)), Ok(n));
            assert_eq!(percent(&show_percent(n)), Ok(n));
        }
    }
}
