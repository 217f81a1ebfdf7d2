//! The command line: what may be asked, how it is answered, and with which exit code.
mod bench;
mod demo;
mod pools;
mod quick;
mod remote;

use crate::{
    admin::client,
    control::{End, reload::Source},
    observe::notice,
    serve::{self, Failure, Options, Ready},
    snapshot,
};
use clap::{Args, Parser, Subcommand};
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Where the configuration is, unless told otherwise.
pub const CONFIG_DEFAULT: &str = "/etc/edge/edge.toml";

/// Exit codes, the same for every command. Mistakes on the command line are 2, which is clap's.
mod exit {
    /// Something failed while running.
    pub const RUNTIME: u8 = 1;
    /// The command line says two things at once.
    pub const USAGE: u8 = 2;
    /// The configuration has mistakes.
    pub const INVALID: u8 = 3;
    /// No edge answers at that address.
    pub const UNREACHABLE: u8 = 4;
    /// The edge answers, but refuses (a port in use, too many old configurations in use).
    pub const REFUSED: u8 = 5;
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed while running, 2 wrong command line, 3 invalid configuration, \
                          4 not running or unreachable, 5 refused, 6 a measurement that is not valid";

/// A multi-protocol edge server: one binary that proxies, reloads and measures.
#[derive(Debug, Parser)]
#[command(name = "edge", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve in the foreground until SIGTERM
    #[command(after_help = "Examples:\n  \
        edge run --config edge.toml\n  \
        edge run --proxy 127.0.0.1:8080=http://127.0.0.1:3000\n\n\
        Signals: HUP reloads the configuration, USR1 reopens the logs, TERM and INT finish what is in flight and end \
        (a second one ends at once), QUIT ends at once.")]
    Run(Run),
    /// Check a configuration: silent when it is valid, every mistake on stderr when not
    #[command(
        after_help = "Examples:\n  edge validate --config edge.toml\n  edge validate -v --config edge.toml && edge reload"
    )]
    Validate(Validate),
    /// Tell the running edge to read its configuration again, and wait until it is in use
    #[command(after_help = "Examples:\n  edge reload\n  edge reload --admin unix:/run/edge/admin.sock")]
    Reload(Remote),
    /// Show what the running edge is doing
    #[command(after_help = "Examples:\n  edge status\n  edge status --json | jq .shards")]
    Status(Remote),
    /// Try it: an edge and an origin on free ports, with a configuration to play with
    #[command(after_help = "Example:\n  edge demo")]
    Demo(Demo),
    /// Load a server and see how it takes it, find its limit, compare results, serve as an origin
    Bench(Box<bench::Bench>),
}

#[derive(Debug, Args)]
struct Run {
    /// The configuration file
    #[arg(short, long, env = "EDGE_CONFIG", value_name = "FILE", hide_env_values = true, default_value = CONFIG_DEFAULT)]
    config: PathBuf,
    /// Proxy without a file: listen here, forward there. May be given several times, for one upstream on several
    /// addresses or for several upstreams on one
    #[arg(long, value_name = "LISTEN=UPSTREAM")]
    proxy: Vec<quick::Proxy>,
    /// Threads that serve traffic, instead of the configuration's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: Option<u16>,
    /// Where metrics, health, status and reload are served, instead of the configuration's
    #[arg(long, env = "EDGE_ADMIN", hide_env_values = true, value_name = "ADDRESS")]
    admin: Vec<client::Addr>,
}

#[derive(Debug, Args)]
struct Validate {
    /// The configuration file
    #[arg(short, long, env = "EDGE_CONFIG", value_name = "FILE", hide_env_values = true, default_value = CONFIG_DEFAULT)]
    config: PathBuf,
    /// Also say what is in it, and what is hardly meant so
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Debug, Args)]
struct Remote {
    /// Where the running edge's admin API listens: 127.0.0.1:9090 or unix:/path
    #[arg(long, env = "EDGE_ADMIN", hide_env_values = true, value_name = "ADDRESS")]
    admin: Option<client::Addr>,
    /// Its configuration file, to find the admin API in
    #[arg(short, long, env = "EDGE_CONFIG", value_name = "FILE", hide_env_values = true, default_value = CONFIG_DEFAULT)]
    config: PathBuf,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Demo {
    /// Threads that serve traffic
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: Option<u16>,
}

/// Reads the command line and does what it asks.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(args),
        Command::Validate(args) => validate(&args),
        Command::Reload(args) => remote::reload(&args),
        Command::Status(args) => remote::status(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(*args),
    }
}

fn run(args: Run) -> ExitCode {
    let mut admin = args.admin;
    let source = if args.proxy.is_empty() {
        Source::File(args.config)
    } else {
        if admin.is_empty() {
            admin.push(quick::ADMIN);
        }
        match quick::config(&args.proxy) {
            Ok(text) => Source::Text { name: "--proxy", text },
            Err(why) => return fail(exit::USAGE, &why),
        }
    };
    serve(Options { source, shards: args.shards.map(usize::from), admin }, announce)
}

fn serve(options: Options, on_ready: impl FnOnce(&Ready)) -> ExitCode {
    match serve::run(options, on_ready) {
        Ok(End::Drained | End::Stopped) => ExitCode::SUCCESS,
        Ok(End::Forced) => {
            notice(format_args!("the time for draining was over; what was still open is closed"));
            ExitCode::SUCCESS
        }
        Ok(End::ShardLost(_)) => ExitCode::from(exit::RUNTIME),
        Err(Failure::Invalid(report)) => {
            complain(&report.to_string());
            ExitCode::from(exit::INVALID)
        }
        Err(Failure::Runtime(why)) => fail(exit::RUNTIME, &why),
    }
}

/// One line, when every shard serves.
fn announce(ready: &Ready) {
    let listening: Vec<String> = ready.listening.iter().map(|(name, addr)| format!("{addr} ({name})")).collect();
    let shards = if ready.shards == 1 { "shard" } else { "shards" };
    complain(&format!(
        "edge {} ready: {} {shards} ({}), listening on {}; admin on {}\n",
        env!("CARGO_PKG_VERSION"),
        ready.shards,
        ready.driver,
        listening.join(", "),
        ready.admin.join(", ")
    ));
}

fn validate(args: &Validate) -> ExitCode {
    match snapshot::validate(&args.config) {
        Ok(valid) => {
            valid.alarms.iter().for_each(|alarm| complain(&format!("warning: {alarm}\n")));
            if args.verbose {
                valid.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}\n")));
                complain(&format!("{}: valid\n", args.config.display()));
            }
            ExitCode::SUCCESS
        }
        Err(report) => {
            complain(&report.to_string());
            ExitCode::from(exit::INVALID)
        }
    }
}

/// To standard output. Whoever closes it early has read enough.
fn show(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// To standard error.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn fail(code: u8, why: &str) -> ExitCode {
    notice(format_args!("{why}"));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// What every `--help` shows. After a change that is meant: `EDGE_BLESS=1 cargo test help_is_as_written`.
    #[test]
    fn help_is_as_written() {
        let mut cli = Cli::command().term_width(100);
        cli.build();
        let mut text = cli.render_long_help().to_string();
        add_help(&mut cli, "", &mut text);
        let text: String = text.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/help.txt");
        if std::env::var_os("EDGE_BLESS").is_some() {
            std::fs::write(&golden, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&golden).unwrap_or_default());
    }

    /// Of each command below `command`, and below those.
    fn add_help(command: &mut clap::Command, path: &str, text: &mut String) {
        for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let name = format!("{path}{}", command.get_name());
            *text += &format!("\n---- {name} ----\n{}", command.render_long_help());
            add_help(command, &format!("{name} "), text);
        }
    }

    #[test]
    fn every_command_has_an_example() {
        let cli = Cli::command();
        let bench = cli.find_subcommand("bench").into_iter().flat_map(clap::Command::get_subcommands);
        for command in cli.get_subcommands().chain(bench) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") && help.contains("edge "), "{}", command.get_name());
        }
    }
}
