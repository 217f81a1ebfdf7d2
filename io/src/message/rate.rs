//! How often something happens.

/// Events in a window of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    start_ms: u64,
    count: u32,
}

impl Rate {
    /// Counts one; whether there are now more than `limit` in this window of `window_ms`.
    #[inline]
    pub fn exceeds(&mut self, now_ms: u64, window_ms: u64, limit: u32) -> bool {
        if now_ms.saturating_sub(self.start_ms) >= window_ms {
            *self = Rate { start_ms: now_ms, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_count_in_windows() {
        let mut rate = Rate::default();
        for _ in 0..5 {
            assert!(!rate.exceeds(7, 10, 5));
        }
        assert!(rate.exceeds(9, 10, 5));
        assert!(!rate.exceeds(17, 10, 5));
        assert!(!rate.exceeds(3, 10, 5), "time that goes backwards is no new window");
    }
}
