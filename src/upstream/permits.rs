//! Permits that all shards of the node share: so many connections, or requests in flight, and not one more.
//!
//! While there are plenty, a shard takes a few at once and keeps those that come back in a pocket of its own, so that
//! requests of different shards touch different cache lines. A pocket is open to all: where permits are scarce, a
//! shard that has none looks into the others' pockets, so that none is stranded on a shard that has no use for it.
use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

/// Permits taken at once while there are plenty, and the most that a pocket keeps.
const LEASE: u32 = 4;
/// Pockets; shards beyond share them.
const POCKETS: usize = 16;
/// Where there are fewer permits than shards that wait, one may keep a permit for so long, milliseconds.
const TURN_MS: u64 = 16;
/// Afterwards it leaves the permit to the others for so long: each of them looks at least once, milliseconds.
const REST_MS: u64 = 16;

/// What all shards write to: two cache lines of its own, as neighbours are prefetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Hot {
    /// Permits that are out: used, or in a pocket.
    taken: AtomicU32,
    /// Shards on which somebody waits.
    starving: AtomicU32,
    /// Requests that wait, where their number is bounded for all shards together.
    queued: AtomicU32,
    /// The limit that the configuration sets, behind the version of who set it: `version << 32 | limit`.
    set: AtomicU64,
    /// The limit that was found by measuring; `u32::MAX` = none.
    found: AtomicU32,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Pocket(AtomicU32);

impl Pocket {
    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
    }
}

/// The permits of one limit, node-wide.
#[derive(Debug)]
pub struct Permits {
    /// Dense index for shard-local tables; reused only after the permits are gone.
    pub slot: usize,
    hot: Hot,
    pockets: OnceLock<Box<[Pocket; POCKETS]>>,
    versions: AtomicU32,
}

impl Permits {
    /// All of them free, and no limit set.
    pub fn new(slot: usize) -> Permits {
        let (taken, starving, set, found) =
            (AtomicU32::new(0), AtomicU32::new(0), AtomicU64::new(u64::from(u32::MAX)), AtomicU32::new(u32::MAX));
        let hot = Hot { taken, starving, queued: AtomicU32::new(0), set, found };
        Permits { slot, hot, pockets: OnceLock::new(), versions: AtomicU32::new(0) }
    }

    /// A version for the next limit that is set: greater than all before.
    pub fn next_version(&self) -> u32 {
        self.versions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Sets the limit, unless a later version has set one: shards follow a new configuration one by one.
    pub fn set_limit(&self, version: u32, limit: u32) {
        self.hot.set.fetch_max(u64::from(version) << 32 | u64::from(limit), Ordering::AcqRel);
    }

    /// Sets what was found by measuring; `None` = nothing.
    pub fn set_found(&self, limit: Option<u32>) {
        self.hot.found.store(limit.unwrap_or(u32::MAX), Ordering::Release);
    }

    /// What was found by measuring.
    pub fn found(&self) -> Option<u32> {
        Some(self.hot.found.load(Ordering::Relaxed)).filter(|found| *found != u32::MAX)
    }

    /// How many may be out now: the lower of what is set and what was found.
    pub fn limit(&self) -> u32 {
        let set = self.hot.set.load(Ordering::Acquire) as u32;
        set.min(self.hot.found.load(Ordering::Acquire))
    }

    /// Permits out now, those in pockets included.
    pub fn taken(&self) -> u32 {
        self.hot.taken.load(Ordering::Acquire)
    }

    /// Permits in use: an estimate while shards take and give.
    pub fn used(&self) -> u32 {
        let kept = self.pockets.get().map_or(0, |all| all.iter().map(|p| p.0.load(Ordering::Relaxed)).sum());
        self.taken().saturating_sub(kept)
    }

    /// Shards on which somebody waits.
    pub fn starving(&self) -> u32 {
        self.hot.starving.load(Ordering::Relaxed)
    }

    /// A place among the `max` that may wait, if there is one.
    pub fn try_queue(&self, max: u32) -> bool {
        let more = |queued: u32| Some(queued + 1).filter(|queued| *queued <= max);
        self.hot.queued.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }

    /// A place even so: one that was displaced is about to leave its own.
    pub fn queue(&self) {
        self.hot.queued.fetch_add(1, Ordering::AcqRel);
    }

    /// Gives the place back.
    pub fn leave_queue(&self) {
        self.hot.queued.fetch_sub(1, Ordering::AcqRel);
    }

    /// Requests that wait, on all shards.
    pub fn queued(&self) -> u32 {
        self.hot.queued.load(Ordering::Relaxed)
    }

    fn pockets(&self) -> &[Pocket; POCKETS] {
        self.pockets.get_or_init(Box::default)
    }

    fn pocket(&self, shard: usize) -> &Pocket {
        &self.pockets()[shard % POCKETS]
    }

    /// One permit for `shard`, when fewer than `max` are in use. Lock-free: each retry means that another made progress.
    pub fn take(&self, shard: usize, max: u32) -> bool {
        let pocket = self.pocket(shard);
        let taken = self.taken();
        if taken <= max && pocket.take() {
            return true;
        }
        let want = if is_scarce(taken, max) { 1 } else { LEASE };
        match self.take_up_to(want, max) {
            0 => self.take_from_pockets(max),
            n => {
                if n > 1 {
                    pocket.0.fetch_add(n - 1, Ordering::AcqRel);
                }
                true
            }
        }
    }

    /// Up to `want` of those that are not out.
    fn take_up_to(&self, want: u32, max: u32) -> u32 {
        let take = |taken: u32| want.min(max.saturating_sub(taken));
        let more = |taken: u32| Some(taken + take(taken)).filter(|_| take(taken) > 0);
        self.hot.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).map_or(0, take)
    }

    /// One that a shard keeps for later. While more are out than the limit has by now, those go back instead.
    fn take_from_pockets(&self, max: u32) -> bool {
        for pocket in self.pockets() {
            while pocket.0.load(Ordering::Relaxed) > 0 && pocket.take() {
                if self.taken() <= max {
                    return true;
                }
                self.hot.taken.fetch_sub(1, Ordering::AcqRel);
            }
        }
        false
    }

    /// Gives a permit back; with `keep` into the pocket of `shard`, for somebody who waits there.
    pub fn give(&self, shard: usize, max: u32, keep: bool) {
        let taken = self.taken();
        let pocket = self.pocket(shard);
        let plenty = !is_scarce(taken, max) && self.starving() == 0 && pocket.0.load(Ordering::Relaxed) < LEASE;
        if taken <= max && (keep || plenty) {
            pocket.0.fetch_add(1, Ordering::AcqRel);
        } else {
            self.hot.taken.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// What `shard` keeps for later goes back.
    pub fn empty_pocket(&self, shard: usize) {
        if let Some(all) = self.pockets.get() {
            let kept = all[shard % POCKETS].0.swap(0, Ordering::AcqRel);
            if kept > 0 {
                self.hot.taken.fetch_sub(kept, Ordering::AcqRel);
            }
        }
    }
}

/// More than half of the permits are out: single ones only, so that few lie in pockets.
fn is_scarce(taken: u32, max: u32) -> bool {
    taken >= max / 2
}

/// One shard's part of the permits: what it uses, and when it leaves some to the others.
///
/// Where shards wait, each may use its share: the limit divided by how many of them there are. What is left over by
/// that division goes round.
#[derive(Debug)]
pub struct Holder {
    permits: Arc<Permits>,
    shard: usize,
    used: Cell<u32>,
    /// Somebody waits on this shard.
    waits: Cell<bool>,
    /// Since when it has used what is left over, milliseconds; `u64::MAX` = it does not.
    turn_since: Cell<u64>,
    /// Until then it leaves that to the others, milliseconds.
    rest_until: Cell<u64>,
}

impl Holder {
    /// Uses none yet.
    pub fn new(permits: Arc<Permits>, shard: usize) -> Holder {
        Holder {
            permits,
            shard,
            used: Cell::new(0),
            waits: Cell::new(false),
            turn_since: Cell::new(u64::MAX),
            rest_until: Cell::new(0),
        }
    }

    /// The node's.
    pub fn permits(&self) -> &Arc<Permits> {
        &self.permits
    }

    /// Its number.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Permits that this shard uses.
    pub fn used(&self) -> u32 {
        self.used.get()
    }

    /// Whether somebody waits on this shard.
    pub fn set_waits(&self, waits: bool) {
        if self.waits.replace(waits) != waits {
            let starving = &self.permits.hot.starving;
            let _ =
                if waits { starving.fetch_add(1, Ordering::AcqRel) } else { starving.fetch_sub(1, Ordering::AcqRel) };
        }
    }

    /// Other shards on which somebody waits.
    pub fn others_wait(&self) -> u32 {
        self.permits.starving().saturating_sub(u32::from(self.waits.get()))
    }

    /// A permit of `max`, if there is one and no other shard has a better claim. `now_ms` is the shard's clock.
    pub fn take(&self, max: u32, now_ms: u64) -> bool {
        let others = self.others_wait();
        if others > 0 && max > 0 {
            let (used, shards) = (self.used.get(), others.saturating_add(1));
            if used >= max.div_ceil(shards) || used >= max / shards && now_ms < self.rest_until.get() {
                return false;
            }
        }
        let taken = self.permits.take(self.shard, max);
        if taken {
            self.used.set(self.used.get() + 1);
            if self.turn_since.get() == u64::MAX {
                self.turn_since.set(now_ms);
            }
        }
        taken
    }

    /// Whether what it gives back now is another shard's.
    pub fn is_turn_over(&self, max: u32, now_ms: u64) -> bool {
        let others = self.others_wait();
        if others == 0 {
            return false;
        }
        let (rest, shards) = (self.used.get().saturating_sub(1), others.saturating_add(1));
        rest >= max.div_ceil(shards) || rest >= max / shards && now_ms >= self.turn_since.get().saturating_add(TURN_MS)
    }

    /// Gives one back. `true`: it is kept for those who wait on this shard, and the first of them may look.
    pub fn give(&self, max: u32, now_ms: u64) -> bool {
        let over = self.is_turn_over(max, now_ms);
        let keep = self.waits.get() && !over;
        if over {
            self.turn_since.set(u64::MAX);
            self.rest_until.set(now_ms.saturating_add(REST_MS));
        }
        self.used.set(self.used.get().saturating_sub(1));
        self.permits.give(self.shard, max, keep);
        keep
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.set_waits(false);
        for _ in 0..self.used.get() {
            self.permits.give(self.shard, 0, false);
        }
        self.permits.empty_pocket(self.shard);
    }
}

#[cfg(test)]
mod tests;
