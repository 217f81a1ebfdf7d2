//! Readiness of a shard's sockets: one registration for a socket's life, in an epoll set or by multishot poll.
//!
//! Why not one completion per `recv`: an idle connection then pins a buffer, a dropped operation keeps its buffer until
//! the kernel answers, and re-arming costs more than the batching saves (docs/DECISIONS.md has the measurement).
//! Events are edge-triggered: readiness stays set until a call came back short or with `WouldBlock`.
use crate::ring::Driver;
use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    rc::Rc,
    task::{Context, Poll, Waker},
};

const READ: u8 = 1;
const WRITE: u8 = 2;
/// The peer is done sending, or the socket failed: reads do not block any more, whatever their length.
const CLOSED: u8 = 4;
/// The slot's registration is gone.
const UNARMED: u8 = 8;
/// A datagram socket: it tells of room for writing only while a writer waits.
const DATAGRAMS: u8 = 16;
/// A writer of a datagram socket waits.
const WRITER: u8 = 32;
const INTEREST: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP) as u32;
/// Events taken from the kernel in one go.
const BATCH: usize = 512;
/// Completion entries: more than one shard's bursts; an overflow is kept by the kernel and counted.
const COMPLETIONS: u32 = 8192;
/// In a key's index: the request is for one event alone, apart from the slot's registration.
const ONE_SHOT: u64 = 1 << 31;
/// User data of requests whose completion nobody waits for.
const IGNORED: u64 = u64::MAX;

/// One shard's registrations. Lives on its thread.
pub struct Reactor {
    backend: Backend,
    slots: RefCell<Slots>,
    overflows: Cell<u64>,
    turn: Cell<u64>,
}

enum Backend {
    Uring(Box<RefCell<io_uring::IoUring>>),
    Epoll(OwnedFd, RefCell<Box<[libc::epoll_event]>>),
}

#[derive(Default)]
struct Slots {
    entries: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    ready: u8,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Reactor {
    /// A reactor on `driver`. Errors are those of `io_uring_setup` and `epoll_create1`.
    pub fn new(driver: Driver) -> io::Result<Rc<Reactor>> {
        let backend = match driver {
            Driver::IoUringPoll => {
                let mut builder = io_uring::IoUring::builder();
                builder.setup_single_issuer().setup_coop_taskrun().setup_cqsize(COMPLETIONS);
                Backend::Uring(Box::new(RefCell::new(builder.build(256)?)))
            }
            Driver::IoUring | Driver::Epoll => {
                // SAFETY: epoll_create1 takes no pointers; a non-negative result is a new descriptor that we own.
                let fd = unsafe {
                    let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
                    if fd < 0 {
                        return Err(io::Error::last_os_error());
                    }
                    OwnedFd::from_raw_fd(fd)
                };
                Backend::Epoll(fd, RefCell::new(vec![libc::epoll_event { events: 0, u64: 0 }; BATCH].into()))
            }
        };
        Ok(Rc::new(Reactor { backend, slots: RefCell::default(), overflows: Cell::new(0), turn: Cell::new(0) }))
    }

    /// The descriptor that becomes readable when there are events.
    pub fn as_raw_fd(&self) -> RawFd {
        match &self.backend {
            Backend::Uring(ring) => ring.borrow().as_raw_fd(),
            Backend::Epoll(fd, _) => fd.as_raw_fd(),
        }
    }

    /// How often the completion queue overflowed (the kernel kept the events; nothing was lost).
    pub fn overflows(&self) -> u64 {
        self.overflows.get()
    }

    /// Counts the calls of `drain`: what happened to a socket since a turn is known from the next turn on.
    pub fn turn(&self) -> u64 {
        self.turn.get()
    }

    /// Watches `fd` until the returned source is dropped, which closes it. `fd` is the only descriptor of its file.
    pub fn register(self: &Rc<Self>, fd: OwnedFd) -> io::Result<Source> {
        self.watch(fd, 0)
    }

    /// Watches a datagram socket, of which there may be other descriptors. It counts as writable until a write said
    /// `WouldBlock`: unlike a stream, it would else tell of its room after each datagram that goes out.
    pub fn register_datagrams(self: &Rc<Self>, fd: OwnedFd) -> io::Result<Source> {
        self.watch(fd, DATAGRAMS | WRITE)
    }

    fn watch(self: &Rc<Self>, fd: OwnedFd, ready: u8) -> io::Result<Source> {
        let (index, generation) = self.slots.borrow_mut().insert(ready);
        let source = Source { reactor: self.clone(), index, fd: std::mem::ManuallyDrop::new(fd) };
        let key = u64::from(generation) << 32 | u64::from(index);
        self.arm(source.as_raw_fd(), key, ready)?;
        Ok(source)
    }

    /// Registers the slot whose state is `ready`.
    fn arm(&self, fd: RawFd, key: u64, ready: u8) -> io::Result<()> {
        match &self.backend {
            Backend::Uring(ring) => {
                let poll = io_uring::opcode::PollAdd::new(io_uring::types::Fd(fd), interest(ready & !WRITER));
                // SAFETY: a poll request points to no memory.
                unsafe { submit(&mut ring.borrow_mut(), &poll.multi(true).build().user_data(key)) }
            }
            Backend::Epoll(set, _) => control(set, libc::EPOLL_CTL_ADD, fd, interest(ready), key),
        }
    }

    /// Begins or ends telling of a datagram socket's room, as `ready` says. What is the case already is told at once.
    fn arm_writer(&self, fd: RawFd, key: u64, ready: u8) -> io::Result<()> {
        match &self.backend {
            Backend::Uring(ring) if ready & WRITER != 0 => {
                let poll = io_uring::opcode::PollAdd::new(io_uring::types::Fd(fd), libc::EPOLLOUT as u32);
                // SAFETY: a poll request points to no memory.
                unsafe { submit(&mut ring.borrow_mut(), &poll.build().user_data(key | ONE_SHOT)) }
            }
            Backend::Uring(_) => Ok(()), // it was for one event
            Backend::Epoll(set, _) => control(set, libc::EPOLL_CTL_MOD, fd, interest(ready), key),
        }
    }

    /// Takes what has happened, marks sockets ready and wakes their tasks. Bounded by `BATCH` events a call; answers
    /// how many there were.
    pub fn drain(&self) -> usize {
        self.turn.set(self.turn.get() + 1);
        match &self.backend {
            Backend::Uring(ring) => self.drain_uring(ring),
            Backend::Epoll(set, events) => self.drain_epoll(set, &mut events.borrow_mut()),
        }
    }

    fn drain_uring(&self, ring: &RefCell<io_uring::IoUring>) -> usize {
        let mut ring = ring.borrow_mut();
        let (submitter, mut sq, cq) = ring.split();
        sq.sync();
        if sq.cq_overflow() {
            self.overflows.set(self.overflows.get() + 1);
            let _ = submitter.submit_and_wait(0); // flushes what the kernel kept back
        }
        let mut slots = self.slots.borrow_mut();
        let mut taken = 0;
        for event in cq.take(BATCH) {
            taken += 1;
            let (key, result) = (event.user_data(), event.result());
            if key == IGNORED || result == -libc::ECANCELED {
                continue;
            }
            let mut mask = if result < 0 { libc::EPOLLERR as u32 } else { result as u32 };
            if key & ONE_SHOT == 0 && !io_uring::cqueue::more(event.flags()) {
                // The kernel ended a multishot poll (it may, under memory pressure): the socket's task looks for
                // itself, and arms it anew at its next wait.
                mask |= (libc::EPOLLIN | libc::EPOLLOUT) as u32 | LOST;
            }
            slots.mark(key & !ONE_SHOT, mask);
            if key & ONE_SHOT != 0 {
                slots.told(key & !ONE_SHOT);
            }
        }
        taken
    }

    fn drain_epoll(&self, set: &OwnedFd, events: &mut [libc::epoll_event]) -> usize {
        // SAFETY: the kernel writes at most as many entries as `events` has; it lives through the call.
        let n = unsafe { libc::epoll_wait(set.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, 0) };
        let n = usize::try_from(n).unwrap_or(0);
        let mut slots = self.slots.borrow_mut();
        for event in &events[..n] {
            slots.mark(event.u64, event.events);
        }
        n
    }
}

/// A bit no poll mask has: the registration itself is gone.
const LOST: u32 = 1 << 29;

impl Slots {
    fn insert(&mut self, ready: u8) -> (u32, u32) {
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.entries[index as usize];
                slot.ready = ready;
                (index, slot.generation)
            }
            None => {
                self.entries.push(Slot { ready, ..Slot::default() });
                (self.entries.len() as u32 - 1, 0)
            }
        }
    }

    /// `None` for a socket that is gone.
    fn find(&mut self, key: u64) -> Option<&mut Slot> {
        self.entries.get_mut(key as u32 as usize).filter(|s| s.generation == (key >> 32) as u32)
    }

    /// A request for one event is over: who waits again must ask again.
    fn told(&mut self, key: u64) {
        if let Some(slot) = self.find(key) {
            slot.ready &= !WRITER;
        }
    }

    fn mark(&mut self, key: u64, mask: u32) {
        let Some(slot) = self.find(key) else { return };
        let broken = mask & (libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0;
        if mask & LOST != 0 {
            slot.ready |= UNARMED;
        }
        if broken || mask & libc::EPOLLRDHUP as u32 != 0 {
            slot.ready |= CLOSED;
        }
        if broken || mask & (libc::EPOLLIN | libc::EPOLLRDHUP) as u32 != 0 {
            slot.ready |= READ;
            if let Some(waker) = slot.reader.take() {
                waker.wake();
            }
        }
        if broken || mask & libc::EPOLLOUT as u32 != 0 {
            slot.ready |= WRITE;
            if let Some(waker) = slot.writer.take() {
                waker.wake();
            }
        }
    }
}

/// The events that a slot in the state `ready` wants to hear of.
fn interest(ready: u8) -> u32 {
    match (ready & DATAGRAMS != 0, ready & WRITER != 0) {
        (false, _) => INTEREST,
        (true, false) => libc::EPOLLIN as u32,
        (true, true) => (libc::EPOLLIN | libc::EPOLLOUT) as u32,
    }
}

/// One `epoll_ctl(2)`.
fn control(set: &OwnedFd, operation: libc::c_int, fd: RawFd, interest: u32, key: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: interest | libc::EPOLLET as u32, u64: key };
    // SAFETY: `event` lives through the call; both descriptors are open.
    match unsafe { libc::epoll_ctl(set.as_raw_fd(), operation, fd, &mut event) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Pushes one request and hands it to the kernel.
///
/// # Safety
/// Memory the entry points to must live until its completion.
unsafe fn submit(ring: &mut io_uring::IoUring, entry: &io_uring::squeue::Entry) -> io::Result<()> {
    // SAFETY: the caller's promise.
    if unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
        // SAFETY: as above; the queue was just emptied.
        unsafe { ring.submission().push(entry) }.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))?;
    }
    ring.submit().map(|_| ())
}

/// A watched descriptor. One task reads and one task (or the same) writes: the last that asked is woken.
pub struct Source {
    reactor: Rc<Reactor>,
    index: u32,
    fd: std::mem::ManuallyDrop<OwnedFd>,
}

impl Source {
    /// Ready when a read may succeed (or tell the end).
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, READ)
    }

    /// Ready when a write may succeed (or fail).
    #[inline]
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, WRITE)
    }

    fn poll(&self, cx: &mut Context<'_>, bit: u8) -> Poll<()> {
        let mut slots = self.reactor.slots.borrow_mut();
        let slot = &mut slots.entries[self.index as usize];
        if slot.ready & (WRITER | WRITE) == WRITER | WRITE {
            slot.ready &= !WRITER; // it has what it waited for
            // Should this fail, there are events that nobody needs.
            let _ = self.reactor.arm_writer(self.as_raw_fd(), self.key(slot), slot.ready);
        }
        if slot.ready & bit != 0 {
            return Poll::Ready(());
        }
        let place = if bit == READ { &mut slot.reader } else { &mut slot.writer };
        match place {
            Some(w) if w.will_wake(cx.waker()) => {}
            _ => *place = Some(cx.waker().clone()),
        }
        let lost = slot.ready & UNARMED != 0;
        let waits = bit == WRITE && slot.ready & (DATAGRAMS | WRITER) == DATAGRAMS;
        if !lost && !waits {
            return Poll::Pending;
        }
        slot.ready &= !UNARMED;
        slot.ready |= if waits { WRITER } else { 0 };
        let (key, ready) = (self.key(slot), slot.ready);
        drop(slots);
        let fd = self.as_raw_fd();
        let mut armed = if lost { self.reactor.arm(fd, key, ready) } else { Ok(()) };
        if waits {
            armed = armed.and(self.reactor.arm_writer(fd, key, ready));
        }
        if armed.is_err() {
            let mut slots = self.reactor.slots.borrow_mut();
            slots.mark(key, LOST);
            slots.entries[self.index as usize].ready &= !WRITER;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn key(&self, slot: &Slot) -> u64 {
        u64::from(slot.generation) << 32 | u64::from(self.index)
    }

    /// Whether a read is known to be possible, without asking to be woken.
    #[inline]
    pub fn is_readable(&self) -> bool {
        self.reactor.slots.borrow().entries[self.index as usize].ready & READ != 0
    }

    /// Whether the peer has finished sending, or the socket failed (there may still be bytes to read).
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.reactor.slots.borrow().entries[self.index as usize].ready & CLOSED != 0
    }

    /// A read gave all there was. Keeps the mark where the end is still to be read.
    #[inline]
    pub fn drained(&self) {
        let mut slots = self.reactor.slots.borrow_mut();
        let slot = &mut slots.entries[self.index as usize];
        if slot.ready & CLOSED == 0 {
            slot.ready &= !READ;
        }
    }

    /// A read said `WouldBlock`.
    #[inline]
    pub fn not_readable(&self) {
        self.reactor.slots.borrow_mut().entries[self.index as usize].ready &= !READ;
    }

    /// A write said `WouldBlock`.
    #[inline]
    pub fn not_writable(&self) {
        self.reactor.slots.borrow_mut().entries[self.index as usize].ready &= !WRITE;
    }
}

impl AsRawFd for Source {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let (key, ready) = {
            let mut slots = self.reactor.slots.borrow_mut();
            let slot = &mut slots.entries[self.index as usize];
            let was = (self.key(slot), slot.ready);
            *slot = Slot { generation: slot.generation.wrapping_add(1), ..Slot::default() };
            slots.free.push(self.index);
            was
        };
        match &self.reactor.backend {
            Backend::Uring(ring) => {
                // A poll request holds the file: without this the peer would never see the end.
                for key in [Some(key), (ready & WRITER != 0).then_some(key | ONE_SHOT)].into_iter().flatten() {
                    let remove = io_uring::opcode::PollRemove::new(key).build().user_data(IGNORED);
                    // SAFETY: the request points to no memory.
                    let _ = unsafe { submit(&mut ring.borrow_mut(), &remove) };
                }
            }
            // Others hold the file: closing our descriptor would leave the registration.
            Backend::Epoll(set, _) if ready & DATAGRAMS != 0 => {
                let _ = control(set, libc::EPOLL_CTL_DEL, self.as_raw_fd(), 0, key);
            }
            Backend::Epoll(..) => {} // closing is enough
        }
        // SAFETY: dropped once, here, and not used after.
        unsafe { std::mem::ManuallyDrop::drop(&mut self.fd) };
    }
}
