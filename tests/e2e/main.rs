//! End-to-end tests: the built binary between real clients and real origins, over each pair of protocols and on both I/O drivers.
mod aftermath;
mod again;
mod alt_svc;
mod balance;
mod bench;
mod body;
mod certificates;
mod chaos;
mod chaos_pairs;
mod cli;
mod connection;
mod convert;
mod drain;
mod driver;
mod failure;
mod flow;
mod framing;
mod grpc;
mod harness;
mod headers;
mod health;
mod http3;
mod http3_bounds;
mod http3_listeners;
mod limits;
mod names;
mod observe;
mod overload;
mod reload;
mod removal;
mod routing;
mod self_test;
mod self_test_pairs;
mod streams;
mod third_parties;
mod tls;
mod upgrade;
mod upstream;

use harness::{Driver, Pair, Run, Test};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let mut arguments = Arguments::from_args();
    // Most tests wait for sockets and timeouts, not for a core.
    arguments.test_threads.get_or_insert(12);
    let conclusion = libtest_mimic::run(&arguments, suites().into_iter().flat_map(trials).collect());
    for what in harness::left_out() {
        println!("not run: {what}");
    }
    conclusion.exit()
}

fn suites() -> Vec<Test> {
    [
        aftermath::tests(),
        again::tests(),
        alt_svc::tests(),
        bench::tests(),
        body::tests(),
        certificates::tests(),
        chaos::tests(),
        chaos_pairs::tests(),
        cli::tests(),
        connection::tests(),
        convert::tests(),
        drain::tests(),
        driver::tests(),
        failure::tests(),
        flow::tests(),
        framing::tests(),
        grpc::tests(),
        headers::tests(),
        health::tests(),
        http3::tests(),
        http3_bounds::tests(),
        http3_listeners::tests(),
        limits::tests(),
        names::tests(),
        observe::tests(),
        overload::tests(),
        reload::tests(),
        removal::tests(),
        routing::tests(),
        self_test::tests(),
        self_test_pairs::tests(),
        streams::tests(),
        third_parties::tests(),
        tls::tests(),
        upgrade::tests(),
        upstream::tests(),
        balance::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
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
