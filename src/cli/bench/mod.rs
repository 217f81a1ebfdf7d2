//! `edge bench`: load on a server, and what is done with the results.
mod args;
mod compare;
mod load;
mod output;
mod search;
mod serve;

use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Exit codes that only `edge bench` has.
pub(super) mod exit {
    /// An assertion does not hold, a comparison found a figure worse, a search found no rate.
    pub const NOT_MET: u8 = 1;
    /// The generator did not keep up: the figures are not the server's.
    pub const NOT_VALID: u8 = 6;
}

const EXAMPLES: &str = "Examples:\n  \
    edge bench http://127.0.0.1:8080/                            # as fast as 64 connections go, 10 s\n  \
    edge bench -r 5000 https://example.test/ --html page.html    # open loop: what users would see\n  \
    edge bench --h2 -c 16 -m 32 -k https://127.0.0.1:8443/       # 32 streams on each of 16 connections\n  \
    edge bench --h3 -k https://127.0.0.1:8443/ --assert 'p99<20ms' 'err<0.1%'\n  \
    edge bench search --slo 'p99<5ms,err<0.1%' http://127.0.0.1:8080/\n  \
    edge bench compare before.json after.json\n  \
    edge bench serve 127.0.0.1:8080 --size 1k --delay 5ms        # an origin to measure against\n\n\
    Exit codes: 0 done, 1 an assertion does not hold, 2 wrong command line, 4 nothing answered at all, 6 INVALID: the \
    generator did not keep up.";

/// `edge bench`, with or without a word behind it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = EXAMPLES)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    run: args::Run,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Find the highest rate under an objective: a ramp, then bisection, then a run that confirms it
    #[command(after_help = "Example:\n  edge bench search --slo 'p99<5ms,err<0.1%' -c 64 http://127.0.0.1:8080/\n\n\
        Exit codes: 0 found, or the highest rate that is tried holds, 1 no rate holds, 2 wrong command line, 6 the \
        generator did not keep up.")]
    Search(Box<args::Search>),
    /// Compare two results: how much each figure differs, and whether that is chance
    #[command(after_help = "Examples:\n  edge bench compare before.json after.json\n  \
        edge bench compare a1.json,a2.json,a3.json b1.json,b2.json,b3.json --threshold 3%\n\n\
        Exit codes: 0 no figure is worse, 1 one is worse by more than the threshold and not by chance, 2 wrong command \
        line or files that are not results.")]
    Compare(args::Compare),
    /// The scripted origin: answers with the size, delay, status and faults it is told to
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<serve::Serve>),
}

/// Does what was asked.
pub(super) fn run(bench: Bench) -> ExitCode {
    match bench.what {
        None => load::run(&bench.run),
        Some(What::Search(args)) => search::run(&args),
        Some(What::Compare(args)) => compare::run(&args),
        Some(What::Serve(args)) => serve::run(*args),
    }
}
