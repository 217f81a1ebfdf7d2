//! What one origin's connections of a shard may send, and when: pure but for the wakers it keeps.
use crate::pace::Pace;
use std::{collections::VecDeque, task::Waker};

/// An arrival that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// When it should be sent, µs.
    pub intended_us: u64,
    /// A place was free for it when it was due: if it is late, then because of the generator.
    pub place_was_free: bool,
}

/// The feed of one origin. In a closed loop there is always something to send; in an open one a schedule says when. What
/// is due and not sent is nowhere stored: the schedule's position says it.
pub(super) struct Feed {
    pace: Option<Pace>,
    /// Arrivals from here on are not of this run, µs.
    end_us: u64,
    requests: usize,
    turn: usize,
    /// Arrivals that were due while connections waited: one for each that was woken, so never more than there are
    /// connections.
    granted: VecDeque<u64>,
    waiters: Waiters,
}

impl Feed {
    /// `requests` are taken in turn, beginning with number `first`.
    pub fn new(pace: Option<Pace>, requests: usize, first: usize, end_us: u64) -> Feed {
        let turn = first % requests.max(1);
        Feed { pace, end_us, requests, turn, granted: VecDeque::new(), waiters: Waiters::default() }
    }

    /// The oldest arrival that is due; in a closed loop always one.
    #[inline]
    pub fn take(&mut self, now_us: u64) -> Option<Taken> {
        let Some(pace) = &mut self.pace else {
            return Some(Taken { intended_us: now_us, place_was_free: false });
        };
        if let Some(intended_us) = self.granted.pop_front() {
            return Some(Taken { intended_us, place_was_free: true });
        }
        let intended_us = pace.peek();
        if intended_us > now_us || intended_us >= self.end_us {
            return None;
        }
        pace.take();
        Some(Taken { intended_us, place_was_free: !self.waiters.is_empty() })
    }

    /// Which of the origin's requests is next.
    #[inline]
    pub fn request(&mut self) -> usize {
        let now = self.turn;
        self.turn = if now + 1 >= self.requests { 0 } else { now + 1 };
        now
    }

    /// When the next arrival is due that nobody has been woken for. `None`: never.
    pub fn due_us(&self) -> Option<u64> {
        self.pace.as_ref().map(Pace::peek).filter(|at| *at < self.end_us)
    }

    /// When to call `grant` again: `None` while no connection waits.
    pub fn wake_at(&self) -> Option<u64> {
        if self.waiters.is_empty() { None } else { self.due_us() }
    }

    /// Wakes one waiting connection for each arrival that is due, the one that waits longest first.
    pub fn grant(&mut self, now_us: u64) {
        while let Some(at) = self.due_us().filter(|at| *at <= now_us) {
            let Some(waker) = self.waiters.pop() else { return };
            if let Some(pace) = &mut self.pace {
                pace.take();
            }
            self.granted.push_back(at);
            waker.wake();
        }
    }

    /// Somebody who was woken went away: another one takes the arrival.
    pub fn pass_on(&mut self) {
        if !self.granted.is_empty()
            && let Some(waker) = self.waiters.pop()
        {
            waker.wake();
        }
    }

    /// Waits, unless `place` waits already. Answers the place.
    pub fn wait(&mut self, place: Option<Place>, waker: &Waker) -> Place {
        self.waiters.push(place, waker)
    }

    /// Does not wait any more: whether it had been woken since it last waited.
    pub fn leave(&mut self, place: Place) -> bool {
        self.waiters.remove(place)
    }

    /// Takes every arrival that was due before `until_us` and not sent, handing its time to `each`.
    pub fn drain_due(&mut self, until_us: u64, mut each: impl FnMut(u64)) {
        self.granted.drain(..).for_each(&mut each);
        let until_us = until_us.min(self.end_us);
        if let Some(pace) = &mut self.pace {
            while pace.peek() < until_us {
                each(pace.take());
            }
        }
    }
}

/// A place among the waiters: its number there, and which of its holders this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    index: usize,
    generation: u64,
}

/// Connections that wait for an arrival, in the order in which they began to. Bounded by the shard's connections.
#[derive(Default)]
struct Waiters {
    entries: Vec<Entry>,
    free: Vec<usize>,
    /// May name entries whose connection went away meanwhile.
    order: VecDeque<Place>,
    waiting: usize,
}

#[derive(Default)]
struct Entry {
    generation: u64,
    /// `None` once it was woken.
    waker: Option<Waker>,
}

impl Waiters {
    fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    fn entry(&mut self, place: Place) -> Option<&mut Entry> {
        self.entries.get_mut(place.index).filter(|e| e.generation == place.generation)
    }

    fn push(&mut self, place: Option<Place>, waker: &Waker) -> Place {
        let place = place.unwrap_or_else(|| self.open());
        if let Some(entry) = self.entry(place)
            && entry.waker.replace(waker.clone()).is_none()
        {
            self.order.push_back(place);
            self.waiting += 1;
        }
        place
    }

    fn open(&mut self) -> Place {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::default());
            self.entries.len() - 1
        });
        Place { index, generation: self.entries.get(index).map_or(0, |e| e.generation) }
    }

    fn pop(&mut self) -> Option<Waker> {
        while let Some(place) = self.order.pop_front() {
            if let Some(waker) = self.entry(place).and_then(|e| e.waker.take()) {
                self.waiting -= 1;
                return Some(waker);
            }
        }
        None
    }

    fn remove(&mut self, place: Place) -> bool {
        let Some(entry) = self.entry(place) else { return false };
        entry.generation += 1;
        let woken = entry.waker.take().is_none();
        if !woken {
            self.waiting -= 1;
            self.order.retain(|p| *p != place);
        }
        self.free.push(place.index);
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Arrivals;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waker() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), count.into())
    }

    fn woken(counts: &[&Arc<Count>]) -> Vec<usize> {
        counts.iter().map(|count| count.0.load(Ordering::Relaxed)).collect()
    }

    /// Due at 0, 1, 2 … ms.
    fn feed() -> Feed {
        Feed::new(Some(Pace::new(1000.0, Arrivals::Constant, (0, 1), 1, 0)), 2, 0, 10_000)
    }

    fn taken(intended_us: u64, place_was_free: bool) -> Option<Taken> {
        Some(Taken { intended_us, place_was_free })
    }

    #[test]
    fn a_free_place_takes_the_oldest_arrival_that_is_due() {
        let mut feed = feed();
        assert_eq!(feed.take(1_500), taken(0, false));
        assert_eq!(feed.take(1_500), taken(1_000, false));
        assert_eq!(feed.take(1_500), None);
        assert_eq!(feed.due_us(), Some(2_000));
        assert_eq!((feed.request(), feed.request(), feed.request()), (0, 1, 0));
    }

    #[test]
    fn who_waits_longest_is_woken_first_and_once() {
        let mut feed = feed();
        let ((a, wa), (b, wb)) = (waker(), waker());
        feed.take(0);
        let place = feed.wait(None, &wa);
        feed.wait(Some(place), &wa);
        feed.wait(None, &wb);
        assert_eq!(feed.wake_at(), Some(1_000));
        feed.grant(999);
        assert_eq!(woken(&[&a, &b]), [0, 0]);
        feed.grant(1_200);
        assert_eq!(woken(&[&a, &b]), [1, 0]);
        assert_eq!(feed.take(1_200), taken(1_000, true));
        assert_eq!(feed.take(1_200), None);
        feed.wait(Some(place), &wa);
        feed.grant(9_000);
        assert_eq!(woken(&[&a, &b]), [2, 1], "two wait, eight are due");
        assert_eq!(feed.wake_at(), None);
        assert_eq!(feed.take(9_000), taken(2_000, true));
    }

    #[test]
    fn an_arrival_whose_connection_is_gone_goes_to_another() {
        let mut feed = feed();
        let ((a, wa), (b, wb)) = (waker(), waker());
        feed.take(0);
        let (first, second) = (feed.wait(None, &wa), feed.wait(None, &wb));
        feed.grant(1_000);
        assert_eq!(woken(&[&a, &b]), [1, 0]);
        assert!(feed.leave(first), "it was woken");
        feed.pass_on();
        assert_eq!(woken(&[&a, &b]), [1, 1]);
        assert_eq!(feed.take(1_000), taken(1_000, true));
        feed.wait(Some(second), &wb);
        assert!(!feed.leave(second), "it was not");
        feed.grant(5_000);
        assert_eq!(woken(&[&a, &b]), [1, 1]);
        let stale = feed.wait(Some(second), &wb);
        assert_eq!((stale, feed.wake_at()), (second, None), "a place that was given up does not wait");
    }

    #[test]
    fn nothing_that_was_due_is_lost_at_the_end() {
        let mut feed = feed();
        let (_, waker) = waker();
        feed.take(0);
        feed.wait(None, &waker);
        feed.grant(2_000);
        let mut left = Vec::new();
        feed.drain_due(50_000, |at| left.push(at));
        assert_eq!(left, (1..10).map(|n| n * 1_000).collect::<Vec<_>>());
        assert_eq!((feed.take(50_000), feed.due_us()), (None, None));
    }

    #[test]
    fn a_closed_loop_always_has_something() {
        let mut feed = Feed::new(None, 1, 5, 10);
        assert_eq!((feed.take(7), feed.take(7)), (taken(7, false), taken(7, false)));
        assert_eq!((feed.request(), feed.due_us()), (0, None));
    }
}
