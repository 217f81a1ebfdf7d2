//! An allocator that counts, thread by thread, so that a test can hold the rule "no allocation in steady state".
use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering},
};

/// Most threads that are told apart; those that come later share the last place.
const THREADS_MAX: usize = 256;

/// Wraps another allocator and counts its calls. For tests: `#[global_allocator] static A: CountingAllocator<System> = …`.
#[derive(Debug)]
pub struct CountingAllocator<A>(pub A);

/// What one thread has asked of the allocator since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadCounts {
    /// The kernel's id of the thread.
    pub tid: i32,
    /// Calls that returned new or moved memory.
    pub allocations: u64,
    /// Bytes they asked for.
    pub bytes: u64,
}

struct Place {
    tid: AtomicI32,
    allocations: AtomicU64,
    bytes: AtomicU64,
}

static PLACES: [Place; THREADS_MAX] =
    [const { Place { tid: AtomicI32::new(0), allocations: AtomicU64::new(0), bytes: AtomicU64::new(0) } }; THREADS_MAX];
static TAKEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread's place; `usize::MAX` until its first allocation. Constant and without a destructor, so that reading
    /// it neither allocates nor fails while a thread ends.
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Counts of every thread that has allocated so far, ended ones included.
pub fn counts() -> Vec<ThreadCounts> {
    let taken = TAKEN.load(Ordering::Acquire).min(THREADS_MAX);
    let read = |p: &Place| ThreadCounts {
        tid: p.tid.load(Ordering::Relaxed),
        allocations: p.allocations.load(Ordering::Relaxed),
        bytes: p.bytes.load(Ordering::Relaxed),
    };
    PLACES.iter().take(taken).map(read).collect()
}

fn count(bytes: usize) {
    let mut place = PLACE.get();
    if place == usize::MAX {
        place = TAKEN.fetch_add(1, Ordering::AcqRel).min(THREADS_MAX - 1);
        PLACE.set(place);
        // SAFETY: gettid(2) takes nothing, touches no memory and cannot fail.
        let tid = unsafe { libc::syscall(libc::SYS_gettid) };
        PLACES[place].tid.store(tid as i32, Ordering::Relaxed);
    }
    PLACES[place].allocations.fetch_add(1, Ordering::Relaxed);
    PLACES[place].bytes.fetch_add(bytes as u64, Ordering::Relaxed);
}

// SAFETY: every call goes to the wrapped allocator unchanged, so its guarantees are ours; counting does not allocate and
// does not panic.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { self.0.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(memory, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn each_thread_has_its_own_count() {
        let allocator = CountingAllocator(System);
        let ask = |times: usize| {
            for _ in 0..times {
                let layout = Layout::from_size_align(64, 8).unwrap();
                // SAFETY: the layout is not empty, and the memory is given back with the layout it was asked for with.
                unsafe {
                    let memory = allocator.alloc(layout);
                    assert!(!memory.is_null());
                    allocator.dealloc(memory, layout);
                }
            }
            counts()[PLACE.get()]
        };
        std::thread::scope(|s| {
            let (few, many) = (s.spawn(|| ask(3)), s.spawn(|| ask(7)));
            let (few, many) = (few.join().unwrap(), many.join().unwrap());
            assert_eq!((few.allocations, few.bytes), (3, 192));
            assert_eq!((many.allocations, many.bytes), (7, 448));
            assert_ne!(few.tid, many.tid);
        });
    }
}
