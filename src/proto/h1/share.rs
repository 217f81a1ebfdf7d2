//! What the connections of one listener share on one shard, and how those that wait are told that it changed.
use crate::{observe::stats::ShardStats, proto::ClientTimeouts};
use edge_io::{http1::Limits, http2, timer::Timers};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
};

/// What the connections of one listener share on one shard; a reload changes it under them.
pub struct ListenerShare {
    /// Head limits.
    pub limits: Cell<Limits>,
    /// Client-side timeouts.
    pub timeouts: Cell<ClientTimeouts>,
    /// Pipelined requests answered before other connections get their turn.
    pub pipeline_depth: Cell<usize>,
    /// HTTP/2 by prior knowledge is taken.
    pub h2: Cell<bool>,
    /// Bounds of an HTTP/2 connection.
    pub http2: RefCell<Rc<http2::Limits>>,
    /// The shard's timers.
    pub timers: Rc<Timers>,
    /// Whether 1xx other than 100 go to HTTP/1.1 clients.
    pub early_hints: Cell<bool>,
    /// Answers carry `Connection: close`, idle connections end: the listener or the process is going.
    pub closing: Cell<bool>,
    /// The shard's counters.
    pub stats: Arc<ShardStats>,
    /// Idle connections, to be woken when `closing` is set.
    pub waiting: Waiting,
}

/// Tasks that wait for something to change.
#[derive(Default)]
pub struct Waiting {
    wakers: RefCell<(Vec<Option<Waker>>, Vec<usize>)>,
}

impl Waiting {
    /// A place in it.
    pub fn enter(&self) -> usize {
        let (wakers, free) = &mut *self.wakers.borrow_mut();
        free.pop().unwrap_or_else(|| {
            wakers.push(None);
            wakers.len() - 1
        })
    }

    /// A place that is left when it is dropped.
    pub fn place(&self) -> Place<'_> {
        Place { of: self, at: self.enter() }
    }

    /// The task of `cx` waits at `place`.
    pub fn wait(&self, place: usize, cx: &Context<'_>) {
        if let Some(w) = self.wakers.borrow_mut().0.get_mut(place) {
            *w = Some(cx.waker().clone());
        }
    }

    /// The place is free again.
    pub fn leave(&self, place: usize) {
        let (wakers, free) = &mut *self.wakers.borrow_mut();
        if let Some(w) = wakers.get_mut(place) {
            *w = None;
            free.push(place);
        }
    }

    /// Wakes all.
    pub fn wake_all(&self) {
        for w in self.wakers.borrow_mut().0.iter_mut().filter_map(Option::take) {
            w.wake();
        }
    }
}

/// A place among those that wait; whatever ends the wait, it is free again.
pub struct Place<'a> {
    of: &'a Waiting,
    at: usize,
}

impl Place<'_> {
    /// The task of `cx` waits.
    pub fn wait(&self, cx: &Context<'_>) {
        self.of.wait(self.at, cx);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.of.leave(self.at);
    }
}
