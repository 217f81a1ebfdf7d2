//! Numbers of a run and their bounds: each mistake names the option, what it is, and what it may be.
use super::{
    Mistakes, Options, Protocol,
    mistake::{grouped, quoted},
    options::{CONNECTIONS, CONNECTIONS_MAX, PLACES_MAX, RATE_MAX, RATE_MIN, STREAMS_MAX},
};
use edge_io::{cores, nofile};
use std::{collections::BTreeSet, fmt::Display, num::NonZeroU64, time::Duration};

/// Descriptors beside connections: standard streams, reports, and for each core its ring, timers and wake-ups.
const OTHER_FILES: u64 = 64;
const FILES_OF_A_CORE: u64 = 16;
/// Most cores in a list, before it is looked at which there are.
const CORES_MAX: usize = 8192;

/// How large a run is.
pub(super) struct Size {
    pub connections: usize,
    pub streams: usize,
    pub cores: Vec<usize>,
}

/// Connections, streams and cores, each in its bounds and together.
pub(super) fn size(options: &Options, protocol: Protocol, origins: usize, mistakes: &mut Mistakes) -> Size {
    // Every server gets a connection; who did not ask for a number gets enough.
    let connections = options.connections.unwrap_or(CONNECTIONS.max(origins.min(CONNECTIONS_MAX)));
    let connections = mistakes.check(within("-c", connections, 1, CONNECTIONS_MAX)).unwrap_or(1);
    let streams = mistakes.check(within("-m", options.streams.unwrap_or(1), 1, STREAMS_MAX)).unwrap_or(1);
    if connections.saturating_mul(streams) > PLACES_MAX {
        let (together, most) = (connections.saturating_mul(streams) as u64, PLACES_MAX as u64);
        let (together, most) = (grouped(together), grouped(most));
        mistakes.add(format!("-c {connections} with -m {streams}: {together} requests at once; the most is {most}"));
    }
    if options.connections.is_some_and(|c| c > 0 && c < origins) {
        mistakes.add(format!("-c {connections}: the URLs name {origins} servers; each needs a connection at least"));
    }
    let cores = cores_of(options.cores.as_deref(), connections, mistakes);
    // HTTP/3 needs no descriptor for a connection: those of a shard share a UDP socket.
    if protocol != Protocol::H3 && options.connections.is_some() {
        mistakes.check(files(connections, cores.len(), nofile::limits().map_or(u64::MAX, |(_, hard)| hard)));
    }
    Size { connections, streams, cores }
}

fn files(connections: usize, cores: usize, hard: u64) -> Result<(), String> {
    let needed = connections as u64 + OTHER_FILES + FILES_OF_A_CORE * cores as u64;
    if needed <= hard {
        return Ok(());
    }
    let (needed, hard) = (grouped(needed), grouped(hard));
    Err(format!(
        "-c {connections}: {needed} files would be open, and the limit of this process is {hard}; use fewer \
         connections, or raise the limit (ulimit -Hn)"
    ))
}

fn cores_of(asked: Option<&str>, connections: usize, mistakes: &mut Mistakes) -> Vec<usize> {
    let mut allowed = cores::allowed();
    let Some(text) = asked else {
        // A shard without a connection would do nothing.
        allowed.truncate(connections.max(1));
        return allowed;
    };
    let there = cores::affinity().unwrap_or(allowed);
    let cores = mistakes.check(core_list(text, &there)).unwrap_or_default();
    if cores.len() > connections {
        mistakes.add(format!(
            "--cores {}: {} cores for {connections} connections; each core needs one at least",
            quoted(text),
            cores.len()
        ));
    }
    cores
}

/// Reads `0,2-5`; each must be one of `there`.
fn core_list(text: &str, there: &[usize]) -> Result<Vec<usize>, String> {
    let wrong = |what: String| format!("--cores {}: {what}", quoted(text));
    let mut cores = BTreeSet::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (Ok(from), Ok(to)) = (from.trim().parse::<usize>(), to.trim().parse::<usize>()) else {
            return Err(wrong("expected numbers and ranges such as 0,2-5".into()));
        };
        if from > to || to >= CORES_MAX {
            return Err(wrong(format!("{from}-{to} is no range of cores; expected the lower one first")));
        }
        cores.extend(from..=to);
    }
    match cores.iter().find(|core| !there.contains(core)) {
        Some(core) => {
            let there = there.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            Err(wrong(format!("this process may not run on core {core}; it may on {there}")))
        }
        None => Ok(cores.into_iter().collect()),
    }
}

/// A number from `min` to `max`, both included.
pub(super) fn within<T: PartialOrd + Copy + Display + TryInto<u64>>(
    name: &str,
    n: T,
    min: T,
    max: T,
) -> Result<T, String> {
    if n >= min && n <= max {
        return Ok(n);
    }
    let most = max.try_into().map_or_else(|_| max.to_string(), grouped);
    Err(format!("{name} {n}: expected {min} to {most}"))
}

/// A number that is not zero.
pub(super) fn at_least_one(name: &str, n: u64) -> Result<NonZeroU64, String> {
    NonZeroU64::new(n).ok_or_else(|| format!("{name} 0: expected 1 or more, or leave it out for no such limit"))
}

/// So many a second.
pub(super) fn rate(name: &str, rate: f64) -> Result<f64, String> {
    // Not a number is in no range.
    if (RATE_MIN..=RATE_MAX).contains(&rate) {
        return Ok(rate);
    }
    let most = grouped(RATE_MAX as u64);
    Err(format!("{name} {rate}: expected so many a second, above 0 (one in a day is the least) to {most}"))
}

/// A time from `min` to `max`, both included.
pub(super) fn time(name: &str, asked: Duration, min: Duration, max: Duration) -> Result<Duration, String> {
    if asked >= min && asked <= max {
        return Ok(asked);
    }
    Err(format!("{name} {asked:?}: expected {} to {}", shown(min), shown(max)))
}

fn shown(time: Duration) -> String {
    match time.as_secs() {
        s if s >= 3600 && s % 3600 == 0 => format!("{}h", s / 3600),
        _ => format!("{time:?}"),
    }
}

/// Reads `200`, `200-299` or `2xx`: from, to, both included.
pub(super) fn statuses(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("--expect-status {}: expected a status, 100 to 599, as 200, 200-299 or 2xx", quoted(text));
    let status = |text: &str| text.parse::<u16>().ok().filter(|s| (100..=599).contains(s)).ok_or_else(wrong);
    if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let from = status(&format!("{class}00"))?;
        return Ok((from, from + 99));
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let range = (status(from)?, status(to)?);
    if range.0 <= range.1 { Ok(range) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_read_and_checked() {
        let there = [0, 1, 2, 5];
        assert_eq!(core_list("0", &there).unwrap(), [0]);
        assert_eq!(core_list("5,0-2, 1", &there).unwrap(), [0, 1, 2, 5]);
        for (text, said) in [
            ("", "such as 0,2-5"),
            ("a", "such as 0,2-5"),
            ("1-", "such as 0,2-5"),
            ("-1", "such as 0,2-5"),
            ("2-1", "the lower one first"),
            ("0-99999999999", "the lower one first"),
            ("3", "it may on 0, 1, 2, 5"),
        ] {
            let mistake = core_list(text, &there).unwrap_err();
            assert!(mistake.contains(said), "{text}: {mistake}");
        }
    }

    #[test]
    fn statuses_are_read_and_checked() {
        assert_eq!(statuses("200").unwrap(), (200, 200));
        assert_eq!(statuses("200-204").unwrap(), (200, 204));
        assert_eq!(statuses("5xx").unwrap(), (500, 599));
        for bad in ["", "99", "600", "204-200", "6xx", "0xx", "x", "200-", "2x", "+20", "20000xx"] {
            assert!(statuses(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_limit_of_open_files_is_told_before_it_is_met() {
        assert!(files(1_000, 2, 1_096).is_ok());
        let mistake = files(1_001, 2, 1_096).unwrap_err();
        assert!(mistake.contains("1,097 files") && mistake.contains("ulimit"), "{mistake}");
    }

    #[test]
    fn numbers_out_of_bounds_are_told_with_their_bounds() {
        assert_eq!(within("-c", 0, 1, 1_000_000).unwrap_err(), "-c 0: expected 1 to 1,000,000");
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(rate("-r", bad).is_err(), "{bad}");
        }
        assert_eq!(rate("-r", 0.5), Ok(0.5));
        let hour = Duration::from_secs(3600);
        let mistake = time("--timeout", Duration::ZERO, Duration::from_millis(1), hour).unwrap_err();
        assert_eq!(mistake, "--timeout 0ns: expected 1ms to 1h");
        assert!(at_least_one("-n", 0).unwrap_err().contains("1 or more"));
    }
}
