//! Which of the streams that wait for room comes next (RFC 9218, section 10).
use super::stream::{NONE, Slot, Streams};
use crate::message::Priority;

/// Which queue a stream of this priority waits in: lower ones go first.
#[inline]
fn queue(priority: Priority) -> usize {
    usize::from(priority.urgency & 7) * 2 + usize::from(priority.incremental)
}

/// Streams that have data to send and room in their own window, in the order in which they may go on: by urgency; in
/// one urgency first those that are not incremental, by id, then the others in turn. Links are in the streams.
pub(super) struct Waiting {
    /// Bit `q`: queue `q` is not empty.
    busy: u16,
    first: [Slot; 16],
    last: [Slot; 16],
}

impl Waiting {
    pub(super) fn new() -> Waiting {
        Waiting { busy: 0, first: [NONE; 16], last: [NONE; 16] }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.busy == 0
    }

    /// Whether anybody waits who is not behind a stream of this priority.
    #[inline]
    pub(super) fn rivals(&self, priority: Priority) -> bool {
        self.busy & (u16::MAX >> (15 - queue(priority))) != 0
    }

    /// Puts a stream into its queue, unless it is there.
    pub(super) fn push(&mut self, streams: &mut Streams, slot: Slot) {
        let stream = streams.at(slot);
        if stream.queued {
            return;
        }
        let (id, queue, incremental) = (stream.id, queue(stream.priority), stream.priority.incremental);
        let mut before = self.last[queue];
        while !incremental && before != NONE && streams.at(before).id > id {
            before = streams.at(before).before;
        }
        let after = if before == NONE { self.first[queue] } else { streams.at(before).after };
        match before {
            NONE => self.first[queue] = slot,
            before => streams.at(before).after = slot,
        }
        match after {
            NONE => self.last[queue] = slot,
            after => streams.at(after).before = slot,
        }
        let stream = streams.at(slot);
        (stream.before, stream.after, stream.queued) = (before, after, true);
        self.busy |= 1 << queue;
    }

    /// Takes a stream out of its queue, if it is in one.
    #[inline]
    pub(super) fn remove(&mut self, streams: &mut Streams, slot: Slot) {
        let stream = streams.at(slot);
        if !stream.queued {
            return;
        }
        let (before, after, queue) = (stream.before, stream.after, queue(stream.priority));
        (stream.before, stream.after, stream.queued) = (NONE, NONE, false);
        match before {
            NONE => self.first[queue] = after,
            before => streams.at(before).after = after,
        }
        match after {
            NONE => self.last[queue] = before,
            after => streams.at(after).before = before,
        }
        if self.first[queue] == NONE {
            self.busy &= !(1 << queue);
        }
    }

    /// Takes out the stream that comes first.
    pub(super) fn pop(&mut self, streams: &mut Streams) -> Option<Slot> {
        if self.busy == 0 {
            return None;
        }
        let slot = self.first[self.busy.trailing_zeros() as usize & 15];
        self.remove(streams, slot);
        Some(slot)
    }

    /// Gives a stream another priority, in whatever queue it is.
    pub(super) fn change(&mut self, streams: &mut Streams, slot: Slot, priority: Priority) {
        let queued = streams.at(slot).queued;
        self.remove(streams, slot);
        streams.at(slot).priority = priority;
        if queued {
            self.push(streams, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stream::Stream, *};

    #[test]
    fn urgency_then_id_then_turns() {
        let mut streams = Streams::new();
        let mut waiting = Waiting::new();
        let mut add = |id, urgency, incremental| {
            streams.insert(Stream { id, priority: Priority { urgency, incremental }, ..Stream::default() })
        };
        let slots =
            [add(1, 3, true), add(3, 3, true), add(5, 3, false), add(7, 3, false), add(9, 0, true), add(11, 7, false)];
        for at in [5, 3, 2, 1, 0, 4] {
            waiting.push(&mut streams, slots[at]);
            waiting.push(&mut streams, slots[at]);
        }
        let mut next = |waiting: &mut Waiting| waiting.pop(&mut streams).map(|slot| streams.at(slot).id);
        let order: Vec<_> = std::iter::from_fn(|| next(&mut waiting)).collect();
        assert_eq!(order, [9, 5, 7, 3, 1, 11]);
        assert!(waiting.is_empty());

        for slot in slots {
            waiting.push(&mut streams, slot);
        }
        waiting.remove(&mut streams, slots[3]);
        waiting.change(&mut streams, slots[5], Priority { urgency: 3, incremental: false });
        waiting.change(&mut streams, slots[4], Priority { urgency: 3, incremental: true });
        assert!(waiting.rivals(Priority { urgency: 3, incremental: false }));
        assert!(!waiting.rivals(Priority { urgency: 2, incremental: true }));
        let order: Vec<_> = std::iter::from_fn(|| waiting.pop(&mut streams).map(|slot| streams.at(slot).id)).collect();
        assert_eq!(order, [5, 11, 1, 3, 9]);
        assert!(slots.iter().all(|&slot| !streams.at(slot).queued));
    }
}
