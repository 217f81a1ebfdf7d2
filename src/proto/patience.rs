//! How long a client was waited for, and whether what it sent in that time is too little.
use super::ClientTimeouts;
use std::cell::Cell;

/// The least rate is asked for after so much waiting, milliseconds (FEATURES A20).
const GRACE_MS: u64 = 10_000;

/// The time that one request's body was waited for. Time in which the endpoint was the slow one does not count.
#[derive(Default)]
pub struct Patience {
    since_ms: Cell<Option<u64>>,
    waited_ms: Cell<u64>,
    ended: Cell<bool>,
}

impl Patience {
    /// The client is what is waited for from now on.
    pub fn waits(&self, now_ms: u64) {
        if self.since_ms.get().is_none() {
            self.since_ms.set(Some(now_ms));
        }
    }

    /// Something came.
    pub fn came(&self, now_ms: u64) {
        if let Some(since) = self.since_ms.take() {
            self.waited_ms.set(self.waited_ms.get() + now_ms.saturating_sub(since));
        }
    }

    /// The answer has begun: from now on it is a conversation, in which either side may be silent.
    pub fn end(&self) {
        self.ended.set(true);
    }

    /// Whether `received` bytes are too little for the time.
    pub fn is_over(&self, received: u64, timeouts: &ClientTimeouts) -> bool {
        let waited = self.waited_ms.get();
        timeouts.min_body_rate > 0
            && !self.ended.get()
            && waited > GRACE_MS
            && received < timeouts.min_body_rate.saturating_mul(waited / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TIMEOUTS: ClientTimeouts = ClientTimeouts {
        handshake: Duration::MAX,
        header: Duration::MAX,
        body: Duration::MAX,
        write: Duration::MAX,
        keepalive: Duration::MAX,
        min_body_rate: 500,
    };

    #[test]
    fn only_waiting_counts_and_only_before_the_answer() {
        let patience = Patience::default();
        for second in 0..9 {
            patience.waits(second * 1000);
            patience.waits(second * 1000 + 400); // still the same wait
            patience.came(second * 1000 + 1000);
        }
        assert!(!patience.is_over(0, &TIMEOUTS), "nine seconds are within the grace");
        patience.came(60_000); // nobody waited for the client meanwhile
        assert!(!patience.is_over(0, &TIMEOUTS));
        patience.waits(60_000);
        patience.came(63_000);
        assert!(patience.is_over(12 * 500 - 1, &TIMEOUTS));
        assert!(!patience.is_over(12 * 500, &TIMEOUTS));
        assert!(!patience.is_over(0, &ClientTimeouts { min_body_rate: 0, ..TIMEOUTS }));
        patience.end();
        assert!(!patience.is_over(0, &TIMEOUTS));
    }
}
