//! Heads that wait to be used again, per thread: a stream needs one for as long as it lives.
use super::Head;
use std::cell::RefCell;

/// Spare heads kept per thread.
const SPARE: usize = 256;
/// A head that grew beyond this is freed rather than kept, bytes.
const KEEP_BYTES: usize = 4 * 1024;

thread_local! {
    #[allow(clippy::vec_box)] // handed over whole: a head moves as a pointer
    static HEADS: RefCell<Vec<Box<Head>>> = const { RefCell::new(Vec::new()) };
}

/// An empty head.
pub fn take() -> Box<Head> {
    HEADS.with(|h| h.borrow_mut().pop()).unwrap_or_default()
}

/// Keeps a head for the next stream.
pub fn give(mut head: Box<Head>) {
    if head.capacity() > KEEP_BYTES {
        return;
    }
    head.clear();
    // At thread exit the store may be gone already: then the memory is just freed.
    let _ = HEADS.try_with(|h| {
        let mut spare = h.borrow_mut();
        if spare.len() < SPARE {
            spare.push(head);
        }
    });
}

thread_local! {
    static EMPTY: &'static Head = Box::leak(Box::default());
}

/// A head without anything in it.
pub fn empty() -> &'static Head {
    EMPTY.with(|e| *e)
}
