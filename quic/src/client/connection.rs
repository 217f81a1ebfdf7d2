//! One client connection, as the task that drives it holds it.
use super::{
    Answer, Client, Lost, Memory, Place, Prepared,
    ending::varint,
    streams::{Asked, Streams},
    wire::Wire,
};
use crate::{
    crypto,
    h3::{self, Error, ErrorCode, Uni},
};
use bytes::{Buf, Bytes};
use edge_io::{head::Head, timer::Timer, tls};
use quinn_proto::{
    ConnectError, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint, Endpoint, ReadError, StreamEvent, StreamId,
};
use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Receive calls of one turn; behind each, what came is worked through.
const CALLS_PER_TURN: u32 = 4;
/// Messages that one flush sends at most before other tasks get their turn.
const MESSAGES_PER_FLUSH: u32 = 8;
/// What the kernel takes as one message, bytes.
const MESSAGE_MAX: usize = 65_507;
/// Messages that are tried when a connection is closed.
const LAST_MESSAGES: u32 = 4;

/// What happened to a request.
#[derive(Debug)]
pub enum Event<'a> {
    /// The head of an answer, or of an interim one (status below 200).
    Head(&'a Head),
    /// A piece of its body.
    Data(&'a [u8]),
    /// Its trailers.
    Trailers(&'a Head),
    /// The answer is complete, and the place free.
    End,
    /// There will be no answer, or no more of it; the place is free.
    Failed(Failure),
}

/// Why a request failed whose connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server reset its stream, with this code.
    Reset(ErrorCode),
    /// The server has not processed it (H3_REQUEST_REJECTED, or GOAWAY): it can be sent again.
    Rejected,
    /// The answer is not well-formed, or larger than is read: the code that the server is told, and a few words.
    Broken(ErrorCode, &'static str),
}

/// One connection. Dropped, it is closed.
pub struct Connection {
    client: Rc<Client>,
    remote: SocketAddr,
    wire: Wire,
    timer: Timer,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    pub(super) quic: quinn_proto::Connection,
    pub(super) engine: h3::Connection,
    streams: Streams,
    /// The stream of the next request.
    reserved: Option<StreamId>,
    pub(super) uni: Vec<(StreamId, Uni)>,
    pub(super) own: [Option<StreamId>; 3],
    info: Option<tls::Info>,
    /// The server does not take more requests.
    pub(super) going: bool,
    pub(super) lost: Option<Lost>,
    /// What the socket did not take.
    waiting: Option<Waiting>,
    /// Of this turn.
    pub(super) now: Instant,
    deadline: Option<Instant>,
    received: u64,
    sent: u64,
}

struct Waiting {
    data: Vec<u8>,
    segment: Option<usize>,
    ecn: Option<EcnCodepoint>,
}

impl Connection {
    pub(super) fn new(client: &Rc<Client>, remote: SocketAddr, server_name: &str) -> io::Result<Connection> {
        let wire = Wire::connect(&client.reactor, remote)?;
        let now = Instant::now();
        let mut endpoint = Endpoint::new(client.endpoint.clone(), None, true, None);
        let begun = endpoint.connect(now, client.config.clone(), remote, server_name);
        let (handle, quic) = begun.map_err(|e| match e {
            ConnectError::InvalidServerName(_) | ConnectError::InvalidRemoteAddress(_) => {
                io::Error::new(io::ErrorKind::InvalidInput, e)
            }
            e => io::Error::other(e),
        })?;
        Ok(Connection {
            engine: h3::Connection::new(h3::Role::Client, &client.limits, client.timers.now()),
            client: client.clone(),
            remote,
            wire,
            timer: Timer::new(&client.timers),
            endpoint,
            handle,
            quic,
            streams: Streams::default(),
            reserved: None,
            uni: Vec::new(),
            own: [None; 3],
            info: None,
            going: false,
            lost: None,
            waiting: None,
            now,
            deadline: None,
            received: 0,
            sent: 0,
        })
    }

    /// Sends the first packet, and waits until requests can be sent, at most `patience` (milliseconds count).
    ///
    /// # Errors
    /// It is over.
    pub async fn connected(&mut self, patience: Duration) -> Result<&tls::Info, Lost> {
        let timer = Timer::new(&self.client.timers);
        timer.set(patience);
        poll_fn(|cx| {
            self.turn(cx, &mut |_, _| {});
            self.flush(cx);
            let late = timer.poll_fired(cx).is_ready();
            if self.lost.is_none() && self.info.is_none() && late {
                self.close(ErrorCode::H3_NO_ERROR);
                self.lost = Some(Lost::TimedOut);
            }
            if self.lost.is_some() || self.info.is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        match (&self.info, self.lost.take()) {
            (Some(info), None) => Ok(info),
            (_, lost) => {
                let lost = lost.unwrap_or(Lost::Local);
                self.lost = Some(Lost::Local);
                Err(lost)
            }
        }
    }

    /// What the handshake agreed on, once it is done.
    pub fn tls(&self) -> Option<&tls::Info> {
        self.info.as_ref()
    }

    /// Whether the handshake is done.
    pub fn is_established(&self) -> bool {
        self.info.is_some()
    }

    /// Whether the server takes no more requests on it (GOAWAY).
    pub fn is_going(&self) -> bool {
        self.going
    }

    /// Requests under way.
    pub fn requests(&self) -> usize {
        self.streams.len()
    }

    /// Bytes of UDP payloads that came and went.
    pub fn bytes(&self) -> (u64, u64) {
        (self.received, self.sent)
    }

    /// Packets that were declared lost, and round-trip time as it is now.
    pub fn path(&self) -> (u64, Duration) {
        (self.quic.stats().path.lost_packets, self.quic.rtt())
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.client.timers.now()
    }

    /// Works through everything that has come, and tells `on` what happened to which request. The task is woken for the
    /// next turn; what there is to send goes with [`Connection::flush`].
    pub fn turn(&mut self, cx: &mut Context<'_>, on: &mut impl FnMut(Place, Event<'_>)) {
        if self.lost.is_some() {
            return;
        }
        let client = self.client.clone();
        let memory = &mut *client.memory.borrow_mut();
        self.now = Instant::now();
        let mut more = true;
        for _ in 0..CALLS_PER_TURN {
            more = self.receive(cx, memory);
            self.expire();
            self.events(&mut memory.answer, on);
            if !more || self.lost.is_some() {
                break;
            }
        }
        if more {
            cx.waker().wake_by_ref();
        }
    }

    /// One receive call; whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>, memory: &mut Memory) -> bool {
        let (endpoint, quic, out) = (&mut self.endpoint, &mut self.quic, &mut memory.out);
        let (now, remote, own) = (self.now, self.remote, self.handle);
        while self.wire.poll_readable(cx).is_ready() {
            let taken = self.wire.receive(&mut memory.basket, |ecn, datagram| {
                // What else it makes of a datagram (say, a reset for a stranger) is not for a client to send.
                if let Some(DatagramEvent::ConnectionEvent(handle, event)) =
                    endpoint.handle(now, remote, None, ecn, datagram, out)
                    && handle == own
                {
                    quic.handle_event(event);
                }
                out.clear();
            });
            self.received += taken.bytes as u64;
            if self.wire.is_refused() {
                self.lost.get_or_insert(Lost::Refused);
                return false;
            }
            if taken.more {
                return true;
            }
        }
        false
    }

    fn expire(&mut self) {
        if self.deadline.is_some_and(|at| at <= self.now) {
            self.deadline = None;
            self.quic.handle_timeout(self.now);
        }
    }

    fn events(&mut self, answer: &mut Answer, on: &mut impl FnMut(Place, Event<'_>)) {
        self.endpoint_events();
        while let Some(event) = self.quic.poll() {
            match event {
                quinn_proto::Event::Stream(event) => self.on_stream(event, answer, on),
                quinn_proto::Event::Connected => self.info = crypto::info(&self.quic),
                quinn_proto::Event::ConnectionLost { reason } => self.on_lost(&reason),
                quinn_proto::Event::HandshakeDataReady
                | quinn_proto::Event::DatagramReceived
                | quinn_proto::Event::DatagramsUnblocked => {}
            }
        }
        self.after_events(answer, on);
    }

    fn endpoint_events(&mut self) {
        while let Some(event) = self.quic.poll_endpoint_events() {
            if let Some(answer) = self.endpoint.handle_event(self.handle, event) {
                self.quic.handle_event(answer);
            }
        }
    }

    #[inline]
    fn on_stream(&mut self, event: StreamEvent, answer: &mut Answer, on: &mut impl FnMut(Place, Event<'_>)) {
        match event {
            StreamEvent::Readable { id } if id.dir() == Dir::Bi => self.read(id, answer, on),
            StreamEvent::Readable { id } => self.read_uni(id),
            StreamEvent::Opened { dir: Dir::Uni } => self.accept_uni(),
            StreamEvent::Writable { id } => {
                if let Some((_, asked)) = self.streams.find(id) {
                    asked.go_on(&mut self.quic.send_stream(id));
                }
            }
            StreamEvent::Stopped { id, error_code } if id.dir() == Dir::Bi => {
                // The server does not want the rest of the request; it may answer all the same (RFC 9114, section 4.1).
                if let Some((_, asked)) = self.streams.find(id) {
                    asked.forget_unsent();
                }
                let _ = self.quic.send_stream(id).reset(error_code);
            }
            StreamEvent::Stopped { .. } => {
                let fatal = self.engine.own_was_stopped();
                self.fail(fatal);
            }
            StreamEvent::Opened { dir: Dir::Bi } | StreamEvent::Available { .. } | StreamEvent::Finished { .. } => {}
        }
    }

    /// Something came on a request's stream.
    fn read(&mut self, id: StreamId, answer: &mut Answer, on: &mut impl FnMut(Place, Event<'_>)) {
        let now_ms = self.now_ms();
        let Some((place, asked)) = self.streams.find(id) else { return discard(&mut self.quic, id) };
        if asked.engine.is_blocked() {
            return; // nothing is read before its head, which the table brings
        }
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        let mut feeder = Feeder { engine: &mut self.engine, id: id.into(), place, now_ms, answer };
        let mut step = Step::Open;
        let mut first = Bytes::new();
        while step == Step::Open {
            // The next piece shows whether this one is the last.
            let next = chunks.next(usize::MAX);
            step = match next {
                Ok(Some(chunk)) => {
                    let piece = std::mem::replace(&mut first, chunk.bytes);
                    if piece.is_empty() { Step::Open } else { feeder.feed(asked, piece, false, on) }
                }
                Ok(None) => feeder.feed(asked, std::mem::take(&mut first), true, on),
                Err(ReadError::Blocked) => {
                    let piece = std::mem::take(&mut first);
                    if !piece.is_empty() {
                        step = feeder.feed(asked, piece, false, on);
                    }
                    break;
                }
                Err(ReadError::Reset(code)) => {
                    let piece = std::mem::take(&mut first);
                    if !piece.is_empty() {
                        feeder.feed(asked, piece, false, on);
                    }
                    Step::Reset(ErrorCode(code.into()))
                }
            };
        }
        if !first.is_empty() {
            // The table has to come first.
            asked.held = if asked.held.is_empty() { first } else { [asked.held.as_ref(), &first].concat().into() };
        }
        let _ = chunks.finalize(); // what it gives leave to send goes out with everything else
        self.settle(place, step, on);
    }

    /// What became of a request.
    fn settle(&mut self, place: Place, step: Step, on: &mut impl FnMut(Place, Event<'_>)) {
        match step {
            Step::Open | Step::Blocked => {}
            Step::Done => {
                if let Some(asked) = self.streams.remove(place)
                    && !asked.is_sent()
                {
                    // It was answered before it was there (RFC 9114, section 4.1).
                    let _ = self.quic.send_stream(asked.id).reset(varint(ErrorCode::H3_NO_ERROR.0));
                }
                on(place, Event::End);
            }
            Step::Reset(code) => {
                self.give_up(place, ErrorCode::H3_REQUEST_CANCELLED);
                let rejected = code == ErrorCode::H3_REQUEST_REJECTED;
                on(place, Event::Failed(if rejected { Failure::Rejected } else { Failure::Reset(code) }));
            }
            Step::Failed(Error::Stream { code, detail, .. }) => {
                self.give_up(place, code);
                on(place, Event::Failed(Failure::Broken(code, detail)));
            }
            Step::Failed(Error::Connection(fatal)) => self.fail(fatal),
        }
    }

    /// The head that a request waits for can be read.
    pub(super) fn unblocked(&mut self, id: StreamId, answer: &mut Answer, on: &mut impl FnMut(Place, Event<'_>)) {
        let now_ms = self.now_ms();
        let Some((place, asked)) = self.streams.find(id) else { return };
        let mut feeder = Feeder { engine: &mut self.engine, id: id.into(), place, now_ms, answer };
        let step = feeder.resume(asked, on);
        self.settle(place, step, on);
        if step == Step::Open {
            self.read(id, answer, on);
        }
    }

    /// The server said that it does not process requests on stream `first` and higher ones.
    pub(super) fn rejected(&mut self, first: u64, on: &mut impl FnMut(Place, Event<'_>)) {
        for place in self.streams.from(first) {
            self.give_up(place, ErrorCode::H3_REQUEST_CANCELLED);
            on(place, Event::Failed(Failure::Rejected));
        }
    }

    /// Whether the server, and what is left of the connection, allow one more request now.
    #[inline]
    pub fn can_open(&mut self) -> bool {
        if self.going || self.lost.is_some() {
            return false;
        }
        if self.reserved.is_none() {
            self.reserved = self.quic.streams().open(Dir::Bi);
        }
        self.reserved.is_some()
    }

    /// Sends a request: its place, or `None` when the server, or what is left of the connection, allows no more now.
    #[inline]
    pub fn open(&mut self, request: &Prepared) -> Option<Place> {
        if !self.can_open() {
            return None;
        }
        let id = self.reserved.take()?;
        let place = self.streams.insert(id, request.stream());
        if let Some(asked) = self.streams.get(place) {
            asked.send(&mut self.quic.send_stream(id), [request.head.clone(), request.body.clone()]);
        }
        Some(place)
    }

    /// Nobody wants the answer in `place` any more: both directions are cancelled (RFC 9114, section 4.1.1), and the place
    /// is free. No event follows.
    pub fn cancel(&mut self, place: Place) {
        self.give_up(place, ErrorCode::H3_REQUEST_CANCELLED);
    }

    fn give_up(&mut self, place: Place, code: ErrorCode) {
        let Some(mut asked) = self.streams.remove(place) else { return };
        self.engine.cancelled(&mut asked.engine, asked.id.into());
        // Either may be through already.
        let _ = self.quic.recv_stream(asked.id).stop(varint(code.0));
        let _ = self.quic.send_stream(asked.id).reset(varint(code.0));
    }

    /// Sends what there is to send, and has the task woken when time is up or there is room for more.
    pub fn flush(&mut self, cx: &mut Context<'_>) {
        let client = self.client.clone();
        let out = &mut client.memory.borrow_mut().out;
        self.transmit(cx, out);
        self.endpoint_events();
        self.deadline = self.quic.poll_timeout();
        match self.deadline {
            Some(at) => self.timer.set(at.saturating_duration_since(self.now)),
            None => self.timer.clear(),
        }
        let _ = self.timer.poll_fired(cx);
    }

    fn transmit(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) {
        for _ in 0..MESSAGES_PER_FLUSH {
            if !self.send_waiting() {
                if self.wire.poll_writable(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
                return;
            }
            if !self.send_next(out) {
                return;
            }
        }
        cx.waker().wake_by_ref(); // others first
    }

    /// One message; whether there may be more.
    #[inline]
    fn send_next(&mut self, out: &mut Vec<u8>) -> bool {
        out.clear();
        let fit = MESSAGE_MAX / usize::from(self.quic.current_mtu()).max(1);
        let segments = self.wire.segments().min(fit).max(1);
        let Some(transmit) = self.quic.poll_transmit(self.now, segments, out) else { return false };
        let data = out.get(..transmit.size).unwrap_or(out);
        self.sent += data.len() as u64;
        if self.wire.send(data, transmit.segment_size, transmit.ecn).is_err() {
            self.waiting =
                Some(Waiting { data: std::mem::take(out), segment: transmit.segment_size, ecn: transmit.ecn });
        }
        true
    }

    /// Whether nothing waits any more.
    fn send_waiting(&mut self) -> bool {
        if let Some(waiting) = &self.waiting
            && self.wire.send(&waiting.data, waiting.segment, waiting.ecn).is_err()
        {
            return false;
        }
        self.waiting = None;
        true
    }

    /// What a closed connection has to say; nobody waits for room.
    pub(super) fn send_last(&mut self) {
        let mut out = Vec::new();
        for _ in 0..LAST_MESSAGES {
            if !self.send_waiting() || !self.send_next(&mut out) {
                return;
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.lost.is_none() {
            self.close(ErrorCode::H3_NO_ERROR);
        }
    }
}

/// Where reading an answer has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// More may come.
    Open,
    /// The QPACK table has to come first.
    Blocked,
    /// The answer is complete.
    Done,
    /// The server gave it up.
    Reset(ErrorCode),
    Failed(Error),
}

/// Gives what came to the engine, and its events to the owner.
struct Feeder<'a> {
    engine: &'a mut h3::Connection,
    id: u64,
    place: Place,
    now_ms: u64,
    answer: &'a mut Answer,
}

impl Feeder<'_> {
    /// All of `piece`; `last`: nothing follows it.
    #[inline]
    fn feed(&mut self, asked: &mut Asked, mut piece: Bytes, last: bool, on: &mut impl FnMut(Place, Event<'_>)) -> Step {
        loop {
            let (n, event) = match self.receive(asked, &piece, last) {
                Ok(received) => received,
                Err(e) => return Step::Failed(e),
            };
            let Some(event) = event else {
                return if last { Step::Done } else { Step::Open };
            };
            let ends = self.tell(event, &piece, on);
            piece.advance(n.min(piece.len()));
            if ends {
                return Step::Done;
            }
            if asked.engine.is_blocked() {
                (asked.held, asked.ended) = (piece, last);
                return Step::Blocked;
            }
            if piece.is_empty() && !last {
                return Step::Open;
            }
        }
    }

    #[inline]
    fn receive(&mut self, asked: &mut Asked, piece: &[u8], last: bool) -> Result<(usize, Option<h3::Event>), Error> {
        let Answer { head, known } = self.answer;
        if let Some(received) = self.engine.receive_known(&mut asked.engine, known, piece, last) {
            return received.map(|(n, event)| (n, Some(event)));
        }
        let fresh = asked.engine.is_fresh();
        let received = self.engine.receive(&mut asked.engine, self.id, piece, last, self.now_ms, head);
        match &received {
            Ok((n, Some(h3::Event::Head { .. }))) if fresh => {
                self.engine.learn(known, piece.get(..*n).unwrap_or_default(), head.status());
            }
            Ok((_, Some(h3::Event::Data { .. } | h3::Event::End) | None)) => {}
            // The head holds something else now, or nothing.
            Ok((_, Some(_))) | Err(_) => known.forget(),
        }
        received
    }

    /// Whether it was the answer's last.
    #[inline]
    fn tell(&mut self, event: h3::Event, piece: &[u8], on: &mut impl FnMut(Place, Event<'_>)) -> bool {
        match event {
            h3::Event::Head { end } => {
                on(self.place, Event::Head(&self.answer.head));
                end
            }
            h3::Event::Data { range, end } => {
                on(self.place, Event::Data(piece.get(range).unwrap_or_default()));
                end
            }
            h3::Event::Trailers => {
                on(self.place, Event::Trailers(&self.answer.head));
                false
            }
            h3::Event::End => true,
            h3::Event::Blocked => false,
        }
    }

    /// The head that was waited for, and what came behind it.
    fn resume(&mut self, asked: &mut Asked, on: &mut impl FnMut(Place, Event<'_>)) -> Step {
        self.answer.known.forget();
        match self.engine.resume(&mut asked.engine, self.id, &mut self.answer.head) {
            Ok(Some(event)) => {
                if self.tell(event, &[], on) {
                    return Step::Done;
                }
            }
            Ok(None) => return Step::Blocked,
            Err(e) => return Step::Failed(e),
        }
        let (held, ended) = (std::mem::take(&mut asked.held), asked.ended);
        if held.is_empty() && !ended { Step::Open } else { self.feed(asked, held, ended, on) }
    }
}

/// Takes what comes on a stream that nobody waits for.
#[cold]
fn discard(quic: &mut quinn_proto::Connection, id: StreamId) {
    let mut stream = quic.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else { return };
    while let Ok(Some(_)) = chunks.next(usize::MAX) {}
    let _ = chunks.finalize();
}

pub(super) fn stream_id(id: u64) -> StreamId {
    StreamId::from(varint(id))
}
