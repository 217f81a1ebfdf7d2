//! What every suite needs: the edge as a process, origins and clients that it cannot fool, and a registry of tests.
pub mod client;
pub mod edge;
pub mod exchange;
pub mod frames;
pub mod grpc;
pub mod h3_crate;
pub mod http2;
pub mod http3;
pub mod message;
pub mod metrics;
pub mod origin;
pub mod pair;
pub mod peers;
pub mod programs;
#[path = "../../support/python.rs"]
pub mod python;
pub mod qpack;
pub mod room;
pub mod served;
pub mod tls;
pub mod wire;

pub use client::{Call, Client};
pub use edge::{Edge, Setup};
pub use exchange::{Ask, Reply};
pub use message::Message;
pub use metrics::Metrics;
pub use origin::Origin;
pub use pair::{Pair, Protocol};
pub use served::Served;
pub use wire::{Addr, Wire};

use std::{
    collections::BTreeSet,
    fmt,
    sync::Mutex,
    time::{Duration, Instant},
};

/// How long anything that ought to happen at once may take before a test gives up. Generous: machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Which I/O driver the edge under test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring; where the kernel denies it the test still runs, on epoll, and the run says so at its end.
    IoUring,
    /// epoll, because the process is under a seccomp filter that denies `io_uring_setup`, as in a container.
    Epoll,
}

impl Driver {
    /// Both, in the order of the tests' names.
    pub const ALL: [Driver; 2] = [Driver::IoUring, Driver::Epoll];
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        })
    }
}

/// One test: its name and what to run.
pub struct Test {
    /// `subject::what_it_says`.
    pub name: String,
    /// Panics when it fails.
    pub run: Run,
}

/// How often a test runs.
pub enum Run {
    /// Over each of these pairs of protocols.
    Over(fn() -> Vec<Pair>, fn(Pair)),
    /// Once on each driver.
    EachDriver(fn(Driver)),
    /// Once.
    Once(fn()),
}

/// The tests of one file, in groups: `suite!("subject"; each_pair: a, b; once: c)`. The groups of pairs are named in
/// `harness/pair.rs`.
#[macro_export]
macro_rules! suite {
    ($subject:literal; $($group:ident: $($test:ident),* $(,)?);* $(;)?) => {
        /// This file's tests.
        pub fn tests() -> Vec<$crate::harness::Test> {
            vec![$($($crate::harness::Test {
                name: concat!($subject, "::", stringify!($test)).to_owned(),
                run: $crate::suite!(@$group $test),
            },)*)*]
        }
    };
    (@each_driver $test:ident) => { $crate::harness::Run::EachDriver($test) };
    (@once $test:ident) => { $crate::harness::Run::Once($test) };
    (@$pairs:ident $test:ident) => { $crate::harness::Run::Over($crate::harness::Pair::$pairs, $test) };
}

static NOT_RUN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Remembers that a program is missing, for the last lines of the run.
///
/// # Panics
/// With `EDGE_TEST_REQUIRE=all`, where every program has to be there.
pub fn not_installed(program: &str) {
    assert!(std::env::var("EDGE_TEST_REQUIRE").as_deref() != Ok("all"), "EDGE_TEST_REQUIRE=all, and no {program}");
    not_run(format!("tests with {program}: it is not installed"));
}

/// Remembers that this kernel leaves something out, for the last lines of the run.
pub fn not_run(what: impl Into<String>) {
    let what = what.into();
    NOT_RUN.lock().expect("no test panics while it holds this").insert(what);
}

/// What was left out.
pub fn left_out() -> Vec<String> {
    NOT_RUN.lock().expect("no test panics while it holds this").iter().cloned().collect()
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// After [`PATIENCE`], naming `what`.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "still waiting after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes that are all different from their neighbours, so that a lost, doubled or swapped piece shows.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(31) ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}
