//! What one connection may still send.
use super::{Shard, Ticket, feed::Place, shard::Next};
use std::{rc::Rc, task::Context};

/// A connection's share in what is due: asked whenever it has a free place. Dropping it gives its place among the waiting
/// ones up.
pub struct Supply {
    shard: Rc<Shard>,
    origin: usize,
    /// Requests that this connection may still send; `u64::MAX` stands for any number.
    left: u64,
    /// Where it waits, or waited last: for as long as it has a place for a request.
    place: Option<Place>,
}

impl Supply {
    /// That of a connection to `origin` which has sent nothing yet.
    pub fn new(shard: &Rc<Shard>, origin: usize) -> Supply {
        let left = shard.plan.requests_per_connection.map_or(u64::MAX, |n| n.get());
        Supply { shard: shard.clone(), origin, left, place: None }
    }

    /// A request that is to be sent now. `None`: nothing is due, and the task is woken when something is; or nothing is to
    /// be sent any more ([`is_over`](Supply::is_over)).
    #[inline]
    pub fn take(&mut self, cx: &mut Context<'_>, now_us: u64) -> Option<Ticket> {
        if self.left > 0 {
            match self.shard.next(self.origin, now_us) {
                Next::Send(ticket) => {
                    self.left -= 1;
                    return Some(ticket);
                }
                Next::Wait => {
                    self.place = self.shard.wait_for_due(self.origin, self.place, cx);
                    return None;
                }
                Next::Stop => {}
            }
        }
        self.stop();
        None
    }

    /// Whether nothing more is sent on this connection: what is in flight is awaited, then it closes.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Nothing more is sent on it.
    pub fn stop(&mut self) {
        self.left = 0;
        self.give_up();
    }

    /// The connection has no free place any more: what it may have been woken for goes to another one. Does nothing when
    /// it does not wait.
    #[inline]
    pub fn give_up(&mut self) {
        if let Some(place) = self.place.take() {
            self.shard.does_not_wait(self.origin, place);
        }
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{Parts, Span, harness, tls},
        pace::Pace,
        plan::{Arrivals, Load, Plan},
    };
    use edge_io::{ring::Driver, runtime};
    use std::{
        num::NonZeroU64,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Wake, Waker},
    };

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Looks at a shard whose time, by the test's own clock, is from 0 to 10 ms.
    fn with_shard(change: impl FnOnce(&mut Plan), look: impl FnOnce(&Rc<Shard>) + Send + 'static) {
        let mut plan = harness::plan("127.0.0.1:1".parse().unwrap());
        change(&mut plan);
        let thread = runtime::spawn_shard(0, None, Driver::Epoll, move |local| async move {
            let span = Span { begin_us: 0, start_us: 0, end_us: 10_000 };
            let tls = Arc::new(tls::config(&plan.tls, &[]).unwrap());
            let paces = vec![match plan.load {
                Load::Closed => None,
                Load::Open { rate, arrivals } => Some(Pace::new(rate, arrivals, (0, 1), plan.seed, 0)),
            }];
            let parts = Parts { local, plan: Arc::new(plan), span, tls, paces, requests: None };
            look(&Shard::new(parts).unwrap());
        });
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn a_connection_takes_as_many_as_it_may() {
        with_shard(
            |plan| plan.requests_per_connection = NonZeroU64::new(2),
            |shard| {
                let cx = &mut Context::from_waker(Waker::noop());
                let mut supply = Supply::new(shard, 0);
                assert!(supply.take(cx, 1).is_some() && !supply.is_over());
                assert!(supply.take(cx, 1).is_some() && supply.is_over());
                assert_eq!(supply.take(cx, 1), None);
                let mut other = Supply::new(shard, 0);
                assert_eq!(other.take(cx, 10_000), None, "the time for sending is over");
                assert!(other.is_over());
                let mut stopped = Supply::new(shard, 0);
                stopped.stop();
                assert_eq!((stopped.take(cx, 1), stopped.is_over()), (None, true));
            },
        );
    }

    #[test]
    fn what_a_connection_does_not_take_goes_to_another() {
        with_shard(
            |plan| plan.load = Load::Open { rate: 1000.0, arrivals: Arrivals::Constant },
            |shard| {
                let (woken, other_woken) = (Arc::<Count>::default(), Arc::<Count>::default());
                let (waker, other_waker) = (Waker::from(woken.clone()), Waker::from(other_woken.clone()));
                let (mut supply, mut other) = (Supply::new(shard, 0), Supply::new(shard, 0));
                let cx = &mut Context::from_waker(&waker);
                assert!(supply.take(cx, 0).is_some());
                assert!(supply.take(cx, 0).is_none() && !supply.is_over());
                assert!(other.take(&mut Context::from_waker(&other_waker), 0).is_none());
                shard.grant(1_000);
                let counts = || [&woken, &other_woken].map(|count| count.0.load(Ordering::Relaxed));
                assert_eq!(counts(), [1, 0]);
                supply.give_up();
                assert_eq!(counts(), [1, 1]);
                assert_eq!(other.take(cx, 1_000).map(|ticket| ticket.intended_us), Some(1_000));
                drop(other);
                shard.grant(2_000);
                assert_eq!(counts(), [1, 1], "nobody waits any more");
            },
        );
    }
}
