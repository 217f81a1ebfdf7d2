//! Memory for tasks that end as soon as they begin: a block that was just used is still in the caches.
use std::{alloc::Layout, cell::RefCell, mem::MaybeUninit, pin::Pin, ptr::NonNull};

/// Blocks kept per thread: tasks that begin others nest only so deep.
const KEPT: usize = 4;

/// A few blocks, of whatever layout was used last.
pub(crate) struct Blocks {
    kept: RefCell<Vec<(Layout, NonNull<u8>)>>,
}

impl Blocks {
    pub const fn new() -> Blocks {
        Blocks { kept: RefCell::new(Vec::new()) }
    }

    /// A pinned box with what `make` makes: made only here, it is not moved about, however large it is.
    #[inline(always)]
    pub fn pin<T>(&self, make: impl FnOnce() -> T) -> Pin<Box<T>> {
        Box::into_pin(Box::write(self.place(), make()))
    }

    /// A box with nothing in it.
    #[inline]
    fn place<T>(&self) -> Box<MaybeUninit<T>> {
        let layout = Layout::new::<T>();
        let mut kept = self.kept.borrow_mut();
        match kept.iter().rposition(|(known, _)| *known == layout) {
            Some(at) => {
                let (_, block) = kept.swap_remove(at);
                // SAFETY: `give_back` took it out of a box of this layout (never of size 0), so it is a block of the
                // global allocator of that layout; it is in nobody else's hands since it is not in `kept` any more.
                unsafe { Box::from_raw(block.as_ptr().cast::<MaybeUninit<T>>()) }
            }
            None => Box::new_uninit(),
        }
    }

    /// Drops the value, and keeps its memory.
    #[inline]
    pub fn give_back<T>(&self, value: Pin<Box<T>>) {
        if size_of::<T>() == 0 {
            return;
        }
        // SAFETY: the value is not moved: it is dropped where it is. Only its box changes hands.
        let raw = Box::into_raw(unsafe { Pin::into_inner_unchecked(value) });
        let Some(block) = NonNull::new(raw.cast()) else { return }; // a box is never null
        // If the value's drop panics, the block is kept still.
        let emptied = Emptied { blocks: self, layout: Layout::new::<T>(), block };
        // SAFETY: `raw` is valid, was a box's own, and is not used as a `T` again.
        unsafe { std::ptr::drop_in_place(raw) };
        drop(emptied);
    }
}

/// A block whose value is gone.
struct Emptied<'a> {
    blocks: &'a Blocks,
    layout: Layout,
    block: NonNull<u8>,
}

impl Drop for Emptied<'_> {
    fn drop(&mut self) {
        let mut kept = self.blocks.kept.borrow_mut();
        if kept.len() < KEPT {
            return kept.push((self.layout, self.block));
        }
        let (layout, block) = std::mem::replace(&mut kept[0], (self.layout, self.block));
        // SAFETY: a block of the global allocator of that layout (see `pin`), which nobody else has.
        unsafe { std::alloc::dealloc(block.as_ptr(), layout) };
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for (layout, block) in self.kept.get_mut().drain(..) {
            // SAFETY: as above.
            unsafe { std::alloc::dealloc(block.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, rc::Rc};

    struct Counted(Rc<Cell<u32>>, #[allow(dead_code)] [u64; 30]);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn a_block_is_used_again_and_its_values_are_dropped_once() {
        let (blocks, drops) = (Blocks::new(), Rc::new(Cell::new(0)));
        let first = blocks.pin(|| Counted(drops.clone(), [1; 30]));
        let at = &raw const *first;
        blocks.give_back(first);
        assert_eq!(drops.get(), 1);
        let second = blocks.pin(|| Counted(drops.clone(), [2; 30]));
        assert_eq!(&raw const *second, at);
        let other = blocks.pin(|| [0u8; 7]);
        blocks.give_back(other);
        drop(second);
        assert_eq!(drops.get(), 2);
    }

    #[test]
    fn only_so_many_are_kept_and_values_of_no_size_are_fine() {
        let blocks = Blocks::new();
        let many: Vec<_> = (0..2 * KEPT as u64).map(|n| blocks.pin(|| [n; 9])).collect();
        many.into_iter().for_each(|b| blocks.give_back(b));
        assert_eq!(blocks.kept.borrow().len(), KEPT);
        blocks.give_back(blocks.pin(|| ()));
        assert_eq!(blocks.kept.borrow().len(), KEPT);
    }
}
