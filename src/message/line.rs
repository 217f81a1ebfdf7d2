//! A line that tasks stand in for something scarce: first come, first served.
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    task::Waker,
};

/// Tasks that wait, in order.
#[derive(Default)]
pub struct Line {
    queue: RefCell<VecDeque<(u64, Waker)>>,
    next: Cell<u64>,
}

impl Line {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// There may be something: the first may look. It stays the first until it leaves.
    pub fn wake_first(&self) {
        if let Some((_, waker)) = self.queue.borrow().front() {
            waker.wake_by_ref();
        }
    }

    /// The last place in the line, for the task of `waker`.
    pub fn enter(&self, waker: &Waker) -> Turn<'_> {
        let ticket = self.next.get();
        self.next.set(ticket + 1);
        self.queue.borrow_mut().push_back((ticket, waker.clone()));
        Turn { line: self, ticket }
    }
}

/// A place in the line; whatever ends the wait, the place goes with it, and the next one may look.
pub struct Turn<'a> {
    line: &'a Line,
    ticket: u64,
}

impl Turn<'_> {
    /// Whether it is this one's turn.
    pub fn is_first(&self) -> bool {
        self.line.queue.borrow().front().is_some_and(|(t, _)| *t == self.ticket)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.line.queue.borrow_mut().retain(|(t, _)| *t != self.ticket);
        self.line.wake_first();
    }
}
