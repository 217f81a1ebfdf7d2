//! What single parts cost in time: all scenarios, and other people's crates beside them.
//!
//! `cargo bench --profile instructions -p edge-bench --bench parts [-- FILTER]`, so that what is timed is what is counted;
//! against an earlier state: `-- --save-baseline NAME` there,
//! `-- --baseline NAME` here.
use criterion::{Criterion, Throughput};
use edge_bench::scenario;
use std::time::Duration;

/// As in the edge's own binary.
#[global_allocator]
static ALLOCATOR: edge_io::alloc::Allocator = edge_io::alloc::Allocator;

/// There are many scenarios, and a run of all should take minutes; `--measurement-time` asks for more.
const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_secs(1);
/// The fewest that criterion takes: the largest scenarios need most of a second each.
const SAMPLES: usize = 10;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURED)
        .sample_size(SAMPLES)
        .configure_from_args();
    for scenario in scenario::all() {
        let (part, name) = scenario.name.split_once('/').unwrap_or(("", &scenario.name));
        let mut group = criterion.benchmark_group(part);
        group.throughput(Throughput::Elements(scenario.operations.into()));
        // Made within: a scenario that a filter leaves out costs nothing.
        group.bench_function(name, |bencher| {
            let mut work = scenario.prepare();
            bencher.iter(&mut work);
        });
        group.finish();
    }
    criterion.final_summary();
}
