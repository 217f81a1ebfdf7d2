//! The highest rate under an objective.
use super::{args, exit as own, load, output};
use crate::cli::{complain, exit, fail, show};
use edge_loadtest::{
    plan,
    record::Outcome,
    search::{self, Ended, Found, Settings},
    slo,
};
use std::{
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Searches, and says what was found.
pub(super) fn run(args: &args::Search) -> ExitCode {
    let objectives = match slo::parse(&args.slo) {
        Ok(objectives) => objectives,
        Err(mistake) => return fail(exit::USAGE, &format!("--slo:\n{mistake}")),
    };
    let settings = Settings {
        start: args.from,
        step_seconds: args.step.as_secs_f64(),
        confirm_seconds: args.confirm.as_secs_f64(),
    };
    // Before the first step, so that a mistake is told at once.
    for (flag, time) in [("--step", args.step), ("--confirm", args.confirm)] {
        if let Err(mistakes) = plan::build(&args.options(args.from, time)) {
            // There is no -d here: its mistake is that of the flag that the time came from.
            let said: Vec<String> = mistakes.iter().map(|m| of_flag(m, "-d", flag)).collect();
            return fail(exit::USAGE, &said.join("\n"));
        }
    }
    let to = match args.json.as_deref().map(output::Destination::open).transpose() {
        Ok(to) => to,
        Err(why) => return fail(exit::USAGE, &why),
    };
    let stop = load::on_interrupt();
    let found = search::search(&objectives, &settings, &mut |rate, seconds| step(args, rate, seconds, &stop));
    if to.is_none() || args.json.as_deref() != Some(Path::new("-")) {
        show(&found.to_string());
    }
    if let Some(to) = to {
        let written = serde_json::to_vec_pretty(&found).map_err(|e| e.to_string()).and_then(|text| to.write(&text));
        if let Err(why) = written {
            return fail(exit::RUNTIME, &why);
        }
    }
    ExitCode::from(code(&found))
}

/// The same mistake, told of the flag that was typed.
fn of_flag(mistake: &str, known: &str, typed: &str) -> String {
    match mistake.strip_prefix(known).filter(|rest| rest.starts_with(' ')) {
        Some(rest) => format!("{typed}{rest}"),
        None => mistake.to_owned(),
    }
}

fn step(args: &args::Search, rate: f64, seconds: f64, stop: &Arc<AtomicBool>) -> Result<Outcome, String> {
    let plan = plan::build(&args.options(rate, Duration::from_secs_f64(seconds))).map_err(|m| m.to_string())?;
    let mut outcome = load::measure(plan, args.quiet, stop, &mut |_| ())?;
    outcome.interrupted |= stop.load(Ordering::Relaxed);
    if !args.quiet {
        let counts = &outcome.counts;
        complain(&format!(
            "asked for {rate:.0}/s: {:.0}/s answered, p99 {:.3} ms, {} faults\n",
            counts.answered as f64 / outcome.seconds.max(f64::MIN_POSITIVE),
            outcome.times.response.p99 as f64 / 1e3,
            counts.errors(),
        ));
    }
    Ok(outcome)
}

fn code(found: &Found) -> u8 {
    match &found.ended {
        Ended::Found | Ended::NoLimit => 0,
        Ended::NothingHeld | Ended::NotConfirmed => own::NOT_MET,
        Ended::Generator(_) => own::NOT_VALID,
        Ended::Interrupted | Ended::Failed(_) => exit::RUNTIME,
    }
}
