//! What networks and operators do to QUIC connections, done to the built binary: loss, moves, reloads, the end.
//!
//! The client is quinn with the h3 crate; between it and the edge there is a relay with weather of its own.
mod client;
#[allow(dead_code, unused_imports)] // shared with the suites that need all of it
#[path = "../e2e/harness/mod.rs"]
mod harness;
mod moving;
mod namespace;
mod operators;
mod pace;
mod relay;
mod site;
mod weather;

use harness::{Driver, Pair, Run, Test};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    if let Some(conclusion) = namespace::inside() {
        return conclusion;
    }
    let mut arguments = Arguments::from_args();
    // They keep a core busy each: more at a time only make each other late.
    arguments.test_threads.get_or_insert(2);
    let suites = [weather::tests(), moving::tests(), operators::tests(), namespace::tests(), pace::tests()];
    let conclusion = libtest_mimic::run(&arguments, suites.into_iter().flatten().flat_map(trials).collect());
    for what in harness::left_out() {
        println!("not run: {what}");
    }
    conclusion.exit()
}

fn trials(test: Test) -> Vec<Trial> {
    match test.run {
        Run::Over(pairs, run) => {
            let trial = |at: Pair| Trial::test(format!("{}::{at}", test.name), move || guarded(|| run(at)));
            pairs().into_iter().map(trial).collect()
        }
        Run::Once(run) => vec![Trial::test(test.name, move || guarded(run))],
        Run::EachDriver(run) => Driver::ALL
            .map(|driver| Trial::test(format!("{}::{driver}", test.name), move || guarded(|| run(driver))))
            .into(),
    }
}

fn guarded(run: impl FnOnce()) -> Result<(), Failed> {
    run();
    Ok(())
}
