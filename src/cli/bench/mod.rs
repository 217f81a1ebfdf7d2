//! `edge bench`: the load generator's commands.
mod serve;

use clap::{Args, Subcommand};
use std::process::ExitCode;

/// What `edge bench` is asked.
#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The scripted origin: answers with the size, delay, status and faults it is told to
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<serve::Serve>),
}

pub(super) fn run(args: Bench) -> ExitCode {
    match args.command {
        Command::Serve(args) => serve::run(*args),
    }
}
