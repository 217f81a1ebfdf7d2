//! Numbers as people read them: three significant digits, and the unit that fits.
use std::fmt::Write as _;

/// Units of time: microseconds in one, and its name.
const TIMES: [(f64, &str); 3] = [(1.0, "µs"), (1e3, "ms"), (1e6, "s")];
/// Units of size: bytes in one, and its name.
const SIZES: [(f64, &str); 5] =
    [(1.0, "B"), (1024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB"), (1_099_511_627_776.0, "TiB")];

/// A time in microseconds: `850 µs`, `1.23 ms`, `12.0 s`. What is not a number is a dash.
pub fn time(us: f64) -> String {
    if !us.is_finite() {
        return "–".to_owned();
    }
    // What rounds up to the next unit is shown in it: 999.7 µs is 1.00 ms.
    let (per, name) = fitting(&TIMES, us, 1000.0);
    let value = us / per;
    if per == 1.0 && us.fract() == 0.0 {
        return format!("{value:.0} {name}");
    }
    format!("{} {name}", digits(value))
}

/// A whole number of microseconds.
pub fn micros(us: u64) -> String {
    time(us as f64)
}

/// Seconds: `30.0 s`, `250 ms`.
pub fn seconds(s: f64) -> String {
    if s == 0.0 { "0 s".to_owned() } else { time(s * 1e6) }
}

/// A number of bytes: `512 B`, `1.50 MiB`.
pub fn bytes(n: f64) -> String {
    if !n.is_finite() {
        return "–".to_owned();
    }
    let (per, name) = fitting(&SIZES, n, 1024.0);
    if per == 1.0 { format!("{n:.0} {name}") } else { format!("{} {name}", digits(n / per)) }
}

/// A count, exactly, in groups of three: `1,234,567`.
pub fn count(n: u64) -> String {
    let plain = n.to_string();
    let mut out = String::with_capacity(plain.len() + plain.len() / 3);
    for (i, digit) in plain.chars().enumerate() {
        if i > 0 && (plain.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many a second, without the `/s`: whole above 100, three digits below.
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if !r.is_finite() => "–".to_owned(),
        r if r <= 0.0 => "0".to_owned(),
        r if r < 99.95 => digits(r),
        r => count(r.round() as u64),
    }
}

/// A share of 1 in percent: `0 %`, `0.012 %`, `43.0 %`; never rounded to 0 or to 100 when it is not.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if !p.is_finite() => "–".to_owned(),
        p if p <= 0.0 => "0 %".to_owned(),
        p if p < 0.001 => "< 0.001 %".to_owned(),
        p if p < 1.0 => format!("{p:.3} %"),
        p if p < 100.0 && p >= 99.95 => "> 99.9 %".to_owned(),
        p => format!("{} %", digits(p)),
    }
}

/// `1 request`, `2 requests`.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// Text from outside as it may stand in a report: what would move a cursor, turn the reading direction or end a line
/// becomes U+FFFD, and what is longer than `max` characters ends in an ellipsis.
pub fn clean(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == max {
            out.push('…');
            break;
        }
        out.push(if is_harmless(c) { c } else { '\u{fffd}' });
    }
    out
}

/// Neither a control character, nor one that turns the direction of text, nor one that XML does not allow.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// A command line as a shell reads it back: arguments with other than plain characters are quoted.
pub fn shell(command: &[String]) -> String {
    let mut out = String::new();
    for argument in command {
        if !out.is_empty() {
            out.push(' ');
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            out.push_str(argument);
        } else {
            let _ = write!(out, "'{}'", argument.replace('\'', "'\\''"));
        }
    }
    out
}

/// The largest unit of which `value` is at least one, once it is rounded to three digits.
fn fitting<'a>(units: &[(f64, &'a str)], value: f64, step: f64) -> (f64, &'a str) {
    let mut chosen = (1.0, units.first().map_or("", |u| u.1));
    for (per, name) in units {
        // 3 digits of a decimal unit round up at 999.5.
        let whole = if step == 1000.0 { per * 0.9995 } else { *per };
        if *per == 1.0 || value.abs() >= whole {
            chosen = (*per, name);
        }
    }
    chosen
}

/// Three significant digits, without an exponent; more before the point when there are more.
fn digits(value: f64) -> String {
    let size = value.abs();
    if size >= 999.5 {
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{}", count(size.round() as u64))
    } else if size >= 99.95 {
        format!("{value:.0}")
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_fits() {
        for (us, shown) in [
            (0.0, "0 µs"),
            (0.25, "0.25 µs"),
            (7.0, "7 µs"),
            (999.0, "999 µs"),
            (999.7, "1.00 ms"),
            (1000.0, "1.00 ms"),
            (1234.0, "1.23 ms"),
            (12_340.0, "12.3 ms"),
            (123_400.0, "123 ms"),
            (999_499.0, "999 ms"),
            (999_700.0, "1.00 s"),
            (61_200_000.0, "61.2 s"),
            (3_600_000_000.0, "3,600 s"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(time(us), shown, "{us}");
        }
        assert_eq!(seconds(30.0), "30.0 s");
        assert_eq!(seconds(0.0), "0 s");
    }

    #[test]
    fn counts_rates_sizes_and_shares() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [rate(0.0), rate(0.5), rate(99.94), rate(99.96), rate(20_000.4)],
            ["0", "0.50", "99.9", "100", "20,000"]
        );
        assert_eq!(rate(f64::INFINITY), "–");
        assert_eq!([bytes(0.0), bytes(1023.0), bytes(1536.0), bytes(5e9)], ["0 B", "1023 B", "1.50 KiB", "4.66 GiB"]);
        assert_eq!([percent(0.0), percent(0.000_001), percent(0.000_12)], ["0 %", "< 0.001 %", "0.012 %"]);
        assert_eq!([percent(0.5), percent(0.9999), percent(1.0)], ["50.0 %", "> 99.9 %", "100 %"]);
        assert_eq!([counted(1, "error", "errors"), counted(2, "error", "errors")], ["1 error", "2 errors"]);
    }

    #[test]
    fn hostile_text_neither_moves_the_cursor_nor_turns_the_line() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{202e}d", 99), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean("abc", 3), "abc");
    }

    #[test]
    fn command_lines_can_be_pasted() {
        let command = ["edge", "bench", "-H", "x: it's", "", "http://a/?b=1&c"].map(str::to_owned);
        assert_eq!(shell(&command), "edge bench -H 'x: it'\\''s' '' 'http://a/?b=1&c'");
    }
}
