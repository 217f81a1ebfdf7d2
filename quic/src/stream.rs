//! One request stream as its task holds it: the request's body in, the answer out.
use crate::{
    connection::{Connection, varint},
    h3::{self, Error, ErrorCode, Event},
    inflow::{Inflow, State},
};
use bytes::Bytes;
use edge_io::head::{FieldRef, Head, spare};
use quinn_proto::{StreamId, WriteError};
use std::{
    ops::Range,
    rc::Rc,
    task::{Context, Poll},
};

/// Pieces of up to this size go out together with what is in front of them: one copy instead of three pieces, bytes.
const SMALL: usize = 4 * 1024;

/// Why a stream is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The whole connection is.
    Connection,
    /// The peer reset it, or stopped it.
    Cancelled,
    /// The peer broke the protocol on it.
    Broken,
}

/// What `poll_fill` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// `data()` is not empty.
    Data,
    /// The body is complete; `trailers()` are final.
    End,
}

/// How far the peer's direction is.
struct Rx {
    engine: h3::Stream,
    inflow: Inflow,
    /// Where in the first piece the body data is that waits.
    data: Range<usize>,
    /// What of the first piece is done with when that is, and whether the body ends there.
    done: usize,
    ends: bool,
    trailers: Option<Box<Head>>,
    /// Everything was read.
    all: bool,
    cut: Option<Cut>,
    /// Body bytes that came.
    bytes: u64,
}

/// How far our direction is.
struct Tx {
    /// What goes out before anything else.
    out: Vec<u8>,
    /// What of the DATA frame that was begun is still to come, bytes.
    frame_left: u64,
    /// What of a body of known length no frame was begun for, bytes.
    announced: u64,
    /// Our direction is through.
    all: bool,
}

/// A stream. Dropped before both directions are through, it is reset.
pub struct Stream {
    connection: Rc<Connection>,
    id: StreamId,
    rx: Rx,
    tx: Tx,
    early: bool,
    /// What a reset by us says.
    pub code: ErrorCode,
}

/// The peer's direction.
pub struct RecvHalf<'s> {
    connection: &'s Rc<Connection>,
    id: StreamId,
    rx: &'s mut Rx,
}

/// Our direction.
pub struct SendHalf<'s> {
    connection: &'s Rc<Connection>,
    id: StreamId,
    tx: &'s mut Tx,
}

impl Stream {
    /// The stream that the peer opened; `received_all` when its request has no body.
    pub(crate) fn opened(
        connection: Rc<Connection>,
        id: StreamId,
        engine: h3::Stream,
        inflow: Inflow,
        received_all: bool,
    ) -> Stream {
        let early = connection.is_early();
        Stream {
            connection,
            id,
            rx: Rx {
                engine,
                inflow,
                data: 0..0,
                done: 0,
                ends: false,
                trailers: None,
                all: received_all,
                cut: None,
                bytes: 0,
            },
            tx: Tx { out: Vec::new(), frame_left: 0, announced: 0, all: false },
            early,
            code: ErrorCode::H3_REQUEST_CANCELLED,
        }
    }

    /// Both directions, borrowed apart.
    pub fn halves(&mut self) -> (RecvHalf<'_>, SendHalf<'_>) {
        let Stream { connection, id, rx, tx, .. } = self;
        (RecvHalf { connection, id: *id, rx }, SendHalf { connection, id: *id, tx })
    }

    /// Its connection.
    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.id.into()
    }

    /// Whether its request came before the handshake was done: it may be a replay.
    pub fn is_early(&self) -> bool {
        self.early
    }

    /// Whether the peer's direction was read to its end.
    pub fn is_received(&self) -> bool {
        self.rx.all
    }

    /// Whether our direction is through.
    pub fn is_sent(&self) -> bool {
        self.tx.all
    }

    /// Body bytes that came.
    pub fn received(&self) -> u64 {
        self.rx.bytes
    }
}

impl RecvHalf<'_> {
    /// Waits for body data, or the end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Cut>> {
        loop {
            if !self.rx.data.is_empty() {
                return Poll::Ready(Ok(Next::Data));
            }
            if self.rx.all {
                return Poll::Ready(Ok(Next::End));
            }
            if let Some(cut) = self.rx.cut {
                return Poll::Ready(Err(cut));
            }
            if self.connection.is_over() {
                return Poll::Ready(Err(Cut::Connection));
            }
            if !self.advance() {
                self.connection.wait(self.id, cx);
                return Poll::Pending;
            }
        }
    }

    /// Works through what has come, up to one event; `false` when there is nothing.
    fn advance(&mut self) -> bool {
        if self.rx.engine.is_blocked() {
            return self.resume();
        }
        let Rx { engine, inflow, .. } = &mut *self.rx;
        inflow.fill(self.connection, self.id);
        let last = inflow.is_last();
        if inflow.first().is_empty() && !last {
            self.rx.cut = match inflow.state() {
                State::Open => return false,
                State::Reset(_) => {
                    self.connection.engine().cancelled(engine, self.id.into());
                    self.connection.given_up(self.id);
                    Some(Cut::Cancelled)
                }
                State::Finished | State::Closed => Some(Cut::Broken),
            };
            return true;
        }
        let mut head = spare::take();
        let now_ms = self.connection.core().now_ms();
        let received =
            self.connection.engine().receive(engine, self.id.into(), inflow.first(), last, now_ms, &mut head);
        let trailers = match received {
            Err(e) => {
                self.rx.cut = Some(self.broken(e));
                false
            }
            Ok((n, event)) => self.received(n, event, last),
        };
        if trailers {
            self.rx.trailers = Some(head);
        } else {
            spare::give(head);
        }
        true
    }

    /// `true`: trailers came.
    fn received(&mut self, n: usize, event: Option<Event>, last: bool) -> bool {
        let rx = &mut *self.rx;
        match event {
            Some(Event::Data { range, end }) if !range.is_empty() => {
                // It is passed over when it was consumed.
                rx.bytes += range.len() as u64;
                rx.ends = end;
                rx.done = n;
                rx.data = range;
                return false;
            }
            Some(Event::Data { end, .. }) => rx.all = end,
            Some(Event::End) => rx.all = true,
            Some(Event::Head { .. }) => rx.cut = Some(Cut::Broken),
            // Behind trailers the stream has to end (RFC 9114 4.1): until it does, what comes is looked at.
            None if last && rx.trailers.is_some() && n == rx.inflow.first().len() => rx.all = true,
            None if last && n == 0 => rx.cut = Some(Cut::Broken),
            Some(Event::Trailers | Event::Blocked) | None => {}
        }
        rx.inflow.advance(n);
        event == Some(Event::Trailers)
    }

    /// Trailers that waited for the table.
    fn resume(&mut self) -> bool {
        if self.rx.inflow.is_reset(self.connection, self.id) {
            self.connection.engine().cancelled(&mut self.rx.engine, self.id.into());
            self.connection.given_up(self.id);
            self.rx.cut = Some(Cut::Cancelled);
            return true;
        }
        let mut head = spare::take();
        let resumed = self.connection.engine().resume(&mut self.rx.engine, self.id.into(), &mut head);
        match resumed {
            Ok(Some(Event::Trailers)) => {
                self.rx.trailers = Some(head);
                return true;
            }
            Ok(_) => {
                spare::give(head);
                return false;
            }
            Err(e) => self.rx.cut = Some(self.broken(e)),
        }
        true
    }

    fn broken(&self, e: Error) -> Cut {
        match e {
            Error::Stream { code, .. } => {
                let mut quic = self.connection.quic();
                let _ = quic.recv_stream(self.id).stop(varint(code.0));
                let _ = quic.send_stream(self.id).reset(varint(code.0));
                drop(quic);
                self.connection.touch();
            }
            Error::Connection(fatal) => self.connection.fail(fatal),
        }
        Cut::Broken
    }

    /// Body bytes that wait.
    pub fn data(&self) -> &[u8] {
        self.rx.inflow.first().get(self.rx.data.clone()).unwrap_or_default()
    }

    /// The first `n` of them are done with.
    pub fn consume(&mut self, n: usize) {
        let at = (self.rx.data.start + n).min(self.rx.data.end);
        self.rx.data.start = at;
        if self.rx.data.is_empty() {
            self.rx.inflow.advance(std::mem::take(&mut self.rx.done));
            self.rx.data = 0..0;
            self.rx.all |= self.rx.ends;
        }
    }

    /// Trailer fields that came with the end.
    pub fn trailers(&self) -> Option<&Head> {
        self.rx.trailers.as_deref()
    }

    /// Body bytes that came so far.
    pub fn bytes(&self) -> u64 {
        self.rx.bytes
    }
}

impl SendHalf<'_> {
    /// Sends a response head: the bytes it took. The final one waits for the first of the body, or for `flush`.
    pub fn response<'f>(&mut self, status: u16, fields: impl Iterator<Item = FieldRef<'f>>, end: bool) -> u64 {
        if self.tx.all {
            return 0;
        }
        if self.tx.out.capacity() == 0 {
            self.tx.out = self.connection.core().scratch();
        }
        let before = self.tx.out.len();
        self.connection.engine().write_response(self.id.into(), status, fields, &mut self.tx.out);
        let written = self.tx.out.len() - before;
        if end {
            let _ = self.finish();
        } else if status < 200 {
            self.flush();
        }
        written as u64
    }

    /// The body will have so many bytes: it goes into one frame.
    pub fn announce(&mut self, length: u64) {
        self.tx.announced = length;
    }

    /// Takes some of `data`: how many bytes. `end` ends our direction with the last of them.
    pub fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8], end: bool) -> Poll<Result<usize, Cut>> {
        self.poll(cx, Piece::Copied(data), end)
    }

    /// The same of bytes that are shared: they are kept until they have arrived, rather than a copy.
    pub fn poll_shared(&mut self, cx: &mut Context<'_>, data: &Bytes, end: bool) -> Poll<Result<usize, Cut>> {
        self.poll(cx, Piece::Shared(data), end)
    }

    fn poll(&mut self, cx: &mut Context<'_>, data: Piece<'_>, end: bool) -> Poll<Result<usize, Cut>> {
        if self.tx.all {
            return Poll::Ready(Ok(data.bytes().len())); // behind an answer without a body nothing is missed
        }
        match self.data(data, end) {
            Ok(Some(n)) => {
                self.connection.touch();
                Poll::Ready(Ok(n))
            }
            Ok(None) => {
                self.connection.wait(self.id, cx);
                Poll::Pending
            }
            Err(cut) => Poll::Ready(Err(cut)),
        }
    }

    /// `None`: nothing is taken now.
    fn data(&mut self, piece: Piece<'_>, end: bool) -> Result<Option<usize>, Cut> {
        let data = piece.bytes();
        if end && self.tx.frame_left > data.len() as u64 {
            return Err(Cut::Cancelled); // a frame that was begun cannot be ended by less (RFC 9114 7.1)
        }
        let begins = self.tx.frame_left == 0 && !data.is_empty();
        if data.len() <= SMALL && self.tx.out.len() <= SMALL {
            let n = if begins { self.begin_frame(data.len()) } else { data.len().min(self.tx.frame_left as usize) };
            if self.tx.out.capacity() == 0 {
                self.tx.out = self.connection.core().scratch();
            }
            self.tx.out.extend_from_slice(data.get(..n).unwrap_or_default());
            self.tx.frame_left -= n as u64;
            if end && n == data.len() {
                self.finish()?;
            } else {
                self.write_out()?;
            }
            return Ok(Some(n));
        }
        if !self.connection.may_write(self.id) {
            return Ok(None);
        }
        if begins && self.tx.out.len() <= SMALL {
            self.begin_frame(data.len());
        }
        if !self.write_out()? {
            return Ok(None);
        }
        if self.tx.frame_left == 0 && !data.is_empty() {
            // There was too much in front for a frame to begin behind it.
            self.begin_frame(data.len());
            if !self.write_out()? {
                return Ok(None);
            }
        }
        let most = data.len().min(self.tx.frame_left as usize);
        let n = match piece {
            Piece::Copied(data) => write(self.connection, self.id, data.get(..most).unwrap_or_default())?,
            Piece::Shared(data) => write_shared(self.connection, self.id, data.slice(..most))?,
        };
        self.tx.frame_left -= n as u64;
        if end && n == data.len() {
            self.finish()?;
        }
        Ok((n > 0 || data.is_empty()).then_some(n))
    }

    /// Begins a DATA frame for a piece of so many bytes, or for all that was announced: how many of them it takes.
    fn begin_frame(&mut self, piece: usize) -> usize {
        let length = self.tx.announced.max(piece as u64);
        self.tx.announced = 0;
        if self.tx.out.capacity() == 0 {
            self.tx.out = self.connection.core().scratch();
        }
        h3::data_header(length, &mut self.tx.out);
        self.tx.frame_left = length;
        piece
    }

    /// Writes what waits in front; whether all of it went out. If not, QUIC has been asked in vain: it tells of room
    /// only those whom it gave none, so that a part taken is not the end of it.
    fn write_out(&mut self) -> Result<bool, Cut> {
        let mut written = 0;
        while let Some(rest @ [_, ..]) = self.tx.out.get(written..) {
            match write(self.connection, self.id, rest)? {
                0 => {
                    self.tx.out.drain(..written);
                    return Ok(false);
                }
                n => written += n,
            }
        }
        if written > 0 {
            self.connection.core().give_scratch(std::mem::take(&mut self.tx.out));
        }
        Ok(true)
    }

    /// Ends our direction behind what waits; what does not go out at once goes when it can.
    ///
    /// Until it has succeeded, our direction is not through: dropping the stream resets it.
    fn finish(&mut self) -> Result<(), Cut> {
        if self.write_out()? {
            let finished = self.connection.quic().send_stream(self.id).finish();
            finished.map_err(|_| self.gone())?;
        } else {
            self.connection.tails().add(self.id.into(), std::mem::take(&mut self.tx.out));
        }
        self.tx.all = true;
        self.connection.touch();
        Ok(())
    }

    /// What waits goes out now, as far as it can.
    pub fn flush(&mut self) {
        if !self.tx.out.is_empty() {
            let _ = self.write_out(); // what is wrong is seen with the next piece
            self.connection.touch();
        }
    }

    /// Ends our direction with trailers.
    pub fn trailers<'f>(&mut self, fields: impl Iterator<Item = FieldRef<'f>>) -> Result<(), Cut> {
        if self.tx.all {
            return Ok(());
        }
        if self.tx.out.capacity() == 0 {
            self.tx.out = self.connection.core().scratch();
        }
        self.connection.engine().write_trailers(self.id.into(), fields, &mut self.tx.out);
        self.finish()
    }

    fn gone(&self) -> Cut {
        if self.connection.is_over() { Cut::Connection } else { Cut::Cancelled }
    }

    /// Ready when the stream is gone: reset, stopped, or its connection over.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<Cut> {
        if self.connection.is_over() {
            return Poll::Ready(Cut::Connection);
        }
        if !self.tx.all {
            let mut quic = self.connection.quic();
            if !matches!(quic.send_stream(self.id).stopped(), Ok(None)) {
                return Poll::Ready(Cut::Cancelled);
            }
        }
        self.connection.wait(self.id, cx);
        Poll::Pending
    }
}

/// A piece of a body.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Copied(&'a [u8]),
    Shared(&'a Bytes),
}

impl<'a> Piece<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Piece::Copied(data) => data,
            Piece::Shared(data) => data,
        }
    }
}

/// How many bytes QUIC takes now, without a copy.
fn write_shared(connection: &Connection, id: StreamId, data: Bytes) -> Result<usize, Cut> {
    if connection.is_over() {
        return Err(Cut::Connection);
    }
    taken(connection.quic().send_stream(id).write_chunks(&mut [data]).map(|written| written.bytes))
}

/// How many bytes QUIC takes now.
fn write(connection: &Connection, id: StreamId, data: &[u8]) -> Result<usize, Cut> {
    if connection.is_over() {
        return Err(Cut::Connection);
    }
    taken(connection.quic().send_stream(id).write(data))
}

fn taken(written: Result<usize, WriteError>) -> Result<usize, Cut> {
    match written {
        Ok(n) => Ok(n),
        Err(WriteError::Blocked) => Ok(0),
        Err(WriteError::Stopped(_) | WriteError::ClosedStream) => Err(Cut::Cancelled),
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let through = self.tx.all && self.rx.all;
        if !through && !self.connection.is_over() {
            self.give_up();
        }
        if let Some(head) = self.rx.trailers.take() {
            spare::give(head);
        }
        self.connection.core().give_scratch(std::mem::take(&mut self.tx.out));
        self.connection.stream_closed(self.id);
    }
}

impl Stream {
    fn give_up(&mut self) {
        if !self.rx.all {
            self.connection.engine().cancelled(&mut self.rx.engine, self.id.into());
        }
        let mut quic = self.connection.quic();
        if !self.rx.all {
            // An answer that is complete needs no more of the request: no error (RFC 9114 4.1).
            let code = if self.tx.all { ErrorCode::H3_NO_ERROR } else { self.code };
            let _ = quic.recv_stream(self.id).stop(varint(code.0));
        }
        if !self.tx.all {
            let _ = quic.send_stream(self.id).reset(varint(self.code.0));
        }
    }
}
