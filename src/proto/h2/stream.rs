//! One stream of an HTTP/2 connection, either role: body source and sink over the shared link.
use super::link::Link;
use crate::{
    message::Fill,
    proto::{self, Ended},
};
use edge_io::{
    buf::Buf,
    head::{FieldRef, Head, spare},
    http2::{ErrorCode, RequestHead},
    tls,
};
use std::{
    rc::Rc,
    task::{Context, Poll},
};

/// Why a stream is gone.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The code that the peer or the engine gave.
    pub code: ErrorCode,
    /// The peer reset it; otherwise it broke the protocol, or the connection ended.
    pub by_peer: bool,
    /// The peer has provably not looked at it: it may be sent again, whatever its method.
    pub unprocessed: bool,
    /// The whole connection is gone.
    pub connection: bool,
}

impl Cut {
    const GONE: Cut = Cut { code: ErrorCode::STREAM_CLOSED, by_peer: false, unprocessed: false, connection: false };
}

/// Which stream, of which connection.
struct Handle {
    link: Rc<Link>,
    id: u32,
    slot: u32,
}

/// How far the peer's direction is.
struct Rx {
    current: Buf,
    trailers: Option<Box<Head>>,
    /// Everything in it was fetched.
    all: bool,
    /// Body bytes that came.
    bytes: u64,
}

/// A stream as its task holds it. Dropped before both directions are through, it is reset.
pub struct H2Stream {
    handle: Handle,
    rx: Rx,
    /// Our direction is through.
    sent_all: bool,
    /// What a reset by us says.
    pub code: ErrorCode,
}

/// The peer's direction of a stream.
pub struct RecvHalf<'s> {
    handle: &'s Handle,
    rx: &'s mut Rx,
}

/// Our direction of a stream.
pub struct SendHalf<'s> {
    handle: &'s Handle,
    all: &'s mut bool,
}

impl H2Stream {
    /// The stream that the peer opened; `received_all` when its request has no body.
    pub(super) fn opened(link: Rc<Link>, id: u32, received_all: bool) -> H2Stream {
        H2Stream::new(link, id, received_all, false)
    }

    /// Opens a stream with a request (client role); `None` when the connection takes no more.
    pub fn request<'f>(
        link: &Rc<Link>,
        request: &RequestHead<'_>,
        fields: impl Iterator<Item = FieldRef<'f>>,
        end: bool,
    ) -> Option<H2Stream> {
        if link.is_over() {
            return None;
        }
        let id = link.engine().send_request(request, fields, end).ok()?;
        link.wake_driver();
        Some(H2Stream::new(link.clone(), id, false, end))
    }

    fn new(link: Rc<Link>, id: u32, received_all: bool, sent_all: bool) -> H2Stream {
        let slot = link.slots().open(id);
        H2Stream {
            handle: Handle { link, id, slot },
            rx: Rx { current: Buf::none(), trailers: None, all: received_all, bytes: 0 },
            sent_all,
            code: ErrorCode::CANCEL,
        }
    }

    /// Both directions, borrowed apart.
    pub fn halves(&mut self) -> (RecvHalf<'_>, SendHalf<'_>) {
        (
            RecvHalf { handle: &self.handle, rx: &mut self.rx },
            SendHalf { handle: &self.handle, all: &mut self.sent_all },
        )
    }

    /// The peer's direction.
    pub fn recv(&mut self) -> RecvHalf<'_> {
        self.halves().0
    }

    /// Our direction.
    pub fn send(&mut self) -> SendHalf<'_> {
        self.halves().1
    }

    /// Its connection.
    pub fn link(&self) -> &Rc<Link> {
        &self.handle.link
    }

    /// Whether the peer's direction was read to its end.
    pub fn is_received(&self) -> bool {
        self.rx.all
    }

    /// Whether our direction is through.
    pub fn is_sent(&self) -> bool {
        self.sent_all
    }

    /// Body bytes that came.
    pub fn received(&self) -> u64 {
        self.rx.bytes
    }

    /// Body bytes that wait.
    pub fn data(&self) -> &[u8] {
        self.rx.current.filled()
    }

    /// Trailers that came with the end.
    pub fn trailers(&self) -> Option<&Head> {
        self.rx.trailers.as_deref()
    }

    /// Ready when the stream is gone.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<Cut> {
        self.handle.wait(cx)
    }
}

impl Handle {
    /// Waits for the driver to wake this task, unless the stream is gone.
    fn wait(&self, cx: &mut Context<'_>) -> Poll<Cut> {
        let mut slots = self.link.slots();
        let Some(slot) = slots.at(self.slot) else { return Poll::Ready(Cut::GONE) };
        if let Some(cut) = slot.cut {
            return Poll::Ready(cut);
        }
        slot.wait(cx);
        Poll::Pending
    }

    fn cut(&self) -> Cut {
        self.link.slots().at(self.slot).and_then(|s| s.cut).unwrap_or(Cut::GONE)
    }
}

impl RecvHalf<'_> {
    /// The next response head (client role), and whether nothing follows it.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, into: &mut Box<Head>) -> Poll<Result<bool, Cut>> {
        let next = self.handle.link.slots().at(self.handle.slot).and_then(|slot| slot.heads.pop_front());
        match next {
            Some((head, end)) => {
                spare::give(std::mem::replace(into, head));
                self.rx.all |= end;
                Poll::Ready(Ok(end))
            }
            None => self.handle.wait(cx).map(Err),
        }
    }

    /// Waits for body data, or the end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Cut>> {
        if !self.rx.current.is_empty() {
            return Poll::Ready(Ok(Fill::Data));
        }
        if self.rx.all {
            return Poll::Ready(Ok(Fill::End));
        }
        if let Some(slot) = self.handle.link.slots().at(self.handle.slot) {
            if let Some(next) = slot.body.pop_front() {
                self.rx.bytes += next.len() as u64;
                self.rx.current = next;
                return Poll::Ready(Ok(Fill::Data));
            }
            if slot.ended {
                self.rx.trailers = slot.trailers.take();
                self.rx.all = true;
                return Poll::Ready(Ok(Fill::End));
            }
        }
        self.handle.wait(cx).map(Err)
    }

    /// Body bytes that wait.
    pub fn data(&self) -> &[u8] {
        self.rx.current.filled()
    }

    /// The first `n` of them are done with: the peer may send as many more.
    pub fn consume(&mut self, n: usize) {
        self.rx.current.consume(n);
        if self.rx.current.is_empty() {
            self.rx.current = Buf::none();
        }
        self.handle.link.consumed(self.handle.id, n);
    }

    /// Whether it was read to its end.
    pub fn is_done(&self) -> bool {
        self.rx.all
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
    /// Sends a response head (server role): the bytes it took.
    pub fn response<'f>(&mut self, status: u16, fields: impl Iterator<Item = FieldRef<'f>>, end: bool) -> u64 {
        let mut engine = self.handle.link.engine();
        let before = engine.out().len();
        if engine.send_response(self.handle.id, status, fields, end).is_ok() {
            *self.all |= end;
        }
        let written = engine.out().len().saturating_sub(before);
        drop(engine);
        self.handle.link.wake_driver();
        written as u64
    }

    /// Takes some of `data`: how many bytes. `end` ends our direction with the last of them.
    pub fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8], end: bool) -> Poll<Result<usize, Cut>> {
        if *self.all {
            // Behind an answer without a body nothing is missed; a request that has ended takes nothing more.
            let missed = !data.is_empty() && !self.handle.link.is_server();
            return Poll::Ready(if missed { Err(Cut::GONE) } else { Ok(data.len()) });
        }
        let sent = self.handle.link.engine().send_data(self.handle.id, data, end);
        match sent {
            Ok(n) if n > 0 || data.is_empty() => {
                *self.all = end && n == data.len();
                self.handle.link.wake_driver();
                Poll::Ready(Ok(n))
            }
            Ok(_) => self.handle.wait(cx).map(Err),
            Err(_) => Poll::Ready(Err(self.handle.cut())),
        }
    }

    /// Ends our direction with trailers.
    pub fn trailers<'f>(&mut self, fields: impl Iterator<Item = FieldRef<'f>>) -> Result<(), Cut> {
        if *self.all {
            return Ok(());
        }
        let sent = self.handle.link.engine().send_trailers(self.handle.id, fields);
        self.handle.link.wake_driver();
        match sent {
            Ok(()) => {
                *self.all = true;
                Ok(())
            }
            Err(_) => Err(self.handle.cut()),
        }
    }

    /// Ready when the stream is gone.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<Cut> {
        self.handle.wait(cx)
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        let Handle { link, id, slot } = &self.handle;
        let (unread, ended) = link.slots().close(*slot);
        link.consumed(*id, unread + self.rx.current.len());
        if !(self.sent_all && (self.rx.all || ended)) {
            // An answer that is complete needs no more of the request: no error (RFC 9113 8.1).
            let code = if self.sent_all && link.is_server() { ErrorCode::NO_ERROR } else { self.code };
            link.engine().reset(*id, code);
            link.wake_driver();
        }
        link.stream_closed();
        if let Some(head) = self.rx.trailers.take() {
            spare::give(head);
        }
    }
}

impl From<Cut> for Ended {
    fn from(cut: Cut) -> Ended {
        match (cut.connection, cut.by_peer) {
            (true, _) => Ended::Connection,
            (_, true) => Ended::Cancelled,
            _ => Ended::Broken,
        }
    }
}

impl proto::Stream for H2Stream {
    type Recv<'s> = RecvHalf<'s>;
    type Send<'s> = SendHalf<'s>;
    const PROTOCOL: &'static str = "h2";

    fn halves(&mut self) -> (RecvHalf<'_>, SendHalf<'_>) {
        H2Stream::halves(self)
    }

    fn tls(&self) -> Option<&tls::Info> {
        self.link().stream.tls()
    }

    fn is_received(&self) -> bool {
        self.rx.all
    }

    fn is_sent(&self) -> bool {
        self.sent_all
    }

    fn received(&self) -> u64 {
        self.rx.bytes
    }

    fn fail(&mut self) {
        self.code = ErrorCode::INTERNAL_ERROR;
    }

    fn end_connection(&self) {
        self.link().go_away_gracefully();
    }
}

impl proto::Receive for RecvHalf<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Ended>> {
        RecvHalf::poll_fill(self, cx).map_err(Ended::from)
    }

    fn data(&self) -> &[u8] {
        RecvHalf::data(self)
    }

    fn consume(&mut self, n: usize) {
        RecvHalf::consume(self, n);
    }

    fn trailers(&self) -> Option<&Head> {
        RecvHalf::trailers(self)
    }

    fn bytes(&self) -> u64 {
        self.rx.bytes
    }
}

impl proto::Answer for SendHalf<'_> {
    fn response<'f>(&mut self, status: u16, fields: impl Iterator<Item = FieldRef<'f>>, end: bool) -> u64 {
        SendHalf::response(self, status, fields, end)
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8], end: bool) -> Poll<Result<usize, Ended>> {
        SendHalf::poll_data(self, cx, data, end).map_err(Ended::from)
    }

    fn trailers<'f>(&mut self, fields: impl Iterator<Item = FieldRef<'f>>) -> Result<(), Ended> {
        SendHalf::trailers(self, fields).map_err(Ended::from)
    }

    fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<Ended> {
        SendHalf::poll_cut(self, cx).map(Ended::from)
    }
}
