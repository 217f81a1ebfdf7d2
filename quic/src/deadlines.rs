//! When which connection has to be looked at: a heap that is touched only when a deadline comes earlier than expected.
//!
//! Most packets put a deadline off. A later one is not entered: the entry that is there fires, and is entered again.
use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// What a connection keeps about its entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// When it should be looked at.
    wanted: Option<Instant>,
    /// When the heap will have it looked at.
    entered: Option<Instant>,
}

impl Entry {
    /// Whether the entry at `at` is the one that counts.
    pub fn is_at(&self, at: Instant) -> bool {
        self.entered == Some(at)
    }
}

/// The deadlines of all connections of an endpoint, by index.
#[derive(Debug, Default)]
pub struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Deadlines {
    /// The connection at `index` wants to be looked at then, and not for anything that it said before.
    pub fn set(&mut self, entry: &mut Entry, index: usize, wanted: Option<Instant>) {
        entry.wanted = wanted;
        if let Some(at) = wanted
            && entry.entered.is_none_or(|entered| at < entered)
        {
            entry.entered = Some(at);
            self.heap.push(Reverse((at, index)));
        }
    }

    /// Entries, also those that are out of date.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Keeps those entries, of a time and a connection, that `current` knows.
    pub fn retain(&mut self, current: impl Fn(Instant, usize) -> bool) {
        self.heap.retain(|Reverse((at, index))| current(*at, *index));
    }

    /// When the first is due, if any is entered.
    pub fn first(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// One whose entry fired: [`Deadlines::fired`] tells whether it is due.
    pub fn next(&mut self, now: Instant) -> Option<(Instant, usize)> {
        match self.heap.peek() {
            Some(Reverse((at, _))) if *at <= now => self.heap.pop().map(|Reverse(fired)| fired),
            _ => None,
        }
    }

    /// The entry of `at` fired: whether the connection is due. If not yet, it is entered again.
    pub fn fired(&mut self, entry: &mut Entry, index: usize, at: Instant, now: Instant) -> bool {
        if !entry.is_at(at) {
            return false; // an earlier entry took its place, or another connection had this index
        }
        entry.entered = None;
        match entry.wanted {
            Some(wanted) if wanted <= now => true,
            wanted => {
                self.set(entry, index, wanted);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_deadline_that_is_put_off_is_entered_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut all, mut entry) = (Deadlines::default(), Entry::default());
        for ms in 10..1000 {
            all.set(&mut entry, 3, Some(at(ms)));
        }
        assert_eq!((all.heap.len(), all.first()), (1, Some(at(10))));
        assert_eq!(all.next(at(9)), None);
        assert_eq!(all.next(at(10)), Some((at(10), 3)));
        assert!(!all.fired(&mut entry, 3, at(10), at(10)));
        assert_eq!((all.heap.len(), all.first()), (1, Some(at(999))));
        let (fired, index) = all.next(at(1000)).expect("due");
        assert!(all.fired(&mut entry, index, fired, at(1000)));
        assert!(all.heap.is_empty());
    }

    #[test]
    fn what_is_out_of_date_can_be_dropped() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut all, mut entry) = (Deadlines::default(), Entry::default());
        for turn in 0..100 {
            all.set(&mut entry, 7, Some(at(10_000 + turn)));
            all.set(&mut entry, 7, Some(at(turn + 5)));
            let (fired, _) = all.next(at(turn + 5)).expect("due");
            assert!(all.fired(&mut entry, 7, fired, at(turn + 5)));
        }
        assert_eq!(all.len(), 100);
        all.set(&mut entry, 7, Some(at(200)));
        all.retain(|at, index| index == 7 && entry.is_at(at));
        assert_eq!((all.len(), all.first()), (1, Some(at(200))));
    }

    #[test]
    fn an_earlier_deadline_replaces_a_later_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut all, mut entry) = (Deadlines::default(), Entry::default());
        all.set(&mut entry, 0, Some(at(100)));
        all.set(&mut entry, 0, Some(at(50)));
        let (fired, _) = all.next(at(60)).expect("due");
        assert!(all.fired(&mut entry, 0, fired, at(60)));
        all.set(&mut entry, 0, None);
        let (fired, _) = all.next(at(200)).expect("the stale one");
        assert!(!all.fired(&mut entry, 0, fired, at(200)));
        assert!(all.heap.is_empty());
    }
}
