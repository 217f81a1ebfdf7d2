//! From text to objectives; mistakes say at which place of which text.
use super::{Metric, Must, OBJECTIVES_MAX, Objective, Phase, Point};
use crate::record::FAULTS;
use std::fmt;

/// Longest text of objectives, bytes.
const TEXT_MAX: usize = 4096;

/// What cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The whole text.
    pub text: String,
    /// Byte of the text where it goes wrong.
    pub at: usize,
    /// What was expected there.
    pub expected: String,
}

/// The text, a mark under the place, and what was expected.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.text.get(..self.at).map_or(0, |t| t.chars().count());
        write!(f, "{}\n{:before$}^ {}", self.text, "", self.expected)
    }
}

impl std::error::Error for Mistake {}

/// Reads several texts, each as [`parse`].
///
/// # Errors
/// The first mistake.
pub fn parse_all<T: AsRef<str>>(texts: &[T]) -> Result<Vec<Objective>, Mistake> {
    let mut objectives = Vec::new();
    for text in texts {
        objectives.extend(parse(text.as_ref())?);
        if objectives.len() > OBJECTIVES_MAX {
            return Err(mistake(text.as_ref(), 0, &format!("too many objectives: the most is {OBJECTIVES_MAX}")));
        }
    }
    Ok(objectives)
}

/// Reads objectives, separated by commas.
///
/// # Errors
/// The first mistake, with its place.
pub fn parse(text: &str) -> Result<Vec<Objective>, Mistake> {
    // Line ends and the like would break the mark under the text.
    let text = text.replace(|c: char| c.is_control(), " ");
    if text.len() > TEXT_MAX {
        return Err(mistake("", 0, &format!("an objective of {} bytes: the most is {TEXT_MAX}", text.len())));
    }
    let (mut objectives, mut at) = (Vec::new(), 0);
    for part in text.split(',') {
        objectives.push(one(&text, part, at)?);
        at += part.len() + 1;
    }
    if objectives.len() > OBJECTIVES_MAX {
        return Err(mistake(&text, 0, &format!("too many objectives: the most is {OBJECTIVES_MAX}")));
    }
    Ok(objectives)
}

fn mistake(text: &str, at: usize, expected: &str) -> Mistake {
    Mistake { text: text.to_owned(), at, expected: expected.to_owned() }
}

fn one(text: &str, part: &str, from: usize) -> Result<Objective, Mistake> {
    let from = from + (part.len() - part.trim_start().len());
    let part = part.trim();
    let fail = |at: usize, expected: &str| Err(mistake(text, from + at, expected));
    let Some(sign_at) = part.find(['<', '>', '=', '!']) else {
        let expected = "expected FIGURE<LIMIT, such as p99<5ms, err<0.1%, rps>=10000";
        return fail(if part.is_empty() { 0 } else { part.len() }, expected);
    };
    let (name, rest) = part.split_at(sign_at);
    let name = name.trim_end();
    let Some(metric) = metric(name) else {
        return fail(0, &unknown(name));
    };
    let signs = [
        ("<=", Must::AtMost),
        (">=", Must::AtLeast),
        ("==", Must::Equal),
        ("!=", Must::Differ),
        ("<", Must::Below),
        (">", Must::Above),
    ];
    let Some((sign, must_be)) = signs.into_iter().find(|(sign, _)| rest.starts_with(sign)) else {
        return fail(sign_at, "expected one of < <= > >= == !=");
    };
    let after = rest.get(sign.len()..).unwrap_or_default();
    let limit_at = sign_at + sign.len() + (after.len() - after.trim_start().len());
    match limit(metric, after.trim()) {
        Ok(limit) => {
            let text = format!("{name}{sign}{}", after.trim());
            Ok(Objective { metric, must_be, limit, text })
        }
        Err(expected) => fail(limit_at, expected),
    }
}

fn unknown(name: &str) -> String {
    match name.split_once('.') {
        Some(("fault", _)) => {
            let all = FAULTS.map(|f| f.name()).join(", ");
            format!("expected fault. and one of {all}")
        }
        Some(("status", _)) => "expected status.200 or status.5xx".into(),
        _ => "expected p50 to p99.99, min, mean, max, stdev (service. ttfb. connect. tls. may stand before), err, errors, \
              fault.NAME, status.5xx, unsent, sent, answers, connections, rps or cps"
            .into(),
    }
}

fn metric(name: &str) -> Option<Metric> {
    Some(match name {
        "err" => Metric::ErrorShare,
        "errors" => Metric::Errors,
        "unsent" => Metric::Unsent,
        "sent" => Metric::Sent,
        "answers" => Metric::Answers,
        "connections" => Metric::Connections,
        "rps" => Metric::AnswersASecond,
        "cps" => Metric::ConnectionsASecond,
        _ => {
            if let Some(kind) = name.strip_prefix("fault.") {
                return FAULTS.iter().find(|f| f.name() == kind).map(|f| Metric::Fault(*f));
            }
            if let Some(statuses) = name.strip_prefix("status.") {
                return status(statuses);
            }
            // `p99.9` has a dot of its own: only these words stand before one.
            let phases = [
                ("response.", Phase::Response),
                ("service.", Phase::Service),
                ("ttfb.", Phase::FirstByte),
                ("connect.", Phase::Connect),
                ("tls.", Phase::Tls),
            ];
            let phase = phases.iter().find_map(|(word, phase)| Some((*phase, name.strip_prefix(word)?)));
            let (phase, rest) = phase.unwrap_or((Phase::Response, name));
            Metric::Time(phase, point(rest)?)
        }
    })
}

fn point(name: &str) -> Option<Point> {
    Some(match name {
        "min" => Point::Min,
        "mean" => Point::Mean,
        "max" => Point::Max,
        "stdev" => Point::Stdev,
        _ => {
            let percent = number(name.strip_prefix('p')?)?;
            (percent > 0.0 && percent <= 100.0).then_some(Point::Quantile(percent / 100.0))?
        }
    })
}

fn status(text: &str) -> Option<Metric> {
    let digits = text.strip_suffix("xx").map(|class| format!("{class}00"));
    let from = digits.as_deref().unwrap_or(text);
    if from.len() != 3 || !from.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let from: u16 = from.parse().ok().filter(|s| (100..=999).contains(s))?;
    Some(Metric::Status(from, if digits.is_some() { from + 99 } else { from }))
}

/// Digits, and perhaps a point and more digits.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.starts_with(|c: char| c.is_ascii_digit());
    text.parse().ok().filter(|n: &f64| plain && n.is_finite())
}

fn limit(metric: Metric, text: &str) -> Result<f64, &'static str> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let n = number(digits);
    match metric {
        Metric::Time(..) => {
            const EXPECTED: &str = "expected a time with its unit, such as 500us, 5ms, 1.5s";
            let us = match unit.trim() {
                "us" | "µs" | "μs" => 1.0,
                "ms" => 1e3,
                "s" => 1e6,
                "m" => 60e6,
                _ => return Err(EXPECTED),
            };
            Ok(n.ok_or(EXPECTED)? * us)
        }
        Metric::ErrorShare => {
            const EXPECTED: &str = "expected a share of the requests, such as 0.1% (the same as 0.001)";
            let share = match unit.trim() {
                "" => n.ok_or(EXPECTED)?,
                "%" => n.ok_or(EXPECTED)? / 100.0,
                _ => return Err(EXPECTED),
            };
            if share <= 1.0 { Ok(share) } else { Err(EXPECTED) }
        }
        _ => {
            const EXPECTED: &str = "expected a number, such as 0, 2500, 10k";
            let times = match unit.trim() {
                "" => 1.0,
                "k" => 1e3,
                "M" => 1e6,
                _ => return Err(EXPECTED),
            };
            Ok(n.ok_or(EXPECTED)? * times)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Fault;

    #[test]
    fn objectives_are_read() {
        let read = |text: &str| {
            let one = parse(text).unwrap();
            assert_eq!(one.len(), 1, "{text}");
            (one[0].metric, one[0].must_be, one[0].limit)
        };
        let time = |phase, q| Metric::Time(phase, Point::Quantile(q));
        assert_eq!(read("p99<5ms"), (time(Phase::Response, 0.99), Must::Below, 5_000.0));
        assert_eq!(read(" p99.9 <= 20 ms "), (time(Phase::Response, 99.9 / 100.0), Must::AtMost, 20_000.0));
        assert_eq!(read("mean<1ms"), (Metric::Time(Phase::Response, Point::Mean), Must::Below, 1_000.0));
        assert_eq!(read("max<1.5s"), (Metric::Time(Phase::Response, Point::Max), Must::Below, 1_500_000.0));
        assert_eq!(read("err<0.1%"), (Metric::ErrorShare, Must::Below, 0.001));
        assert_eq!(read("err<=0.25"), (Metric::ErrorShare, Must::AtMost, 0.25));
        assert_eq!(read("errors==0"), (Metric::Errors, Must::Equal, 0.0));
        assert_eq!(read("rps>=10k"), (Metric::AnswersASecond, Must::AtLeast, 10_000.0));
        assert_eq!(read("cps>2.5"), (Metric::ConnectionsASecond, Must::Above, 2.5));
        assert_eq!(read("service.p99<500µs"), (time(Phase::Service, 0.99), Must::Below, 500.0));
        assert_eq!(read("connect.p99<1m"), (time(Phase::Connect, 0.99), Must::Below, 60e6));
        assert_eq!(read("ttfb.p95<5ms"), (time(Phase::FirstByte, 0.95), Must::Below, 5_000.0));
        assert_eq!(read("tls.min<5ms").0, Metric::Time(Phase::Tls, Point::Min));
        assert_eq!(read("status.5xx==0"), (Metric::Status(500, 599), Must::Equal, 0.0));
        assert_eq!(read("status.404!=3"), (Metric::Status(404, 404), Must::Differ, 3.0));
        assert_eq!(read("fault.stream_reset==0").0, Metric::Fault(Fault::StreamReset));
        let several = parse_all(&["p99<5ms,err<1%", "rps>1"]).unwrap();
        assert_eq!(several.iter().map(|o| o.text.as_str()).collect::<Vec<_>>(), ["p99<5ms", "err<1%", "rps>1"]);
    }

    #[test]
    fn mistakes_are_marked_where_they_are() {
        for (text, at, expected) in [
            ("", 0, "expected FIGURE<LIMIT"),
            ("p99", 3, "expected FIGURE<LIMIT"),
            ("p99<5ms,", 8, "expected FIGURE<LIMIT"),
            ("p99<5ms, foo<1", 9, "expected p50 to"),
            ("p0<1ms", 0, "expected p50 to"),
            ("p101<1ms", 0, "expected p50 to"),
            ("pinf<1ms", 0, "expected p50 to"),
            ("p99=5ms", 3, "expected one of"),
            ("p99!5ms", 3, "expected one of"),
            ("p99<5", 4, "unit"),
            ("p99< ms", 5, "unit"),
            ("p99<5.5.5ms", 4, "unit"),
            ("p99<-5ms", 4, "unit"),
            ("err<0.1 percent", 4, "0.1%"),
            ("err<101%", 4, "0.1%"),
            ("rps>=10ms", 5, "a number"),
            ("rps>=", 5, "a number"),
            ("status.6x==0", 0, "status.5xx"),
            ("status.20==0", 0, "status.5xx"),
            ("status.+20==0", 0, "status.5xx"),
            ("fault.bad==0", 0, "connect_refused"),
            ("service.err<1%", 0, "expected p50 to"),
            ("ä<1", 0, "expected p50 to"),
        ] {
            let mistake = parse(text).unwrap_err();
            assert_eq!(mistake.at, at, "{mistake}");
            assert!(mistake.expected.contains(expected), "{text}: {mistake}");
        }
        let shown = parse("p99<5ms, ä, foo<1").unwrap_err().to_string();
        assert!(shown.starts_with("p99<5ms, ä, foo<1\n          ^ expected FIGURE"), "{shown}");
        assert!(parse(&"p99<5ms,".repeat(600)).is_err());
        assert!(parse(&["p99<5ms"; OBJECTIVES_MAX + 1].join(",")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "[p9.5<>=!%a-zµ, \\n]{0,40}") {
            if let Err(mistake) = parse(&text) {
                proptest::prop_assert!(mistake.at <= mistake.text.len() && mistake.to_string().contains('^'));
            }
        }
    }
}
