//! Extensible priorities (RFC 9218): what a stream asked for, and which of those that wait for room comes next.
use super::stream::{NONE, Slot, Streams};

/// A stream's priority (RFC 9218, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 (first) to 7 (last).
    pub urgency: u8,
    /// Whether the response is of use in pieces, so that it may share the connection with others of its urgency.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Priority {
        Priority { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Reads a `priority` field value, as far as it is one: parameters that are unknown, out of range or of another
    /// type are ignored (RFC 9218, section 4).
    pub fn parse(value: &[u8]) -> Priority {
        let mut priority = Priority::default();
        for member in value.split(|&b| b == b',') {
            let item = member.split(|&b| b == b';').next().unwrap_or(&[]).trim_ascii();
            match item {
                [b'u', b'=', urgency @ b'0'..=b'7'] => priority.urgency = urgency - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }

    /// Which queue a stream of this priority waits in: lower ones go first.
    #[inline]
    fn queue(self) -> usize {
        usize::from(self.urgency & 7) * 2 + usize::from(self.incremental)
    }
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
        self.busy & (u16::MAX >> (15 - priority.queue())) != 0
    }

    /// Puts a stream into its queue, unless it is there.
    pub(super) fn push(&mut self, streams: &mut Streams, slot: Slot) {
        let stream = streams.at(slot);
        if stream.queued {
            return;
        }
        let (id, queue, incremental) = (stream.id, stream.priority.queue(), stream.priority.incremental);
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
        let (before, after, queue) = (stream.before, stream.after, stream.priority.queue());
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
    fn values_are_read_as_far_as_they_are_known() {
        let of = |urgency, incremental| Priority { urgency, incremental };
        for (value, want) in [
            ("", of(3, false)),
            ("u=0", of(0, false)),
            ("u=7, i", of(7, true)),
            ("i,u=1", of(1, true)),
            ("u=5;x=1, i=?1;y", of(5, true)),
            ("i, i=?0", of(3, false)),
            ("u=8", of(3, false)),
            ("u=-1, u=55, u=, uu=1", of(3, false)),
            ("U=1, I", of(3, false)),
            ("x=\"u=1\", i=1", of(3, false)),
            (",,;=", of(3, false)),
        ] {
            assert_eq!(Priority::parse(value.as_bytes()), want, "{value}");
        }
    }

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
