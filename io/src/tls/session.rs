//! An established TLS connection: what came is decrypted until there is plaintext, and kept no longer than needed.
use super::{
    Error, Info,
    machine::{Machine, Step, Want},
    write::Output,
};
use crate::{buf::Buf, tcp};
use std::{
    cell::RefCell,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

/// Reads without any plaintext before others get their turn: a peer can send records that carry none.
const READS_IN_TURN: u32 = 8;

/// The TLS half of a stream; the socket is the caller's.
pub struct Session {
    info: Info,
    state: RefCell<State>,
}

pub(super) struct State {
    pub machine: Machine,
    /// Ciphertext: what is left of the current record or handshake message, or records to come.
    pub input: Buf,
    /// Everything in `input` was looked at: more bytes are needed.
    pub exhausted: bool,
    /// rustls holds plaintext.
    pub holds_plaintext: bool,
    /// The last read filled its room: bulk transfer, worth a large buffer.
    bulk: bool,
    /// Plaintext that had no room.
    rest: Buf,
    /// What the reading side ended with.
    end: Option<End>,
    pub output: Output,
}

/// How the peer's direction ended.
#[derive(Clone)]
enum End {
    /// `close_notify`: nothing was cut off.
    Notified,
    /// Without it: something may be missing.
    CutShort,
    /// The socket failed.
    Failed(io::ErrorKind),
    /// The protocol was broken.
    Broken(Box<str>),
}

/// What there is to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Plaintext, or the end.
    Something,
    /// Nothing until the socket is readable.
    Nothing,
    /// Nothing yet, but the socket has more.
    Unknown,
}

impl State {
    pub fn new(machine: Machine) -> State {
        State {
            machine,
            input: Buf::none(),
            exhausted: true,
            holds_plaintext: false,
            bulk: false,
            rest: Buf::none(),
            end: None,
            output: Output::default(),
        }
    }

    /// Works through what came, until there is plaintext or more bytes are needed. Messages that are due are gathered.
    pub fn advance(&mut self) -> Result<(), Error> {
        while !self.exhausted && !self.holds_plaintext {
            let (discard, step) = self.machine.step(self.input.filled_mut(), Want::Progress(&mut self.output.buf));
            self.discard(discard);
            match step {
                Ok(Step::Plaintext) => self.holds_plaintext = true,
                Ok(Step::PeerClosed) => {
                    self.end = Some(End::Notified);
                    self.input = Buf::none(); // what follows is nobody's
                }
                Ok(Step::NeedsInput) => self.exhausted = true,
                Ok(Step::Again | Step::Done(_)) => {}
                Err(e) => {
                    self.gather_alert();
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// `advance` on an established connection: what is due can wait for the next write, but for an alert.
    fn progress(&mut self, tcp: &tcp::Stream) {
        let idle = self.output.buf.is_empty();
        let advanced = self.advance();
        if idle {
            self.output.put_by(self.machine.common());
        }
        if let Err(e) = advanced {
            self.end = Some(End::Broken(e.detail.into()));
            self.input = Buf::none();
            self.output.flush_all(tcp);
        }
    }

    /// After an error: the alert that tells the peer, if there is one. Exactly the messages that are ready are taken:
    /// another look at the bytes that caused the error must not happen.
    fn gather_alert(&mut self) {
        while self.machine.common().wants_write() {
            let (_, step) = self.machine.step(&mut [], Want::Progress(&mut self.output.buf));
            if !matches!(step, Ok(Step::Again)) {
                break;
            }
        }
    }

    fn discard(&mut self, n: usize) {
        self.input.consume(n);
        if self.input.is_empty() {
            self.input = Buf::none();
        }
    }

    /// rustls stops at plaintext: when no bytes follow, there is nothing else to look at.
    fn plaintext_taken(&mut self, discard: usize) {
        self.holds_plaintext = false;
        self.discard(discard);
        self.exhausted = self.input.is_empty() && !self.machine.common().wants_write();
    }

    /// One read from the socket: how many bytes, 0 at its end.
    pub fn receive(&mut self, tcp: &tcp::Stream) -> io::Result<usize> {
        if self.input.is_none() {
            self.input = if self.bulk { Buf::large() } else { Buf::small() };
        }
        // A record that is longer than the room needs more of it; one longer than the largest buffer does not exist.
        let least = self.input.capacity() / 4;
        if !self.input.reserve(least.max(1)) && !self.input.make_room() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a handshake message is too long"));
        }
        let room = self.input.spare();
        let size = room.len();
        let result = tcp.try_recv(room);
        match result {
            Ok(n) => {
                self.input.advance(n);
                self.bulk = n == size;
                self.exhausted = n == 0;
            }
            Err(_) => self.bulk = false,
        }
        self.discard(0);
        result
    }

    /// Reads until there is something to tell. `ask` asks the kernel even if the reactor knows of nothing.
    fn look(&mut self, tcp: &tcp::Stream, mut ask: bool) -> Waiting {
        for _ in 0..READS_IN_TURN {
            if !self.has_something() {
                self.progress(tcp);
            }
            if self.has_something() {
                return Waiting::Something;
            }
            if !std::mem::take(&mut ask) && !tcp.has_news() {
                return Waiting::Nothing;
            }
            match self.receive(tcp) {
                Ok(0) => self.end = Some(End::CutShort),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Waiting::Nothing,
                Err(e) => self.end = Some(End::Failed(e.kind())),
            }
        }
        Waiting::Unknown
    }

    fn has_something(&self) -> bool {
        !self.rest.is_empty() || self.holds_plaintext || self.end.is_some()
    }

    fn try_recv(&mut self, tcp: &tcp::Stream, room: &mut [u8]) -> io::Result<usize> {
        if self.look(tcp, false) != Waiting::Something {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut filled = self.take_rest(room);
        // As many records as have come already and have room; no more reads for them.
        while filled < room.len() && self.holds_plaintext {
            let (discard, step) = self.machine.step(&mut [], Want::Plaintext(&mut room[filled..], &mut self.rest));
            self.plaintext_taken(discard);
            match step {
                Ok(Step::Done(n)) => filled += n,
                Ok(_) => {}
                Err(e) => self.end = Some(End::Broken(e.detail.into())),
            }
            if filled < room.len() && self.end.is_none() {
                self.progress(tcp);
            }
        }
        match &self.end {
            _ if filled > 0 => Ok(filled),
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(End::Notified) => Ok(0),
            Some(End::CutShort) => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(End::Failed(kind)) => Err((*kind).into()),
            Some(End::Broken(detail)) => Err(io::Error::new(io::ErrorKind::InvalidData, detail.to_string())),
        }
    }

    fn take_rest(&mut self, room: &mut [u8]) -> usize {
        let n = self.rest.len().min(room.len());
        room[..n].copy_from_slice(&self.rest.filled()[..n]);
        self.rest.consume(n);
        if self.rest.is_empty() && !self.rest.is_none() {
            self.rest = Buf::none();
        }
        n
    }

    /// Plaintext that rustls holds keeps it from encrypting: it moves to us.
    pub fn unblock(&mut self) {
        if !self.holds_plaintext {
            return;
        }
        let (discard, step) = self.machine.step(&mut [], Want::Plaintext(&mut [], &mut self.rest));
        self.plaintext_taken(discard);
        if let Err(e) = step {
            self.end = Some(End::Broken(e.detail.into()));
        }
    }

    /// The bytes that a call of the state machine has to see which only encrypts: a message that is not complete must be
    /// there, records that wait to be read must not.
    pub fn seen(&mut self) -> (&mut Machine, &mut [u8], &mut Output) {
        let input = if self.exhausted { self.input.filled_mut() } else { &mut [] };
        (&mut self.machine, input, &mut self.output)
    }

    fn is_broken(&self) -> bool {
        matches!(self.end, Some(End::Failed(_) | End::Broken(_)))
    }
}

impl Session {
    pub(super) fn new(info: Info, state: State) -> Session {
        Session { info, state: RefCell::new(state) }
    }

    /// What the handshake agreed on.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Ready when there is plaintext, the end, or an error to read.
    pub fn poll_readable(&self, tcp: &tcp::Stream, cx: &mut Context<'_>) -> Poll<()> {
        let state = &mut *self.state.borrow_mut();
        // Once more after the socket turned out to be readable, then it is the others' turn.
        for _ in 0..2 {
            match state.look(tcp, false) {
                Waiting::Something => return Poll::Ready(()),
                Waiting::Unknown => break,
                Waiting::Nothing => {}
            }
            state.output.flush_urgent(tcp);
            ready!(tcp.poll_readable(cx));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Plaintext into `room`: how many bytes, 0 after `close_notify`, `UnexpectedEof` for an end without it,
    /// `InvalidData` when the peer broke the protocol.
    pub fn try_recv(&self, tcp: &tcp::Stream, room: &mut [u8]) -> io::Result<usize> {
        self.state.borrow_mut().try_recv(tcp, room)
    }

    /// Encrypts some of `parts` and sends what the kernel takes: how many bytes of them are taken care of.
    pub fn try_sendv(&self, tcp: &tcp::Stream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let state = &mut *self.state.borrow_mut();
        if state.is_broken() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.try_sendv(tcp, parts)
    }

    /// Whether there is plaintext, the end, or an error to read; reads from the socket if the reactor has news of it,
    /// or, with `ask`, in any case.
    pub fn has_news(&self, tcp: &tcp::Stream, ask: bool) -> bool {
        self.state.borrow_mut().look(tcp, ask) != Waiting::Nothing
    }

    /// Whether the end is the next thing to read. Costs a system call.
    pub fn at_end(&self, tcp: &tcp::Stream) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.look(tcp, true) == Waiting::Something && state.rest.is_empty() && !state.holds_plaintext
    }

    /// Whether the peer's direction has ended, as far as we have read.
    pub fn is_closed(&self) -> bool {
        self.state.borrow().end.is_some()
    }

    /// Ciphertext that the kernel has not taken, bytes.
    pub fn unsent(&self) -> usize {
        self.state.borrow().output.buf.len()
    }

    /// Ready when the kernel has taken all ciphertext.
    pub fn poll_flush(&self, tcp: &tcp::Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.borrow_mut().output.poll_flush(tcp, cx)
    }

    /// Tells the peer that nothing more will come. With `shut` our direction of the socket ends too, as soon as the
    /// kernel has everything.
    pub fn close(&self, tcp: &tcp::Stream, shut: bool) {
        let state = &mut *self.state.borrow_mut();
        if !state.is_broken() {
            state.close();
        }
        state.output.finish(tcp, shut);
    }
}
