//! Flow control (RFC 9113, section 5.2): what we may send, what the peer may, and when to say that it may send more.
use std::collections::VecDeque;

/// The largest window (RFC 9113, section 6.9.1).
pub(super) const WINDOW_MAX: i64 = i32::MAX as i64;
/// The windows that both sides start with (RFC 9113, section 6.9.2).
pub(super) const WINDOW_DEFAULT: u32 = 65_535;

/// A send window grown by `by`; `None` beyond the maximum.
#[inline]
pub(super) fn grown(window: i32, by: i64) -> Option<i32> {
    let sum = i64::from(window) + by;
    if sum > WINDOW_MAX { None } else { i32::try_from(sum).ok() }
}

/// The connection's receive window.
#[derive(Debug)]
pub(super) struct Receive {
    /// What the peer may still send.
    pub window: i32,
    /// Data done with, for which no WINDOW_UPDATE went out yet.
    pub unannounced: u32,
    /// The size it is kept at.
    pub size: u32,
}

impl Receive {
    /// Takes `n` bytes off; false if the peer overran the window.
    #[inline]
    pub(super) fn take(&mut self, n: u32) -> bool {
        let fits = i64::from(n) <= i64::from(self.window);
        if fits {
            self.window -= n as i32;
        }
        fits
    }

    /// Counts `n` bytes as done with; the increment to announce, once it is half the window.
    #[inline]
    pub(super) fn give_back(&mut self, n: u32) -> Option<u32> {
        self.unannounced += n;
        if self.unannounced == 0 || self.unannounced < self.size / 2 {
            return None;
        }
        let increment = std::mem::take(&mut self.unannounced);
        self.window += increment as i32;
        Some(increment)
    }
}

/// A stream that we reset, and what its peer may have had in flight.
#[derive(Clone, Copy)]
struct Reset {
    id: u32,
    /// Data that its window still allowed.
    allowance: u32,
    at_ms: u64,
}

/// Streams that we reset a short while ago: what was in flight for them is taken without complaint (RFC 9113,
/// section 5.4.2). Bounded: of those pushed out early, only the highest id is remembered.
#[derive(Default)]
pub(super) struct RecentResets {
    resets: VecDeque<Reset>,
    forgotten: u32,
    forgotten_ms: u64,
}

/// How many are remembered one by one.
const RESETS_MAX: usize = 128;
/// How long frames in flight are expected.
const IN_FLIGHT_MS: u64 = 30_000;

impl RecentResets {
    /// Remembers a stream, which the peer may still send `allowance` bytes of data for.
    pub(super) fn push(&mut self, id: u32, allowance: u32, now_ms: u64) {
        while let Some(oldest) = self.resets.front() {
            let expired = now_ms.saturating_sub(oldest.at_ms) >= IN_FLIGHT_MS;
            if !expired && self.resets.len() < RESETS_MAX {
                break;
            }
            if !expired {
                (self.forgotten, self.forgotten_ms) = (self.forgotten.max(oldest.id), now_ms);
            }
            self.resets.pop_front();
        }
        self.resets.push_back(Reset { id, allowance, at_ms: now_ms });
    }

    /// Whether frames for this stream are expected.
    pub(super) fn expects(&self, id: u32, now_ms: u64) -> bool {
        let recent = |at_ms: u64| now_ms.saturating_sub(at_ms) < IN_FLIGHT_MS;
        (id <= self.forgotten && recent(self.forgotten_ms)) || self.resets.iter().any(|r| r.id == id && recent(r.at_ms))
    }

    /// Takes `n` bytes of data for such a stream; false if its window cannot have allowed them.
    pub(super) fn take(&mut self, id: u32, n: u32) -> bool {
        match self.resets.iter_mut().find(|r| r.id == id) {
            Some(reset) if reset.allowance < n => false,
            Some(reset) => {
                reset.allowance -= n;
                true
            }
            None => true,
        }
    }

    /// Heap bytes.
    pub(super) fn memory(&self) -> usize {
        self.resets.capacity() * size_of::<Reset>()
    }

    /// Gives memory back, if nothing is expected any more.
    pub(super) fn release_memory(&mut self, now_ms: u64) {
        if self.resets.back().is_none_or(|r| now_ms.saturating_sub(r.at_ms) >= IN_FLIGHT_MS) {
            self.resets = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_grow_to_their_maximum() {
        assert_eq!(grown(0, WINDOW_MAX), Some(i32::MAX));
        assert_eq!(grown(1, WINDOW_MAX), None);
        assert_eq!(grown(-5, 5), Some(0));
        assert_eq!(grown(10, -WINDOW_MAX), Some(10 - i32::MAX));
    }

    #[test]
    fn half_a_window_is_announced_at_once() {
        let mut receive = Receive { window: 100, unannounced: 0, size: 100 };
        assert!(receive.take(60) && !receive.take(41) && receive.take(40));
        assert_eq!(receive.give_back(49), None);
        assert_eq!(receive.give_back(0), None);
        assert_eq!(receive.give_back(1), Some(50));
        assert_eq!((receive.window, receive.unannounced), (50, 0));
    }

    #[test]
    fn resets_are_remembered_for_a_while_and_in_bounds() {
        let mut recent = RecentResets::default();
        recent.push(1, 10, 0);
        assert!(recent.expects(1, 5) && !recent.expects(3, 5));
        assert!(recent.take(1, 10) && !recent.take(1, 1));
        assert!(!recent.expects(1, IN_FLIGHT_MS));
        for n in 1..1000 {
            recent.push(n * 2 + 1, 10, IN_FLIGHT_MS);
        }
        assert!(recent.resets.len() <= RESETS_MAX);
        assert!(recent.expects(3, IN_FLIGHT_MS) && recent.take(3, 1_000_000), "forgotten ones are tolerated");
        assert!(!recent.expects(3, 3 * IN_FLIGHT_MS));
        recent.release_memory(3 * IN_FLIGHT_MS);
        assert_eq!(recent.memory(), 0);
    }
}
