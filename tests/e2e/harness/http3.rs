//! HTTP/3 behind a blocking face: streams of `quinn`, and frames of the harness's own (RFC 9114), so that tests can send what
//! no library does and see what a library hides.
use super::{
    Addr, Message, PATIENCE,
    exchange::{Ask, Body, Fields},
    frames::Outcome,
    http2::Engine,
    qpack, tls,
};
use bytes::{Bytes, BytesMut};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use rustls::ClientConfig;
use std::{
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;

/// Codes of RFC 9114 8.1.
pub mod code {
    pub const NO_ERROR: u64 = 0x100;
    pub const GENERAL_PROTOCOL_ERROR: u64 = 0x101;
    pub const INTERNAL_ERROR: u64 = 0x102;
    pub const EXCESSIVE_LOAD: u64 = 0x107;
    pub const REQUEST_REJECTED: u64 = 0x10b;
    pub const REQUEST_CANCELLED: u64 = 0x10c;
    pub const MESSAGE_ERROR: u64 = 0x10e;
    pub const CONNECT_ERROR: u64 = 0x10f;
    pub const VERSION_FALLBACK: u64 = 0x110;
}

/// Frame types (RFC 9114 7.2, RFC 9218 7.2).
pub mod frame {
    pub const DATA: u64 = 0;
    pub const HEADERS: u64 = 1;
    pub const SETTINGS: u64 = 4;
    pub const GOAWAY: u64 = 7;
    pub const PRIORITY_UPDATE: u64 = 0xf0700;
}

/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 9220 5).
const ENABLE_CONNECT_PROTOCOL: u64 = 8;
/// What a client lets a server send of each stream before it reads.
const WINDOW: u32 = 1 << 20;

/// Why a stream or its connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The application's code, if one came.
    pub code: Option<u64>,
    /// The end of the whole connection, not of one stream.
    pub connection: bool,
    /// The server takes no more requests: GOAWAY, or the end behind it.
    pub go_away: bool,
    what: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {:#x?})", self.what, self.code)
    }
}

impl std::error::Error for Ended {}

fn ended(kind: io::ErrorKind, code: Option<u64>, connection: bool, what: impl Into<String>) -> io::Error {
    let go_away = connection && code == Some(code::NO_ERROR);
    io::Error::new(kind, Ended { code, connection, go_away, what: what.into() })
}

/// What is behind an error of HTTP/3.
pub fn why(e: &io::Error) -> Option<&Ended> {
    e.get_ref()?.downcast_ref::<Ended>()
}

fn lost(e: &ConnectionError) -> io::Error {
    let code = match e {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    };
    let kind = if code.is_some() { io::ErrorKind::ConnectionReset } else { io::ErrorKind::UnexpectedEof };
    ended(kind, code, true, e.to_string())
}

fn unread(e: ReadError) -> io::Error {
    match e {
        ReadError::Reset(code) => ended(io::ErrorKind::ConnectionReset, Some(code.into_inner()), false, "RESET_STREAM"),
        ReadError::ConnectionLost(e) => lost(&e),
        other => io::Error::other(other),
    }
}

fn unwritten(e: WriteError) -> io::Error {
    match e {
        WriteError::Stopped(code) => ended(io::ErrorKind::BrokenPipe, Some(code.into_inner()), false, "STOP_SENDING"),
        WriteError::ConnectionLost(e) => lost(&e),
        other => io::Error::new(io::ErrorKind::BrokenPipe, other),
    }
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// Appends an integer of RFC 9000 16.
pub fn varint(out: &mut Vec<u8>, n: u64) {
    match n {
        0..0x40 => out.push(n as u8),
        0x40..0x4000 => out.extend_from_slice(&(n as u16 | 1 << 14).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(n as u32 | 2 << 30).to_be_bytes()),
        _ => out.extend_from_slice(&(n | 3 << 62).to_be_bytes()),
    }
}

/// Takes an integer off the front, if all of it is there.
fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let len = 1 << (input.first()? >> 6);
    let bytes = input.split_off(..len)?;
    let rest = bytes[1..].iter().fold(u64::from(bytes[0] & 0x3f), |n, b| n << 8 | u64::from(*b));
    Some(rest)
}

/// A frame with all of its payload.
pub fn frame_bytes(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 9);
    varint(&mut out, kind);
    varint(&mut out, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

/// A request's head as fields, pseudo-header fields first.
fn request_fields(ask: &Ask) -> Fields {
    let pseudo = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let mut fields = vec![pseudo(":method", &ask.method)];
    fields.extend(ask.protocol.map(|p| pseudo(":protocol", p)));
    if ask.method != "CONNECT" || ask.protocol.is_some() {
        fields.extend([pseudo(":scheme", "https"), pseudo(":path", &ask.target)]);
    }
    fields.push(pseudo(":authority", &ask.host));
    fields.extend(ask.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
    let length = match &ask.body {
        Body::Whole(bytes) => Some(bytes.len()),
        Body::Later(length) => *length,
        Body::None => None,
    };
    fields.extend(length.map(|n| pseudo("content-length", &n.to_string())));
    fields
}

/// The HEADERS frame of a request.
pub fn request(ask: &Ask) -> Vec<u8> {
    headers(pairs(&request_fields(ask)))
}

/// A HEADERS frame.
pub fn headers<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    frame_bytes(frame::HEADERS, &qpack::encode(fields))
}

fn pairs(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.iter().map(|(n, v)| (n.as_bytes(), v.as_slice()))
}

/// What a server has said on its control stream.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Its SETTINGS came.
    pub settings: Option<Vec<(u64, u64)>>,
    /// The identifiers of every GOAWAY.
    pub go_away: Vec<u64>,
}

/// What a client does differently.
#[derive(Default)]
pub struct Options {
    /// Its transport parameters.
    pub transport: Option<quinn::TransportConfig>,
    /// Sends the first request in 0-RTT where there is a ticket.
    pub early: bool,
}

/// A connection, closed in order when nobody holds it any more.
pub struct Link {
    engine: Arc<Engine>,
    quic: quinn::Connection,
    said: watch::Receiver<Said>,
    control: Mutex<SendStream>,
    _endpoint: quinn::Endpoint,
    /// Whether this began with early data: what tells whether the server took it.
    early: Mutex<Option<quinn::ZeroRttAccepted>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        let quic = self.quic.clone();
        // The tasks that send run between these; the engine may end right after.
        let close = self.engine.spawn(async move {
            quic.close(VarInt::from_u64(code::NO_ERROR).unwrap_or_default(), b"");
            for _ in 0..16 {
                tokio::task::yield_now().await;
            }
        });
        let _ = self.engine.wait_for(Duration::from_secs(1), close);
    }
}

/// Of transport parameters: windows as [`WINDOW`] has them, and no end for silence on our side.
pub fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(WINDOW.into())
        .receive_window((8 * WINDOW).into())
        .send_window(u64::from(WINDOW))
        .max_idle_timeout(None);
    transport
}

/// A client's connection.
#[derive(Clone)]
pub struct Session {
    link: Arc<Link>,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// As QUIC says.
    pub fn open(to: &Addr, config: Arc<ClientConfig>, name: &str) -> io::Result<Session> {
        Session::open_with(to, config, name, Options::default())
    }

    /// As [`Session::open`], a little differently.
    ///
    /// # Errors
    /// As QUIC says.
    pub fn open_with(to: &Addr, config: Arc<ClientConfig>, name: &str, options: Options) -> io::Result<Session> {
        let engine = Arc::new(Engine::start());
        let to = to.tcp();
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).map_err(io::Error::other)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(options.transport.unwrap_or_else(transport)));
        let (quic, endpoint, early, control) = engine.wait(async {
            let any = if to.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" };
            let endpoint = quinn::Endpoint::client(any.parse().map_err(io::Error::other)?)?;
            let connecting = endpoint.connect_with(config, to, name).map_err(io::Error::other)?;
            let (quic, early) = match if options.early { connecting.into_0rtt() } else { Err(connecting) } {
                Ok((quic, accepted)) => (quic, Some(accepted)),
                Err(connecting) => (connecting.await.map_err(|e| lost(&e))?, None),
            };
            let mut control = quic.open_uni().await.map_err(|e| lost(&e))?;
            let mut hello = vec![0];
            hello.extend(frame_bytes(frame::SETTINGS, &[]));
            control.write_all(&hello).await.map_err(unwritten)?;
            io::Result::Ok((quic, endpoint, early, control))
        })??;
        let (tell, said) = watch::channel(Said::default());
        engine.spawn(accept_streams(quic.clone(), tell));
        let (control, early) = (Mutex::new(control), Mutex::new(early));
        Ok(Session { link: Arc::new(Link { engine, quic, said, control, _endpoint: endpoint, early }) })
    }

    /// Whether the server took the early data; `None` when there was no ticket that allowed any.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn early_accepted(&self) -> io::Result<Option<bool>> {
        let Some(accepted) = self.link.early.lock().expect("clients do not panic").take() else { return Ok(None) };
        self.link.engine.wait(accepted).map(Some)
    }

    /// Opens a unidirectional stream that begins with these bytes.
    ///
    /// # Errors
    /// As QUIC says.
    pub fn send_uni(&self, bytes: &[u8]) -> io::Result<SendStream> {
        self.link.engine.wait(async {
            let mut stream = self.link.quic.open_uni().await.map_err(|e| lost(&e))?;
            stream.write_all(bytes).await.map_err(unwritten)?;
            Ok(stream)
        })?
    }

    /// Waits so long for the right to send another request.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn stream_within(&self, patience: Duration) -> io::Result<Duplex> {
        let opened = self.link.engine.wait_for(patience, self.link.quic.open_bi())?;
        let (out, recv) = opened.map_err(|e| lost(&e))?;
        Ok(Duplex::new(&self.link, out, recv))
    }

    /// Waits until the server has said something that fits.
    ///
    /// # Errors
    /// `TimedOut`, or the connection's end.
    pub fn wait_said(&self, fits: impl Fn(&Said) -> bool) -> io::Result<Said> {
        let mut said = self.link.said.clone();
        let link = &self.link;
        link.engine.wait(async {
            match said.wait_for(|s| fits(s)).await {
                Ok(s) => Ok(s.clone()),
                Err(_) => Err(lost(&link.quic.closed().await)),
            }
        })?
    }

    /// Waits for the peer's GOAWAY: no new request can be made.
    ///
    /// # Errors
    /// `TimedOut`, or the error that ended the connection instead.
    pub fn wait_go_away(&self) -> io::Result<()> {
        self.wait_said(|s| !s.go_away.is_empty()).map(drop)
    }

    /// Waits until the connection ends.
    ///
    /// # Errors
    /// `TimedOut`, or how it ended if not in order.
    pub fn wait_end(&self) -> io::Result<()> {
        let e = self.wait_closed()?;
        if e.code == Some(code::NO_ERROR) { Ok(()) } else { Err(io::Error::other(e)) }
    }

    /// Waits until the connection ends, and says how.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn wait_closed(&self) -> io::Result<Ended> {
        self.closed_within(PATIENCE)
    }

    /// As [`Session::wait_closed`], but no longer than this.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn closed_within(&self, patience: Duration) -> io::Result<Ended> {
        let e = self.link.engine.wait_for(patience, self.link.quic.closed())?;
        Ok(why(&lost(&e)).cloned().expect("made of one"))
    }

    /// Sends bytes on the control stream.
    ///
    /// # Errors
    /// As QUIC says.
    pub fn send_control(&self, bytes: &[u8]) -> io::Result<()> {
        let mut control = self.link.control.lock().expect("clients do not panic");
        self.link.engine.wait(control.write_all(bytes))?.map_err(unwritten)
    }

    /// A new request stream with nothing on it.
    ///
    /// # Errors
    /// As QUIC says.
    pub fn stream(&self) -> io::Result<Duplex> {
        let (out, recv) = self.link.engine.wait(self.link.quic.open_bi())?.map_err(|e| lost(&e))?;
        Ok(Duplex::new(&self.link, out, recv))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// As QUIC says; the server's GOAWAY.
    pub fn begin(&self, ask: &Ask) -> io::Result<Http3Call> {
        if !self.link.said.borrow().go_away.is_empty() {
            let why = Ended {
                code: Some(code::NO_ERROR),
                connection: true,
                go_away: true,
                what: "the server sent GOAWAY".to_owned(),
            };
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, why));
        }
        if ask.protocol.is_some() {
            let allows = |s: &Said| s.settings.as_ref().is_some_and(|s| s.contains(&(ENABLE_CONNECT_PROTOCOL, 1)));
            let said = self.wait_said(|s| s.settings.is_some())?;
            if !allows(&said) {
                return Err(io::Error::other("the peer does not offer RFC 9220"));
            }
        }
        let duplex = self.stream()?;
        duplex.raw(&request(ask))?;
        match &ask.body {
            Body::None => duplex.end()?,
            // A refusal that comes while the body is on its way is what the caller then reads.
            Body::Whole(bytes) => drop(duplex.send(bytes).and_then(|()| duplex.end())),
            Body::Later(_) => {}
        }
        Ok(Http3Call { duplex, head: None, to_head: ask.method == "HEAD" })
    }
}

/// What becomes of a request that is sent as it is, over a connection of its own, in the words of [`super::frames`]: an
/// answer of 200 begins with the byte that it begins with there.
///
/// # Panics
/// When nothing comes in time, or no connection.
pub fn outcome(to: &Addr, lines: &[(&[u8], &[u8])], body: Option<&[u8]>) -> Outcome {
    let session = Session::open(to, tls::client(&["h3"]), tls::EDGE_NAME).expect("a connection");
    let stream = session.stream().expect("a stream");
    let sent = stream.raw(&headers(lines.iter().copied())).and_then(|()| stream.send(body.unwrap_or_default()));
    // A refusal that comes while this is on its way is what is then read.
    let _ = sent.and_then(|()| stream.end());
    match stream.head(false) {
        Ok(head) => Outcome::Answer(if head.status() == 200 { 0x88 } else { 0 }),
        Err(e) => match why(&e) {
            Some(Ended { code: Some(code), connection: true, .. }) => Outcome::GoAway(*code as u32),
            Some(Ended { code: Some(code), .. }) => Outcome::Reset(*code as u32),
            Some(_) => Outcome::Closed,
            None => panic!("neither an answer nor a refusal: {e}"),
        },
    }
}

/// Reads the server's streams: the control stream means something, QPACK's have nothing to say to one without a table.
async fn accept_streams(quic: quinn::Connection, tell: watch::Sender<Said>) {
    let tell = Arc::new(tell);
    while let Ok(recv) = quic.accept_uni().await {
        let (tell, quic) = (Arc::clone(&tell), quic.clone());
        tokio::spawn(async move {
            // The end of the connection is not the stream's fault.
            if let Err(e) = read_stream(recv, &tell).await
                && !why(&e).is_some_and(|e| e.connection)
            {
                quic.close(VarInt::from_u32(code::GENERAL_PROTOCOL_ERROR as u32), e.to_string().as_bytes());
            }
        });
    }
}

async fn read_stream(recv: RecvStream, tell: &watch::Sender<Said>) -> io::Result<()> {
    let mut input = Incoming::new(recv);
    let Some(kind) = input.stream_type().await? else { return Ok(()) };
    if kind != 0 {
        // 2 and 3: QPACK's encoder and decoder; the others are GREASE.
        while input.fill().await? {
            if kind == 2 && input.buf.iter().any(|b| *b != 0x20) {
                return Err(invalid("insertions into a table that was not offered"));
            }
            input.buf.clear();
        }
        return Ok(());
    }
    while let Some((kind, payload)) = input.frame().await? {
        let mut rest = &payload[..];
        match kind {
            frame::SETTINGS => {
                let mut settings = Vec::new();
                while let Some(id) = take_varint(&mut rest) {
                    settings.push((id, take_varint(&mut rest).ok_or_else(|| invalid("cut SETTINGS"))?));
                }
                tell.send_modify(|s| s.settings = Some(settings));
            }
            frame::GOAWAY => {
                let id = take_varint(&mut rest).ok_or_else(|| invalid("cut GOAWAY"))?;
                tell.send_modify(|s| s.go_away.push(id));
            }
            frame::DATA | frame::HEADERS => return Err(invalid("a request's frame on the control stream")),
            _ => {}
        }
    }
    Ok(())
}

/// The receiving half of a stream.
struct Incoming {
    recv: RecvStream,
    buf: BytesMut,
    fin: bool,
    /// Of the DATA frame that is being read.
    data_left: u64,
    /// Of the frame that is being skipped.
    skip: u64,
    /// Of the declared length.
    length_left: Option<u64>,
    trailers: Vec<(String, String)>,
    ended: bool,
}

impl Incoming {
    fn new(recv: RecvStream) -> Incoming {
        Incoming {
            recv,
            buf: BytesMut::new(),
            fin: false,
            data_left: 0,
            skip: 0,
            length_left: None,
            trailers: Vec::new(),
            ended: false,
        }
    }

    /// Reads once; `false` at the end.
    async fn fill(&mut self) -> io::Result<bool> {
        match self.recv.read_chunk(64 << 10, true).await.map_err(unread)? {
            Some(chunk) => self.buf.extend_from_slice(&chunk.bytes),
            None => self.fin = true,
        }
        Ok(!self.fin)
    }

    async fn stream_type(&mut self) -> io::Result<Option<u64>> {
        loop {
            let mut rest = &self.buf[..];
            if let Some(n) = take_varint(&mut rest) {
                let taken = self.buf.len() - rest.len();
                let _ = self.buf.split_to(taken);
                return Ok(Some(n));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Type and length of the frame that begins the buffer, and how long they are.
    fn frame_head(&self) -> Option<(u64, u64, usize)> {
        let mut rest = &self.buf[..];
        let kind = take_varint(&mut rest)?;
        let len = take_varint(&mut rest)?;
        Some((kind, len, self.buf.len() - rest.len()))
    }

    /// Takes the frame that begins the buffer, if all of it is there.
    fn whole_frame(&mut self) -> Option<(u64, BytesMut)> {
        let (kind, len, head) = self.frame_head()?;
        let end = head.checked_add(usize::try_from(len).ok()?).filter(|end| *end <= self.buf.len())?;
        let mut frame = self.buf.split_to(end);
        let _ = frame.split_to(head);
        Some((kind, frame))
    }

    /// The next frame of a control stream.
    async fn frame(&mut self) -> io::Result<Option<(u64, BytesMut)>> {
        loop {
            if let Some(frame) = self.whole_frame() {
                return Ok(Some(frame));
            }
            if self.fin || !self.fill().await? {
                return if self.buf.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// What comes next on a request stream. Nothing is lost when the wait is given up.
    async fn next(&mut self) -> io::Result<Got> {
        loop {
            let skipped = self.skip.min(self.buf.len() as u64);
            let _ = self.buf.split_to(skipped as usize);
            self.skip -= skipped;
            if self.data_left > 0 && !self.buf.is_empty() {
                let now = self.data_left.min(self.buf.len() as u64);
                self.data_left -= now;
                return Ok(Got::Data(self.buf.split_to(now as usize).freeze()));
            }
            let between = self.data_left == 0 && self.skip == 0;
            match self.frame_head().filter(|_| between) {
                Some((frame::DATA, len, head)) => {
                    let _ = self.buf.split_to(head);
                    self.data_left = len;
                    continue;
                }
                Some((frame::HEADERS, ..)) => {
                    if let Some((_, section)) = self.whole_frame() {
                        return Ok(Got::Headers(qpack::decode(&section)?));
                    }
                }
                Some((2..=0xd, ..)) => return Err(invalid("a frame that no request stream has")),
                Some((_, len, head)) => {
                    let _ = self.buf.split_to(head);
                    self.skip = len;
                    continue;
                }
                None => {}
            }
            if self.fin || !self.fill().await? {
                let cut = !self.buf.is_empty() || !between;
                return if cut { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Got::End) };
            }
        }
    }

    /// The next piece of the body, or its end.
    async fn body(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        match self.next().await? {
            Got::Data(piece) => {
                if let Some(left) = &mut self.length_left {
                    *left = left.checked_sub(piece.len() as u64).ok_or_else(|| invalid("more than was declared"))?;
                }
                return Ok(Some(piece));
            }
            Got::Headers(fields) => {
                if fields.iter().any(|(name, _)| name.starts_with(b":")) {
                    return Err(invalid("a pseudo-header field in trailers"));
                }
                self.trailers = plain(fields)?;
                if !matches!(self.next().await?, Got::End) {
                    return Err(invalid("something behind the trailers"));
                }
            }
            Got::End => {}
        }
        self.ended = true;
        match self.length_left {
            Some(1..) => Err(invalid("less than was declared")),
            _ => Ok(None),
        }
    }
}

enum Got {
    Headers(Vec<(Vec<u8>, Vec<u8>)>),
    Data(Bytes),
    End,
}

/// Fields as messages of the harness have them.
fn plain(fields: Vec<(Vec<u8>, Vec<u8>)>) -> io::Result<Vec<(String, String)>> {
    let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
    let fields: Vec<_> = fields.into_iter().map(|(n, v)| (text(n), text(v))).collect();
    let bad = |n: &str| n.bytes().any(|b| b.is_ascii_uppercase()) || matches!(n, "connection" | "transfer-encoding");
    match fields.iter().find(|(name, _)| bad(name)) {
        Some((name, _)) => Err(invalid(format!("a field {name:?} in HTTP/3"))),
        None => Ok(fields),
    }
}

/// The sending half of a stream.
struct Outgoing {
    send: SendStream,
    /// Of a frame whose head has been sent, when the wait for room was given up.
    rest: Bytes,
    done: bool,
}

/// Both halves; what is not at its end when nobody holds it any more is cancelled.
struct Halves {
    link: Arc<Link>,
    out: Mutex<Outgoing>,
    body: Mutex<Incoming>,
    patience: Mutex<Duration>,
}

impl Drop for Halves {
    fn drop(&mut self) {
        self.cancel(code::REQUEST_CANCELLED);
    }
}

impl Halves {
    fn cancel(&self, code: u64) {
        let code = VarInt::from_u64(code).unwrap_or_default();
        // Whoever holds a half is at it right now, and will find it gone.
        if let Ok(mut out) = self.out.lock()
            && !out.done
        {
            out.done = true;
            let _ = out.send.reset(code);
        }
        if let Ok(mut body) = self.body.lock()
            && !body.fin
        {
            let _ = body.recv.stop(code);
        }
    }
}

/// Both directions of a stream. Clones are handles on the same stream; one may read while another writes.
#[derive(Clone)]
pub struct Duplex(Arc<Halves>);

impl Duplex {
    fn new(link: &Arc<Link>, send: SendStream, recv: RecvStream) -> Duplex {
        Duplex(Arc::new(Halves {
            link: Arc::clone(link),
            out: Mutex::new(Outgoing { send, rest: Bytes::new(), done: false }),
            body: Mutex::new(Incoming::new(recv)),
            patience: Mutex::new(PATIENCE),
        }))
    }

    /// Gives up after so long.
    pub fn patience(&self, d: Duration) {
        *self.0.patience.lock().expect("streams do not panic") = d;
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        let patience = *self.0.patience.lock().expect("streams do not panic");
        self.0.link.engine.wait_for(patience, future)
    }

    /// The stream's number.
    pub fn id(&self) -> u64 {
        VarInt::from(self.0.out.lock().expect("streams do not panic").send.id()).into_inner()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// `TimedOut`, or why the stream is no more.
    pub fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        self.write(Bytes::copy_from_slice(bytes))
    }

    fn write(&self, bytes: Bytes) -> io::Result<()> {
        let mut out = self.0.out.lock().expect("streams do not panic");
        let Outgoing { send, rest, .. } = &mut *out;
        for mut left in [std::mem::take(rest), bytes] {
            while !left.is_empty() {
                match self.wait(send.write(&left)) {
                    Ok(written) => drop(left.split_to(written.map_err(unwritten)?)),
                    Err(e) => {
                        *rest = left;
                        return Err(e);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends all of it in a DATA frame as the windows allow.
    ///
    /// # Errors
    /// `TimedOut`, or why the stream is no more.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() { Ok(()) } else { self.write(frame_bytes(frame::DATA, bytes).into()) }
    }

    /// Ends this direction.
    ///
    /// # Errors
    /// Why the stream is no more.
    pub fn end(&self) -> io::Result<()> {
        self.write(Bytes::new())?;
        let mut out = self.0.out.lock().expect("streams do not panic");
        out.done = true;
        out.send.finish().map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Ends this direction with trailers.
    ///
    /// # Errors
    /// Why the stream is no more.
    pub fn end_with(&self, trailers: &Fields) -> io::Result<()> {
        let lower: Fields = trailers.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.clone())).collect();
        self.raw(&headers(pairs(&lower)))?;
        self.end()
    }

    /// Sends RESET_STREAM and STOP_SENDING.
    pub fn reset(&self, code: u64) {
        self.0.cancel(code);
    }

    /// Wants nothing more of the other direction: STOP_SENDING.
    pub fn stop(&self, code: u64) {
        let mut body = self.0.body.lock().expect("streams do not panic");
        let _ = body.recv.stop(VarInt::from_u64(code).unwrap_or_default());
        body.fin = true;
    }

    /// Waits for STOP_SENDING of the peer, and its code; `None` when the peer has taken all of it.
    ///
    /// # Errors
    /// `TimedOut`, or the connection's end.
    pub fn wait_stopped(&self) -> io::Result<Option<u64>> {
        let stopped = self.0.out.lock().expect("streams do not panic").send.stopped();
        let code = self.wait(stopped)?.map_err(io::Error::other)?;
        Ok(code.map(VarInt::into_inner))
    }

    /// The next head.
    ///
    /// # Errors
    /// `TimedOut`, why the stream is no more, or `InvalidData`.
    pub fn head(&self, to_head: bool) -> io::Result<Message> {
        let mut body = self.0.body.lock().expect("streams do not panic");
        let fields = match self.wait(body.next())?? {
            Got::Headers(fields) => plain(fields)?,
            Got::Data(_) => return Err(invalid("DATA before HEADERS")),
            Got::End => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let mut fields = fields.into_iter();
        let Some((_, status)) = fields.next().filter(|(name, _)| name == ":status") else {
            return Err(invalid("no :status"));
        };
        let head = Message { start: format!("HTTP/3 {status}"), fields: fields.collect(), ..Message::default() };
        if head.fields.iter().any(|(name, _)| name.starts_with(':')) {
            return Err(invalid(format!("a second pseudo-header field: {head:?}")));
        }
        if head.status() >= 200 && head.status() != 304 && !to_head {
            body.length_left = head.get("content-length").and_then(|n| n.parse().ok());
        }
        Ok(head)
    }

    /// The next piece of the other direction, or its end. What is not asked for holds the peer back.
    ///
    /// # Errors
    /// `TimedOut`, or why the stream is no more.
    pub fn next(&self) -> io::Result<Option<Bytes>> {
        let mut body = self.0.body.lock().expect("streams do not panic");
        self.wait(body.body())?
    }

    /// The trailers behind the end.
    pub fn trailers(&self) -> Vec<(String, String)> {
        self.0.body.lock().expect("streams do not panic").trailers.clone()
    }
}

impl io::Read for Duplex {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.next()? else { return Ok(0) };
        let n = piece.len().min(buf.len());
        buf[..n].copy_from_slice(&piece[..n]);
        if n < piece.len() {
            let mut body = self.0.body.lock().expect("streams do not panic");
            let mut all = BytesMut::from(&piece[n..]);
            body.data_left += all.len() as u64;
            body.length_left = body.length_left.map(|left| left + all.len() as u64);
            all.unsplit(body.buf.split());
            body.buf = all;
        }
        Ok(n)
    }
}

impl io::Write for Duplex {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.send(buf)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One exchange under way.
pub struct Http3Call {
    /// Its stream.
    pub duplex: Duplex,
    /// Of the answer, once it has come.
    pub head: Option<Message>,
    to_head: bool,
}

impl Http3Call {
    /// Reads the next head: a 1xx, or that of the answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn next_head(&mut self) -> io::Result<Message> {
        let head = self.duplex.head(self.to_head)?;
        if head.status() >= 200 {
            self.head = Some(head.clone());
        }
        Ok(head)
    }
}
