//! What the load generator spends on a request beside its protocol: when it is due, and what became of it.
use crate::scenario::{Scenario, Work};
use edge_loadtest::{
    pace::Pace,
    plan::Arrivals,
    record::{Done, Recorder},
};
use std::hint::black_box;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("load/next due/constant", || pace(Arrivals::Constant)),
        Scenario::new("load/next due/poisson", || pace(Arrivals::Poisson)),
        Scenario::new("load/record/closed loop", || record(false)),
        Scenario::new("load/record/open loop", || record(true)),
    ]
}

fn pace(arrivals: Arrivals) -> Work {
    let mut pace = Pace::new(50_000.0, arrivals, (1, 4), 1, 0);
    Box::new(move || _ = black_box(pace.take()))
}

/// Times that go through the histograms' ranges.
fn record(open: bool) -> Work {
    let (mut recorder, mut us) = (Recorder::new(open, 0, u64::MAX), 0);
    Box::new(move || {
        us += 20;
        let took = 50 + (us * 7919) % 20_000;
        let done = Done {
            intended_us: us,
            sent_us: us + 3,
            first_us: us + took,
            end_us: us + took + 5,
            status: 200,
            body: 1024,
        };
        recorder.sent(us);
        recorder.done(black_box(&done));
    })
}
