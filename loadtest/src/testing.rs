//! Results by hand, for tests.
use crate::record::{Asked, Counts, Environment, Outcome, SCHEMA, Times, Verdict};

/// A valid result of nothing.
pub(crate) fn outcome() -> Outcome {
    Outcome {
        schema: SCHEMA,
        environment: Environment::default(),
        asked: Asked::default(),
        verdict: Verdict { valid: true, reasons: Vec::new() },
        seconds: 0.0,
        counts: Counts::default(),
        times: Times::default(),
        series: Vec::new(),
        generator: Vec::new(),
        server_cpu_us: None,
        interrupted: false,
    }
}
