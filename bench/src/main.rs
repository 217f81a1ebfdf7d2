//! `instructions`: counts the instructions of all scenarios, and holds them against the stored ones.
//!
//! `cargo run --profile instructions -p edge-bench -- check`; `-- help` has the rest.
#![forbid(unsafe_code)]
use clap::{Parser, Subcommand};
use edge_bench::{
    baseline::{self, Baseline, FILE, PROFILE},
    count,
    scenario::{self, Scenario},
    verdict::Verdict,
};
use std::{error::Error, path::Path, process::ExitCode};

/// As in the edge's own binary: what it allocates with is part of what things cost.
#[global_allocator]
static ALLOCATOR: edge_io::alloc::Allocator = edge_io::alloc::Allocator;

/// Counts instructions of single parts, under Valgrind.
#[derive(Parser)]
#[command(name = "instructions")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Holds the figures against the stored ones: 0 when nothing is dearer, 1 when something is.
    Check {
        /// Store what was counted instead.
        #[arg(long)]
        accept: bool,
        /// Only scenarios whose names contain one of these.
        filters: Vec<String>,
    },
    /// Prints the figures, with other people's crates beside ours.
    Show {
        /// Only scenarios whose names contain one of these.
        filters: Vec<String>,
    },
    /// Counts several times, and prints how far the figures are apart.
    Spread {
        /// How many times.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=100))]
        rounds: u32,
        /// Only scenarios whose names contain one of these.
        filters: Vec<String>,
    },
    /// Runs one scenario: what is counted.
    #[command(hide = true)]
    Run { name: String },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Check { accept, filters } => check(&filters, accept),
        Command::Show { filters } => show(&filters),
        Command::Spread { rounds, filters } => spread(rounds, &filters),
        Command::Run { name } => run(&name),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("instructions: {error}");
        ExitCode::from(2)
    })
}

type Outcome = Result<ExitCode, Box<dyn Error>>;

fn run(name: &str) -> Outcome {
    let all = scenario::all();
    let scenario = all.iter().find(|s| s.name == name).ok_or_else(|| format!("no scenario {name:?}"))?;
    count::run(scenario);
    Ok(ExitCode::SUCCESS)
}

/// Scenarios whose names contain one of `filters`; without any, all.
fn chosen(filters: &[String]) -> Result<Vec<Scenario>, String> {
    let mut all = scenario::all();
    all.retain(|s| filters.is_empty() || filters.iter().any(|filter| s.name.contains(filter)));
    if all.is_empty() { Err(format!("no scenario has {} in its name", filters.join(" or "))) } else { Ok(all) }
}

fn check(filters: &[String], accept: bool) -> Outcome {
    let built = baseline::built_profile();
    if built != PROFILE {
        return Err(
            format!("built with profile {built:?}; the figures hold for {PROFILE:?}: --profile {PROFILE}").into()
        );
    }
    let mut scenarios = chosen(filters)?;
    scenarios.retain(|s| !s.beside);
    let taken_with = baseline::taken_with(count::valgrind_version()?);
    let names = scenarios.iter().map(|s| s.name.clone());
    let counted = Baseline { taken_with, instructions: names.zip(count::count_all(&scenarios)?).collect() };
    let stored = Baseline::load(Path::new(FILE))?;
    let verdict = Verdict::new(&stored, &counted, filters.is_empty());
    if accept {
        return store(stored, counted, &verdict, filters.is_empty());
    }
    print!("{} scenarios counted. {verdict}", scenarios.len());
    Ok(if verdict.fails() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn store(mut stored: Baseline, counted: Baseline, verdict: &Verdict, all: bool) -> Outcome {
    if all {
        stored = counted;
    } else if verdict.elsewhere.is_empty() {
        stored.instructions.extend(counted.instructions);
    } else {
        let differ = verdict.elsewhere.join("\n  ");
        return Err(format!("figures taken with different tools do not mix; accept all of them:\n  {differ}").into());
    }
    stored.store(Path::new(FILE))?;
    verdict.findings.iter().for_each(|finding| println!("{finding}"));
    println!("Stored in {FILE}.");
    Ok(ExitCode::SUCCESS)
}

fn show(filters: &[String]) -> Outcome {
    let scenarios = chosen(filters)?;
    let figures = count::count_all(&scenarios)?;
    println!("profile {}; instructions of one operation", baseline::built_profile());
    let mut ours = f64::NAN;
    for (scenario, figure) in scenarios.iter().zip(figures) {
        if scenario.beside {
            println!("{:<56} {figure:>14.1} {:>7.2} times ours", scenario.name, figure / ours);
        } else {
            println!("{:<56} {figure:>14.1}", scenario.name);
            ours = figure;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn spread(rounds: u32, filters: &[String]) -> Outcome {
    let mut scenarios = chosen(filters)?;
    scenarios.retain(|s| !s.beside);
    let counted = (0..rounds).map(|_| count::count_all(&scenarios)).collect::<Result<Vec<_>, _>>()?;
    let mut worst = 0.0f64;
    for (at, scenario) in scenarios.iter().enumerate() {
        let figures = counted.iter().filter_map(|round| round.get(at).copied());
        let (least, most) = figures.fold((f64::INFINITY, 0.0f64), |(least, most), n| (least.min(n), most.max(n)));
        let percent = (most / least - 1.0) * 100.0;
        worst = worst.max(percent);
        println!("{:<56} {least:>14.1} to {most:>14.1}: {percent:.3} %", scenario.name);
    }
    println!("{rounds} rounds; the furthest apart are {worst:.3} %");
    Ok(ExitCode::SUCCESS)
}
