//! Where and when a run is measured.
use crate::record::Environment;
use std::fs;

/// What this machine and system say of themselves; empty where they do not.
pub(super) fn environment() -> Environment {
    Environment {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: jiff::Timestamp::now().to_string(),
        kernel: read("/proc/sys/kernel/osrelease"),
        cpu: value(&read("/proc/cpuinfo"), "model name", ':'),
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        memory: value(&read("/proc/meminfo"), "MemTotal", ':')
            .split_ascii_whitespace()
            .next()
            .and_then(|kib| kib.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024),
        os: value(&read("/etc/os-release"), "PRETTY_NAME", '=').trim_matches('"').to_owned(),
        command: std::env::args().collect(),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

/// The value behind the first line's `key` and `separator`.
fn value(text: &str, key: &str, separator: char) -> String {
    let found = text.lines().filter_map(|line| line.split_once(separator)).find(|(name, _)| name.trim() == key);
    found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        let environment = environment();
        assert!(!environment.kernel.is_empty() && environment.memory > 1 << 20 && environment.cpus > 0);
        assert!(environment.started.ends_with('Z'));
        assert_eq!(value("A=1\nPRETTY_NAME=\"x y\"", "PRETTY_NAME", '='), "\"x y\"");
        assert_eq!(value("", "A", '='), "");
    }
}
