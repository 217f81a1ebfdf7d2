//! The engine and its socket: reading, writing, and what a failure of the engine is counted as.
use crate::{client::pipe::Pipe, record::Fault};
use edge_io::{
    head::Head,
    http2::{Abuse, Connection, ErrorCode, Event, Fatal, Limits, Role},
    stream::Stream,
};
use std::task::Context;

/// Receive windows, of the connection and of each stream: as large as they may be, but for a margin that leaves room for
/// what the engine adds. A generator takes what comes at once, and the server is not to be held up by it.
const WINDOW: u32 = (1 << 30) - 1;
/// Most of a head that is read, bytes: what fits a [`Head`].
const HEAD_BYTES: usize = 64 * 1024;
/// Most fields of a head.
const FIELDS: usize = 1000;
/// CONTINUATION frames of one head: it is bounded by its bytes already.
const CONTINUATIONS: u32 = 64;
/// Heads of all open streams together, bytes.
const MEMORY: usize = 64 * 1024 * 1024;
/// Queued request bodies, bytes.
const OUT: usize = 128 * 1024;

/// What a generator bears: a server that misbehaves is counted, not fought. What it can make us keep is bounded all the
/// same.
fn limits(streams: usize) -> Limits {
    Limits {
        streams: u32::try_from(streams).unwrap_or(u32::MAX),
        stream_window: WINDOW,
        connection_window: WINDOW,
        head_bytes: HEAD_BYTES,
        fields: FIELDS,
        memory_bytes: MEMORY,
        out_bytes: OUT,
        resets: u32::MAX,
        control_frames: u32::MAX,
        continuations: CONTINUATIONS,
        ..Limits::default()
    }
}

/// One connection.
pub struct Wire<'a> {
    /// Its socket.
    pub pipe: Pipe<'a>,
    /// HTTP/2.
    pub engine: Connection,
    /// The last head that came.
    pub head: Head,
}

impl<'a> Wire<'a> {
    /// A connection that begins, for so many streams.
    pub fn new(stream: &'a Stream, streams: usize, now_us: u64) -> Wire<'a> {
        Wire {
            pipe: Pipe::new(stream),
            engine: Connection::new(Role::Client, &limits(streams), now_us / 1000),
            head: Head::new(),
        }
    }

    /// Works through what was read, until there is an event that the owner is to hear of. How much of the input is
    /// done with once it is.
    ///
    /// # Errors
    /// What the peer did is no HTTP/2.
    #[inline]
    pub fn next(&mut self, now_us: u64) -> Result<(usize, Option<Event>), Fault> {
        let done = self.engine.receive(self.pipe.input.filled(), now_us / 1000, &mut self.head);
        done.map_err(|fatal| fault_of_fatal(&fatal))
    }

    /// Hands the output to the socket, as far as it takes it. Whether anything was taken: streams that waited for room
    /// can go on.
    ///
    /// # Errors
    /// The connection broke.
    pub fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let mut progress = false;
        while !self.engine.out().is_empty() {
            match self.pipe.send(cx, self.engine.out())? {
                0 => break,
                n => self.engine.sent(n),
            }
            progress = true;
        }
        self.pipe.flush(cx)?;
        Ok(progress)
    }

    /// Says goodbye.
    pub fn leave(&mut self) {
        self.engine.go_away(ErrorCode::NO_ERROR);
        self.pipe.leave(self.engine.out());
    }
}

/// What a connection error that the engine found is counted as.
fn fault_of_fatal(fatal: &Fatal) -> Fault {
    match fatal.abuse {
        Some(Abuse::HeadBytes | Abuse::HeadFields | Abuse::Continuation | Abuse::Memory) => Fault::TooLarge,
        _ => Fault::Protocol,
    }
}
