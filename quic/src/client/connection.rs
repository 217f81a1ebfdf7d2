//! One client connection, as the task that drives it holds it.
use super::{Answer, Client, Lost, Memory, Place, sending::Waiting, streams::Streams, wire::Wire};
use crate::{
    crypto,
    h3::{self, ErrorCode, Uni},
};
use edge_io::{head::Head, timer::Timer, tls};
use quinn_proto::{ConnectError, ConnectionHandle, DatagramEvent, Dir, Endpoint, StreamEvent, StreamId};
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
    pub(super) client: Rc<Client>,
    remote: SocketAddr,
    pub(super) wire: Wire,
    pub(super) timer: Timer,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    pub(super) quic: quinn_proto::Connection,
    pub(super) engine: h3::Connection,
    pub(super) streams: Streams,
    /// The stream of the next request.
    pub(super) reserved: Option<StreamId>,
    pub(super) uni: Vec<(StreamId, Uni)>,
    pub(super) own: [Option<StreamId>; 3],
    info: Option<tls::Info>,
    /// The server does not take more requests.
    pub(super) going: bool,
    pub(super) lost: Option<Lost>,
    /// What the socket did not take.
    pub(super) waiting: Option<Waiting>,
    /// Of this turn.
    pub(super) now: Instant,
    pub(super) deadline: Option<Instant>,
    received: u64,
    pub(super) sent: u64,
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
        for _ in 0..CALLS_PER_TURN {
            if !self.batch(cx, on) {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// As [`Connection::turn`], of what one receive call brings: one reading of the clock is the time of all of
    /// it. Whether there may be more; the task is not woken for that.
    pub fn batch(&mut self, cx: &mut Context<'_>, on: &mut impl FnMut(Place, Event<'_>)) -> bool {
        if self.lost.is_some() {
            return false;
        }
        let client = self.client.clone();
        let memory = &mut *client.memory.borrow_mut();
        self.now = Instant::now();
        let more = self.receive(cx, memory);
        self.expire();
        self.events(&mut memory.answer, on);
        more && self.lost.is_none()
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

    pub(super) fn endpoint_events(&mut self) {
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
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.lost.is_none() {
            self.close(ErrorCode::H3_NO_ERROR);
        }
    }
}
