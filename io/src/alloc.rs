//! Settings of the allocator (mimalloc), which the binary chooses as its global one.

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
