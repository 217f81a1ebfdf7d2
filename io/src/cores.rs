//! Which cores the process may use (affinity and cgroup quota), and pinning a thread to one.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Cores in an affinity mask we can hold: as many as Linux can be built for.
const MASK_CORES: usize = 8192;
const MASK_WORDS: usize = MASK_CORES / 64;

/// One core per shard to start: the affinity mask, cut to the cgroup quota rounded up; never empty.
pub fn allowed() -> Vec<usize> {
    let cores = affinity().unwrap_or_else(|_| vec![0]);
    let most = quota().unwrap_or(usize::MAX);
    cut(cores, most)
}

fn cut(mut cores: Vec<usize>, most: usize) -> Vec<usize> {
    if cores.is_empty() {
        cores.push(0);
    }
    cores.truncate(most.max(1));
    cores
}

/// The cores that the affinity mask of the calling thread names, ascending.
pub fn affinity() -> io::Result<Vec<usize>> {
    let mut mask = [0u64; MASK_WORDS];
    // SAFETY: `mask` is writable for the number of bytes given; the kernel writes at most that many, and any bits are
    // a valid `u64`. The cast only changes the type of the pointer; `cpu_set_t` is an array of words as well.
    let wrote = unsafe { libc::sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr().cast()) };
    if wrote < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((0..MASK_CORES).filter(|core| mask[core / 64] >> (core % 64) & 1 == 1).collect())
}

/// Pins the calling thread to one core.
pub fn pin(core: usize) -> io::Result<()> {
    if core >= MASK_CORES {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut mask = [0u64; MASK_WORDS];
    mask[core / 64] |= 1 << (core % 64);
    // SAFETY: `mask` is readable for the number of bytes given; the kernel ignores zero bytes past its own mask.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&mask), mask.as_ptr().cast()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How many cores the cgroup's CPU quota is worth, rounded up; `None` without a quota.
pub fn quota() -> Option<usize> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    quota_under(Path::new("/sys/fs/cgroup"), &membership)
}

/// The same, from any tree (tests) and the text of `/proc/self/cgroup`. The tightest quota on the way up counts.
fn quota_under(root: &Path, membership: &str) -> Option<usize> {
    let mut tightest: Option<usize> = None;
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let found = if id == "0" && controllers.is_empty() {
            climb(root, path, |dir| v2_quota(&fs::read_to_string(dir.join("cpu.max")).ok()?))
        } else if controllers.split(',').any(|c| c == "cpu") {
            // The controller's tree is mounted under its own name or under that of the pair.
            [root.join("cpu"), root.join(controllers)].iter().filter_map(|tree| climb(tree, path, v1_quota)).min()
        } else {
            None
        };
        tightest = [tightest, found].into_iter().flatten().min();
    }
    tightest
}

/// Asks `path` below `root` and each of its parents; the least answer. Inside a container the path may name
/// directories that are not visible: those answer nothing, and the root of the mount is the container's own group.
fn climb(root: &Path, path: &str, ask: impl Fn(&Path) -> Option<usize>) -> Option<usize> {
    let mut below: PathBuf = path.trim_start_matches('/').into();
    let mut tightest = ask(root);
    while !below.as_os_str().is_empty() {
        tightest = [tightest, ask(&root.join(&below))].into_iter().flatten().min();
        if !below.pop() {
            break;
        }
    }
    tightest
}

/// `cpu.max`: `QUOTA PERIOD` or `max PERIOD`, in µs.
fn v2_quota(text: &str) -> Option<usize> {
    let mut words = text.split_ascii_whitespace();
    let quota = words.next()?.parse().ok()?;
    cores_for(quota, words.next()?.parse().ok()?)
}

/// `cpu.cfs_quota_us` (-1 is none) over `cpu.cfs_period_us`.
fn v1_quota(dir: &Path) -> Option<usize> {
    let number = |name| fs::read_to_string(dir.join(name)).ok()?.trim().parse::<i64>().ok();
    cores_for(u64::try_from(number("cpu.cfs_quota_us")?).ok()?, u64::try_from(number("cpu.cfs_period_us")?).ok()?)
}

fn cores_for(quota: u64, period: u64) -> Option<usize> {
    (period > 0).then(|| quota.div_ceil(period).max(1)).and_then(|cores| usize::try_from(cores).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn v2_takes_the_tightest_group_on_the_way_up_rounded_up() {
        let t =
            tree(&[("a/b/cpu.max", "max 100000\n"), ("a/cpu.max", "250000 100000\n"), ("cpu.max", "900000 100000\n")]);
        assert_eq!(quota_under(t.path(), "0::/a/b\n"), Some(3));
        assert_eq!(quota_under(t.path(), "0::/not/visible\n"), Some(9));
    }

    #[test]
    fn v2_without_quota_is_none_and_a_sliver_is_one_core() {
        let t = tree(&[("cpu.max", "max 100000\n"), ("small/cpu.max", "5000 100000\n")]);
        assert_eq!(quota_under(t.path(), "0::/\n"), None);
        assert_eq!(quota_under(t.path(), "0::/small\n"), Some(1));
    }

    #[test]
    fn v1_reads_the_cpu_controller_only() {
        let t = tree(&[
            ("cpu,cpuacct/x/cpu.cfs_quota_us", "150000\n"),
            ("cpu,cpuacct/x/cpu.cfs_period_us", "100000\n"),
            ("cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(quota_under(t.path(), "5:memory:/x\n4:cpu,cpuacct:/x\n"), Some(2));
        assert_eq!(quota_under(t.path(), "4:cpu,cpuacct:/\n"), None);
    }

    #[test]
    fn nonsense_is_no_quota() {
        let t = tree(&[("cpu.max", "lots of it\n"), ("z/cpu.max", "5 0\n")]);
        assert_eq!(quota_under(t.path(), "0::/z\ngarbage\n"), None);
    }

    #[test]
    fn never_empty() {
        assert_eq!(cut(vec![], 0), [0]);
        assert_eq!(cut(vec![3, 5, 7], 2), [3, 5]);
        assert!(!allowed().is_empty());
    }

    #[test]
    fn a_pinned_thread_stays_on_its_core() {
        let core = *affinity().unwrap().last().unwrap();
        std::thread::spawn(move || {
            pin(core).unwrap();
            assert_eq!(affinity().unwrap(), [core]);
        })
        .join()
        .unwrap();
    }
}
