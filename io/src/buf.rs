//! Leased, bounded buffers: taken from a per-thread pool while bytes are in flight, given back when a connection is idle.
use std::cell::RefCell;

/// The size for small pieces that wait, bytes.
pub const TINY: usize = 2 * 1024;
/// The size a connection starts with, bytes.
pub const SMALL: usize = 8 * 1024;
/// The size for bulk transfer and large heads, and the most that is buffered per direction, bytes.
pub const LARGE: usize = 64 * 1024;
/// Spare buffers kept per thread and size.
const SPARE_SMALL: usize = 512;
const SPARE_LARGE: usize = 32;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { small: Vec::new(), large: Vec::new() }) };
}

struct Pool {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
}

/// A leased buffer: `filled()` bytes between what was consumed and what was written.
pub struct Buf {
    mem: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buf {
    /// One of `TINY` bytes: cheap to make, and never kept.
    pub fn tiny() -> Buf {
        Buf { mem: vec![0; TINY].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Leases one of `SMALL` bytes.
    pub fn small() -> Buf {
        let mem = POOL.with(|p| p.borrow_mut().small.pop()).unwrap_or_else(|| vec![0; SMALL].into_boxed_slice());
        Buf { mem, start: 0, end: 0 }
    }

    /// Leases one of `LARGE` bytes.
    pub fn large() -> Buf {
        let mem = POOL.with(|p| p.borrow_mut().large.pop()).unwrap_or_else(|| vec![0; LARGE].into_boxed_slice());
        Buf { mem, start: 0, end: 0 }
    }

    /// A place holder without memory: nothing fits in.
    pub fn none() -> Buf {
        Buf { mem: Box::default(), start: 0, end: 0 }
    }

    /// Whether it holds memory at all.
    pub fn is_none(&self) -> bool {
        self.mem.is_empty()
    }

    /// The bytes that wait to be consumed.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.mem[self.start..self.end]
    }

    /// The bytes that wait to be consumed, for work in place.
    #[inline]
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.mem[self.start..self.end]
    }

    /// How many bytes wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether none wait.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room behind the filled bytes.
    #[inline]
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.mem[self.end..]
    }

    /// `n` bytes were written into `spare()`; no more than there was room.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        self.end = (self.end + n).min(self.mem.len());
    }

    /// The first `n` bytes are done with; no more than there were.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Makes room for `n` more bytes behind the filled ones, by moving or growing; `false` when that is not possible.
    pub fn reserve(&mut self, n: usize) -> bool {
        while self.mem.len() - self.end < n {
            if self.start > 0 {
                self.mem.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
                continue;
            }
            let mut next = match self.mem.len() {
                0 if n <= SMALL => Buf::small(),
                0..=SMALL => Buf::large(),
                _ => return false,
            };
            let filled = self.len();
            next.mem[..filled].copy_from_slice(self.filled());
            next.end = filled;
            *self = next;
        }
        true
    }

    /// Makes room: moves the filled bytes to the front, or into a larger buffer when they fill this one.
    /// `false` when the largest is full.
    pub fn make_room(&mut self) -> bool {
        if self.end < self.mem.len() {
            return true;
        }
        if self.start > 0 {
            self.mem.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            return true;
        }
        let mut next = match self.mem.len() {
            0..SMALL => Buf::small(),
            SMALL => Buf::large(),
            _ => return false,
        };
        let n = self.len();
        next.mem[..n].copy_from_slice(self.filled());
        next.end = n;
        *self = next;
        true
    }

    /// Bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.mem.len()
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        let mem = std::mem::take(&mut self.mem);
        if mem.is_empty() {
            return;
        }
        // At thread exit the pool may be gone already: then the memory is just freed.
        let _ = POOL.try_with(|p| {
            let p = &mut *p.borrow_mut();
            match mem.len() {
                SMALL if p.small.len() < SPARE_SMALL => p.small.push(mem),
                LARGE if p.large.len() < SPARE_LARGE => p.large.push(mem),
                _ => {}
            }
        });
    }
}

/// Frees half of the spare buffers of this thread: called now and then, so that a burst's memory goes back.
pub fn trim() {
    POOL.with(|p| {
        let p = &mut *p.borrow_mut();
        let (s, l) = (p.small.len() / 2, p.large.len() / 2);
        p.small.truncate(s);
        p.large.truncate(l);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_by_moving_then_by_growing_then_refused() {
        let mut b = Buf::small();
        b.spare().fill(7);
        b.advance(SMALL);
        b.consume(10);
        assert!(b.make_room());
        assert_eq!((b.len(), b.spare().len(), b.capacity()), (SMALL - 10, 10, SMALL));
        b.advance(10);
        assert!(b.make_room());
        assert_eq!((b.len(), b.capacity()), (SMALL, LARGE));
        b.advance(LARGE);
        assert!(!b.make_room());
        assert!(b.filled()[..SMALL - 10].iter().all(|x| *x == 7));
    }

    #[test]
    fn room_for_so_many_bytes_is_made_or_refused() {
        let mut b = Buf::none();
        assert!(b.reserve(10) && b.capacity() == SMALL);
        b.advance(SMALL);
        b.consume(SMALL - 3);
        assert!(b.reserve(SMALL - 3) && b.capacity() == SMALL && b.len() == 3);
        assert!(b.reserve(SMALL) && b.capacity() == LARGE && b.len() == 3);
        assert!(b.reserve(LARGE - 3));
        assert!(!b.reserve(LARGE - 2));
        assert_eq!(b.len(), 3);
    }

    #[test]
    fn a_returned_buffer_is_leased_again() {
        let b = Buf::large();
        let at = b.mem.as_ptr();
        drop(b);
        let b = Buf::large();
        assert_eq!(b.mem.as_ptr(), at);
        assert!(b.is_empty());
    }
}
