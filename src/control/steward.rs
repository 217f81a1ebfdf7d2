//! The steward: ten times a second it reads what shards have counted of pools and routes, lets the deciders decide, and
//! publishes what they decided where shards see it. Nothing here waits for anybody.
use super::{
    Control, adaptive::Limiters, changes::Changes, health::Prober, memory::Memory, pools::Pools, routes::Routes,
};
use crate::{
    observe::{notice, stats::StatsRegistry},
    snapshot::Snapshot,
};
use edge_io::clock::monotonic_us;
use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::MissedTickBehavior;

/// How often it looks.
pub const TICK: Duration = Duration::from_millis(100);

/// What a decider sees at a tick.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// [`monotonic_us`]: shards' rare paths use the same clock.
    pub now_us: u64,
    /// Seconds since 1970, for people.
    pub unix_s: u64,
    /// Counts ticks.
    pub tick: u64,
    /// What is served now.
    pub snapshot: &'a Arc<Snapshot>,
    /// What shards counted.
    pub stats: &'a Arc<StatsRegistry>,
}

/// A part of the steward: called at each tick, with state of its own that outlives snapshots.
type Part = (&'static str, Box<dyn FnMut(Look<'_>)>);

/// Everything that ticks. One line each.
fn parts() -> Vec<Part> {
    let mut routes = Routes::default();
    let changes = Rc::new(RefCell::new(Changes::default()));
    let (mut prober, mut pools) = (Prober::new(changes.clone()), Pools::new(changes));
    let (mut limiters, mut memory) = (Limiters::default(), Memory::default());
    vec![
        ("health checks", Box::new(move |look| prober.tick(look))),
        ("outlier detection", Box::new(move |look| pools.tick(look))),
        ("routes", Box::new(move |look| routes.tick(look))),
        ("limits", Box::new(move |look| limiters.tick(look))),
        ("memory", Box::new(move |look| memory.tick(look))),
    ]
}

/// Ticks for as long as it is polled. A tick that panics is told of, costs that part this one tick, and goes on.
pub(super) async fn run(control: Rc<Control>) {
    let mut parts = parts();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0.. {
        ticks.tick().await;
        let Some(snapshot) = control.current() else { continue };
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let look = Look { now_us: monotonic_us(), unix_s, tick, snapshot: &snapshot, stats: &control.stats };
        turn(&mut parts, look);
    }
}

/// One tick of every part.
fn turn(parts: &mut [Part], look: Look<'_>) {
    for (name, part) in parts {
        // Parts keep counts and times; one that panics between two of them is a tick behind, not broken.
        if catch_unwind(AssertUnwindSafe(|| part(look))).is_err() {
            notice(format_args!("the steward's {name} panicked; this is a bug, and it goes on"));
        }
    }
}
