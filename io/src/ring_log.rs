//! A bounded ring of bytes from one thread to another: what a shard logs, the log thread takes. Nobody waits.
use std::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering, fence},
    },
};

/// On a cache line pair of its own, so that the two ends do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(AtomicUsize);

struct Ring {
    /// A power of two bytes long.
    bytes: Box<[UnsafeCell<MaybeUninit<u8>>]>,
    /// Bytes ever written; only the producer stores it.
    written: Padded,
    /// Bytes ever read; only the consumer stores it.
    read: Padded,
}

// SAFETY: the cells between `read` and `written` belong to the consumer, all others to the producer, and each end is
// one value that cannot be cloned. Ownership of a cell passes with a release store of the position, which the other end
// loads with acquire before it touches the cell.
unsafe impl Sync for Ring {}

impl Ring {
    fn mask(&self) -> usize {
        self.bytes.len() - 1
    }

    /// A pointer to the cell of position `at`, and how many cells follow it before the ring's end.
    fn cell(&self, at: usize) -> (*mut u8, usize) {
        let index = at & self.mask();
        // The pointer is made from the whole slice, so it may be used for all that follows as well. Only its owner
        // writes through it, and through an `UnsafeCell` that is allowed.
        (self.bytes.as_ptr().wrapping_add(index).cast::<u8>().cast_mut(), self.bytes.len() - index)
    }
}

/// The writing end.
pub struct Producer {
    ring: Arc<Ring>,
    written: usize,
    /// The consumer's position as last seen: looked at again only when there seems to be no room.
    read: usize,
}

/// The reading end.
pub struct Consumer {
    ring: Arc<Ring>,
    read: usize,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

/// A ring of at least `capacity` bytes (rounded up to a power of two; at least 64).
pub fn ring(capacity: usize) -> (Producer, Consumer) {
    let capacity = capacity.max(64).next_power_of_two();
    let bytes = (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let ring = Arc::new(Ring { bytes, written: Padded::default(), read: Padded::default() });
    (Producer { ring: ring.clone(), written: 0, read: 0 }, Consumer { ring, read: 0 })
}

impl Producer {
    /// How many bytes the ring holds.
    pub fn capacity(&self) -> usize {
        self.ring.bytes.len()
    }

    /// Writes all of `message`, or nothing when there is no room for it (`false`).
    #[inline]
    pub fn push(&mut self, message: &[u8]) -> bool {
        if self.free() < message.len() {
            self.look();
            if self.free() < message.len() {
                return false;
            }
        }
        let (to, contiguous) = self.ring.cell(self.written);
        let (first, second) = message.split_at(contiguous.min(message.len()));
        // SAFETY: `first` fits between `to` and the ring's end, `second` between the ring's start and the consumer's
        // position, as `message` is no longer than the free part; the free part belongs to this end alone (see `Sync`),
        // and a message cannot overlap it because no reference into the ring is ever given out.
        unsafe {
            std::ptr::copy_nonoverlapping(first.as_ptr(), to, first.len());
            std::ptr::copy_nonoverlapping(second.as_ptr(), self.ring.cell(0).0, second.len());
        }
        self.written = self.written.wrapping_add(message.len());
        self.ring.written.0.store(self.written, Ordering::Release);
        true
    }

    /// Bytes that wait to be read, as far as this end knows: it may be fewer by now.
    #[inline]
    pub fn waiting(&self) -> usize {
        self.written.wrapping_sub(self.read)
    }

    /// Looks how far the consumer has come: bytes it has read since the start, modulo the integer's range.
    pub fn look(&mut self) -> usize {
        self.read = self.ring.read.0.load(Ordering::Acquire);
        self.read
    }

    #[inline]
    fn free(&self) -> usize {
        self.capacity() - self.waiting()
    }
}

impl Consumer {
    /// Bytes that wait to be read.
    pub fn waiting(&self) -> usize {
        self.ring.written.0.load(Ordering::Acquire).wrapping_sub(self.read)
    }

    /// Whether the producer is gone: what waits now is the last.
    pub fn is_last(&self) -> bool {
        let alone = Arc::strong_count(&self.ring) == 1;
        // The count is read without ordering; this pairs with the release of the producer's last reference, so that
        // whatever it wrote is seen from here on.
        fence(Ordering::Acquire);
        alone
    }

    /// Appends everything that waits to `out`, whole messages only, and answers how many bytes.
    pub fn take(&mut self, out: &mut Vec<u8>) -> usize {
        let waiting = self.waiting();
        let (from, contiguous) = self.ring.cell(self.read);
        let first = contiguous.min(waiting);
        // SAFETY: the `waiting` bytes from the read position were written before the position that `waiting` loaded
        // with acquire, so they are initialized and belong to this end; `first` stops at the ring's end and the rest
        // begins at its start. The slices live only during the copy.
        unsafe {
            out.extend_from_slice(std::slice::from_raw_parts(from, first));
            out.extend_from_slice(std::slice::from_raw_parts(self.ring.cell(0).0, waiting - first));
        }
        self.read = self.read.wrapping_add(waiting);
        self.ring.read.0.store(self.read, Ordering::Release);
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_or_nothing() {
        let (mut p, mut c) = ring(64);
        assert!(p.push(&[1; 40]));
        assert!(!p.push(&[2; 25]));
        assert!(p.push(&[3; 24]));
        assert!(!p.push(&[4]));
        assert!(p.push(&[]));
        let mut out = Vec::new();
        assert_eq!(c.take(&mut out), 64);
        assert_eq!(out, [vec![1; 40], vec![3; 24]].concat());
        assert_eq!(c.take(&mut out), 0);
        assert!(!p.push(&[5; 65]), "longer than the ring");
        assert!(p.push(&[5; 64]));
    }

    #[test]
    fn positions_wrap_around_the_end_of_the_integer() {
        let (mut p, mut c) = ring(64);
        let near = usize::MAX - 10;
        (p.written, p.read, c.read) = (near, near, near);
        p.ring.written.0.store(near, Ordering::Relaxed);
        p.ring.read.0.store(near, Ordering::Relaxed);
        for i in 0..10u8 {
            assert!(p.push(&[i; 7]));
            let mut out = Vec::new();
            assert_eq!(c.take(&mut out), 7);
            assert_eq!(out, [i; 7]);
        }
    }

    #[test]
    fn the_consumer_learns_that_the_producer_is_gone() {
        let (mut p, mut c) = ring(64);
        assert!(p.push(b"last"));
        assert!(!c.is_last());
        drop(p);
        assert!(c.is_last());
        let mut out = Vec::new();
        c.take(&mut out);
        assert_eq!(out, b"last");
    }

    #[test]
    fn between_threads_no_byte_is_lost_or_changed() {
        let (mut p, mut c) = ring(1024);
        let writer = std::thread::spawn(move || {
            for n in 0..20_000u32 {
                let line = format!("{n}:{}\n", "x".repeat(n as usize % 50));
                while !p.push(line.as_bytes()) {
                    std::thread::yield_now();
                }
            }
        });
        let mut all = Vec::new();
        loop {
            let last = c.is_last();
            if c.take(&mut all) == 0 {
                if last {
                    break;
                }
                std::thread::yield_now();
            }
        }
        writer.join().unwrap();
        let text = String::from_utf8(all).unwrap();
        assert_eq!(text.lines().count(), 20_000);
        for (n, line) in text.lines().enumerate() {
            assert_eq!(line, format!("{n}:{}", "x".repeat(n % 50)));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_queue(ops in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..90)), 0..200)) {
            let (mut p, mut c) = ring(128);
            let mut model = Vec::new();
            for op in ops {
                match op {
                    Some(message) => {
                        let fits = model.len() + message.len() <= 128;
                        prop_assert_eq!(p.push(&message), fits);
                        if fits {
                            model.extend_from_slice(&message);
                        }
                    }
                    None => {
                        let mut out = Vec::new();
                        c.take(&mut out);
                        prop_assert_eq!(&out, &model);
                        model.clear();
                    }
                }
            }
        }
    }
}
