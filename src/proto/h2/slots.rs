//! The mailboxes of a connection's streams: what came for each, and whom to wake.
use super::stream::Cut;
use edge_io::{buf::Buf, head::Head};
use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    task::{Context, Waker},
};

/// What came for one stream and was not fetched yet.
#[derive(Default)]
pub struct Slot {
    /// The stream, 0 while the slot is free.
    pub id: u32,
    /// The task that serves the stream.
    pub waker: Option<Waker>,
    /// Response heads (client role), informational ones first; the flag says that nothing follows.
    pub heads: VecDeque<(Box<Head>, bool)>,
    /// Body bytes; bounded by the stream's receive window.
    pub body: VecDeque<Buf>,
    /// The peer has ended its direction.
    pub ended: bool,
    /// Trailers that came with the end.
    pub trailers: Option<Box<Head>>,
    /// The stream is gone.
    pub cut: Option<Cut>,
}

impl Slot {
    /// Wakes its task, once; whether there was one to wake.
    pub fn wake(&mut self) -> bool {
        match self.waker.take() {
            Some(waker) => waker.wake(),
            None => return false,
        }
        true
    }

    /// The task of `cx` serves the stream.
    pub fn wait(&mut self, cx: &Context<'_>) {
        match &self.waker {
            Some(w) if w.will_wake(cx.waker()) => {}
            _ => self.waker = Some(cx.waker().clone()),
        }
    }

    /// Body bytes came.
    pub fn append(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.body.back_mut().is_none_or(|b| b.spare().is_empty()) {
                self.body.push_back(match data.len() {
                    ..=edge_io::buf::TINY if self.body.is_empty() => Buf::tiny(),
                    ..=edge_io::buf::SMALL if self.body.len() < 2 => Buf::small(),
                    _ => Buf::large(),
                });
            }
            let Some(last) = self.body.back_mut() else { return };
            let room = last.spare();
            let n = room.len().min(data.len());
            room[..n].copy_from_slice(&data[..n]);
            last.advance(n);
            data = &data[n..];
        }
    }

    fn reset(&mut self) {
        self.id = 0;
        self.waker = None;
        self.heads.clear();
        self.body.clear();
        self.ended = false;
        self.trailers = None;
        self.cut = None;
    }
}

/// All of one connection, found by stream or by index.
#[derive(Default)]
pub struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
    index: HashMap<u32, u32, BuildHasherDefault<StreamHasher>>,
}

impl Slots {
    /// A slot for a new stream.
    pub fn open(&mut self, id: u32) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.all.push(Slot::default());
            self.all.len() as u32 - 1
        });
        if let Some(slot) = self.all.get_mut(at as usize) {
            slot.id = id;
        }
        self.index.insert(id, at);
        at
    }

    /// The stream's task is done with it: body bytes that nobody fetched, and whether the peer had ended its direction.
    pub fn close(&mut self, at: u32) -> (usize, bool) {
        let Some(slot) = self.all.get_mut(at as usize) else { return (0, true) };
        self.index.remove(&slot.id);
        let left = (slot.body.iter().map(Buf::len).sum(), slot.ended);
        slot.reset();
        self.free.push(at);
        left
    }

    /// The slot at an index that `open` gave out.
    pub fn at(&mut self, at: u32) -> Option<&mut Slot> {
        self.all.get_mut(at as usize)
    }

    /// The slot of a stream.
    pub fn of(&mut self, id: u32) -> Option<&mut Slot> {
        let at = *self.index.get(&id)?;
        self.all.get_mut(at as usize)
    }

    /// Streams that have a slot.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Each one in use.
    pub fn each(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.all.iter_mut().filter(|s| s.id != 0)
    }

    /// Frees what an idle connection does not need.
    pub fn release_memory(&mut self) {
        if self.index.is_empty() {
            *self = Slots::default();
        }
    }
}

/// Stream ids are counted, not chosen: a multiplication spreads them well enough.
#[derive(Default)]
pub struct StreamHasher(u64);

impl Hasher for StreamHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u32(u32::from(*b));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
