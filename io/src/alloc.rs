//! The allocator (mimalloc), which the binary chooses as its global one, and its settings.
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};

/// Blocks of at least this size have at least this alignment in mimalloc, bytes.
const NATURAL: usize = 16;

/// mimalloc, asked the short way: nearly everything wants no more alignment than its blocks have anyhow, and the calls
/// for a given alignment take a long path for all but small blocks.
pub struct Allocator;

/// Whether mimalloc's plain calls give such blocks the alignment they want.
#[inline]
fn is_natural(layout: Layout) -> bool {
    layout.align() <= size_of::<usize>() || (layout.align() <= NATURAL && layout.size() >= NATURAL)
}

// SAFETY: every block comes from mimalloc and goes back to it; it is aligned as asked: by `MiMalloc`, or since
// mimalloc aligns every block to 8 bytes and those of 16 or more to 16 (MI_MAX_ALIGN_SIZE). `mi_free` and the realloc
// calls take blocks of either kind. None of them unwinds.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: these calls take any size and any power of two.
        unsafe {
            match is_natural(layout) {
                true => libmimalloc_sys::mi_malloc(layout.size()).cast(),
                false => MiMalloc.alloc(layout),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            match is_natural(layout) {
                true => libmimalloc_sys::mi_zalloc(layout.size()).cast(),
                false => MiMalloc.alloc_zeroed(layout),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller gives back a block of ours.
        unsafe { libmimalloc_sys::mi_free(block.cast()) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let after = Layout::from_size_align(size, layout.align());
        // SAFETY: the caller gives a block of ours, and a size that makes a layout with its alignment.
        unsafe {
            match after.is_ok_and(is_natural) {
                true => libmimalloc_sys::mi_realloc(block.cast(), size).cast(),
                false => MiMalloc.realloc(block, layout, size),
            }
        }
    }
}

/// `mi_option_purge_delay`: after how many milliseconds freed pages go back to the system. Its number is part of
/// mimalloc's interface; the bindings do not name it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Long enough that what the next request needs again is not given back in between, milliseconds.
const DELAY_MS: std::ffi::c_long = 100;

/// Freed pages go back to the system soon. To be called first thing; [`collect`] is to be called now and then.
///
/// By default they wait for a later allocation of the same thread to look after them: a control thread that has
/// compiled 30,000 routes, or a shard whose 10,000 connections fell idle, then keeps twice what it needs. At once is
/// too soon: buffers of 16 KiB that live for a request would be faulted in for each (docs/DECISIONS.md).
pub fn return_memory_soon() {
    // SAFETY: sets an integer option; mimalloc allows that at any time from any thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, DELAY_MS) };
}

/// Gives back pages that have been free for long enough.
pub fn collect() {
    // SAFETY: mimalloc allows it at any time; it looks after the calling thread's heap and what all threads share.
    unsafe { libmimalloc_sys::mi_collect(false) };
}
