//! A line that tasks stand in for something scarce: by class, and within a class first come, first served.
use super::Priority;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    task::Waker,
};

/// Tasks that wait, in order.
#[derive(Default)]
pub struct Line {
    classes: RefCell<[VecDeque<(u64, Waker)>; Priority::ALL.len()]>,
    next: Cell<u64>,
}

impl Line {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.classes.borrow().iter().all(VecDeque::is_empty)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.classes.borrow().iter().map(VecDeque::len).sum()
    }

    /// Whether one of `class` that came now would be the first.
    pub fn is_free_for(&self, class: Priority) -> bool {
        self.classes.borrow().iter().take(class as usize + 1).all(VecDeque::is_empty)
    }

    /// There may be something: the first may look. It stays the first until it leaves.
    pub fn wake_first(&self) {
        if let Some((_, waker)) = self.classes.borrow().iter().find_map(VecDeque::front) {
            waker.wake_by_ref();
        }
    }

    /// Everybody looks again: what they wait for has changed.
    pub fn wake_all(&self) {
        self.classes.borrow().iter().flatten().for_each(|(_, waker)| waker.wake_by_ref());
    }

    /// The last place of its class, for the task of `waker`.
    pub fn enter(&self, waker: &Waker, class: Priority) -> Turn<'_> {
        let ticket = self.next.get();
        self.next.set(ticket + 1);
        self.classes.borrow_mut()[class as usize].push_back((ticket, waker.clone()));
        Turn { line: self, class, ticket }
    }

    /// Makes room for one of `class` in a line that is full: of the lowest class below it, the one that came last
    /// loses its place and is woken. `false`: nobody stands below it.
    pub fn displace(&self, class: Priority) -> bool {
        let mut classes = self.classes.borrow_mut();
        let lower = classes.iter_mut().skip(class as usize + 1).rev();
        let last = lower.filter_map(VecDeque::pop_back).next();
        last.map(|(_, waker)| waker.wake()).is_some()
    }
}

/// A place in the line; whatever ends the wait, the place goes with it, and the next one may look.
pub struct Turn<'a> {
    line: &'a Line,
    class: Priority,
    ticket: u64,
}

impl Turn<'_> {
    /// Whether it is this one's turn.
    pub fn is_first(&self) -> bool {
        let classes = self.line.classes.borrow();
        classes.iter().find_map(VecDeque::front).is_some_and(|(ticket, _)| *ticket == self.ticket)
    }

    /// Whether it lost its place to a higher class.
    pub fn is_displaced(&self) -> bool {
        self.at().is_none()
    }

    /// Its task is woken by `waker` from now on.
    pub fn follow(&self, waker: &Waker) {
        let Some(at) = self.at() else { return };
        if let Some((_, mine)) = self.line.classes.borrow_mut()[self.class as usize].get_mut(at) {
            mine.clone_from(waker);
        }
    }

    /// Where it stands in its class: tickets are in order there.
    fn at(&self) -> Option<usize> {
        let classes = self.line.classes.borrow();
        classes[self.class as usize].binary_search_by_key(&self.ticket, |(ticket, _)| *ticket).ok()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(at) = self.at() {
            self.line.classes.borrow_mut()[self.class as usize].remove(at);
        }
        self.line.wake_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn classes_go_first_and_within_one_who_came_first() {
        let line = Line::default();
        let nobody = Waker::noop();
        let (bulk, normal) = (line.enter(nobody, Priority::Bulk), line.enter(nobody, Priority::Normal));
        let (second, critical) = (line.enter(nobody, Priority::Normal), line.enter(nobody, Priority::Critical));
        assert_eq!(line.len(), 4);
        assert!(!line.is_free_for(Priority::Critical));
        for turn in [critical, normal, second, bulk] {
            assert!(turn.is_first());
            drop(turn);
        }
        assert!(line.is_empty());
    }

    #[test]
    fn one_that_comes_goes_before_lower_classes_only() {
        let line = Line::default();
        let _turn = line.enter(Waker::noop(), Priority::Normal);
        assert!(line.is_free_for(Priority::Critical));
        assert!(!line.is_free_for(Priority::Normal));
        assert!(!line.is_free_for(Priority::Bulk));
    }

    #[test]
    fn a_full_line_loses_the_last_of_its_lowest_class() {
        let line = Line::default();
        let (woken, waker) = waker();
        let (first, last) = (line.enter(Waker::noop(), Priority::Bulk), line.enter(&waker, Priority::Bulk));
        let normal = line.enter(Waker::noop(), Priority::Normal);
        assert!(!line.displace(Priority::Bulk), "nobody is below");
        assert!(line.displace(Priority::Normal));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(last.is_displaced() && !first.is_displaced() && !normal.is_displaced());
        assert!(line.displace(Priority::Critical));
        assert!(first.is_displaced() && !normal.is_displaced());
        assert!(line.displace(Priority::Critical));
        assert!(normal.is_displaced());
        assert!(!line.displace(Priority::Critical));
    }

    #[test]
    fn whoever_leaves_wakes_the_first() {
        let line = Line::default();
        let (woken, waker) = waker();
        let turn = line.enter(&waker, Priority::Normal);
        drop(line.enter(Waker::noop(), Priority::Critical));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        let (other, waker) = self::waker();
        turn.follow(&waker);
        line.wake_first();
        assert_eq!((woken.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)), (1, 1));
    }
}
