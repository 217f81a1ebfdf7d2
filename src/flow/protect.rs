//! A shard that cannot keep up protects those it serves: it stops accepting for a while, and refuses the lowest classes
//! first, so that what it admits is served in time.
//!
//! Two signs say so: turns of its loop that take too long, and memory that runs out. The controller is pure: it is told
//! the signs, and answers how much of which class is refused. Once it acts, it goes by how much of the time the loop had
//! nothing to do: turns grow long only after there was too much for a while.
use crate::{
    message::{Category, Fault, Priority, ProtectRule, Side},
    observe::stats::ShardStats,
};
use std::cell::Cell;

/// While it acts, it looks this often, milliseconds: a tick or two of the wheel.
pub const LOOK_MS: u64 = 16;
/// A turn this many times as long as allowed is no accident. (A machine that is busy with others makes one of a few times.)
const FAR: u64 = 10;
/// Nor are turns that are too long for longer than this, µs.
const LASTING_US: u64 = 150_000;
/// All of bulk; and all of normal too. Per mille.
const ALL_BULK: u32 = 1000;
const ALL: u32 = 2000;
/// The least of normal requests that are let in, per mille: what is refused to all is never seen to recover.
const LEAST: u32 = 10;

/// What was seen since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signs {
    /// The longest turn of the loop, µs.
    pub lag_us: u64,
    /// Of the time since the last look, what the loop waited for something to do, per mille.
    pub idle_permille: u32,
    /// Memory in use, per mille of what the process may have; 0 = not known.
    pub memory_permille: u32,
}

/// What follows from the signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// What is refused, per mille: of bulk up to 1000, of normal what is beyond.
    pub shed: u32,
    /// No connection is accepted for now.
    pub pause: bool,
}

/// Decides; one for each shard.
#[derive(Debug, Default)]
pub struct Controller {
    /// For the loop alone, as in `Level`.
    shed: u32,
    slow_since_us: Option<u64>,
    pause: bool,
}

impl Controller {
    /// One look at `now_us`.
    pub fn look(&mut self, now_us: u64, rule: &ProtectRule, signs: Signs) -> Level {
        match rule.lag {
            Some(lag) => self.by_lag(now_us, u64::try_from(lag.as_micros()).unwrap_or(u64::MAX).max(1), signs),
            None => *self = Controller::default(),
        }
        let by_memory = of_memory(signs.memory_permille, rule.memory_permille);
        Level { shed: self.shed.max(by_memory), pause: self.pause || by_memory > 0 }
    }

    fn by_lag(&mut self, now_us: u64, most_us: u64, signs: Signs) {
        let slow = signs.lag_us > most_us;
        if !slow {
            self.slow_since_us = None;
            self.pause &= signs.lag_us > most_us / 2;
            return self.relax(most_us, signs);
        }
        self.pause = true;
        let since = *self.slow_since_us.get_or_insert(now_us.saturating_sub(signs.lag_us));
        let lasting = now_us.saturating_sub(since) > LASTING_US + most_us || signs.lag_us > FAR * most_us;
        self.shed = match lasting {
            // One long turn may be anybody's doing.
            false => self.shed.max(ALL_BULK),
            // What comes in a turn is what came during the one before: so much less fits.
            true => self.admit(u64::from(ALL - self.shed.max(ALL_BULK)) * most_us / (signs.lag_us + most_us)),
        };
    }

    /// Turns are short enough again, or still.
    fn relax(&mut self, most_us: u64, signs: Signs) {
        if self.shed == 0 {
            return;
        }
        let normal = ALL - self.shed.max(ALL_BULK);
        let keep = if signs.lag_us > most_us / 2 { 700 } else { 900 };
        match signs.idle_permille {
            // Hardly: the queue is about to grow.
            idle if keep == 700 || idle < 50 => {
                if self.shed >= ALL_BULK {
                    self.shed = self.admit(u64::from(normal) * keep / 1000);
                }
            }
            // Half of what is free may be used.
            idle if idle < 300 => self.shed = self.shed.saturating_sub(2 + normal * idle / 2000),
            idle => self.shed = self.shed.saturating_sub(idle / 5),
        }
    }

    /// The level at which so much of normal is let in, per mille.
    fn admit(&self, normal: u64) -> u32 {
        ALL - u32::try_from(normal).unwrap_or(ALL_BULK).clamp(LEAST, ALL_BULK)
    }
}

/// Above `most` all of bulk goes, and normal the more the less memory is left.
fn of_memory(used: u32, most: u32) -> u32 {
    if used <= most || most >= 1000 {
        return 0;
    }
    (ALL_BULK + (used - most) * 1000 / (1000 - most)).min(ALL)
}

/// What requests of a shard ask: whether they are to be refused.
#[derive(Debug, Default)]
pub struct Shedder {
    level: Cell<Level>,
    /// Refuses in step with the level, evenly: what is left over of each class.
    rest: [Cell<u32>; 2],
}

impl Shedder {
    /// The level from now on.
    pub fn set(&self, level: Level) {
        self.level.set(level);
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level.get()
    }

    /// Whether a request of `class` is refused now.
    #[inline]
    pub fn sheds(&self, class: Priority) -> bool {
        let shed = self.level.get().shed;
        shed > 0 && self.falls_to(class, shed)
    }

    #[cold]
    fn falls_to(&self, class: Priority, shed: u32) -> bool {
        let (share, rest) = match class {
            Priority::Critical => return false,
            Priority::Normal => (shed.saturating_sub(ALL_BULK), &self.rest[0]),
            Priority::Bulk => (shed.min(ALL_BULK), &self.rest[1]),
        };
        let sum = rest.get() + share;
        rest.set(sum % 1000);
        sum >= 1000
    }
}

/// A request of `class` is refused; counted.
#[cold]
pub fn refuse(stats: &ShardStats, class: Priority) -> Fault {
    stats.queues.shed(class);
    Fault::new(Category::Overloaded, Side::Edge, "the shard cannot keep up").unsent()
}

#[cfg(test)]
mod tests;
