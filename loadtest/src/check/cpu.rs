//! CPU time of this thread and of other processes, as the kernel counts it: in nanoseconds for threads that live
//! (`schedstat`), in ticks for what has ended.
use std::{collections::VecDeque, fs};

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ` is 100 on every Linux.
const TICK_US: u64 = 10_000;
/// Processes of a server that are looked at: more than any has, and a bound to the walk.
const PROCESSES_MAX: usize = 4096;

/// What a thread has used so far, µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// On a processor.
    pub cpu_us: u64,
    /// Ready to run, and waiting for one.
    pub waited_us: u64,
}

impl Used {
    /// Since an earlier reading.
    pub fn since(self, earlier: Used) -> Used {
        Used {
            cpu_us: self.cpu_us.saturating_sub(earlier.cpu_us),
            waited_us: self.waited_us.saturating_sub(earlier.waited_us),
        }
    }
}

/// Of the calling thread. Zeros where the kernel does not say (`CONFIG_SCHED_INFO`).
pub fn this_thread() -> Used {
    fs::read_to_string("/proc/thread-self/schedstat").ok().and_then(|text| schedstat(&text)).unwrap_or_default()
}

/// Nanoseconds run, nanoseconds waited, times scheduled.
fn schedstat(text: &str) -> Option<Used> {
    let mut words = text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    Some(Used { cpu_us: words.next()?? / 1000, waited_us: words.next()?? / 1000 })
}

/// CPU time of a process and all below it, those that ended and were waited for included, µs. `None` when there is no such
/// process any more.
pub fn of_tree(pid: u32) -> Option<u64> {
    let mut sum = process(pid)?;
    let mut queue = VecDeque::from([pid]);
    let mut seen = 1;
    while let Some(pid) = queue.pop_front() {
        for child in children(pid) {
            if seen == PROCESSES_MAX {
                return Some(sum);
            }
            seen += 1;
            sum += process(child).unwrap_or(0);
            queue.push_back(child);
        }
    }
    Some(sum)
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Of one process, and of its children that ended and were waited for.
fn process(pid: u32) -> Option<u64> {
    let Ticks { own_us, ended_us } = stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    // The sum over threads is exact, and lacks those that have ended.
    Some(own_us.max(threads(pid)).saturating_add(ended_us))
}

/// Of all threads of a process that live. 0 where the kernel does not say.
fn threads(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let texts = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    texts.filter_map(|text| schedstat(&text)).map(|used| used.cpu_us).sum()
}

/// What a process has used, to a tick of 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    own_us: u64,
    /// Children that ended and were waited for.
    ended_us: u64,
}

/// Fields 14 to 17 of `/proc/PID/stat`, proc_pid_stat(5): user and system time, and those of children that ended.
fn stat(text: &str) -> Option<Ticks> {
    // The name, in brackets, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace().skip(11);
    let mut two = || {
        let mut ticks = || Some(words.next()?.parse::<i64>().ok()?.max(0) as u64);
        Some(ticks()?.saturating_add(ticks()?).saturating_mul(TICK_US))
    };
    Some(Ticks { own_us: two()?, ended_us: two()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let line = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 7 3 20 1 20 0 1 0 100 0 0";
        assert_eq!(stat(line), Some(Ticks { own_us: 100_000, ended_us: 210_000 }));
        assert_eq!(stat("42 (short) S 1"), None);
        assert_eq!(schedstat("5000 7000 9\n"), Some(Used { cpu_us: 5, waited_us: 7 }));
        assert_eq!(schedstat("x"), None);
    }

    #[test]
    fn work_of_this_thread_and_process_is_seen() {
        let tree = of_tree(std::process::id()).unwrap();
        let before = this_thread();
        let begun = std::time::Instant::now();
        while this_thread().since(before).cpu_us < 60_000 && begun.elapsed().as_secs() < 20 {
            std::hint::black_box((0..100_000u64).sum::<u64>());
        }
        assert!(this_thread().since(before).cpu_us >= 60_000);
        let used = this_thread().since(before).cpu_us;
        let seen = of_tree(std::process::id()).unwrap() - tree;
        // Threads of other tests end meanwhile: what they used is only known to the tick.
        assert!(seen + 3 * TICK_US >= used, "{seen} of {used}");
        assert_eq!(of_tree(u32::MAX), None);
    }
}
