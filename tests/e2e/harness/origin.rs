//! A scripted origin that records every byte it receives, connection by connection.
use super::{
    eventually,
    message::{self, Kind, Message},
    wire::{Addr, Stream, Wire},
};
use std::{
    io,
    net::{TcpListener, TcpStream},
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
}

/// Listens until dropped; one thread for each connection.
pub struct Origin {
    addr: Addr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
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

    /// Answers each request with the bytes `answer` returns, on connections kept alive. An empty answer closes.
    pub fn answering(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        Origin::scripted(move |wire, _| answer_all(wire, &answer))
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
        let shared = Arc::new(Shared::default());
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
                    std::thread::spawn(move || {
                        if let Ok(mut wire) = Wire::over(stream, Some(Arc::clone(&connection.bytes))) {
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
        Origin { addr, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn addr(&self) -> &Addr {
        &self.addr
    }

    /// As an endpoint in a configuration, quoted.
    pub fn endpoint(&self) -> String {
        format!("{:?}", self.addr.endpoint())
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

    /// Waits for so many connections, open or not.
    pub fn wait_connections(&self, count: usize) {
        eventually(&format!("{count} connections at the origin"), || (self.connections() >= count).then_some(()));
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
        let socket = match stream {
            Stream::Tcp(s) => s.try_clone().ok(),
            Stream::Unix(_) => None,
        };
        let connection = Arc::new(Connection { socket: Mutex::new(socket), ..Connection::default() });
        let mut all = self.connections.lock().expect("recording does not panic");
        all.push(Arc::clone(&connection));
        self.open.fetch_add(1, Ordering::SeqCst);
        self.open_max.fetch_max(all.iter().filter(|c| c.is_open()).count(), Ordering::SeqCst);
        (all.len() - 1, connection)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
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
