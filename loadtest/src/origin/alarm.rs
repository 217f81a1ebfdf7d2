//! Waiting to the microsecond. Timers of runtimes count in milliseconds, which is a fifth of a delay of 5 ms; here one
//! `timerfd` per thread is set for the first of those who wait. Whoever runs the thread watches its descriptor.
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    os::fd::OwnedFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};
use tokio::{io::Interest, net::UnixStream};

/// Entries of alarms that were given up, beside as many as there are alarms: above, they are thrown out.
const STALE_KEPT: usize = 1024;
const NEVER: u64 = u64::MAX;

/// The alarms of one thread, and its clock.
pub(super) struct Alarms {
    start: Instant,
    fd: OwnedFd,
    inner: RefCell<Inner>,
}

struct Inner {
    /// When, which slot, which use of it; the earliest first.
    heap: BinaryHeap<Reverse<(u64, usize, u32)>>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// What the descriptor is set for.
    armed: u64,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    waker: Option<Waker>,
}

impl Alarms {
    /// Of a thread whose clock began at `start`.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn new(start: Instant) -> io::Result<Rc<Alarms>> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let inner = Inner { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), armed: NEVER };
        Ok(Rc::new(Alarms { start, fd, inner: RefCell::new(inner) }))
    }

    /// µs since the start.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(NEVER)
    }

    /// A descriptor that is readable when `fire` has something to do. Errors are those of `dup`.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Waits until `at`, µs since the start.
    pub fn at(self: &Rc<Self>, at: u64) -> Alarm {
        Alarm { alarms: self.clone(), at, place: None }
    }

    /// Wakes those whose time has come, and sets the descriptor for the next.
    pub fn fire(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        let now = self.now();
        let inner = &mut *self.inner.borrow_mut();
        inner.armed = NEVER;
        while let Some(&Reverse((at, index, generation))) = inner.heap.peek() {
            let slot = inner.slots.get_mut(index).filter(|slot| slot.generation == generation);
            if slot.is_some() && at > now {
                self.arm(inner, at, now);
                return;
            }
            inner.heap.pop();
            if let Some(waker) = slot.and_then(|slot| slot.waker.take()) {
                waker.wake();
            }
        }
    }

    /// Fires them on a thread of tokio, for as long as it is polled.
    ///
    /// # Errors
    /// There is no descriptor left, or it cannot be watched.
    pub async fn run(&self) -> io::Result<()> {
        // Any pollable descriptor will do for waiting; it is never read or written through this type.
        let watch = UnixStream::from_std(std::os::unix::net::UnixStream::from(self.descriptor()?))?;
        loop {
            watch.readable().await?;
            let fired: io::Result<()> = watch.try_io(Interest::READABLE, || {
                self.fire();
                Err(io::ErrorKind::WouldBlock.into()) // nothing is left: wait again
            });
            debug_assert!(fired.is_err());
        }
    }

    fn arm(&self, inner: &mut Inner, at: u64, now: u64) {
        if at >= inner.armed {
            return;
        }
        inner.armed = at;
        let wait = at.saturating_sub(now).max(1);
        let second = 1_000_000;
        let it_value =
            Timespec { tv_sec: (wait / second).cast_signed(), tv_nsec: (wait % second * 1000).cast_signed() };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        // The descriptor is a timer and the time is a time: there is nothing that could fail.
        let _ = timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &spec);
    }

    fn register(&self, at: u64, now: u64, waker: Waker) -> (usize, u32) {
        let inner = &mut *self.inner.borrow_mut();
        let index = inner.free.pop().unwrap_or_else(|| {
            inner.slots.push(Slot::default());
            inner.slots.len() - 1
        });
        let mut generation = 0;
        if let Some(slot) = inner.slots.get_mut(index) {
            slot.waker = Some(waker);
            generation = slot.generation;
        }
        inner.heap.push(Reverse((at, index, generation)));
        self.arm(inner, at, now);
        (index, generation)
    }

    fn give_up(&self, index: usize) {
        let inner = &mut *self.inner.borrow_mut();
        if let Some(slot) = inner.slots.get_mut(index) {
            slot.waker = None;
            slot.generation = slot.generation.wrapping_add(1);
            inner.free.push(index);
        }
        let live = inner.slots.len() - inner.free.len();
        if inner.heap.len() > 2 * live + STALE_KEPT {
            let slots = &inner.slots;
            inner.heap.retain(|Reverse((_, i, g))| slots.get(*i).is_some_and(|slot| slot.generation == *g));
        }
    }
}

/// Ready at its time.
pub(super) struct Alarm {
    alarms: Rc<Alarms>,
    at: u64,
    place: Option<(usize, u32)>,
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.alarms.now();
        if self.at <= now {
            return Poll::Ready(());
        }
        if let Some((index, _)) = self.place {
            let mut inner = self.alarms.inner.borrow_mut();
            match inner.slots.get_mut(index).map(|slot| &mut slot.waker) {
                Some(Some(waker)) if waker.will_wake(cx.waker()) => return Poll::Pending,
                Some(Some(waker)) => {
                    *waker = cx.waker().clone();
                    return Poll::Pending;
                }
                _ => {} // its entry was used up a moment too early
            }
            drop(inner);
            self.alarms.give_up(index);
        }
        let place = self.alarms.register(self.at, now, cx.waker().clone());
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some((index, _)) = self.place {
            self.alarms.give_up(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn pending(alarm: &mut Alarm) -> bool {
        Pin::new(alarm).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[test]
    fn they_fire_in_order_and_never_early() {
        let alarms = Alarms::new(Instant::now()).unwrap();
        let now = alarms.now();
        let mut late = alarms.at(now + 60_000_000);
        let mut soon = alarms.at(now + 20_000);
        assert!(pending(&mut late) && pending(&mut soon));
        assert_eq!(alarms.inner.borrow().armed, now + 20_000);
        while pending(&mut soon) {
            std::thread::sleep(Duration::from_millis(1));
            alarms.fire();
        }
        assert!(alarms.now() >= now + 20_000);
        assert!(pending(&mut late));
        assert_eq!(alarms.inner.borrow().armed, now + 60_000_000);
    }

    #[test]
    fn what_is_given_up_leaves_nothing_behind() {
        let alarms = Alarms::new(Instant::now()).unwrap();
        let at = alarms.now() + 60_000_000;
        for _ in 0..10 * STALE_KEPT {
            assert!(pending(&mut alarms.at(at)));
        }
        let inner = alarms.inner.borrow();
        assert!(inner.slots.len() == 1 && inner.heap.len() <= STALE_KEPT + 2);
    }

    #[test]
    fn a_task_is_woken_through_a_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let alarms = Alarms::new(Instant::now()).unwrap();
            let at = alarms.now() + 3000;
            tokio::select! {
                () = alarms.at(at) => {}
                ended = alarms.run() => panic!("{ended:?}"),
            }
            assert!(alarms.now() >= at);
        });
    }
}
