//! Events of one stream: how far apart they come, and how old they are.
use super::parse::{Parser, TooLarge};
use crate::{
    client::{Shard, Why, talk::Talk},
    record::Fault,
};
use std::{
    rc::Rc,
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

/// A number that says an event is older than this, or from the future by as much, is no time, µs.
const AGE_MAX: i64 = 3_600_000_000;

/// One event stream that is open.
pub struct Events {
    shard: Rc<Shard>,
    parser: Parser,
    /// When the last event came, µs; 0 until the first.
    last_us: u64,
    answered: u64,
    out: Vec<u8>,
}

impl Events {
    /// A stream that begins.
    pub fn new(shard: &Rc<Shard>) -> Events {
        let parser = Parser::new(shard.plan.body_max);
        Events { shard: shard.clone(), parser, last_us: 0, answered: 0, out: Vec::new() }
    }
}

impl Talk for Events {
    fn poll(&mut self, _: &mut Context<'_>, _: bool) -> Poll<Why> {
        if self.shard.is_over() { Poll::Ready(Why::Over) } else { Poll::Pending }
    }

    fn receive(&mut self, mut bytes: &[u8], now_us: u64) -> Result<(), Why> {
        let mut wall_us = None;
        loop {
            match self.parser.next(&mut bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => {
                    let last_us = std::mem::replace(&mut self.last_us, now_us);
                    let age_us = event.number.and_then(|at| age(at, *wall_us.get_or_insert_with(wall_clock_us)));
                    // The first has none before it.
                    let delay_us = (last_us > 0).then(|| now_us.saturating_sub(last_us));
                    self.answered += 1;
                    self.shard.event(delay_us, age_us, event.bytes, now_us);
                }
                Err(TooLarge) => return Err(self.cut(Some(Fault::TooLarge), now_us)),
            }
        }
    }

    fn answered(&self) -> u64 {
        self.answered
    }

    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn cut(&mut self, fault: Option<Fault>, now_us: u64) -> Why {
        let Some(fault) = fault else { return Why::ByPeer };
        self.shard.failed(fault, None, now_us);
        Why::Failed(fault)
    }
}

fn wall_clock_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// How old something is that was sent at `at_us`, if that can be a time at all. Clocks of two machines differ: what comes
/// from the near future is new.
fn age(at_us: u64, now_us: u64) -> Option<u64> {
    let age = i64::try_from(now_us).ok()?.checked_sub(i64::try_from(at_us).ok()?)?;
    (-AGE_MAX..=AGE_MAX).contains(&age).then_some(u64::try_from(age).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_have_an_age() {
        assert_eq!(age(1_700_000_000_000_000, 1_700_000_000_000_250), Some(250));
        assert_eq!(age(1_700_000_000_000_250, 1_700_000_000_000_000), Some(0));
        assert_eq!(age(17, 1_700_000_000_000_000), None);
        assert_eq!(age(u64::MAX, 1_700_000_000_000_000), None);
    }
}
