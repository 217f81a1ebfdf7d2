//! Which address-validation tokens were used already (RFC 9000 8.1.4): one log for all shards, without locks.
//!
//! Time goes in stretches as long as a token lives, so the tokens that are alive were issued in at most two of them, and
//! there is a Bloom filter for each: one for stretches of even number, one for odd. A token's marks are all in one word,
//! so one compare-and-swap looks and marks: of two shards that see a token at the same moment, one takes it. The word
//! says which stretch its marks are of; older ones count as none, so nothing has to be cleared.
//!
//! A token that was never used may be taken for used, rarely. Its client waits a round trip longer for a large answer.
use quinn_proto::{TokenLog, TokenReuseError};
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Bits of a word for marks; those above are the stretch's number, as far as they hold it.
const MARK_BITS: u32 = 48;
const MARKS: u64 = (1 << MARK_BITS) - 1;
/// Marks of a token, at most (two may fall together).
const MARKS_PER_TOKEN: u32 = 4;

/// Which tokens were used.
pub struct Log {
    even: Box<[AtomicU64]>,
    odd: Box<[AtomicU64]>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("words", &self.even.len()).finish_non_exhaustive()
    }
}

impl Default for Log {
    fn default() -> Log {
        Log::new(Log::WORDS)
    }
}

impl Log {
    /// Words of a process's filters each, without another wish: 1 MiB for both. With as many tokens used in a token's
    /// lifetime, one of about 2,000 is refused though it is new.
    pub const WORDS: usize = 64 << 10;

    /// With two filters of `words` words (at least 1), 8 bytes each.
    pub fn new(words: usize) -> Log {
        let filter = || (0..words.max(1)).map(|_| AtomicU64::new(0)).collect();
        Log { even: filter(), odd: filter() }
    }

    /// Marks the token `nonce` of the stretch `number`. Whether it was not marked before.
    fn mark(&self, nonce: u128, number: u64) -> bool {
        let filter = if number.is_multiple_of(2) { &self.even } else { &self.odd };
        // Tokens are sealed and their nonces random: parts of one are as good as hashes, and nobody can choose them.
        let words = u128::try_from(filter.len()).unwrap_or(1);
        let Some(word) = usize::try_from((nonce & u128::from(u64::MAX)) % words).ok().and_then(|at| filter.get(at))
        else {
            return false;
        };
        let marks = (0..MARKS_PER_TOKEN).fold(0u64, |marks, n| {
            let part = (nonce >> (64 + 16 * n)) as u16;
            marks | 1 << (u32::from(part) % MARK_BITS)
        });
        let stretch = number << MARK_BITS;
        // Nothing else is published with a mark: the order of one word's changes is all that counts.
        word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            let ahead = (old & !MARKS).wrapping_sub(stretch);
            if ahead != 0 && ahead < 1 << 63 && old != 0 {
                return None; // the clock was set back, and a later stretch's marks are worth more
            }
            let known = if ahead == 0 { old & MARKS } else { 0 };
            (known & marks != marks).then_some(stretch | known | marks)
        })
        .is_ok()
    }
}

impl TokenLog for Log {
    fn check_and_insert(&self, nonce: u128, issued: SystemTime, lifetime: Duration) -> Result<(), TokenReuseError> {
        let since = issued.duration_since(UNIX_EPOCH).map_err(|_| TokenReuseError)?;
        let number = since.as_nanos().checked_div(lifetime.as_nanos()).ok_or(TokenReuseError)?;
        // Only whether two numbers are the same counts, so the lower bits do.
        if self.mark(nonce, number as u64) { Ok(()) } else { Err(TokenReuseError) }
    }
}
