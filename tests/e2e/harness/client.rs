//! A client that speaks any protocol: the same calls, whatever carries them.
use super::{
    Addr, Message, PATIENCE, Protocol, Wire,
    exchange::{Ask, Body, Fields, Http1Body, chunk, last_chunk, response_message},
    http2::{Duplex, Engine, failed},
    http3,
    message::{Kind, ends},
    tls,
    wire::Stream,
};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use rustls::ClientConfig;
use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};
use tungstenite::{WebSocket, protocol::Role};

/// One client: for HTTP/2 and HTTP/3 one connection, for HTTP/1.1 as many as there are exchanges at once.
pub struct Client {
    to: Addr,
    protocol: Protocol,
    tls: Option<(Arc<ClientConfig>, String)>,
    kind: Inner,
}

enum Inner {
    Http1(Arc<Mutex<Vec<Wire>>>),
    Http2(Session),
    Http3(http3::Session),
}

impl Client {
    /// Connects, over TLS to [`tls::EDGE_NAME`].
    ///
    /// # Panics
    /// When that fails.
    pub fn connect(protocol: Protocol, to: &Addr) -> Client {
        Client::try_connect(protocol, to).unwrap_or_else(|e| panic!("connect to {to} by {protocol}: {e}"))
    }

    /// As [`Client::connect`].
    ///
    /// # Errors
    /// As the socket or TLS say.
    pub fn try_connect(protocol: Protocol, to: &Addr) -> io::Result<Client> {
        Client::with_tls(protocol, to, tls::client(&[protocol.alpn()]), tls::EDGE_NAME)
    }

    /// As [`Client::connect`], with TLS of one's own.
    ///
    /// # Errors
    /// As the socket or TLS say.
    pub fn with_tls(protocol: Protocol, to: &Addr, config: Arc<ClientConfig>, name: &str) -> io::Result<Client> {
        let tls = protocol.tls().then(|| (config, name.to_owned()));
        let kind = match (protocol, tls.clone()) {
            (Protocol::H3, Some((config, name))) => Inner::Http3(http3::Session::open(to, config, &name)?),
            (_, tls) if protocol.http2() => Inner::Http2(Session::open(to, tls)?),
            (_, tls) => Inner::Http1(Arc::new(Mutex::new(vec![open_wire(to, tls.as_ref())?]))),
        };
        Ok(Client { to: to.clone(), protocol, tls, kind })
    }

    /// Sends a request's head, and its body if that is there.
    ///
    /// # Panics
    /// When that fails.
    pub fn begin(&self, ask: Ask) -> Call {
        let what = format!("{} {}", ask.method, ask.target);
        self.try_begin(ask).unwrap_or_else(|e| panic!("{what}: {e}"))
    }

    /// As [`Client::begin`].
    ///
    /// # Errors
    /// As the connection says.
    pub fn try_begin(&self, ask: Ask) -> io::Result<Call> {
        match &self.kind {
            Inner::Http1(idle) => {
                let kept = idle.lock().expect("clients do not panic").pop();
                let wire = match kept {
                    Some(wire) => wire,
                    None => open_wire(&self.to, self.tls.as_ref())?,
                };
                begin_http1(wire, idle, ask)
            }
            Inner::Http2(session) => session.begin(&ask, self.protocol.scheme()),
            Inner::Http3(session) => Ok(Call::Http3(Box::new(session.begin(&ask)?))),
        }
    }

    /// Sends a request and reads its answer.
    ///
    /// # Panics
    /// When there is no whole one.
    pub fn ask(&self, ask: Ask) -> Message {
        self.begin(ask).response()
    }

    /// As [`Client::ask`].
    ///
    /// # Errors
    /// When there is no whole answer.
    pub fn try_ask(&self, ask: Ask) -> io::Result<Message> {
        self.try_begin(ask)?.whole()
    }

    /// GETs a target from the host `test`.
    ///
    /// # Panics
    /// As [`Client::ask`].
    pub fn get(&self, target: &str) -> Message {
        self.ask(Ask::get(target))
    }

    /// A request that says that it takes trailers.
    pub fn wanting_trailers(&self, ask: Ask) -> Ask {
        ask.wants_trailers(self.protocol.multiplexed())
    }

    /// Waits for the end of every connection that is not in use.
    ///
    /// # Errors
    /// `TimedOut`, or how the connection ended if not in order.
    pub fn wait_end(&self) -> io::Result<()> {
        match &self.kind {
            Inner::Http1(idle) => {
                for wire in idle.lock().expect("clients do not panic").iter_mut() {
                    let n = wire.fill()?;
                    assert_eq!(n, 0, "bytes behind the last message: {:?}", String::from_utf8_lossy(wire.unread()));
                }
                Ok(())
            }
            Inner::Http2(session) => session.wait_end(),
            Inner::Http3(session) => session.wait_end(),
        }
    }

    /// Waits for the peer's GOAWAY: no new request can be made.
    ///
    /// # Errors
    /// `TimedOut`, or the error that ended the connection instead.
    ///
    /// # Panics
    /// When it speaks HTTP/1.1.
    pub fn wait_go_away(&self) -> io::Result<()> {
        match &self.kind {
            Inner::Http1(_) => panic!("{} has no GOAWAY", self.protocol),
            Inner::Http2(session) => session.wait_go_away(),
            Inner::Http3(session) => session.wait_go_away(),
        }
    }

    /// The HTTP/3 connection.
    ///
    /// # Panics
    /// When it speaks something else.
    pub fn http3(&self) -> &http3::Session {
        match &self.kind {
            Inner::Http3(session) => session,
            _ => panic!("{} is not HTTP/3", self.protocol),
        }
    }

    /// A WebSocket by whatever handshake the protocol has for it (RFC 6455, RFC 8441 or RFC 9220).
    ///
    /// # Panics
    /// When it is refused.
    pub fn websocket(&self, target: &str) -> WebSocket<Tunnel> {
        let call = self.begin(self.websocket_ask(target));
        let tunnel = call.tunnel().unwrap_or_else(|e| panic!("a WebSocket at {target}: {e}"));
        WebSocket::from_raw_socket(tunnel, Role::Client, None)
    }

    /// The request that opens a WebSocket.
    pub fn websocket_ask(&self, target: &str) -> Ask {
        let ask = match self.protocol.multiplexed() {
            true => Ask { protocol: Some("websocket"), body: Body::Later(None), ..Ask::new("CONNECT", target) },
            false => Ask::get(target)
                .field("Upgrade", "websocket")
                .field("Connection", "Upgrade")
                .field("Sec-WebSocket-Key", WEBSOCKET_KEY),
        };
        ask.field("Sec-WebSocket-Version", "13")
    }
}

/// The key of every handshake of the tests, the one of RFC 6455 1.3.
pub const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn open_wire(to: &Addr, tls: Option<&(Arc<ClientConfig>, String)>) -> io::Result<Wire> {
    let stream = Stream::connect(to)?;
    let Some((config, name)) = tls else { return Wire::over(stream, None) };
    let Stream::Tcp(socket) = stream else { return Err(io::Error::other("TLS over TCP only")) };
    socket.set_read_timeout(Some(PATIENCE))?;
    Wire::over(Stream::Tls(tls::TlsStream::connect(socket, Arc::clone(config), name)?), None)
}

fn begin_http1(mut wire: Wire, idle: &Arc<Mutex<Vec<Wire>>>, ask: Ask) -> io::Result<Call> {
    wire.try_send(ask.http1())?;
    let later = match &ask.body {
        Body::Later(length) => Some(length.is_none()),
        _ => None,
    };
    Ok(Call::Http1(Box::new(Http1Call {
        wire: Some(wire),
        idle: Arc::clone(idle),
        to_head: ask.method == "HEAD",
        sent_all: later.is_none(),
        chunked: later == Some(true),
        keep: true,
        body: None,
    })))
}

/// An HTTP/2 connection.
pub struct Session {
    engine: Arc<Engine>,
    sender: SendRequest<Bytes>,
    ended: Mutex<Option<tokio::sync::oneshot::Receiver<Result<(), h2::Error>>>>,
}

impl Session {
    fn open(to: &Addr, tls: Option<(Arc<ClientConfig>, String)>) -> io::Result<Session> {
        let engine = Arc::new(Engine::start());
        let to = to.tcp();
        let (sender, ended) = engine.wait(async {
            let socket = tokio::net::TcpStream::connect(to).await?;
            socket.set_nodelay(true)?;
            match tls {
                None => shake(&engine, socket).await,
                Some((config, name)) => {
                    let connector = tokio_rustls::TlsConnector::from(config);
                    let stream = connector.connect(tls::server_name(&name), socket).await?;
                    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                        return Err(io::Error::other("the peer did not choose h2"));
                    }
                    shake(&engine, stream).await
                }
            }
        })??;
        Ok(Session { engine, sender, ended: Mutex::new(Some(ended)) })
    }

    fn begin(&self, ask: &Ask, scheme: &str) -> io::Result<Call> {
        let mut sender = self.sender.clone();
        if ask.protocol.is_some() {
            self.wait_connect_protocol()?;
        }
        let end = matches!(ask.body, Body::None);
        let (response, out) = self.engine.wait(async {
            let mut sender = poll_ready(&mut sender).await?;
            sender.send_request(ask.http2(scheme), end).map_err(failed)
        })??;
        let duplex = Duplex::new(&self.engine, (!end).then_some(out), None);
        let stream = duplex.clone();
        let call = Http2Call { engine: Arc::clone(&self.engine), response, duplex, head: None };
        if let Body::Whole(bytes) = &ask.body {
            // A refusal that comes while the body is on its way is what the caller then reads.
            let _ = stream.send(bytes).and_then(|()| stream.end());
        }
        Ok(Call::Http2(Box::new(call)))
    }

    /// Waits until the peer's SETTINGS allow extended CONNECT.
    fn wait_connect_protocol(&self) -> io::Result<()> {
        let allowed = || self.sender.is_extended_connect_protocol_enabled();
        let begun = std::time::Instant::now();
        while !allowed() {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("the peer does not offer RFC 8441"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Waits until the connection ends.
    ///
    /// # Errors
    /// `TimedOut`, or how it ended if not in order.
    pub fn wait_end(&self) -> io::Result<()> {
        let ended = self.ended.lock().expect("clients do not panic").take();
        let ended = ended.ok_or(io::ErrorKind::NotConnected)?;
        self.engine.wait(ended)?.map_err(io::Error::other)?.map_err(failed)
    }

    /// Waits for the peer's GOAWAY: no new request can be made.
    ///
    /// # Errors
    /// `TimedOut`, or the error that ended the connection instead.
    pub fn wait_go_away(&self) -> io::Result<()> {
        let mut sender = self.sender.clone();
        self.engine.wait(async {
            loop {
                match poll_ready(&mut sender).await {
                    Ok(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                    Err(e) if super::http2::is_go_away(&e) => return Ok(()),
                    Err(e) => return Err(e),
                }
            }
        })?
    }
}

async fn poll_ready(sender: &mut SendRequest<Bytes>) -> io::Result<SendRequest<Bytes>> {
    poll_fn(|cx| sender.poll_ready(cx)).await.map_err(failed)?;
    Ok(sender.clone())
}

type Opened = (SendRequest<Bytes>, tokio::sync::oneshot::Receiver<Result<(), h2::Error>>);

async fn shake<T>(engine: &Engine, stream: T) -> io::Result<Opened>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(8 * WINDOW).initial_max_send_streams(1000);
    let (sender, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(failed)?;
    let (tell, ended) = tokio::sync::oneshot::channel();
    engine.spawn(async move {
        let _ = tell.send(connection.await);
    });
    Ok((sender, ended))
}

/// What a client lets a server send of each stream before it reads.
const WINDOW: u32 = 1 << 20;

/// One exchange under way. Dropped before its end, it is cancelled.
pub enum Call {
    /// Over a connection of its own.
    Http1(Box<Http1Call>),
    /// Over a stream.
    Http2(Box<Http2Call>),
    /// Over a stream.
    Http3(Box<http3::Http3Call>),
}

/// Over HTTP/1.1.
pub struct Http1Call {
    wire: Option<Wire>,
    idle: Arc<Mutex<Vec<Wire>>>,
    to_head: bool,
    sent_all: bool,
    chunked: bool,
    keep: bool,
    body: Option<(Message, Http1Body)>,
}

/// Over HTTP/2.
pub struct Http2Call {
    engine: Arc<Engine>,
    response: ResponseFuture,
    duplex: Duplex,
    head: Option<Message>,
}

impl Call {
    /// Sends a piece of the body.
    ///
    /// # Panics
    /// When the peer does not take it.
    pub fn send(&mut self, piece: impl AsRef<[u8]>) {
        self.try_send(piece).expect("the peer takes what is sent");
    }

    /// Sends a piece of the body.
    ///
    /// # Errors
    /// As the connection says.
    pub fn try_send(&mut self, piece: impl AsRef<[u8]>) -> io::Result<()> {
        match self {
            Call::Http1(c) => {
                let chunked = c.chunked;
                let bytes = if chunked { chunk(piece.as_ref()) } else { piece.as_ref().to_vec() };
                c.wire()?.try_send(bytes)
            }
            Call::Http2(c) => c.duplex.send(piece.as_ref()),
            Call::Http3(c) => c.duplex.send(piece.as_ref()),
        }
    }

    /// Ends the body if the peer still takes it.
    pub fn try_finish(&mut self) {
        match self {
            Call::Http1(c) if !c.sent_all => {
                let end = if c.chunked { last_chunk(&Vec::new()) } else { Vec::new() };
                // Only what was sent whole leaves a connection for the next one.
                c.sent_all = c.wire().and_then(|w| w.try_send(end)).is_ok();
            }
            Call::Http1(_) => {}
            Call::Http2(c) => drop(c.duplex.end()),
            Call::Http3(c) => drop(c.duplex.end()),
        }
    }

    /// Ends the body.
    ///
    /// # Panics
    /// When the peer does not take it.
    pub fn finish(&mut self) {
        self.finish_with(&Vec::new());
    }

    /// Ends the body with trailers. Nobody minds when the peer of a stream has answered already and does not want them.
    ///
    /// # Panics
    /// When an HTTP/1.1 peer does not take it.
    pub fn finish_with(&mut self, trailers: &Fields) {
        match self {
            Call::Http1(c) => {
                if c.chunked {
                    c.wire().and_then(|w| w.try_send(last_chunk(trailers))).expect("the peer takes the end");
                }
                c.sent_all = true;
            }
            Call::Http2(c) => {
                let _ = if trailers.is_empty() { c.duplex.end() } else { c.duplex.end_with(trailers) };
            }
            Call::Http3(c) => {
                let _ = if trailers.is_empty() { c.duplex.end() } else { c.duplex.end_with(trailers) };
            }
        }
    }

    /// Gives up after so long.
    pub fn patience(&mut self, d: Duration) {
        match self {
            Call::Http1(c) => c.wire().expect("an open call").patience(d),
            Call::Http2(c) => c.duplex.patience(d),
            Call::Http3(c) => c.duplex.patience(d),
        }
    }

    /// Reads the next head: a 1xx, or that of the answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn next_head(&mut self) -> io::Result<Message> {
        match self {
            Call::Http1(c) => c.next_head(),
            Call::Http2(c) => c.next_head(),
            Call::Http3(c) => c.next_head(),
        }
    }

    /// Reads the head of the answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn try_head(&mut self) -> io::Result<Message> {
        loop {
            let head = self.next_head()?;
            if head.status() >= 200 {
                return Ok(head);
            }
        }
    }

    /// Reads the head of the answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn head(&mut self) -> Message {
        self.try_head().expect("the head of an answer")
    }

    /// The next piece of the body, or its end.
    ///
    /// # Errors
    /// As the connection says; `InvalidData` when what came is no answer.
    pub fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Call::Http1(c) => {
                let wire = c.wire.as_mut().ok_or(io::ErrorKind::NotConnected)?;
                let (_, body) = c.body.as_mut().ok_or(io::ErrorKind::NotConnected)?;
                body.next(wire)
            }
            Call::Http2(c) => Ok(c.duplex.next()?.map(Vec::from)),
            Call::Http3(c) => Ok(c.duplex.next()?.map(Vec::from)),
        }
    }

    /// Reads until what has come of the body since the last call is at least so long.
    ///
    /// # Panics
    /// When it is not.
    pub fn take(&mut self, least: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < least {
            got.extend(self.next().expect("more of the body").expect("more of the body before its end"));
        }
        got
    }

    /// Reads the rest: head if nobody has, body and trailers.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn whole(mut self) -> io::Result<Message> {
        let mut message = match &mut self {
            Call::Http1(c) => c.body.as_ref().map(|(head, _)| head.clone()),
            Call::Http2(c) => c.head.clone(),
            Call::Http3(c) => c.head.clone(),
        };
        if message.is_none() {
            message = Some(self.try_head()?);
        }
        let mut message = message.unwrap_or_default();
        while let Some(piece) = self.next()? {
            message.body.extend_from_slice(&piece);
        }
        match self {
            Call::Http1(c) => c.end(&mut message),
            Call::Http2(c) => message.trailers = c.duplex.trailers()?,
            Call::Http3(c) => message.trailers = c.duplex.trailers(),
        }
        Ok(message)
    }

    /// Reads the whole answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn response(self) -> Message {
        self.whole().expect("a whole answer")
    }

    /// Gives up: RST_STREAM with CANCEL, its like in HTTP/3, or the end of the connection.
    pub fn cancel(self) {
        match &self {
            Call::Http1(_) => {}
            Call::Http2(c) => c.duplex.reset(h2::Reason::CANCEL),
            Call::Http3(c) => c.duplex.reset(http3::code::REQUEST_CANCELLED),
        }
    }

    /// The tunnel behind a successful handshake.
    ///
    /// # Errors
    /// When it was refused.
    pub fn tunnel(mut self) -> io::Result<Tunnel> {
        let head = self.next_head()?;
        match self {
            Call::Http1(mut c) if head.status() == 101 => {
                let wire = c.wire.take().ok_or(io::ErrorKind::NotConnected)?;
                Ok(Tunnel::Http1(Box::new(wire)))
            }
            Call::Http2(c) if head.status() == 200 => Ok(Tunnel::Http2(c.duplex.clone())),
            Call::Http3(c) if head.status() == 200 => Ok(Tunnel::Http3(c.duplex.clone())),
            _ => Err(io::Error::other(format!("{head:?}"))),
        }
    }
}

impl Http1Call {
    fn wire(&mut self) -> io::Result<&mut Wire> {
        self.wire.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn next_head(&mut self) -> io::Result<Message> {
        let kind = if self.to_head { Kind::ResponseToHead } else { Kind::Response };
        let head = self.wire()?.head(kind)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if head.status() >= 200 {
            let ends = ends(&head, kind).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            self.keep &= !head.get("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
            self.body = Some((head.clone(), Http1Body::new(ends)));
        }
        Ok(head)
    }

    fn end(mut self, message: &mut Message) {
        let Some((_, body)) = self.body.take() else { return };
        message.trailers = body.trailers.clone();
        message.chunked = body.is_chunked();
        if self.keep && self.sent_all && !body.ends_connection() {
            let wire = self.wire.take();
            self.idle.lock().expect("clients do not panic").extend(wire);
        }
    }
}

impl Http2Call {
    fn next_head(&mut self) -> io::Result<Message> {
        enum Next {
            Interim(http::Response<()>),
            Last(http::Response<h2::RecvStream>),
        }
        let response = &mut self.response;
        let next = poll_fn(|cx| {
            if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
                return Poll::Ready(interim.map(Next::Interim));
            }
            Pin::new(&mut *response).poll(cx).map_ok(Next::Last)
        });
        match self.engine.wait(next)?.map_err(failed)? {
            Next::Interim(head) => Ok(response_message(&head)),
            Next::Last(head) => {
                let (parts, body) = head.into_parts();
                self.duplex.receives(body);
                let message = response_message(&http::Response::from_parts(parts, ()));
                self.head = Some(message.clone());
                Ok(message)
            }
        }
    }
}

/// A byte stream behind a handshake, on either side.
pub enum Tunnel {
    /// The whole connection.
    Http1(Box<Wire>),
    /// A stream.
    Http2(Duplex),
    /// A stream.
    Http3(http3::Duplex),
}

impl Tunnel {
    /// Another handle, to send while this one reads.
    pub fn second(&self) -> Tunnel {
        match self {
            Tunnel::Http1(w) => Tunnel::Http1(Box::new(w.second())),
            Tunnel::Http2(d) => Tunnel::Http2(d.clone()),
            Tunnel::Http3(d) => Tunnel::Http3(d.clone()),
        }
    }

    /// No more bytes will be sent.
    pub fn finish(&mut self) {
        match self {
            Tunnel::Http1(w) => w.finish(),
            Tunnel::Http2(d) => drop(d.end()),
            Tunnel::Http3(d) => drop(d.end()),
        }
    }

    /// Reads until the peer has finished; `Err` when it was cut off.
    ///
    /// # Errors
    /// As the connection says.
    pub fn read_to_finish(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        io::Read::read_to_end(self, &mut all)?;
        Ok(all)
    }
}

impl io::Read for Tunnel {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Tunnel::Http1(w) => {
                let piece = w.some(buf.len())?;
                buf[..piece.len()].copy_from_slice(&piece);
                Ok(piece.len())
            }
            Tunnel::Http2(d) => d.read(buf),
            Tunnel::Http3(d) => d.read(buf),
        }
    }
}

impl io::Write for Tunnel {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Tunnel::Http1(w) => w.try_send(buf).map(|()| buf.len()),
            Tunnel::Http2(d) => d.write(buf),
            Tunnel::Http3(d) => d.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
