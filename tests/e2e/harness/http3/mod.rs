//! HTTP/3 behind a blocking face: streams of `quinn`, and frames of the harness's own (RFC 9114), so that tests can send what
//! no library does and see what a library hides.
mod frames;
mod stream;

pub use frames::{Ended, code, frame, frame_bytes, headers, request, varint, why};
pub use stream::{Duplex, Http3Call};

use super::{
    Addr, PATIENCE,
    exchange::{Ask, Body},
    frames::Outcome,
    http2::Engine,
    tls,
};
use frames::{Incoming, invalid, lost, take_varint, unwritten};
use quinn::{RecvStream, SendStream, VarInt};
use rustls::ClientConfig;
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;

/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 9220 5).
const ENABLE_CONNECT_PROTOCOL: u64 = 8;
/// What a client lets a server send of each stream before it reads.
const WINDOW: u32 = 1 << 20;

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
    /// The largest UDP payload that it takes, bytes; 0: as QUIC's libraries have it.
    pub udp_payload: u16,
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
            let socket = std::net::UdpSocket::bind(any)?;
            let mut own = quinn::EndpointConfig::default();
            if options.udp_payload > 0 {
                own.max_udp_payload_size(options.udp_payload).map_err(io::Error::other)?;
            }
            let endpoint = quinn::Endpoint::new(own, None, socket, Arc::new(quinn::TokioRuntime))?;
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

    /// So many requests, complete and the same, that go out together: nothing else is sent meanwhile. With `stop` the
    /// answers are declined with that code, in the same packets.
    ///
    /// # Errors
    /// `TimedOut` when the server does not allow so many; as QUIC says.
    pub fn burst(&self, count: usize, request: &[u8], stop: Option<u64>) -> io::Result<Vec<Duplex>> {
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            streams.push(self.link.engine.wait(self.link.quic.open_bi())?.map_err(|e| lost(&e))?);
        }
        let request = request.to_vec();
        // The task that sends runs on the same thread: not before this one is done.
        let asking = self.link.engine.spawn(async move {
            for (out, recv) in &mut streams {
                out.write_all(&request).await.map_err(unwritten)?;
                out.finish().map_err(io::Error::other)?;
                if let Some(code) = stop {
                    recv.stop(VarInt::from_u64(code).unwrap_or_default()).map_err(io::Error::other)?;
                }
            }
            io::Result::Ok(streams)
        });
        let streams = self.link.engine.wait(asking)?.map_err(io::Error::other)??;
        Ok(streams.into_iter().map(|(out, recv)| Duplex::asked(&self.link, out, recv, stop.is_some())).collect())
    }

    /// What QUIC counts.
    pub fn stats(&self) -> quinn::ConnectionStats {
        self.link.quic.stats()
    }

    /// Ends the connection with this code.
    pub fn close(&self, code: u64) {
        self.link.quic.close(VarInt::from_u64(code).unwrap_or_default(), b"");
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
