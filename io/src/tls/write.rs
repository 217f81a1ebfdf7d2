//! The writing half of an established TLS connection: the caller's slices are encrypted straight into one buffer, and
//! that is sent in one go.
use super::{
    RECORD,
    machine::{Machine, Step, Want},
    session::State,
};
use crate::{
    buf::{Buf, LARGE},
    tcp,
};
use rustls::{CommonState, ProtocolVersion};
use std::{
    cell::RefCell,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

/// More than any cipher suite adds to a record: header, explicit nonce, content type, tag; bytes.
const OVERHEAD: usize = 40;
/// Room for messages that rustls puts in front of data on its own (a key update), bytes.
const SLACK: usize = 128;
/// The most slices that one call takes.
const PIECES_MAX: usize = 16;
/// The most looks at the state machine for one record: it tells other things first.
const LOOKS: u32 = 4;
/// Pieces below this are put together with their neighbours into one record; a larger one is worth its own, bytes.
const GATHER: usize = 4 * 1024;

thread_local! {
    /// Where small pieces are put together; no more than a record.
    static PIECES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Ciphertext on its way to the kernel.
pub(super) struct Output {
    /// To be sent now.
    pub buf: Buf,
    /// To be sent in front of the next write: tickets and key updates, which nobody waits for.
    later: Vec<u8>,
    /// `buf` holds the end of a handshake: it goes with the first write, at the latest before we wait for the peer.
    urgent: bool,
    /// Our `close_notify` is in `buf` or gone.
    closing: bool,
    /// The socket's sending direction ends when `buf` is empty.
    shut: bool,
}

impl Default for Output {
    fn default() -> Self {
        Output { buf: Buf::none(), later: Vec::new(), urgent: false, closing: false, shut: false }
    }
}

impl Output {
    /// What an empty `buf` has got while we read is put by for the next write. In TLS 1.2 it is an answer that the peer
    /// may wait for (no renegotiation).
    pub fn put_by(&mut self, common: &CommonState) {
        if self.buf.is_empty() {
            return;
        }
        if common.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            self.later.extend_from_slice(self.buf.filled());
            self.later.shrink_to_fit();
            self.buf = Buf::none();
        } else {
            self.urgent = true;
        }
    }

    /// The end of the handshake is in `buf`, and our first write follows at once.
    pub fn hold(&mut self) {
        self.urgent = !self.buf.is_empty();
    }

    /// Whether what is in `buf` may wait for the next write.
    pub fn may_wait(&self) -> bool {
        self.urgent || self.buf.is_empty()
    }

    /// Sends the end of a handshake that no write took along.
    pub fn flush_urgent(&mut self, tcp: &tcp::Stream) {
        if self.urgent {
            let _ = self.flush(tcp);
        }
    }

    /// Sends everything, as far as the kernel takes it now.
    pub fn flush_all(&mut self, tcp: &tcp::Stream) {
        let _ = self.make_room(0, 0);
        let _ = self.flush(tcp);
    }

    /// Whether the kernel has taken everything.
    pub fn flush(&mut self, tcp: &tcp::Stream) -> io::Result<bool> {
        while !self.buf.is_empty() {
            match tcp.try_send(self.buf.filled()) {
                Ok(n) => self.buf.consume(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        self.urgent = false;
        if !self.buf.is_none() {
            self.buf = Buf::none();
        }
        if std::mem::take(&mut self.shut) {
            tcp.shutdown_write();
        }
        Ok(true)
    }

    pub fn poll_flush(&mut self, tcp: &tcp::Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.flush(tcp)? {
            ready!(tcp.poll_writable(cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is there; then the socket's sending direction ends, if asked for.
    pub fn finish(&mut self, tcp: &tcp::Stream, shut: bool) {
        self.shut |= shut;
        let _ = self.flush(tcp);
    }

    /// Room for `plain` more bytes of plaintext in so many records; messages that were put by go in front.
    fn make_room(&mut self, plain: usize, records: usize) -> bool {
        let later = std::mem::take(&mut self.later);
        let need = plain + records * OVERHEAD + SLACK;
        if !self.buf.reserve(need + later.len()) && !self.buf.reserve(later.len()) {
            return false;
        }
        if let Some(front) = self.buf.spare().get_mut(..later.len()) {
            front.copy_from_slice(&later);
            self.buf.advance(later.len());
        }
        self.buf.spare().len() >= need
    }

    /// How much plaintext fits in, when it comes in so many pieces.
    fn room(&self, pieces: usize) -> usize {
        LARGE.saturating_sub(SLACK + (LARGE / RECORD + 1 + pieces) * OVERHEAD + self.buf.len() + self.later.len())
    }
}

impl State {
    pub fn try_sendv(&mut self, tcp: &tcp::Stream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.output.closing {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // The end of a handshake waits for this write; anything else has to go first.
        if !self.output.urgent && !self.output.flush(tcp)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let parts = &parts[..parts.len().min(PIECES_MAX)];
        if self.output.room(parts.len()) < RECORD {
            self.output.flush_all(tcp); // long tickets
            if !self.output.buf.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let total: usize = parts.iter().map(|p| p.len()).sum();
        let n = total.min(self.output.room(parts.len()));
        if n == 0 {
            return Ok(0);
        }
        self.unblock();
        if self.encrypt(parts, n).is_err() {
            self.output.closing = true;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.output.flush(tcp)?;
        Ok(n)
    }

    /// Encrypts the first `n` bytes of `parts` into the output buffer.
    fn encrypt(&mut self, parts: &[IoSlice<'_>], n: usize) -> Result<(), Failed> {
        if !self.output.make_room(n, n / RECORD + parts.len() + 1) {
            return Err(Failed);
        }
        let (machine, input, output) = self.seen();
        let mut to = Encrypt { machine, input, out: &mut output.buf };
        let [only] = parts else { return PIECES.with_borrow_mut(|pieces| to.gather(parts, n, pieces)) };
        to.record(&only[..n])
    }

    /// Puts `close_notify` into the output buffer, once.
    pub fn close(&mut self) {
        if std::mem::replace(&mut self.output.closing, true) {
            return;
        }
        self.unblock();
        if !self.output.make_room(0, 1) {
            return;
        }
        let (machine, input, output) = self.seen();
        for _ in 0..LOOKS {
            match machine.step(input, Want::Close(output.buf.spare())).1 {
                Ok(Step::Again) => {}
                Ok(Step::Done(n)) => return output.buf.advance(n),
                _ => return,
            }
        }
    }
}

/// The connection cannot encrypt any more: a key is used up, or a buffer too small.
struct Failed;

struct Encrypt<'a> {
    machine: &'a mut Machine,
    input: &'a mut [u8],
    out: &'a mut Buf,
}

impl Encrypt<'_> {
    /// One slice as records.
    fn record(&mut self, data: &[u8]) -> Result<(), Failed> {
        for _ in 0..LOOKS {
            match self.machine.step(self.input, Want::Encrypt(data, self.out.spare())).1 {
                Ok(Step::Again) => {}
                Ok(Step::Done(n)) => {
                    self.out.advance(n);
                    return Ok(());
                }
                _ => break,
            }
        }
        Err(Failed)
    }

    /// Several slices: small ones share a record, and so do all when one record holds them.
    fn gather(&mut self, parts: &[IoSlice<'_>], n: usize, pieces: &mut Vec<u8>) -> Result<(), Failed> {
        pieces.clear();
        let mut left = n;
        for part in parts {
            let part = &part[..part.len().min(left)];
            left -= part.len();
            if n > RECORD && part.len() >= GATHER {
                self.gathered(pieces)?;
                self.record(part)?;
                continue;
            }
            if pieces.len() + part.len() > RECORD {
                self.gathered(pieces)?;
            }
            pieces.extend_from_slice(part);
        }
        self.gathered(pieces)
    }

    fn gathered(&mut self, pieces: &mut Vec<u8>) -> Result<(), Failed> {
        if pieces.is_empty() {
            return Ok(());
        }
        let done = self.record(pieces);
        pieces.clear();
        done
    }
}
