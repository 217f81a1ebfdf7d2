//! When the first of a connection's requests has taken too long: one timer for all of them.
use edge_io::timer::Timer;
use std::{task::Context, time::Duration};

/// Not set.
const NEVER: u64 = u64::MAX;

/// The earliest time by which something is due. Answers do not touch it: when it has passed, its owner looks at what is
/// late by then, and says what is due next. A request costs a comparison.
pub(super) struct Deadline {
    timer: Timer,
    at_us: u64,
}

impl Deadline {
    /// One that is not set.
    pub fn new(timer: Timer) -> Deadline {
        Deadline { timer, at_us: NEVER }
    }

    /// Something is due by `at_us`: the earliest counts. The task must ask [`has_passed`](Deadline::has_passed) at each
    /// wake-up, before or after: that has it woken.
    #[inline]
    pub fn by(&mut self, at_us: u64, now_us: u64) {
        if at_us < self.at_us {
            self.at_us = at_us;
            self.set(now_us);
        }
    }

    /// Whether the time has come: once, it is not set then. Otherwise the task is woken when it does, also where it is
    /// set later in the same wake-up. The clock is only read when the timer has fired.
    #[inline]
    pub fn has_passed(&mut self, cx: &mut Context<'_>, now_us: impl FnOnce() -> u64) -> bool {
        self.timer.poll_fired(cx).is_ready() && self.look(cx, now_us())
    }

    /// The timer has fired.
    #[cold]
    fn look(&mut self, cx: &mut Context<'_>, now_us: u64) -> bool {
        self.timer.clear();
        let passed = self.at_us <= now_us;
        if passed {
            self.at_us = NEVER;
        } else if self.at_us != NEVER {
            // It was set in a long turn: timers count from its beginning, so it came too early.
            self.set(now_us);
        }
        // What woke the task is used up.
        let _ = self.timer.poll_fired(cx);
        passed
    }

    fn set(&self, now_us: u64) {
        self.timer.set(Duration::from_micros(self.at_us.saturating_sub(now_us)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_io::timer::Timers;
    use std::{
        rc::Rc,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Wake, Waker},
        time::Instant,
    };

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Timers, a deadline on them, and a task that counts how often it is woken. The time that the deadline is told is the
    /// test's own.
    struct Bench {
        timers: Rc<Timers>,
        deadline: Deadline,
        woken: Arc<Count>,
    }

    impl Bench {
        fn new() -> Bench {
            let timers = Timers::new().unwrap();
            Bench { deadline: Deadline::new(Timer::new(&timers)), timers, woken: Arc::default() }
        }

        fn has_passed(&mut self, now_us: u64) -> bool {
            let waker = Waker::from(self.woken.clone());
            self.deadline.has_passed(&mut Context::from_waker(&waker), || now_us)
        }

        /// Turns the shard's loop until the task is woken for the `n`th time.
        fn until_woken(&self, n: usize) {
            let begun = Instant::now();
            while self.woken.0.load(Ordering::Relaxed) < n {
                assert!(begun.elapsed().as_secs() < 20, "it is not woken");
                self.timers.turn();
            }
        }
    }

    #[test]
    fn the_earliest_counts_and_passes_once() {
        let mut bench = Bench::new();
        bench.deadline.by(3_600_000_000, 0);
        bench.deadline.by(2_000, 0);
        bench.deadline.by(5_000, 0);
        assert!(!bench.has_passed(0));
        bench.until_woken(1);
        assert!(bench.has_passed(2_000));
        assert!(!bench.has_passed(2_000), "it is not set any more");
        bench.deadline.by(5_000, 2_000);
        bench.until_woken(2);
        assert!(bench.has_passed(5_000));
    }

    #[test]
    fn a_timer_that_fires_early_is_set_again() {
        let mut bench = Bench::new();
        bench.deadline.by(2_000, 0);
        assert!(!bench.has_passed(0));
        for n in 1..4 {
            bench.until_woken(n);
            assert!(!bench.has_passed(1_999));
        }
        bench.until_woken(4);
        assert!(bench.has_passed(2_000));
    }

    #[test]
    fn what_is_set_after_the_question_wakes_as_well() {
        let mut bench = Bench::new();
        assert!(!bench.has_passed(0));
        bench.deadline.by(1_000, 0);
        bench.until_woken(1);
        assert!(bench.has_passed(1_000));
    }
}
