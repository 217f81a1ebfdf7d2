//! Coarse time and a timer wheel. Both are turned by hand: by the reactor in production, by tests in tests.
use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The time a shard looks at: read from the system once a turn, then free to ask.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    now_us: Cell<u64>,
    wall_us: Cell<u64>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

impl Clock {
    /// A clock that starts at 0 now and shows the system's wall time.
    pub fn new() -> Clock {
        let clock = Clock { origin: Instant::now(), now_us: Cell::new(0), wall_us: Cell::new(0) };
        clock.update();
        clock
    }

    /// Reads the system's clocks.
    pub fn update(&self) {
        self.now_us.set(micros(self.origin.elapsed()));
        self.wall_us.set(micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()));
    }

    /// Sets both by hand: µs since the start, and µs since 1970.
    pub fn set(&self, now_us: u64, wall_us: u64) {
        self.now_us.set(now_us);
        self.wall_us.set(wall_us);
    }

    /// Milliseconds since the clock was made, as of the last update. Never goes back.
    pub fn now_ms(&self) -> u64 {
        self.now_us.get() / 1000
    }

    /// Microseconds since the clock was made, as of the last update.
    pub fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// Microseconds since 1970, as of the last update.
    pub fn wall_us(&self) -> u64 {
        self.wall_us.get()
    }

    /// Microseconds since the clock was made, read from the system: for durations that a log line shows.
    pub fn exact_us(&self) -> u64 {
        micros(self.origin.elapsed())
    }
}

/// Microseconds of `CLOCK_MONOTONIC`, as other programs of this machine see it too.
pub fn monotonic_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid, writable `timespec` for the length of the call. It fails for unknown clocks only, and
    // then leaves the zeros.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1000
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

/// The wheel's resolution in milliseconds: a timer fires never early, and less than this late.
pub const TICK_MS: u64 = 8;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
/// 2^36 ticks are 17 years; later deadlines are brought forward to that.
const LAST_TICK: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;
/// No entry.
const NONE: u32 = u32::MAX;
/// In `Entry::slot`: not in any list.
const FREE: u16 = u16::MAX;

/// Names one timer, until it fires or is removed; afterwards it names nothing, even when its place is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    tick: u64,
    token: usize,
    next: u32,
    prev: u32,
    generation: u32,
    /// `level * SLOTS + slot`, or `FREE`.
    slot: u16,
}

const _: () = assert!(size_of::<Entry>() <= 40);

/// A hierarchical timer wheel: insert and remove in constant time, no allocation once it has grown to its peak.
///
/// An entry's level is that of the highest base-64 digit in which its tick differs from the wheel's, so an entry moves
/// down at most five times in its life, and the lowest level in use always holds the next one to fire.
pub struct Wheel {
    entries: Vec<Entry>,
    /// Head of the list of free entries.
    free: u32,
    heads: [u32; LEVELS * SLOTS],
    /// Per level, one bit per slot that is not empty.
    used: [u64; LEVELS],
    origin_ms: u64,
    /// Every entry's tick is at least this.
    tick: u64,
    len: usize,
}

impl std::fmt::Debug for Wheel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wheel").field("len", &self.len).field("tick", &self.tick).finish_non_exhaustive()
    }
}

impl Wheel {
    /// An empty wheel; `now_ms` is the least time it will ever be told.
    pub fn new(now_ms: u64) -> Wheel {
        Wheel {
            entries: Vec::new(),
            free: NONE,
            heads: [NONE; LEVELS * SLOTS],
            used: [0; LEVELS],
            origin_ms: now_ms,
            tick: 0,
            len: 0,
        }
    }

    /// Timers that have neither fired nor been removed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no timer.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Hands `token` to the first `advance` at or after `deadline_ms` (rounded up to a tick). A deadline that is past
    /// fires at the next `advance`.
    ///
    /// # Panics
    /// With 2^32 - 1 timers at once.
    pub fn insert(&mut self, deadline_ms: u64, token: usize) -> TimerId {
        let tick = deadline_ms.saturating_sub(self.origin_ms).div_ceil(TICK_MS).clamp(self.tick, LAST_TICK);
        let index = self.take_entry();
        let entry = &mut self.entries[index as usize];
        entry.tick = tick;
        entry.token = token;
        let generation = entry.generation;
        self.link(index);
        self.len += 1;
        TimerId { index, generation }
    }

    /// Takes a timer out; `false` when it has fired or was removed before.
    pub fn remove(&mut self, id: TimerId) -> bool {
        match self.entries.get(id.index as usize) {
            Some(e) if e.generation == id.generation && e.slot != FREE => {
                self.unlink(id.index);
                self.release(id.index);
                true
            }
            _ => false,
        }
    }

    /// Turns the wheel to `now_ms` and hands out the token of every timer whose time has come, tick by tick.
    /// Going back in time does nothing.
    pub fn advance(&mut self, now_ms: u64, mut fire: impl FnMut(usize)) {
        let target = (now_ms.saturating_sub(self.origin_ms) / TICK_MS).min(LAST_TICK);
        while let Some((level, slot, start)) = self.next_slot() {
            if start > target {
                break;
            }
            self.tick = self.tick.max(start);
            self.empty_slot(level, slot, &mut fire);
        }
        self.tick = self.tick.max(target);
    }

    /// When to call `advance` next: at or before the earliest timer's tick, never after it. It may be earlier, when the
    /// wheel only has to move far timers nearer.
    pub fn next_deadline(&self) -> Option<u64> {
        self.next_slot().map(|(_, _, start)| self.origin_ms + start * TICK_MS)
    }

    /// The slot that is due next, and its first tick.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.used.iter().position(|&bits| bits != 0)?;
        // All its entries agree with `tick` in the higher digits and are not behind it in this one.
        let slot = self.used[level].trailing_zeros() as usize;
        let shift = SLOT_BITS * level as u32;
        let higher = self.tick >> shift >> SLOT_BITS << SLOT_BITS;
        Some((level, slot, (higher | slot as u64) << shift))
    }

    fn empty_slot(&mut self, level: usize, slot: usize, fire: &mut impl FnMut(usize)) {
        loop {
            let index = self.heads[level * SLOTS + slot];
            if index == NONE {
                return;
            }
            self.unlink(index);
            if level == 0 {
                let token = self.entries[index as usize].token;
                self.release(index);
                fire(token);
            } else {
                // `tick` is in this slot's range now, so the entry lands at a lower level.
                self.link(index);
            }
        }
    }

    fn take_entry(&mut self) -> u32 {
        if self.free != NONE {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            return index;
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|&i| i != NONE).expect("fewer than 2^32 timers");
        self.entries.push(Entry { tick: 0, token: 0, next: NONE, prev: NONE, generation: 0, slot: FREE });
        index
    }

    fn release(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.slot = FREE;
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
    }

    fn link(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        let level = ((tick ^ self.tick) | 1).ilog2() / SLOT_BITS;
        let slot = (tick >> (SLOT_BITS * level)) as usize % SLOTS;
        let level = level as usize;
        let place = level * SLOTS + slot;
        let head = self.heads[place];
        if head != NONE {
            self.entries[head as usize].prev = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.prev = NONE;
        entry.next = head;
        entry.slot = place as u16;
        self.heads[place] = index;
        self.used[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { next, prev, slot, .. } = self.entries[index as usize];
        let place = slot as usize;
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if prev != NONE {
            self.entries[prev as usize].next = next;
        } else {
            self.heads[place] = next;
            if next == NONE {
                self.used[place / SLOTS] &= !(1 << (place % SLOTS));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn fired(wheel: &mut Wheel, now_ms: u64) -> Vec<usize> {
        let mut out = Vec::new();
        wheel.advance(now_ms, |t| out.push(t));
        out
    }

    #[test]
    fn never_early_and_less_than_a_tick_late() {
        for deadline in 1001..1100 {
            let mut w = Wheel::new(1000);
            w.insert(deadline, 7);
            assert_eq!(fired(&mut w, deadline - 1), [], "{deadline}");
            assert_eq!(fired(&mut w, deadline + TICK_MS - 1), [7], "{deadline}");
            assert!(w.is_empty());
        }
    }

    #[test]
    fn a_past_deadline_fires_at_the_next_turn_even_when_time_stands_still() {
        let mut w = Wheel::new(0);
        assert_eq!(fired(&mut w, 5000), []);
        w.insert(10, 1);
        assert_eq!(fired(&mut w, 5000), [1]);
    }

    #[test]
    fn an_old_id_does_not_remove_a_new_timer() {
        let mut w = Wheel::new(0);
        let a = w.insert(8, 1);
        assert_eq!(fired(&mut w, 8), [1]);
        let b = w.insert(80, 2);
        assert!(!w.remove(a));
        assert_eq!(w.len(), 1);
        assert!(w.remove(b));
        assert!(!w.remove(b));
    }

    #[test]
    fn a_deadline_at_the_end_of_time_is_kept_and_removed() {
        let mut w = Wheel::new(3);
        let id = w.insert(u64::MAX, 1);
        assert_eq!(fired(&mut w, 1 << 38), []);
        assert!(w.next_deadline().is_some_and(|at| at > 0));
        assert!(w.remove(id));
        assert_eq!(w.next_deadline(), None);
    }

    #[test]
    fn steady_use_does_not_grow() {
        let mut w = Wheel::new(0);
        for round in 0..10_000u64 {
            w.insert(round * 3 + 50_000, 0);
            let id = w.insert(round * 3 + 90, 1);
            w.remove(id);
            w.advance(round * 3, |_| ());
        }
        assert!(w.entries.len() < 20_000);
        let peak = w.entries.len();
        for round in 10_000..100_000u64 {
            w.insert(round * 3 + 50_000, 0);
            w.advance(round * 3, |_| ());
        }
        assert!(w.entries.len() <= peak.max(50_000 / 3 + 10), "{}", w.entries.len());
    }

    #[test]
    fn a_hand_turned_clock_shows_what_it_was_told() {
        let c = Clock::new();
        c.set(12_345_678, 1_700_000_000_000_000);
        assert_eq!((c.now_ms(), c.now_us(), c.wall_us()), (12_345, 12_345_678, 1_700_000_000_000_000));
    }

    #[test]
    fn the_monotonic_clock_moves_on() {
        let before = monotonic_us();
        assert!(before > 0);
        assert!(monotonic_us() >= before);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Remove(usize),
        Advance(u64),
    }

    fn delay() -> impl Strategy<Value = u64> {
        prop_oneof![0..100u64, 0..5_000u64, 0..4_000_000u64, 0..10_000_000_000u64]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => delay().prop_map(Op::Insert),
            1 => any::<usize>().prop_map(Op::Remove),
            2 => delay().prop_map(Op::Advance),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        /// The model: a map from the tick a timer is due to the timers due then.
        #[test]
        fn agrees_with_a_sorted_map(origin in 0..100_000u64, ops in prop::collection::vec(op(), 1..200)) {
            let due = |at: u64| (at - origin).div_ceil(TICK_MS);
            let mut wheel = Wheel::new(origin);
            let mut model: BTreeMap<(u64, usize), TimerId> = BTreeMap::new();
            let mut now = origin;
            for (token, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Insert(delay) => {
                        let id = wheel.insert(now + delay, token);
                        // A timer never falls due before the tick that the wheel has reached.
                        model.insert((due(now + delay).max((now - origin) / TICK_MS), token), id);
                    }
                    Op::Remove(nth) if !model.is_empty() => {
                        let key = *model.keys().nth(nth % model.len()).unwrap();
                        prop_assert!(wheel.remove(model.remove(&key).unwrap()));
                    }
                    Op::Remove(_) => {}
                    Op::Advance(by) => {
                        now += by;
                        let tick = (now - origin) / TICK_MS;
                        let mut got = fired(&mut wheel, now);
                        let later = model.split_off(&(tick + 1, 0));
                        let mut want: Vec<usize> = model.keys().map(|&(_, token)| token).collect();
                        let order: Vec<u64> = got.iter()
                            .map(|t| model.keys().find(|k| k.1 == *t).map_or(u64::MAX, |k| k.0)).collect();
                        prop_assert!(order.is_sorted(), "fired out of order");
                        got.sort_unstable();
                        want.sort_unstable();
                        prop_assert_eq!(got, want);
                        model = later;
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                match (wheel.next_deadline(), model.keys().next()) {
                    (None, None) => {}
                    (Some(at), Some(&(tick, _))) => {
                        prop_assert!(at <= origin + tick * TICK_MS, "would sleep past a timer");
                    }
                    (a, b) => prop_assert!(false, "{:?} {:?}", a, b),
                }
            }
        }
    }
}
