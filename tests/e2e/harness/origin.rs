//! A scripted origin that records every byte it receives, connection by connection.
use super::{
    Protocol, eventually,
    exchange::{Reply, request_message},
    http2::{Engine, failed},
    message::{self, Kind, Message},
    served::{After, Order, Record, Served},
    tls,
    wire::{Addr, Stream, Wire},
};
use rustls::ServerConfig;
use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixListener},
    },
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

/// What one connection brought.
#[derive(Default)]
struct Connection {
    bytes: Arc<Mutex<Vec<u8>>>,
    over: AtomicBool,
    /// A second handle, to see whether its end has arrived before anybody has read it.
    socket: Mutex<Option<TcpStream>>,
}

impl Connection {
    fn is_open(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let ended = |s: &TcpStream| {
            let mut byte = [0];
            recv(s, byte.as_mut_slice(), RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok_and(|(n, _)| n == 0)
        };
        let socket = self.socket.lock().expect("looking does not panic");
        !self.over.load(Ordering::SeqCst) && !socket.as_ref().is_some_and(ended)
    }
}

#[derive(Default)]
struct Shared {
    connections: Mutex<Vec<Arc<Connection>>>,
    open: AtomicUsize,
    open_max: AtomicUsize,
    stop: AtomicBool,
    /// Of origins that serve exchanges, in the order of their heads.
    records: Mutex<Vec<Arc<Mutex<Record>>>>,
    /// Exchanges being served, and the most there ever were at once.
    active: AtomicUsize,
    active_max: AtomicUsize,
}

/// What a script of exchanges is.
type Script = Arc<dyn Fn(&mut Served<'_>) -> io::Result<()> + Send + Sync>;

/// How many streams an HTTP/2 origin allows at once.
const STREAMS: u32 = 250;

/// Listens until dropped; one thread for each connection.
pub struct Origin {
    addr: Addr,
    protocol: Protocol,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    /// Of an HTTP/2 origin: what drives it, and the word that ends its connections.
    http2: Option<(Arc<Engine>, tokio::sync::watch::Sender<bool>)>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Origin {
    /// On a free TCP port; `script` drives each accepted connection, which is closed when it returns. It gets the
    /// connection's number, from 0. Its errors are what ends a connection and nothing more.
    pub fn scripted(script: impl Fn(&mut Wire, usize) -> io::Result<()> + Send + Sync + 'static) -> Origin {
        Origin::scripted_at("127.0.0.1:0", script)
    }

    /// As [`Origin::scripted`], at this TCP address.
    pub fn scripted_at(
        at: &str,
        script: impl Fn(&mut Wire, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        let l = TcpListener::bind(at).expect("a free port");
        let addr = Addr::Tcp(l.local_addr().expect("a bound socket has an address"));
        Origin::run(Listener::Tcp(l), addr, script)
    }

    /// Serves exchanges by any protocol; `script` is run for each one, in a thread of its own, and an answer it leaves
    /// unfinished is cut off when it returns.
    pub fn serving(
        protocol: Protocol,
        script: impl Fn(&mut Served<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        Origin::serving_with(protocol, tls::pki().origin.server(&[protocol.alpn()]), script)
    }

    /// As [`Origin::serving`], with TLS of one's own where the protocol has TLS.
    pub fn serving_with(
        protocol: Protocol,
        config: Arc<ServerConfig>,
        script: impl Fn(&mut Served<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        let l = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = Addr::Tcp(l.local_addr().expect("a bound socket has an address"));
        let config = protocol.tls().then_some(config);
        let script: Script = Arc::new(script);
        if protocol.http2() {
            return Origin::run_http2(l, addr, protocol, config, script);
        }
        let shared = Arc::new(Shared::default());
        let each = {
            let shared = Arc::clone(&shared);
            move |wire: &mut Wire, _| serve_http1(&shared, wire, &script)
        };
        let mut origin = Origin::run_shared(shared, Listener::Tcp(l), addr, config, each);
        origin.protocol = protocol;
        origin
    }

    /// Connections of raw bytes, which the configuration takes for this protocol.
    pub fn raw(
        protocol: Protocol,
        script: impl Fn(&mut Wire, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        let l = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = Addr::Tcp(l.local_addr().expect("a bound socket has an address"));
        let config = protocol.tls().then(|| tls::pki().origin.server(&[protocol.alpn()]));
        let mut origin = Origin::run_shared(Arc::default(), Listener::Tcp(l), addr, config, script);
        origin.protocol = protocol;
        origin
    }

    /// Answers each request, by any protocol.
    pub fn replying(protocol: Protocol, reply: impl Fn(&Message) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::serving(protocol, move |served| {
            let request = served.request()?;
            served.reply(&reply(&request))
        })
    }

    /// Accepts every WebSocket, by any protocol, and echoes its messages.
    pub fn echoing(protocol: Protocol) -> Origin {
        Origin::serving(protocol, |served| {
            let tunnel = served.tunnel()?;
            let mut ws = tungstenite::WebSocket::from_raw_socket(tunnel, tungstenite::protocol::Role::Server, None);
            while let Ok(message) = ws.read() {
                if (message.is_text() || message.is_binary()) && ws.send(message).is_err() {
                    break;
                }
            }
            ws.get_mut().finish();
            Ok(())
        })
    }

    /// Answers every request with 200 and a short body, by any protocol.
    pub fn fine(protocol: Protocol) -> Origin {
        Origin::replying(protocol, |_| Reply::new(200, "ok"))
    }

    /// Answers each request with the bytes `answer` returns, on connections kept alive. An empty answer closes.
    pub fn answering(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        Origin::scripted(move |wire, _| answer_all(wire, &answer))
    }

    /// As [`Origin::answering`], at this TCP address; `None` when it is taken, or not of this machine.
    pub fn try_answering_at(
        at: SocketAddr,
        answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Option<Origin> {
        let l = TcpListener::bind(at).ok()?;
        let addr = Addr::Tcp(l.local_addr().ok()?);
        Some(Origin::run(Listener::Tcp(l), addr, move |wire, _| answer_all(wire, &answer)))
    }

    /// Answers everything with 200 and a short body.
    pub fn ok() -> Origin {
        Origin::answering(|_| answer(200, "ok"))
    }

    /// As [`Origin::answering`], at a unix socket: a path, or `@name` for an abstract one.
    pub fn answering_unix(at: &str, answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        let (listener, addr) = match at.strip_prefix('@') {
            Some(name) => {
                let to = UnixAddr::from_abstract_name(name).expect("a short name");
                (UnixListener::bind_addr(&to), Addr::Abstract(name.to_owned()))
            }
            None => (UnixListener::bind(Path::new(at)), Addr::Unix(at.into())),
        };
        let script = move |wire: &mut Wire, _| answer_all(wire, &answer);
        Origin::run(Listener::Unix(listener.expect("a free unix address")), addr, script)
    }

    fn run(
        l: Listener,
        addr: Addr,
        script: impl Fn(&mut Wire, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        Origin::run_shared(Arc::default(), l, addr, None, script)
    }

    fn run_shared(
        shared: Arc<Shared>,
        l: Listener,
        addr: Addr,
        config: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Wire, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        let script = Arc::new(script);
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                while let Ok(stream) = accept(&l) {
                    if shared.stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (shared, script) = (Arc::clone(&shared), Arc::clone(&script));
                    let (number, connection) = shared.enter(&stream);
                    let config = config.clone();
                    std::thread::spawn(move || {
                        let wire = secured(stream, config)
                            .and_then(|stream| Wire::over(stream, Some(Arc::clone(&connection.bytes))));
                        if let Ok(mut wire) = wire {
                            wire.patience(super::PATIENCE * 3);
                            let _ = script(&mut wire, number);
                        }
                        connection.over.store(true, Ordering::SeqCst);
                        drop(connection.socket.lock().expect("looking does not panic").take());
                        shared.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Origin { addr, protocol: Protocol::H1, shared, acceptor: Some(acceptor), http2: None }
    }

    fn run_http2(
        l: TcpListener,
        addr: Addr,
        protocol: Protocol,
        config: Option<Arc<ServerConfig>>,
        script: Script,
    ) -> Origin {
        let engine = Arc::new(Engine::start());
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = tokio::sync::watch::channel(false);
        l.set_nonblocking(true).expect("a socket can be made non-blocking");
        let accepting = Accepting {
            engine: Arc::downgrade(&engine),
            shared: Arc::clone(&shared),
            acceptor: config.map(tokio_rustls::TlsAcceptor::from),
            script,
            stopped,
        };
        engine.spawn(accepting.run(l));
        Origin { addr, protocol, shared, acceptor: None, http2: Some((engine, stop)) }
    }

    /// Where it listens.
    pub fn addr(&self) -> &Addr {
        &self.addr
    }

    /// As an endpoint in a configuration, quoted.
    pub fn endpoint(&self) -> String {
        match self.protocol {
            Protocol::H1 => format!("{:?}", self.addr.endpoint()),
            Protocol::H1Tls | Protocol::H2 => format!("\"https://{}\"", self.addr),
            Protocol::H2c => format!("\"h2c://{}\"", self.addr),
            Protocol::H3 => unreachable!("no origin speaks HTTP/3 yet"),
        }
    }

    /// What a pool of it needs in a configuration beside its endpoints.
    pub fn pool_keys(&self) -> String {
        match self.protocol.tls() {
            true => format!("tls = {{ ca = \"@DIR@/ca.pem\", server_name = \"{}\" }}\n", tls::ORIGIN_NAME),
            false => String::new(),
        }
    }

    /// Every byte received, by connection in the order of their arrival.
    pub fn received(&self) -> Vec<Vec<u8>> {
        let all = self.shared.connections.lock().expect("recording does not panic");
        all.iter().map(|c| c.bytes.lock().expect("recording does not panic").clone()).collect()
    }

    /// Every complete request received.
    ///
    /// # Panics
    /// When the edge sent anything that a strict parser refuses.
    pub fn requests(&self) -> Vec<Message> {
        let records = self.shared.records.lock().expect("recording does not panic");
        if !records.is_empty() {
            let complete = |r: &Arc<Mutex<Record>>| {
                let r = r.lock().expect("recording does not panic");
                r.complete.then(|| r.message.clone())
            };
            return records.iter().filter_map(complete).collect();
        }
        drop(records);
        let read =
            |bytes: &Vec<u8>| message::every(bytes, Kind::Request).expect("the edge sends well-formed requests").0;
        self.received().iter().flat_map(read).collect()
    }

    /// Waits for so many complete requests.
    pub fn wait_requests(&self, count: usize) -> Vec<Message> {
        eventually(&format!("{count} requests at the origin"), || {
            Some(self.requests()).filter(|found| found.len() >= count)
        })
    }

    /// Every request received, complete or not; of origins that serve exchanges.
    pub fn begun(&self) -> Vec<Message> {
        let records = self.shared.records.lock().expect("recording does not panic");
        records.iter().map(|r| r.lock().expect("recording does not panic").message.clone()).collect()
    }

    /// Waits for so many requests to begin; of origins that serve exchanges.
    pub fn wait_begun(&self, count: usize) -> Vec<Message> {
        eventually(&format!("{count} requests at the origin"), || {
            Some(self.begun()).filter(|found| found.len() >= count)
        })
    }

    /// Waits until no exchange is being served.
    pub fn wait_quiet(&self) {
        eventually("the origin's exchanges to end", || (self.active() == 0).then_some(()));
    }

    /// Exchanges being served.
    pub fn active(&self) -> usize {
        self.shared.active.load(Ordering::SeqCst)
    }

    /// The most exchanges there ever were at once.
    pub fn active_max(&self) -> usize {
        self.shared.active_max.load(Ordering::SeqCst)
    }

    /// Waits until no connection is left.
    pub fn wait_idle(&self) {
        eventually("the origin's connections to end", || (self.open() == 0).then_some(()));
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.lock().expect("recording does not panic").len()
    }

    /// Connections now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The most connections there ever were at once.
    pub fn open_max(&self) -> usize {
        self.shared.open_max.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn enter(&self, stream: &Stream) -> (usize, Arc<Connection>) {
        self.add(stream.tcp().and_then(|s| s.try_clone().ok()))
    }

    fn add(&self, socket: Option<TcpStream>) -> (usize, Arc<Connection>) {
        let connection = Arc::new(Connection { socket: Mutex::new(socket), ..Connection::default() });
        let mut all = self.connections.lock().expect("recording does not panic");
        all.push(Arc::clone(&connection));
        self.open.fetch_add(1, Ordering::SeqCst);
        self.open_max.fetch_max(all.iter().filter(|c| c.is_open()).count(), Ordering::SeqCst);
        (all.len() - 1, connection)
    }

    fn note(&self, message: Message) -> Arc<Mutex<Record>> {
        let record = Arc::new(Mutex::new(Record { message, complete: false }));
        self.records.lock().expect("recording does not panic").push(Arc::clone(&record));
        record
    }

    /// Runs the script of one exchange and counts it.
    fn run(&self, served: &mut Served<'_>, script: &Script) -> io::Result<()> {
        let now = self.active.fetch_add(1, Ordering::SeqCst) + 1;
        self.active_max.fetch_max(now, Ordering::SeqCst);
        let outcome = script(served);
        self.active.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}

fn serve_http1(shared: &Shared, wire: &mut Wire, script: &Script) -> io::Result<()> {
    while let Some(mut served) = Served::http1(wire, |head| shared.note(head))? {
        shared.run(&mut served, script)?;
        if served.after() == After::Close {
            break;
        }
    }
    Ok(())
}

fn secured(stream: Stream, config: Option<Arc<ServerConfig>>) -> io::Result<Stream> {
    match (stream, config) {
        (Stream::Tcp(socket), Some(config)) => {
            socket.set_read_timeout(Some(super::PATIENCE))?;
            tls::TlsStream::accept(socket, config).map(Stream::Tls)
        }
        (stream, _) => Ok(stream),
    }
}

/// The accepting side of an HTTP/2 origin.
#[derive(Clone)]
struct Accepting {
    engine: std::sync::Weak<Engine>,
    shared: Arc<Shared>,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    script: Script,
    stopped: tokio::sync::watch::Receiver<bool>,
}

impl Accepting {
    async fn run(self, l: TcpListener) {
        let l = tokio::net::TcpListener::from_std(l).expect("a listener for the runtime");
        let mut stopped = self.stopped.clone();
        loop {
            let socket = tokio::select! {
                _ = stopped.changed() => return,
                accepted = l.accept() => match accepted { Ok((socket, _)) => socket, Err(_) => continue },
            };
            let _ = socket.set_nodelay(true);
            tokio::spawn(self.clone().connection(socket));
        }
    }

    async fn connection(self, socket: tokio::net::TcpStream) {
        let (_, connection) = self.shared.add(None);
        let served = match self.acceptor.clone() {
            None => self.streams(socket).await,
            Some(acceptor) => match acceptor.accept(socket).await {
                Ok(stream) => self.streams(stream).await,
                Err(e) => Err(e),
            },
        };
        drop(served);
        connection.over.store(true, Ordering::SeqCst);
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
    }

    async fn streams<T>(&self, io: T) -> io::Result<()>
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol().max_concurrent_streams(STREAMS).initial_window_size(1 << 20);
        builder.initial_connection_window_size(8 << 20);
        let mut connection = builder.handshake::<_, bytes::Bytes>(io).await.map_err(failed)?;
        let (orders, mut ordered) = tokio::sync::mpsc::unbounded_channel();
        let mut stopped = self.stopped.clone();
        loop {
            tokio::select! {
                _ = stopped.changed() => return Ok(()),
                Some(order) = ordered.recv() => match order {
                    Order::GoAway => connection.graceful_shutdown(),
                    Order::Fail(code) => connection.abrupt_shutdown(code),
                    Order::Cut => return Ok(()),
                },
                accepted = connection.accept() => match accepted {
                    None => return Ok(()),
                    Some(Err(e)) => return Err(failed(e)),
                    Some(Ok((request, respond))) => self.stream(request, respond, orders.clone()),
                },
            }
        }
    }

    fn stream(
        &self,
        request: http::Request<h2::RecvStream>,
        respond: h2::server::SendResponse<bytes::Bytes>,
        orders: tokio::sync::mpsc::UnboundedSender<Order>,
    ) {
        let Some(engine) = self.engine.upgrade() else { return };
        let head = request_message(&request);
        let record = self.shared.note(head.clone());
        let this = self.clone();
        std::thread::spawn(move || {
            let body = request.into_body();
            let mut served = Served::http2(&engine, (head, record), (body, respond), orders);
            let _ = this.shared.run(&mut served, &this.script);
        });
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some((engine, stop)) = self.http2.take() {
            // Streams end with their connections, and scripts with their streams, before what drives them does.
            let _ = stop.send(true);
            let begun = std::time::Instant::now();
            while self.active() > 0 && begun.elapsed() < std::time::Duration::from_secs(5) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            drop(engine);
            return;
        }
        // A connection wakes the acceptor, which then sees the flag.
        let woken = Stream::connect(&self.addr).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

fn accept(l: &Listener) -> io::Result<Stream> {
    match l {
        Listener::Tcp(l) => l.accept().map(|(s, _)| {
            let _ = s.set_nodelay(true);
            Stream::Tcp(s)
        }),
        Listener::Unix(l) => l.accept().map(|(s, _)| Stream::Unix(s)),
    }
}

fn answer_all(wire: &mut Wire, answer: &dyn Fn(&Message) -> Vec<u8>) -> io::Result<()> {
    while let Some(request) = wire.request()? {
        let bytes = answer(&request);
        if bytes.is_empty() {
            break;
        }
        wire.try_send(bytes)?;
    }
    Ok(())
}

/// A plain answer with `Content-Length`.
pub fn answer(status: u16, body: &str) -> Vec<u8> {
    answer_with(status, "", body.as_bytes())
}

/// A plain answer with more field lines, each ending in CRLF.
pub fn answer_with(status: u16, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} Answer\r\n{fields}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}
