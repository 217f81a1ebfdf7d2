//! One run: from the command line to the reports.
use super::{args, exit as own, output};
use crate::cli::{exit, fail};
use edge_loadtest::{
    plan::{self, Plan},
    record::{Outcome, Progress},
    report::progress::Live,
    run, slo,
};
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Runs, reports, judges.
pub(super) fn run(args: &args::Run) -> ExitCode {
    let wanted = match slo::parse_all(&args.assert) {
        Ok(wanted) => wanted,
        Err(mistake) => return fail(exit::USAGE, &format!("--assert:\n{mistake}")),
    };
    let plan = match plan::build(&args.options()) {
        Ok(plan) => plan,
        Err(mistakes) => return fail(exit::USAGE, &mistakes.to_string()),
    };
    let outputs = match output::Outputs::open(&args.reports) {
        Ok(outputs) => outputs,
        Err(why) => return fail(exit::USAGE, &why),
    };
    let mut hdr = match output::HdrFile::open(&args.reports) {
        Ok(hdr) => hdr,
        Err(why) => return fail(exit::USAGE, &why),
    };
    let stop = on_interrupt();
    let outcome = match measure(plan, args.reports.quiet, &stop, &mut |second| hdr.second(second)) {
        Ok(outcome) => outcome,
        Err(why) => return fail(exit::RUNTIME, &why),
    };
    // What can be written is, whatever becomes of the other.
    let log = hdr.end();
    if let Err(why) = outputs.write(&outcome).and(log) {
        return fail(exit::RUNTIME, &why);
    }
    let judged = slo::judge(&wanted, &outcome);
    output::judgement(&judged);
    ExitCode::from(code(&outcome, judged.iter().all(|one| one.met)))
}

/// Runs the plan with the live line, until its end or `stop`. `log` is told each second's response times.
pub(super) fn measure(
    plan: Plan,
    quiet: bool,
    stop: &Arc<AtomicBool>,
    log: &mut run::EachSecond<'_>,
) -> Result<Outcome, String> {
    let mut live = Live::stderr();
    let outcome = run::run_logged(
        plan,
        &mut |progress: &Progress| {
            if !quiet {
                live.draw(progress)
            }
        },
        stop,
        Some(log),
    );
    live.clear();
    outcome.map_err(|why| why.to_string())
}

/// The worst of what is to be said.
fn code(outcome: &Outcome, met: bool) -> u8 {
    // Who ended it before the first answer was due has not learnt that there is none.
    if outcome.counts.answered == 0 && !outcome.interrupted {
        return exit::UNREACHABLE;
    }
    match (outcome.verdict.valid, met) {
        (false, _) => own::NOT_VALID,
        (true, false) => own::NOT_MET,
        (true, true) => 0,
    }
}

/// A flag that the first SIGINT or SIGTERM sets; the second one ends the process as it would without us.
pub(super) fn on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Without that thread the signals do what they always do: the run is lost, not the machine.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(signals(&flag));
    });
    stop
}

async fn signals(flag: &AtomicBool) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        let code = tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        };
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(code);
        }
    }
}
