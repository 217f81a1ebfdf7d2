//! What each request is answered, as a function of the script, a random number and the time: no sockets, no clock.
mod dist;
mod faults;
mod gate;
mod mix;
mod random;
mod stalls;
mod units;
mod wish;

pub use dist::{Delay, Size};
pub use faults::{Fault, Faults};
pub use gate::{Full, Gate, Pace};
pub use mix::StatusMix;
pub use random::Random;
pub use stalls::{PauseEvery, StallAt, Stalls};
pub use units::{Mistake, Rate, duration, share, size};
pub use wish::{PIECE_MAX, Wish, interval, piece};

use std::{num::NonZeroUsize, time::Duration};

/// Largest answer, bytes.
pub const SIZE_MAX: u64 = 1 << 30;
/// Longest delay of an answer, and longest pause between pieces and events.
pub const DELAY_MAX: Duration = Duration::from_secs(60);
/// Most fields that are added to an answer: more would not fit into any client's head.
pub const HEADERS_MAX: u16 = 200;
/// Requests that wait for `capacity` or `concurrency`, unless told otherwise: two seconds of a common capacity.
pub const QUEUE: usize = 10_000;
/// The most that may be asked of it: each takes eight bytes.
pub const QUEUE_MAX: usize = 10_000_000;
/// The most places of `concurrency`: each takes eight bytes.
pub const CONCURRENCY_MAX: usize = 1_000_000;

/// What an origin answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Bytes of a body.
    pub size: Size,
    /// From a request's last byte to its answer.
    pub delay: Delay,
    /// Which statuses, and how often.
    pub status: StatusMix,
    /// Bodies go out in pieces of so many bytes, their length not announced (over HTTP/1.1: chunked).
    pub chunk: Option<NonZeroUsize>,
    /// Between two pieces.
    pub chunk_delay: Duration,
    /// What goes wrong, and how often.
    pub faults: Faults,
    /// Fields beside those that an answer has anyway, at most `HEADERS_MAX`.
    pub headers: u16,
    /// At most so many requests begin to be served a second; the others wait.
    pub capacity: Option<Rate>,
    /// At most so many requests are served at a time, each for its delay; the others wait.
    pub concurrency: Option<NonZeroUsize>,
    /// Of those that wait; one more is answered 503 at once. At most `QUEUE_MAX`.
    pub queue: usize,
    /// When nothing is answered at all.
    pub stalls: Stalls,
    /// Every path is an event stream, an event each so long.
    pub events: Option<Duration>,
    /// Of every random choice. The same seed and the same order of requests make the same answers.
    pub seed: u64,
    /// The answers are those of [`super::echo`] instead; of the rest only `capacity`, `concurrency`, `queue` and
    /// `stalls` count.
    pub echo: bool,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            size: Size::default(),
            delay: Delay::default(),
            status: StatusMix::default(),
            chunk: None,
            chunk_delay: Duration::ZERO,
            faults: Faults::default(),
            headers: 0,
            capacity: None,
            concurrency: None,
            queue: QUEUE,
            stalls: Stalls::default(),
            events: None,
            seed: 1,
            echo: false,
        }
    }
}

/// What one request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Bytes of the body, where the status has one.
    pub size: u64,
    /// How long it takes, µs.
    pub delay_us: u64,
    /// In pieces of so many bytes.
    pub chunk: Option<NonZeroUsize>,
    /// Between two of them, µs.
    pub chunk_delay_us: u64,
    /// Fields beside the usual.
    pub headers: u16,
    /// What goes wrong instead.
    pub fault: Option<Fault>,
}

impl Reply {
    /// Whether the status permits a body (RFC 9110, section 6.4.1).
    pub fn has_body(&self) -> bool {
        !matches!(self.status, 204 | 304)
    }
}

impl Script {
    /// Draws an answer; what `wish` asks for is not left to chance.
    pub fn draw(&self, random: &mut Random, wish: &Wish) -> Reply {
        let fault = match (wish.fault, self.faults.is_empty()) {
            (None, true) => None,
            (Some(fault), _) => Some(fault),
            (None, false) => self.faults.draw(random.unit()),
        };
        let status = wish.status.unwrap_or_else(|| self.status.draw(random));
        let size = wish.size.unwrap_or(self.size).draw(random);
        let delay_us = wish.delay.as_ref().unwrap_or(&self.delay).draw(random);
        Reply {
            status,
            size,
            delay_us,
            chunk: wish.chunk.or(self.chunk),
            chunk_delay_us: micros(wish.chunk_delay.unwrap_or(self.chunk_delay)),
            headers: self.headers,
            fault,
        }
    }
}

/// Whole microseconds of what is bounded by `DELAY_MAX` or so.
pub(super) fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_answers_again_and_another_seed_others() {
        let script = Script {
            size: "1k-64k".parse().unwrap(),
            delay: "exp:5ms".parse().unwrap(),
            status: "503=10%".parse().unwrap(),
            ..Script::default()
        };
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| script.draw(&mut random, &Wish::default())).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_wish_is_not_left_to_chance() {
        let script = Script { status: "500".parse().unwrap(), size: "1g".parse().unwrap(), ..Script::default() };
        let wish = Wish::parse("size=3&delay=7ms&status=201&chunk=2&chunk-delay=1ms&fault=reset&other=1").unwrap();
        let reply = script.draw(&mut Random::new(1), &wish);
        assert_eq!((reply.status, reply.size, reply.delay_us, reply.chunk_delay_us), (201, 3, 7000, 1000));
        assert_eq!((reply.chunk, reply.fault), (NonZeroUsize::new(2), Some(Fault::Reset)));
    }
}
