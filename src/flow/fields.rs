//! The fields of an answer of our own, gathered without asking the allocator.

/// More than any of our answers has.
const MOST: usize = 8;

/// A name and a value.
type Field<'a> = (&'a [u8], &'a [u8]);

/// Fields, in order.
pub(super) struct Fields<'a> {
    all: [Field<'a>; MOST],
    len: usize,
}

impl<'a> Fields<'a> {
    /// These, at most eight with those that follow; what is beyond is left out.
    pub fn of(first: &[Field<'a>]) -> Fields<'a> {
        let none: &[u8] = b"";
        let mut fields = Fields { all: [(none, none); MOST], len: 0 };
        first.iter().for_each(|(name, value)| fields.push(name, value));
        fields
    }

    /// One more.
    pub fn push(&mut self, name: &'a [u8], value: &'a [u8]) {
        debug_assert!(self.len < MOST, "no room for {}", String::from_utf8_lossy(name));
        if let Some(place) = self.all.get_mut(self.len) {
            *place = (name, value);
            self.len += 1;
        }
    }

    /// One more, if there is a value.
    pub fn maybe(mut self, name: &'a [u8], value: Option<&'a [u8]>) -> Fields<'a> {
        if let Some(value) = value {
            self.push(name, value);
        }
        self
    }

    /// All of them.
    pub fn all(&self) -> &[Field<'a>] {
        self.all.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_missing_ones_take_no_place() {
        let fields = Fields::of(&[(b"a", b"1"), (b"b", b"2")]).maybe(b"c", None).maybe(b"d", Some(b"4"));
        assert_eq!(fields.all(), [(&b"a"[..], &b"1"[..]), (b"b", b"2"), (b"d", b"4")]);
        assert!(Fields::of(&[]).all().is_empty());
    }
}
