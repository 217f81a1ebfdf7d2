//! A shard's look at itself: whether its loop keeps up and memory suffices, and what it refuses while they do not.
use super::Shard;
use crate::{
    flow::protect::{Controller, LOOK_MS, Level, Signs},
    observe::stats::StatsRegistry,
};
use edge_io::timer::Timer;
use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll, time::Duration};

/// While all is well, it looks this often; a long turn of the loop wakes it at once.
const CALM: Duration = Duration::from_millis(250);

/// Looks for as long as the shard lives. While all is well that costs nothing but four looks a second.
pub(super) async fn run(shard: Rc<Shard>, registry: Arc<StatsRegistry>) {
    let flow = &shard.flow;
    let timers = &flow.local.timers;
    let timer = Timer::new(timers);
    let mut controller = Controller::default();
    let mut looked_us = timers.clock().now_us();
    loop {
        let rule = flow.pin().snapshot.server.protect;
        let now_us = timers.clock().now_us();
        let since = now_us.saturating_sub(looked_us).max(1);
        looked_us = now_us;
        let signs = Signs {
            lag_us: timers.take_longest_turn(),
            idle_permille: u32::try_from(timers.take_idle().saturating_mul(1000) / since).unwrap_or(1000),
            memory_permille: registry.control.memory_permille(),
        };
        let level = controller.look(now_us, &rule, signs);
        let was = flow.shedder.level();
        flow.shedder.set(level);
        flow.stats.queues.set_shedding(level.shed);
        if was.pause && !level.pause {
            shard.accepting.wake_all();
        }
        let slow_us = rule.lag.map_or(u64::MAX, |lag| u64::try_from(lag.as_micros()).unwrap_or(u64::MAX));
        match level == Level::default() {
            true => timer.set(CALM),
            false => timer.set(Duration::from_millis(LOOK_MS)),
        }
        poll_fn(|cx| match timers.poll_slow_turn(cx, slow_us) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => timer.poll_fired(cx),
        })
        .await;
    }
}
