//! Things kept for reuse: as many as a burst needs, and fewer again when it is over.
use std::cell::RefCell;

/// Kept however quiet it is.
const FLOOR: usize = 64;
/// Kept at most.
const CEILING: usize = 1024;

/// Boxes lent out whole: each moves as a pointer.
pub struct Spare<T> {
    #[allow(clippy::vec_box)]
    all: RefCell<Vec<Box<T>>>,
}

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Spare { all: RefCell::default() }
    }
}

impl<T: Default> Spare<T> {
    /// The one that was used last, or a new one.
    pub fn take(&self) -> Box<T> {
        self.all.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps it, if there are not too many.
    pub fn give(&self, one: Box<T>) {
        let mut all = self.all.borrow_mut();
        if all.len() < CEILING {
            all.push(one);
        }
    }

    /// Frees a quarter of those above the floor: called now and then.
    pub fn trim(&self) {
        let mut all = self.all.borrow_mut();
        let n = all.len();
        if n > FLOOR {
            all.truncate(n - (n - FLOOR).div_ceil(4));
            all.shrink_to(n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_kept_and_melts_away() {
        let spare = Spare::<u64>::default();
        for _ in 0..2000 {
            spare.give(Box::new(7));
        }
        assert_eq!(spare.all.borrow().len(), CEILING);
        assert_eq!(*spare.take(), 7);
        for _ in 0..100 {
            spare.trim();
        }
        assert_eq!(spare.all.borrow().len(), FLOOR);
        for _ in 0..FLOOR {
            spare.take();
        }
        assert_eq!(*spare.take(), 0, "a new one");
    }
}
