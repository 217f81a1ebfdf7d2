//! Settings of the allocator (mimalloc), which the binary chooses as its global one.

/// `mi_option_purge_delay`: after how many milliseconds freed pages go back to the system. Its number is part of
/// mimalloc's interface; the bindings do not name it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Freed pages go back to the system at once. To be called first thing.
///
/// By default they wait for a later allocation of the same thread to look after them: a control thread that has
/// compiled 30,000 routes, or a shard whose 10,000 connections fell idle, then keeps twice what it needs. New
/// connections cost no more with it (docs/DECISIONS.md).
pub fn return_memory_at_once() {
    // SAFETY: sets an integer option; mimalloc allows that at any time from any thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
}
