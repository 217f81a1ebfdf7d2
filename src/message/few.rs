//! A list that is mostly empty: one word, and nothing on the heap until it holds something.
use std::ops::Deref;

/// A `Vec` behind a pointer that is null when it is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::box_collection, reason = "one word instead of three is what it is for")]
pub struct Few<T>(Option<Box<Vec<T>>>);

impl<T> Default for Few<T> {
    fn default() -> Few<T> {
        Few(None)
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(list: Vec<T>) -> Few<T> {
        Few((!list.is_empty()).then(|| Box::new(list)))
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Few<T> {
        Few::from(Vec::from_iter(items))
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_a_null_pointer() {
        assert_eq!(size_of::<Few<String>>(), size_of::<usize>());
        assert_eq!(Few::from(Vec::<u8>::new()), Few::default());
        assert!(Few::<u8>::default().is_empty());
        assert_eq!(*Few::from(vec![1, 2]), [1, 2]);
        assert_eq!([1, 2].into_iter().collect::<Few<_>>().into_iter().sum::<i32>(), 3);
    }
}
