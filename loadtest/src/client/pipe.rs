//! A connection's socket and what was read from it: one read, one write, bytes counted, failures named.
use super::Shard;
use crate::record::Fault;
use edge_io::{buf::Buf, stream::Stream};
use std::{
    io,
    task::{Context, Poll},
};

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Nothing is there.
    Nothing,
    /// Bytes, in `input`.
    Some,
    /// The peer sends nothing any more.
    End,
}

/// The two directions of a connection.
pub struct Pipe<'a> {
    stream: &'a Stream,
    /// What was read and not worked through. Holds memory only while there is something.
    pub input: Buf,
    /// Bytes received and sent that the shard was not told of.
    moved: (usize, usize),
    /// The socket takes no more now.
    full: bool,
    /// TLS holds what the socket does not take.
    held: bool,
}

impl<'a> Pipe<'a> {
    /// Of an established connection.
    pub fn new(stream: &'a Stream) -> Pipe<'a> {
        Pipe { stream, input: Buf::none(), moved: (0, 0), full: false, held: false }
    }

    /// Whether output waits for the socket.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.full || self.held
    }

    /// One read of what is there; otherwise the task is woken when there is something.
    ///
    /// # Errors
    /// The connection broke, or nobody took what was read before.
    pub fn read(&mut self, cx: &mut Context<'_>) -> Result<Read, Fault> {
        loop {
            if self.stream.poll_readable(cx).is_pending() {
                if self.input.is_empty() && !self.input.is_none() {
                    self.input = Buf::none();
                }
                return Ok(Read::Nothing);
            }
            if self.input.is_none() {
                self.input = Buf::large();
            }
            if !self.input.make_room() {
                return Err(Fault::Protocol);
            }
            match self.stream.try_recv(self.input.spare()) {
                Ok(0) => return Ok(Read::End),
                Ok(n) => {
                    self.input.advance(n);
                    self.moved.0 += n;
                    return Ok(Read::Some);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(Read::End),
                Err(e) => return Err(fault_of(&e)),
            }
        }
    }

    /// Hands over some of `bytes`: how many. 0: the socket takes no more now, and the task is woken when it does.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<usize, Fault> {
        self.full = false;
        loop {
            match self.stream.try_send(bytes) {
                Ok(n) => {
                    self.moved.1 += n;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.stream.poll_writable(cx).is_pending() {
                        self.full = true;
                        return Ok(0);
                    }
                }
                Err(e) => return Err(fault_of(&e)),
            }
        }
    }

    /// After the last `send` of a turn: what TLS holds goes on its way.
    ///
    /// # Errors
    /// The connection broke.
    pub fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let flushed = self.stream.poll_flush(cx);
        self.held = flushed.is_pending();
        match flushed {
            Poll::Ready(Err(e)) => Err(fault_of(&e)),
            _ => Ok(()),
        }
    }

    /// Sends all of `out`, as far as the socket takes it, and takes it off.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send_all(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut at = 0;
        while let Some(rest) = out.get(at..).filter(|rest| !rest.is_empty()) {
            let n = self.send(cx, rest)?;
            at += n;
            if n == 0 {
                break;
            }
        }
        out.drain(..at);
        self.flush(cx)
    }

    /// Tells the shard what was received and sent since the last call.
    #[inline]
    pub fn count(&mut self, shard: &Shard, now_us: u64) {
        let (received, sent) = std::mem::take(&mut self.moved);
        if received + sent > 0 {
            shard.moved(received, sent, now_us);
        }
    }

    /// Last words, as far as the socket takes them at once.
    pub fn leave(&mut self, words: &[u8]) {
        if !self.is_blocked() {
            if !words.is_empty() {
                let _ = self.stream.try_send(words);
            }
            self.stream.close_notify();
        }
    }
}

/// What a failure of the socket is counted as.
fn fault_of(e: &io::Error) -> Fault {
    match e.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => Fault::Reset,
        io::ErrorKind::InvalidData => Fault::Protocol,
        io::ErrorKind::TimedOut => Fault::Timeout,
        _ => Fault::Closed,
    }
}
