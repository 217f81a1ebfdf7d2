//! Deadlines of a shard's connections: setting one is a store; the wheel is touched only when it would fire too late.
use crate::clock::{Clock, TimerId, Wheel};
use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The shard wakes at least this often: its heartbeat.
pub const HEARTBEAT: Duration = Duration::from_millis(250);
const NEVER: u64 = u64::MAX;

/// The coarse clock and the timers of one shard.
pub struct Timers {
    clock: Clock,
    inner: RefCell<Inner>,
    /// What the timer descriptor is armed for, milliseconds of the clock.
    armed: Cell<u64>,
    fd: OwnedFd,
    pace: Pace,
}

/// How long turns of the loop take.
struct Pace {
    /// The loop waited since the clock was read: the next turn says nothing of the one before.
    waited: Cell<bool>,
    /// What the loop waited in all since somebody asked, µs.
    idle_us: Cell<u64>,
    /// The longest turn since somebody asked, µs.
    longest_us: Cell<u64>,
    /// Whoever wants to know of a longer turn than this, µs.
    slow_us: Cell<u64>,
    slow: RefCell<Option<Waker>>,
}

struct Inner {
    wheel: Wheel,
    slots: Vec<Slot>,
    free: Vec<u32>,
    due: Vec<u32>,
}

struct Slot {
    deadline: u64,
    entry: Option<TimerId>,
    entry_at: u64,
    fired: bool,
    waker: Option<Waker>,
}

impl Timers {
    /// A clock that starts now, and its `timerfd`.
    pub fn new() -> io::Result<Rc<Timers>> {
        // SAFETY: no pointers; a non-negative result is a new descriptor that we own.
        let fd = unsafe {
            let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let inner = Inner { wheel: Wheel::new(0), slots: Vec::new(), free: Vec::new(), due: Vec::new() };
        let pace = Pace {
            waited: Cell::new(true),
            idle_us: Cell::new(0),
            longest_us: Cell::new(0),
            slow_us: Cell::new(u64::MAX),
            slow: RefCell::new(None),
        };
        Ok(Rc::new(Timers { clock: Clock::new(), inner: RefCell::new(inner), armed: Cell::new(NEVER), fd, pace }))
    }

    /// The descriptor that fires; to be watched by the reactor (a duplicate, so that each side owns one).
    pub fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Milliseconds since the shard began, as of this turn of its loop.
    #[inline]
    pub fn now(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The clock itself.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A turn of the loop: reads the clock, fires what is due, arms the descriptor for the next.
    pub fn turn(&self) {
        let before = self.clock.now_us();
        self.clock.update();
        let since = self.clock.now_us().saturating_sub(before);
        match self.pace.waited.replace(false) {
            true => self.pace.idle_us.set(self.pace.idle_us.get() + since),
            false => self.took(since),
        }
        self.fire_due();
    }

    /// The loop is about to wait: that time belongs to no turn.
    pub fn waits(&self) {
        self.pace.waited.set(true);
    }

    fn took(&self, us: u64) {
        if us > self.pace.longest_us.get() {
            self.pace.longest_us.set(us);
            if us > self.pace.slow_us.get()
                && let Some(waker) = self.pace.slow.borrow_mut().take()
            {
                waker.wake();
            }
        }
    }

    /// The longest turn since this was last asked, µs: what became ready meanwhile had to wait for so long.
    pub fn take_longest_turn(&self) -> u64 {
        self.pace.longest_us.replace(0)
    }

    /// How long the loop had nothing to do since this was last asked, µs.
    pub fn take_idle(&self) -> u64 {
        self.pace.idle_us.replace(0)
    }

    /// Ready when a turn took longer than `us`; otherwise the task is woken when one does. One task at a time.
    pub fn poll_slow_turn(&self, cx: &mut Context<'_>, us: u64) -> Poll<()> {
        if self.pace.longest_us.get() > us {
            return Poll::Ready(());
        }
        self.pace.slow_us.set(us);
        *self.pace.slow.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Fires what is due by the clock as it stands, and arms the descriptor for the next. For clocks turned by hand.
    pub fn fire_due(&self) {
        let now = self.clock.now_ms();
        let inner = &mut *self.inner.borrow_mut();
        if inner.wheel.next_deadline().is_some_and(|at| at <= now) {
            let due = &mut inner.due;
            inner.wheel.advance(now, |token| due.push(token as u32));
            while let Some(index) = inner.due.pop() {
                fire(&mut inner.wheel, &mut inner.slots, index, now);
            }
        }
        let next = inner.wheel.next_deadline().unwrap_or(NEVER).min(now + HEARTBEAT.as_millis() as u64);
        if self.armed.get() <= now || next < self.armed.get() {
            self.arm(next.max(now + 1));
        }
    }

    fn arm(&self, at: u64) {
        self.armed.set(at);
        let wait = at.saturating_sub(self.clock.exact_us() / 1000).max(1);
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec { tv_sec: (wait / 1000) as i64, tv_nsec: (wait % 1000 * 1_000_000) as i64 },
        };
        // SAFETY: `spec` lives through the call, which only reads it.
        unsafe { libc::timerfd_settime(self.fd.as_raw_fd(), 0, &raw const spec, std::ptr::null_mut()) };
    }

    fn ensure(&self, inner: &mut Inner, index: u32) {
        let slot = &mut inner.slots[index as usize];
        if slot.deadline >= slot.entry_at {
            return; // the entry fires in time, looks again, and moves on
        }
        if let Some(id) = slot.entry.take() {
            inner.wheel.remove(id);
        }
        slot.entry = Some(inner.wheel.insert(slot.deadline, index as usize));
        slot.entry_at = slot.deadline;
        if slot.deadline < self.armed.get() {
            self.arm(slot.deadline);
        }
    }
}

/// The wheel's entry for a slot came up: fire, or follow a deadline that has moved since.
fn fire(wheel: &mut Wheel, slots: &mut [Slot], index: u32, now: u64) {
    let slot = &mut slots[index as usize];
    slot.entry = None;
    slot.entry_at = NEVER;
    if slot.deadline == NEVER {
        return;
    }
    if slot.deadline > now {
        slot.entry = Some(wheel.insert(slot.deadline, index as usize));
        slot.entry_at = slot.deadline;
        return;
    }
    slot.fired = true;
    if let Some(waker) = slot.waker.take() {
        waker.wake();
    }
}

/// One deadline at a time, for one task.
pub struct Timer {
    timers: Rc<Timers>,
    index: u32,
}

impl Timer {
    /// One that is not set.
    pub fn new(timers: &Rc<Timers>) -> Timer {
        let inner = &mut *timers.inner.borrow_mut();
        let slot = Slot { deadline: NEVER, entry: None, entry_at: NEVER, fired: false, waker: None };
        let index = match inner.free.pop() {
            Some(i) => {
                inner.slots[i as usize] = slot;
                i
            }
            None => {
                inner.slots.push(slot);
                inner.slots.len() as u32 - 1
            }
        };
        Timer { timers: timers.clone(), index }
    }

    /// Fires `after` from now; replaces what was set. Whole milliseconds, never early.
    #[inline]
    pub fn set(&self, after: Duration) {
        let after = u64::try_from(after.as_millis()).unwrap_or(NEVER);
        self.set_at(self.timers.now().saturating_add(after).saturating_add(1));
    }

    /// Fires at `deadline`, in milliseconds of the shard's clock; replaces what was set.
    #[inline]
    pub fn set_at(&self, deadline: u64) {
        let inner = &mut *self.timers.inner.borrow_mut();
        let slot = &mut inner.slots[self.index as usize];
        slot.deadline = deadline;
        slot.fired = false;
        if deadline < slot.entry_at {
            self.timers.ensure(inner, self.index);
        }
    }

    /// Does not fire any more.
    #[inline]
    pub fn clear(&self) {
        let slot = &mut self.timers.inner.borrow_mut().slots[self.index as usize];
        slot.deadline = NEVER;
        slot.fired = false;
    }

    /// Ready when the deadline has passed; otherwise the task is woken when it does.
    #[inline]
    pub fn poll_fired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let slot = &mut self.timers.inner.borrow_mut().slots[self.index as usize];
        if slot.fired {
            return Poll::Ready(());
        }
        match &slot.waker {
            Some(w) if w.will_wake(cx.waker()) => {}
            _ => slot.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits for it.
    pub async fn fired(&self) {
        std::future::poll_fn(|cx| self.poll_fired(cx)).await
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let inner = &mut *self.timers.inner.borrow_mut();
        let slot = &mut inner.slots[self.index as usize];
        if let Some(id) = slot.entry.take() {
            inner.wheel.remove(id);
        }
        slot.waker = None;
        inner.free.push(self.index);
    }
}
