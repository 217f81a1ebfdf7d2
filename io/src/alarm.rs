//! A deadline to the microsecond: a `timerfd` of its own. The wheel's ticks are milliseconds, which is enough for a
//! timeout and too coarse for a schedule.
use crate::{
    clock::monotonic_us,
    reactor::{Reactor, Source},
};
use std::{
    cell::Cell,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll},
};

/// Not set.
const NEVER: u64 = u64::MAX;

/// One deadline of the monotonic clock at a time, for one task. Costs a descriptor, and a system call each time it is
/// set.
pub struct Alarm {
    source: Source,
    at_us: Cell<u64>,
}

impl Alarm {
    /// One that is not set. Errors are those of `timerfd_create(2)` and of the registration.
    pub fn new(reactor: &Rc<Reactor>) -> io::Result<Alarm> {
        // SAFETY: no pointers; a non-negative result is a new descriptor that we own.
        let fd = unsafe {
            let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Alarm { source: reactor.register(fd)?, at_us: Cell::new(NEVER) })
    }

    /// Fires at `at_us`, in microseconds as [`monotonic_us`] counts them; at once when that is past. Replaces what was
    /// set. To set what is set already costs nothing.
    pub fn set_at(&self, at_us: u64) {
        if self.at_us.replace(at_us) != at_us {
            self.arm(at_us);
        }
    }

    /// Does not fire any more.
    pub fn clear(&self) {
        if self.at_us.replace(NEVER) != NEVER {
            self.arm(NEVER);
        }
    }

    /// When it fires, as `monotonic_us` counts; `None`: never.
    pub fn is_set_for(&self) -> Option<u64> {
        Some(self.at_us.get()).filter(|at| *at != NEVER)
    }

    /// Ready, and not set any more, when the deadline has passed; otherwise the task is woken when it does.
    pub fn poll_fired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at_us.get();
        if at != NEVER && monotonic_us() >= at {
            self.at_us.set(NEVER); // the descriptor fires at most once, and that is seen as nothing
            return Poll::Ready(());
        }
        // What it told before is over: only the next expiry is news.
        self.source.not_readable();
        match self.source.poll_readable(cx) {
            // The reactor saw it between the look at the clock and here: look again.
            Poll::Ready(()) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// `poll_fired` to await.
    pub async fn fired(&self) {
        std::future::poll_fn(|cx| self.poll_fired(cx)).await
    }

    fn arm(&self, at_us: u64) {
        // All zeros disarm; the monotonic clock is past its first microsecond.
        let (seconds, micros) =
            if at_us == NEVER { (0, 0) } else { (at_us.max(1) / 1_000_000, at_us.max(1) % 1_000_000) };
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
                tv_nsec: (micros * 1000) as i64,
            },
        };
        // SAFETY: `spec` lives through the call, which only reads it.
        unsafe {
            libc::timerfd_settime(
                self.source.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &raw const spec,
                std::ptr::null_mut(),
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ring::Driver, runtime};
    use std::sync::mpsc;

    /// Runs `main` on a shard and answers what it sent.
    fn on_shard<T: Send + 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Rc<Reactor>) -> F + Send + 'static,
    ) -> T {
        let (tell, told) = mpsc::channel();
        let thread = runtime::spawn_shard(0, None, Driver::Epoll, move |local| async move {
            let _ = tell.send(main(local.reactor).await);
        });
        let value = told.recv().expect("the shard answers");
        thread.expect("a shard").join().expect("it ends");
        value
    }

    #[test]
    fn it_fires_again_and_again_and_never_early() {
        let early = on_shard(|reactor| async move {
            let alarm = Alarm::new(&reactor).expect("a timerfd");
            let mut early = Vec::new();
            for wait in [300, 0, 2_000, 50, 1] {
                let at = monotonic_us() + wait;
                alarm.set_at(at);
                alarm.fired().await;
                early.push(monotonic_us() < at);
                assert_eq!(alarm.is_set_for(), None);
            }
            early
        });
        assert_eq!(early, [false; 5]);
    }

    #[test]
    fn the_past_fires_at_once_and_a_later_deadline_takes_the_place_of_an_earlier() {
        let (past, moved) = on_shard(|reactor| async move {
            let alarm = Alarm::new(&reactor).expect("a timerfd");
            alarm.set_at(1);
            alarm.fired().await;
            let now = monotonic_us();
            alarm.set_at(now + 1_000);
            let first = std::future::poll_fn(|cx| Poll::Ready(alarm.poll_fired(cx).is_ready())).await;
            alarm.set_at(now + 20_000);
            alarm.fired().await;
            (!first, monotonic_us() - now)
        });
        assert!(past && moved >= 20_000, "{past} {moved}");
    }

    #[test]
    fn a_cleared_one_stays_silent() {
        let fired = on_shard(|reactor| async move {
            let (alarm, other) = (Alarm::new(&reactor).expect("a timerfd"), Alarm::new(&reactor).expect("a timerfd"));
            let now = monotonic_us();
            alarm.set_at(now + 1_000);
            alarm.clear();
            other.set_at(now + 5_000);
            std::future::poll_fn(|cx| match alarm.poll_fired(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => other.poll_fired(cx).map(|()| false),
            })
            .await
        });
        assert!(!fired);
    }
}
