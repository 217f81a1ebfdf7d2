//! A result as CSV (RFC 4180): a row for each second, for spreadsheets and plotting programs.
use super::facts::{faults, per};
use crate::record::{FAULTS, Outcome, Second};
use std::io::{self, Write};

/// Classes of status, each a column; what is outside them is in `status_other`.
const CLASSES: [u16; 5] = [1, 2, 3, 4, 5];

/// Writes header and rows. Times are microseconds, and empty in a second without answers.
///
/// # Errors
/// Those of `out`.
pub fn write(outcome: &Outcome, mut out: impl Write) -> io::Result<()> {
    line(&mut out, &header())?;
    for second in &outcome.series {
        line(&mut out, &row(second))?;
    }
    out.flush()
}

/// Fields are numbers and names of our own: none holds a comma, a quote or an end of line, so none is quoted.
fn line(out: &mut impl Write, fields: &[String]) -> io::Result<()> {
    out.write_all(fields.join(",").as_bytes())?;
    out.write_all(b"\r\n")
}

fn header() -> Vec<String> {
    let fixed = "at_s length_s sent answered rate errors body_bytes bytes_in bytes_out connections closed \
                 p50_us p75_us p90_us p95_us p99_us p999_us p9999_us max_us mean_us server_cpu_us";
    let mut names: Vec<String> = fixed.split_ascii_whitespace().map(str::to_owned).collect();
    names.extend(FAULTS.iter().map(|f| format!("fault_{f}")));
    names.extend(CLASSES.iter().map(|c| format!("status_{c}xx")));
    names.push("status_other".to_owned());
    names
}

fn row(second: &Second) -> Vec<String> {
    let (counts, times) = (&second.counts, &second.response);
    let mut fields = vec![number(second.at), number(second.length)];
    fields.extend([counts.sent, counts.answered].map(|n| n.to_string()));
    fields.push(number(per(counts.answered as f64, second.length)));
    let plain =
        [faults(counts), counts.body_bytes, counts.bytes_in, counts.bytes_out, counts.connections, counts.closed];
    fields.extend(plain.map(|n| n.to_string()));
    let some = times.count > 0;
    let spread = [times.p50, times.p75, times.p90, times.p95, times.p99, times.p999, times.p9999, times.max];
    fields.extend(spread.map(|n| if some { n.to_string() } else { String::new() }));
    fields.push(if some { number(times.mean) } else { String::new() });
    fields.push(second.server_cpu_us.map_or(String::new(), |n| n.to_string()));
    fields.extend(FAULTS.iter().map(|f| counts.faults.get(f).copied().unwrap_or(0).to_string()));
    let class = |wanted: &dyn Fn(u16) -> bool| {
        let fitting = counts.status.iter().filter(|(status, _)| wanted(**status / 100));
        fitting.map(|(_, n)| *n).sum::<u64>().to_string()
    };
    fields.extend(CLASSES.iter().map(|c| class(&|of| of == *c)));
    fields.push(class(&|of| !CLASSES.contains(&of)));
    fields
}

/// Thousandths are enough of seconds and of means.
fn number(value: f64) -> String {
    let rounded = (value * 1000.0).round() / 1000.0;
    if rounded.is_finite() { rounded.to_string() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::Fault,
        report::sample::{Sample, outcome},
    };

    fn table(outcome: &Outcome) -> Vec<Vec<String>> {
        let mut bytes = Vec::new();
        write(outcome, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.ends_with("\r\n"));
        text.trim_end().split("\r\n").map(|l| l.split(',').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn each_row_says_what_its_second_says() {
        let mut outcome = outcome(&Sample::default());
        outcome.series[2].counts.status.insert(799, 7);
        outcome.series[2].counts.faults.insert(Fault::Upgrade, 5);
        outcome.series[2].server_cpu_us = Some(812_345);
        let table = table(&outcome);
        assert_eq!(table.len(), outcome.series.len() + 1);
        for (second, row) in outcome.series.iter().zip(&table[1..]) {
            assert_eq!(row.len(), table[0].len(), "as many fields as names");
            let get = |name: &str| {
                let at = table[0].iter().position(|n| n == name).unwrap_or_else(|| panic!("no column {name}"));
                row[at].as_str()
            };
            assert_eq!(get("sent"), second.counts.sent.to_string());
            assert_eq!(get("answered"), second.counts.answered.to_string());
            assert_eq!(get("errors"), second.counts.faults.values().sum::<u64>().to_string());
            assert_eq!(get("bytes_in"), second.counts.bytes_in.to_string());
            for fault in FAULTS {
                let n = second.counts.faults.get(&fault).copied().unwrap_or(0);
                assert_eq!(get(&format!("fault_{fault}")), n.to_string());
            }
            if second.response.count > 0 {
                assert_eq!(get("p50_us"), second.response.p50.to_string());
                assert_eq!(get("p99_us"), second.response.p99.to_string());
                assert_eq!(get("max_us"), second.response.max.to_string());
            } else {
                assert_eq!([get("p50_us"), get("max_us"), get("mean_us")], ["", "", ""], "no answer is not 0 µs");
            }
            let answers: u64 = (1..=5).map(|c| get(&format!("status_{c}xx")).parse::<u64>().unwrap()).sum();
            let all = answers + get("status_other").parse::<u64>().unwrap();
            assert_eq!(all, second.counts.status.values().sum::<u64>());
        }
        let at = |name: &str| table[0].iter().position(|n| n == name).unwrap();
        assert_eq!(table[3][at("status_other")], "7");
        assert_eq!(table[3][at("server_cpu_us")], "812345");
    }

    #[test]
    fn the_rate_is_of_the_seconds_length() {
        let mut second = Second { at: 1.25, length: 0.25, ..Second::default() };
        second.counts.answered = 100;
        assert_eq!(row(&second)[..5], ["1.25", "0.25", "0", "100", "400"]);
        second.length = 0.0;
        assert_eq!(row(&second)[4], "0");
    }
}
