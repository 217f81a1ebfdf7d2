//! How much of the memory that the process may have it uses: read now and then, for shards that protect themselves.
use super::steward::Look;
use std::fs;

/// How often it is read, in ticks of the steward.
const EVERY: u64 = 5;
/// How often the limit is: it may be changed while the process runs.
const LIMIT_EVERY: u64 = 100;

/// Reads it.
#[derive(Default)]
pub(super) struct Memory {
    limit: Option<u64>,
}

impl Memory {
    /// One tick.
    pub fn tick(&mut self, look: Look<'_>) {
        if look.tick.is_multiple_of(LIMIT_EVERY) {
            self.limit = limit();
        }
        if !look.tick.is_multiple_of(EVERY) {
            return;
        }
        let used = self.limit.and_then(|limit| Some(permille(resident()?, limit)));
        look.stats.control.set_memory_permille(used.unwrap_or(0));
    }
}

fn permille(used: u64, limit: u64) -> u32 {
    u32::try_from(used.saturating_mul(1000) / limit.max(1)).unwrap_or(u32::MAX)
}

/// Resident memory of the process, bytes.
fn resident() -> Option<u64> {
    kib(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The least of the machine's memory and the limits of the process' cgroup and those above it, bytes.
fn limit() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib(&text, "MemTotal:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = groups.lines().filter_map(place).flat_map(|(root, path, file)| limits(&root, path, file));
    machine.into_iter().chain(of_groups).min()
}

/// Where the limit of a line of `/proc/self/cgroup` stands: version 2 (`0::/path`), or the controller of version 1.
fn place(line: &str) -> Option<(String, &str, &'static str)> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    match controllers {
        "" => Some(("/sys/fs/cgroup".to_owned(), path, "memory.max")),
        "memory" => Some(("/sys/fs/cgroup/memory".to_owned(), path, "memory.limit_in_bytes")),
        _ => None,
    }
}

/// The limits of a group and of those above it; in a container the outer path may not be there, but the root is.
fn limits(root: &str, path: &str, file: &str) -> Vec<u64> {
    let mut found = Vec::new();
    let mut path = path.trim_end_matches('/');
    loop {
        if let Ok(text) = fs::read_to_string(format!("{root}{path}/{file}")) {
            found.extend(text.trim().parse::<u64>()); // "max" is none
        }
        match path.rsplit_once('/') {
            Some((parent, _)) => path = parent,
            None => return found,
        }
    }
}

/// The value of a line `Key:   1234 kB`, bytes.
fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions_are_found() {
        assert_eq!(place("0::/a/b"), Some(("/sys/fs/cgroup".to_owned(), "/a/b", "memory.max")));
        assert_eq!(place("7:memory:/x"), Some(("/sys/fs/cgroup/memory".to_owned(), "/x", "memory.limit_in_bytes")));
        assert_eq!(place("3:cpu,cpuacct:/x"), None);
        assert_eq!(place("nonsense"), None);
    }

    #[test]
    fn the_tightest_group_counts() {
        let root = std::env::temp_dir().join(format!("edge-memory-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("memory.max"), "max\n").unwrap();
        fs::write(root.join("a/memory.max"), "1000\n").unwrap();
        fs::write(root.join("a/b/memory.max"), "2000\n").unwrap();
        let found = limits(root.to_str().unwrap(), "/a/b", "memory.max");
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [2000, 1000]);
    }

    #[test]
    fn this_process_uses_some_of_what_it_may_have() {
        let (used, limit) = (resident().unwrap(), limit().unwrap());
        assert!(used > 0 && used < limit, "{used} of {limit}");
        assert_eq!((permille(900, 1000), permille(1, 0)), (900, 1000));
        assert_eq!(kib("A: 1 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12 * 1024));
    }
}
