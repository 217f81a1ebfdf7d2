//! Which sections the peer has not acknowledged yet, and so which entries may not be evicted (RFC 9204, section 2.1.1).
use super::OUTSTANDING_MAX;
use std::collections::VecDeque;

/// A section with references to the dynamic table.
struct Section {
    stream: u64,
    /// The oldest entry that it names, by its absolute index.
    oldest: u64,
}

/// Sections in the order in which they were written, at most [`OUTSTANDING_MAX`].
pub(super) struct Outstanding {
    sections: VecDeque<Section>,
}

impl Outstanding {
    pub(super) fn new() -> Outstanding {
        Outstanding { sections: VecDeque::new() }
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.sections.len() >= OUTSTANDING_MAX
    }

    pub(super) fn push(&mut self, stream: u64, oldest: u64) {
        self.sections.push_back(Section { stream, oldest });
    }

    /// The first section of the stream is acknowledged; false: there is none.
    pub(super) fn acknowledge(&mut self, stream: u64) -> bool {
        let at = self.sections.iter().position(|s| s.stream == stream);
        at.is_some_and(|at| self.sections.remove(at).is_some())
    }

    /// No section of the stream will be read.
    pub(super) fn cancel(&mut self, stream: u64) {
        self.sections.retain(|s| s.stream != stream);
    }

    /// The oldest entry that any of them names; `u64::MAX` if none.
    pub(super) fn oldest(&self) -> u64 {
        self.sections.iter().map(|s| s.oldest).min().unwrap_or(u64::MAX)
    }

    /// Bytes held on the heap.
    pub(super) fn memory(&self) -> usize {
        self.sections.capacity() * size_of::<Section>()
    }
}
