//! Bodies of answers: so many bytes at once or piece by piece, events, and bodies that end too soon.
use super::{alarm::Alarm, desk::Desk};
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use std::{
    fmt::{self, Write as _},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{SystemTime, UNIX_EPOCH},
};

/// What bodies are made of.
static FILLER: [u8; 64 << 10] = [b'x'; 64 << 10];
/// Room for an event's text: two numbers of twenty digits and ten bytes around them.
const EVENT_BYTES: usize = 64;

/// So much of the filler, at most as much as there is.
pub(super) fn filler(n: u64) -> &'static [u8] {
    let n = usize::try_from(n).unwrap_or(usize::MAX).min(FILLER.len());
    FILLER.get(..n).unwrap_or(&FILLER)
}

/// The body was to end too soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CutShort;

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script ends this answer too soon")
    }
}

impl std::error::Error for CutShort {}

/// A body.
pub(super) enum Payload {
    /// So many bytes, their number announced.
    Sized { left: u64 },
    /// So many bytes, their number not announced.
    Pieces(Pieces),
    /// `left` of `announced` bytes. Then they get a turn to go out, and after it the connection or stream breaks off.
    Cut { left: u64, announced: u64, waited: bool },
    /// A text.
    Text(Option<Bytes>),
    /// Events, until there were enough or the client goes away.
    Events(Box<Events>),
}

/// Bytes that go out piece by piece.
pub(super) struct Pieces {
    pub left: u64,
    /// Bytes of a piece.
    pub piece: usize,
    /// Between two, µs.
    pub pause: u64,
    pub timer: Timer,
}

/// A pause of a body.
pub(super) struct Timer {
    desk: Rc<Desk>,
    alarm: Option<Alarm>,
}

impl Timer {
    pub fn new(desk: &Rc<Desk>) -> Timer {
        Timer { desk: desk.clone(), alarm: None }
    }

    /// To be waited for before the next piece: until `at`, µs, or behind a stall.
    pub fn set(&mut self, at: u64) {
        self.alarm = Some(self.desk.alarms.at(self.desk.pace.release(at)));
    }

    /// Ready when the time has come.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(alarm) = &mut self.alarm {
            ready!(Pin::new(alarm).poll(cx));
            self.alarm = None;
        }
        Poll::Ready(())
    }
}

/// Server-sent events: `data: <µs since the Unix epoch> <number>`.
pub(super) struct Events {
    timer: Timer,
    interval: u64,
    next: u64,
    number: u64,
    left: u64,
    text: BytesMut,
}

impl Events {
    /// `count` of them, one each `interval` µs from now on.
    pub fn new(desk: &Rc<Desk>, interval: u64, count: u64) -> Events {
        let next = desk.alarms.now() + interval;
        let mut timer = Timer::new(desk);
        timer.set(next);
        Events { timer, interval, next, number: 0, left: count, text: BytesMut::new() }
    }

    /// The next one's text, when its time has come.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.timer.poll(cx));
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        self.text.reserve(EVENT_BYTES);
        let _ = write!(self.text, "data: {epoch} {}\n\n", self.number);
        self.timer.desk.counts.events.inc();
        self.number += 1;
        self.left -= 1;
        // Behind a stall those that were missed come at once; a client that reads slowly gets none twice.
        self.next += self.interval;
        self.timer.set(self.next);
        Poll::Ready(Some(self.text.split().freeze()))
    }
}

impl Payload {
    /// A text.
    pub fn text(text: impl Into<Bytes>) -> Payload {
        Payload::Text(Some(text.into()))
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
        match self {
            Payload::Sized { left } => Poll::Ready(take(left).map(Ok)),
            Payload::Pieces(pieces) => pieces.next(cx).map(|piece| piece.map(Ok)),
            Payload::Cut { left, waited, .. } => {
                if let Some(bytes) = take(left) {
                    return Poll::Ready(Some(Ok(bytes)));
                }
                if !std::mem::replace(waited, true) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(CutShort)))
            }
            Payload::Text(text) => Poll::Ready(text.take().filter(|text| !text.is_empty()).map(Ok)),
            Payload::Events(events) => events.poll_next(cx).map(|event| event.map(Ok)),
        }
    }
}

impl Pieces {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        ready!(self.timer.poll(cx));
        let mut piece = self.left.min(self.piece as u64);
        self.left -= piece;
        if self.left > 0 && self.pause > 0 {
            self.timer.set(self.timer.desk.alarms.now() + self.pause);
        }
        let whole = piece;
        let Some(first) = take(&mut piece) else { return Poll::Ready(None) };
        if piece == 0 {
            return Poll::Ready(Some(first));
        }
        // A piece stays one piece on the wire.
        let mut all = BytesMut::zeroed(usize::try_from(whole).unwrap_or(0));
        all.fill(b'x');
        Poll::Ready(Some(all.freeze()))
    }
}

/// As many bytes as go at once.
fn take(left: &mut u64) -> Option<Bytes> {
    let bytes = filler(*left);
    *left -= bytes.len() as u64;
    (!bytes.is_empty()).then(|| Bytes::from_static(bytes))
}

impl Body for Payload {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        self.next(cx).map(|next| next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Payload::Sized { left } => *left == 0,
            Payload::Text(text) => text.as_ref().is_none_or(Bytes::is_empty),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Sized { left } => SizeHint::with_exact(*left),
            Payload::Cut { announced, .. } => SizeHint::with_exact(*announced),
            Payload::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Payload::Pieces(_) | Payload::Events(_) => SizeHint::default(),
        }
    }
}
