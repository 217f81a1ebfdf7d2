//! One HTTP/2 connection, either role: the engine, its socket and its streams' mailboxes, moved by one driver task.
//!
//! The driver reads and hands on; streams' tasks put their output into the engine and wake the driver, which runs after
//! them and writes everything of the turn at once.
use super::{
    slots::{Slot, Slots},
    stream::Cut,
};
use edge_io::{
    buf::{self, Buf},
    head::{Head, spare},
    http2::{self, Connection as Engine, ErrorCode, Event, Fatal, Limits, Role},
    stream::Stream,
};
use std::{
    cell::{Cell, RefCell, RefMut},
    io,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

/// Reads before other tasks get their turn.
const READS_PER_TURN: u32 = 4;
/// Frames of whatever kind before other tasks get their turn.
const FRAMES_PER_TURN: u64 = 256;
/// Requests that begin before other tasks get their turn.
const ARRIVALS_PER_TURN: u32 = 64;
/// With so much output that the socket does not take, nothing more is read, bytes.
const BACKLOG: usize = 128 * 1024;
/// Response heads that may wait for one stream's task: the informational ones that are let through, and the final one.
const HEADS_WAITING: usize = 18;

/// Why a connection is over.
#[derive(Clone, Copy, Debug)]
pub enum Over {
    /// The peer closed it, or it broke.
    Closed,
    /// One side broke the protocol or a limit; GOAWAY is in the output.
    Fatal(Fatal),
    /// A graceful end: every stream is through.
    Drained,
}

/// One connection.
pub struct Link {
    /// Its socket.
    pub stream: Stream,
    role: Role,
    engine: RefCell<Engine>,
    slots: RefCell<Slots>,
    input: RefCell<Buf>,
    spare_head: RefCell<Option<Box<Head>>>,
    driver: RefCell<Option<Waker>>,
    woken: Cell<bool>,
    /// The driver is running: what is put into the engine now is written before it waits.
    driving: Cell<bool>,
    /// How often a stream's task was woken.
    woken_tasks: Cell<u32>,
    blocked: Cell<bool>,
    over: Cell<bool>,
    /// The peer's settings have come.
    settled: Cell<bool>,
    /// The last read filled all the room: bulk transfer, worth a large buffer.
    bulk: Cell<bool>,
    /// Bytes handed to the socket so far.
    written: Cell<u64>,
    /// Bytes taken from it so far.
    read: Cell<u64>,
    /// Tasks that wait for the peer's settings, for room for a stream, or for a stream to close.
    changed: crate::proto::h1::Waiting,
}

impl Link {
    /// A connection that begins; `input` is what was already read of it.
    pub fn new(stream: Stream, role: Role, limits: &Limits, now_ms: u64, input: Buf) -> Rc<Link> {
        Rc::new(Link {
            stream,
            role,
            engine: RefCell::new(Engine::new(role, limits, now_ms)),
            slots: RefCell::default(),
            input: RefCell::new(input),
            spare_head: RefCell::default(),
            driver: RefCell::default(),
            woken: Cell::new(false),
            driving: Cell::new(false),
            woken_tasks: Cell::new(0),
            blocked: Cell::new(false),
            over: Cell::new(false),
            settled: Cell::new(false),
            bulk: Cell::new(false),
            written: Cell::new(0),
            read: Cell::new(0),
            changed: Default::default(),
        })
    }

    pub(super) fn engine(&self) -> RefMut<'_, Engine> {
        self.engine.borrow_mut()
    }

    pub(super) fn slots(&self) -> RefMut<'_, Slots> {
        self.slots.borrow_mut()
    }

    /// Whether we are the server.
    pub fn is_server(&self) -> bool {
        self.role == Role::Server
    }

    /// Has the driver run after the tasks that are ready now.
    pub fn wake_driver(&self) {
        if !self.driving.get()
            && !self.woken.replace(true)
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }

    /// Body bytes were used: the peer may send as many more.
    pub(super) fn consumed(&self, id: u32, n: usize) {
        if n == 0 {
            return;
        }
        let mut engine = self.engine();
        engine.consumed(id, n);
        if !engine.out().is_empty() {
            drop(engine);
            self.wake_driver();
        }
    }

    pub(super) fn stream_closed(&self) {
        self.changed.wake_all();
        self.wake_driver_if_idle();
    }

    /// The last stream is gone: the driver has its idle time to keep, or the end of a drain to see.
    fn wake_driver_if_idle(&self) {
        if self.open_streams() == 0 {
            self.wake_driver();
        }
    }

    /// Streams that a task is serving.
    pub fn open_streams(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Whether another stream may be opened (client role).
    pub fn can_open(&self) -> bool {
        !self.over.get() && self.engine.borrow().can_open()
    }

    /// Whether the connection has ended, or takes no new streams any more.
    pub fn is_going(&self) -> bool {
        self.over.get() || self.engine.borrow().is_going_away()
    }

    /// Whether the peer's settings have come.
    pub fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// Whether the peer takes extended CONNECT (RFC 8441).
    pub fn takes_connect_protocol(&self) -> bool {
        self.engine.borrow().peer_allows_connect_protocol()
    }

    /// Tasks that wait for any of that to change.
    pub fn changed(&self) -> &crate::proto::h1::Waiting {
        &self.changed
    }

    /// Whether the peer has begun something that holds up everything else until it is complete: a block of fields, or
    /// the start of a frame. Bytes that are left because the peer does not read are not meant.
    pub fn is_mid_message(&self) -> bool {
        self.engine.borrow().is_inside_block() || !self.input.borrow().is_empty() && !self.is_stalled()
    }

    /// Whether the peer has said that it keeps to our settings.
    pub fn is_acknowledged(&self) -> bool {
        self.engine.borrow().is_acknowledged()
    }

    /// Frames that came so far.
    pub fn frames(&self) -> u64 {
        self.engine.borrow().frames()
    }

    /// Whether output waits for the socket.
    pub fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written.get()
    }

    /// Bytes read so far.
    pub fn read(&self) -> u64 {
        self.read.get()
    }

    /// Begins a graceful end: no new streams, those under way are finished.
    pub fn go_away_gracefully(&self) {
        self.engine().go_away_gracefully();
        self.wake_driver();
    }

    /// Says that the connection ends now.
    pub fn go_away(&self, code: ErrorCode) {
        self.engine().go_away(code);
    }

    /// What the peer did beyond a bound since the last call, if anything.
    pub fn abuse(&self) -> Option<http2::AbuseCounts> {
        let counts = self.engine().limits_hit();
        counts.iter().any(|n| *n > 0).then_some(counts)
    }

    /// Frees what an idle connection does not need.
    pub fn release_memory(&self) {
        self.engine().release_memory();
        self.slots().release_memory();
        self.spare_head.take();
    }

    /// Moves bytes both ways. `arrive` takes requests (server role). Ready when the connection is over; what is in the
    /// output then should still be flushed.
    pub fn poll_drive(
        &self,
        cx: &mut Context<'_>,
        now_ms: u64,
        arrive: &mut dyn FnMut(u32, bool, Box<Head>),
    ) -> Poll<Over> {
        self.woken.set(false);
        self.register(cx);
        self.driving.set(true);
        let moved = self.move_bytes(cx, now_ms, arrive);
        self.driving.set(false);
        if let Err(over) = moved {
            return Poll::Ready(self.end(over));
        }
        let engine = self.engine.borrow();
        if engine.is_drained() && engine.out().is_empty() && self.open_streams() == 0 && self.stream.is_flushed() {
            drop(engine);
            return Poll::Ready(self.end(Over::Drained));
        }
        Poll::Pending
    }

    fn move_bytes(
        &self,
        cx: &mut Context<'_>,
        now_ms: u64,
        arrive: &mut dyn FnMut(u32, bool, Box<Head>),
    ) -> Result<(), Over> {
        self.flush(cx).map_err(|_| Over::Closed)?;
        let woken = self.woken_tasks.get();
        self.read_all(cx, now_ms, arrive)?;
        if self.woken_tasks.get() != woken {
            // Streams' tasks run next, and have something to say as a rule: it goes out together with this.
            self.again(cx);
            return Ok(());
        }
        self.flush(cx).map_err(|_| Over::Closed)
    }

    /// The driver runs once more, after the tasks that are ready now.
    fn again(&self, cx: &Context<'_>) {
        if !self.woken.replace(true) {
            cx.waker().wake_by_ref();
        }
    }

    fn register(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        match &*driver {
            Some(w) if w.will_wake(cx.waker()) => {}
            _ => *driver = Some(cx.waker().clone()),
        }
    }

    /// Reads until there is nothing more, and hands on what came.
    fn read_all(
        &self,
        cx: &mut Context<'_>,
        now_ms: u64,
        arrive: &mut dyn FnMut(u32, bool, Box<Head>),
    ) -> Result<(), Over> {
        let mut reads = 0;
        let mut input = self.input.borrow_mut();
        loop {
            if !input.is_empty() && self.process(&mut input, now_ms, arrive)? {
                self.again(cx); // others first: a client cannot hold the shard by asking much at once
                return Ok(());
            }
            if self.is_stalled() {
                self.flush(cx).map_err(|_| Over::Closed)?;
                if self.is_stalled() {
                    return Ok(()); // one who does not read is not heard
                }
                continue;
            }
            if reads == READS_PER_TURN {
                self.again(cx);
                return Ok(());
            }
            if self.stream.poll_readable(cx).is_pending() {
                if input.is_empty() && !input.is_none() {
                    *input = Buf::none();
                }
                return Ok(());
            }
            reads += 1;
            if self.receive(&mut input)? == 0 {
                return Err(Over::Closed);
            }
        }
    }

    /// Whether so much output waits that nothing more should be read.
    fn is_stalled(&self) -> bool {
        let engine = self.engine.borrow();
        engine.is_stalled() || engine.out().len() > BACKLOG
    }

    /// One read. `WouldBlock` counts as a byte: the caller asks for readiness again.
    fn receive(&self, input: &mut Buf) -> Result<usize, Over> {
        if input.is_none() || (self.bulk.get() && input.is_empty() && input.capacity() < buf::LARGE) {
            *input = if self.bulk.get() { Buf::large() } else { Buf::small() };
        }
        if !input.make_room() {
            return Err(Over::Closed); // no frame is that large
        }
        let room = input.spare();
        let size = room.len();
        match self.stream.try_recv(room) {
            Ok(n) => {
                input.advance(n);
                self.bulk.set(n == size);
                self.read.set(self.read.get() + n as u64);
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(1),
            Err(_) => Err(Over::Closed),
        }
    }

    /// Everything in `input` that is complete; `true` when it is enough for this turn and more is there.
    fn process(
        &self,
        input: &mut Buf,
        now_ms: u64,
        arrive: &mut dyn FnMut(u32, bool, Box<Head>),
    ) -> Result<bool, Over> {
        let mut arrived = 0;
        let enough = self.frames() + FRAMES_PER_TURN;
        let mut head = self.spare_head.take().unwrap_or_else(spare::take);
        loop {
            let (n, event) = self.engine().receive(input.filled(), now_ms, &mut head).map_err(Over::Fatal)?;
            match event {
                None => {
                    input.consume(n);
                    *self.spare_head.borrow_mut() = Some(head);
                    return Ok(false);
                }
                Some(Event::Head { stream, end }) => {
                    let full = std::mem::replace(&mut head, spare::take());
                    if self.is_server() {
                        arrived += 1;
                        arrive(stream, end, full);
                    } else {
                        self.response_head(stream, end, full);
                    }
                }
                Some(Event::Data { stream, range, end }) => {
                    self.data(stream, input.filled().get(range).unwrap_or_default(), end);
                }
                Some(Event::Trailers { stream }) => {
                    if let Some(slot) = self.slots().of(stream) {
                        slot.trailers = Some(std::mem::replace(&mut head, spare::take()));
                        slot.ended = true;
                        self.wake(slot);
                    }
                }
                Some(Event::Reset { stream, code, by_peer, unprocessed }) => {
                    if let Some(slot) = self.slots().of(stream) {
                        slot.cut = Some(Cut { code, by_peer, unprocessed, connection: false });
                        self.wake(slot);
                    }
                }
                Some(Event::Writable) => self.wake_writable(),
                Some(Event::Settings) => {
                    self.settled.set(true);
                    self.changed.wake_all();
                    self.wake_writable();
                }
                Some(Event::GoAway { .. }) => self.changed.wake_all(),
                Some(Event::Pong(_) | Event::Busy) => {}
            }
            input.consume(n);
            if arrived == ARRIVALS_PER_TURN || self.frames() >= enough {
                *self.spare_head.borrow_mut() = Some(head);
                return Ok(true);
            }
        }
    }

    fn response_head(&self, stream: u32, end: bool, head: Box<Head>) {
        let mut slots = self.slots();
        let Some(slot) = slots.of(stream) else { return };
        if slot.heads.len() < HEADS_WAITING {
            slot.heads.push_back((head, end));
        } else {
            slot.cut =
                Some(Cut { code: ErrorCode::ENHANCE_YOUR_CALM, by_peer: false, unprocessed: false, connection: false });
        }
        self.wake(slot);
    }

    fn data(&self, stream: u32, data: &[u8], end: bool) {
        let mut slots = self.slots();
        let Some(slot) = slots.of(stream) else {
            drop(slots);
            return self.consumed(stream, data.len());
        };
        slot.append(data);
        slot.ended |= end;
        self.wake(slot);
    }

    fn wake(&self, slot: &mut Slot) {
        self.woken_tasks.set(self.woken_tasks.get().wrapping_add(u32::from(slot.wake())));
    }

    /// Streams that were blocked go on, in the order of their priorities.
    fn wake_writable(&self) {
        let mut engine = self.engine();
        let mut slots = self.slots();
        while let Some(id) = engine.next_writable() {
            if let Some(slot) = slots.of(id) {
                self.wake(slot);
            }
        }
    }

    /// Hands the output to the socket.
    fn flush(&self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut progress = false;
        let mut engine = self.engine();
        self.blocked.set(false);
        while !engine.out().is_empty() {
            match self.stream.try_send(engine.out()) {
                Ok(n) => {
                    engine.sent(n);
                    self.written.set(self.written.get() + n as u64);
                    progress = true;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.stream.poll_writable(cx).is_pending() {
                        self.blocked.set(true);
                        break;
                    }
                }
                Err(e) => return Err(e),
            }
        }
        drop(engine);
        match self.stream.poll_flush(cx) {
            Poll::Ready(Err(e)) => return Err(e),
            Poll::Ready(Ok(())) => {}
            Poll::Pending => self.blocked.set(true),
        }
        if progress {
            self.wake_writable();
        }
        Ok(())
    }

    /// Last bytes: ready when they are with the kernel or cannot be brought there.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.flush(cx).is_err() || !self.blocked.get() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Reads and drops what still comes; ready at the end of input, or after `most` bytes.
    pub fn poll_linger(&self, cx: &mut Context<'_>, most: u64) -> Poll<()> {
        let from = self.read.get();
        let mut input = self.input.borrow_mut();
        loop {
            input.clear();
            ready!(self.stream.poll_readable(cx));
            match self.receive(&mut input) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) if self.read.get() - from > most => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }

    /// No stream goes on: the driver is gone, or about to go.
    pub fn abandon(&self) {
        self.end(Over::Closed);
    }

    fn end(&self, over: Over) -> Over {
        self.over.set(true);
        for slot in self.slots().each() {
            let code = ErrorCode::NO_ERROR;
            slot.cut.get_or_insert(Cut { code, by_peer: false, unprocessed: false, connection: true });
            slot.wake();
        }
        self.changed.wake_all();
        over
    }
}
