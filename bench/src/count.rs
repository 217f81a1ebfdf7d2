//! Instructions of a scenario, counted by Valgrind's Callgrind in a process of its own.
//!
//! Only what runs inside [`region`] is counted, so the process's start and the making of inputs cancel exactly. The child
//! has no environment, so that neither the allocator nor libc finds other settings or another stack.
use crate::scenario::Scenario;
use std::{
    env, fmt, io,
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What Callgrind calls [`region`].
const REGION: &str = "*edge_bench*count*region*";
/// The line of Callgrind's report that has the number.
const REPORTED: &str = "Collected :";

/// Why there is no number.
#[derive(Debug)]
pub enum Error {
    /// Valgrind is not there.
    NoValgrind(io::Error),
    /// The run of this scenario ended otherwise than it should, with this on its standard error.
    Failed(String, String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoValgrind(why) => {
                write!(f, "valgrind cannot be run ({why}): install it (Debian: apt install valgrind)")
            }
            Error::Failed(name, why) => write!(f, "{name:?} was not counted:\n{why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Calls `work` so many times: what is counted is all that happens in here.
#[inline(never)]
fn region(work: &mut dyn FnMut(), calls: u32) {
    for _ in 0..calls {
        work();
    }
}

/// The counted process: prepares the scenario, has it grow what it keeps, then runs it where it is counted.
pub fn run(scenario: &Scenario) {
    let mut work = scenario.prepare();
    (0..scenario.calls.div_ceil(4)).for_each(|_| work());
    region(&mut *work, scenario.calls);
}

/// Instructions of one operation.
///
/// # Errors
/// Valgrind is not there, or the run failed.
pub fn count(scenario: &Scenario) -> Result<f64, Error> {
    let failed = |why: &str| Error::Failed(scenario.name.clone(), why.to_owned());
    let own = env::current_exe().map_err(|e| failed(&e.to_string()))?;
    let out = valgrind()
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={REGION}"))
        .arg(own)
        .args(["run", &scenario.name])
        .stdin(Stdio::null())
        .output()
        .map_err(Error::NoValgrind)?;
    let said = String::from_utf8_lossy(&out.stderr);
    match collected(&said).filter(|n| out.status.success() && *n > 0) {
        Some(n) => Ok(n as f64 / f64::from(scenario.calls) / f64::from(scenario.operations)),
        None => Err(failed(&said)),
    }
}

/// The number in Callgrind's report.
fn collected(report: &str) -> Option<u64> {
    report.lines().find_map(|line| line.split_once(REPORTED)?.1.trim().parse().ok())
}

/// Valgrind without an environment, found on the caller's path.
fn valgrind() -> Command {
    let mut command = Command::new("valgrind");
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command
}

/// What Valgrind calls itself.
///
/// # Errors
/// It is not there.
pub fn valgrind_version() -> Result<String, Error> {
    let out = valgrind().arg("--version").output().map_err(Error::NoValgrind)?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Counts all of them, as many at once as there are cores; the figures are in the same order.
///
/// # Errors
/// The first of the scenarios that failed.
pub fn count_all(scenarios: &[Scenario]) -> Result<Vec<f64>, Error> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(scenarios.len()));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(at) else { return };
            let outcome = count(scenario);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, outcome));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_in_the_report() {
        let report = "==1== Events    : Ir\n==1== Collected : 123456\n==1==\n==1== I   refs:      123,456\n";
        assert_eq!(collected(report), Some(123_456));
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected :\n"), None);
        assert_eq!(collected("valgrind: no such tool\n"), None);
    }
}
