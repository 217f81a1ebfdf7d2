//! Which task waits for which stream of a connection.
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    task::{Context, Waker},
};

/// The tasks of one connection that wait, by stream id. What has happened they see in the connection itself.
#[derive(Default)]
pub struct Waiters {
    of: HashMap<u64, Waker, BuildHasherDefault<IdHasher>>,
}

impl Waiters {
    /// The task of `cx` is woken when something happens to stream `id`.
    pub fn wait(&mut self, id: u64, cx: &Context<'_>) {
        match self.of.get(&id) {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => {
                self.of.insert(id, cx.waker().clone());
            }
        }
    }

    /// Wakes the task that waits for stream `id`; whether there is one.
    pub fn wake(&mut self, id: u64) -> bool {
        self.of.get(&id).map(Waker::wake_by_ref).is_some()
    }

    /// Nobody waits for stream `id` any more.
    pub fn remove(&mut self, id: u64) {
        if !self.of.is_empty() {
            self.of.remove(&id);
        }
    }

    /// Wakes all.
    pub fn wake_all(&mut self) {
        self.of.values().for_each(Waker::wake_by_ref);
    }

    /// Frees what nobody needs.
    pub fn release_memory(&mut self) {
        if self.of.is_empty() {
            self.of = HashMap::default();
        }
    }
}

/// Stream ids are counted, not chosen: a multiplication spreads them well enough.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
