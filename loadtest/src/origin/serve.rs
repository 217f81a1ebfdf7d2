//! An origin from start to end: what it is told, its sockets, its threads.
use super::{
    connection::{self, Speaks},
    counts::{Counts, Stats},
    desk::{Desk, Shared},
    http3,
    script::{Pace, Script},
    tls::{Identity, Tls},
    wire::Stream,
};
use edge_io::{
    cores,
    listen::{self, SocketName},
};
use edge_quic::group::{Buffers, Group, Wanted};
use std::{
    cell::Cell,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    os::fd::OwnedFd,
    path::PathBuf,
    rc::Rc,
    str::FromStr,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::oneshot,
    task::{LocalSet, spawn_local},
};
use tokio_rustls::TlsAcceptor;

/// Connections of one thread: beyond, they are closed as they come.
const CONNECTIONS_MAX: usize = 100_000;
/// Without descriptors left: so long others get to close theirs.
const NO_DESCRIPTORS: Duration = Duration::from_millis(20);
/// Threads at most: as many as there can be shards on one UDP address.
const THREADS_MAX: usize = 256;
/// How often a free port is looked for that UDP has free as well.
const PORTS_TRIED: usize = 16;
/// Who may connect to a unix socket.
const SOCKET_MODE: u32 = 0o660;

/// Where an origin listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, and UDP for HTTP/3. Port 0 takes a free one.
    Ip(SocketAddr),
    /// A unix socket. It is removed at the end.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(addr) => addr.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `:8080` (all of IPv4), `8080` (loopback), `unix:/path`.
    fn from_str(text: &str) -> Result<Address, String> {
        let wrong = || {
            format!(
                "`{text}` is no address: expected is 127.0.0.1:8080, [::1]:8080, :8080, 8080 (on loopback) or unix:/path"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Address::Unix(path.into())) };
        }
        let port = |text: &str| text.parse::<u16>().ok();
        if let Some(port) = port(text) {
            return Ok(Address::Ip((Ipv4Addr::LOCALHOST, port).into()));
        }
        if let Some(port) = text.strip_prefix(':').and_then(port) {
            return Ok(Address::Ip((Ipv4Addr::UNSPECIFIED, port).into()));
        }
        if let Ok(addr) = text.parse() {
            return Ok(Address::Ip(addr));
        }
        let named = text
            .rsplit_once(':')
            .filter(|(host, p)| !host.is_empty() && !host.contains(':') && port(p).is_some())
            .ok_or_else(wrong)?;
        let mut found = text.to_socket_addrs().map_err(|e| format!("{}: {e}", named.0))?;
        found.next().map(Address::Ip).ok_or_else(wrong)
    }
}

/// What an origin is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; at least one.
    pub listen: Vec<Address>,
    /// TLS on every socket.
    pub tls: Option<Tls>,
    /// HTTP/1.1 on TCP and unix sockets.
    pub h1: bool,
    /// HTTP/2 there; without TLS by prior knowledge, beside HTTP/1.1 on the same port.
    pub h2: bool,
    /// HTTP/3, on the UDP ports of the same numbers. Needs TLS.
    pub h3: bool,
    /// Threads for TCP and unix sockets, and as many for UDP; 1 to 256. Several share the addresses.
    pub threads: usize,
    /// Where the threads are pinned, in turn; empty: nowhere.
    pub cores: Vec<usize>,
    /// What it answers.
    pub script: Script,
}

impl Default for Options {
    /// On a free port of the loopback address, without TLS, HTTP/1.1 and HTTP/2, one thread.
    fn default() -> Options {
        Options {
            listen: vec![Address::Ip((Ipv4Addr::LOCALHOST, 0).into())],
            tls: None,
            h1: true,
            h2: true,
            h3: false,
            threads: 1,
            cores: Vec::new(),
            script: Script::default(),
        }
    }
}

/// The scripted origin.
#[derive(Debug)]
pub struct Serve;

/// A running origin; it ends when this is dropped, and every connection with it.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<Address>,
    certificate: Option<Vec<u8>>,
    counts: Vec<Arc<Counts>>,
    threads: Vec<Thread>,
    shards: Vec<http3::Shard>,
    _names: Vec<SocketName>,
}

#[derive(Debug)]
struct Thread {
    stop: Option<oneshot::Sender<()>>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        self.handle.take().map(JoinHandle::join);
    }
}

impl Running {
    /// Where it listens, in the order of the options, with the ports that 0 became.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The first of them that is no unix socket.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(|address| match address {
            Address::Ip(addr) => Some(*addr),
            Address::Unix(_) => None,
        })
    }

    /// The certificate that is shown, DER.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// What it has seen so far.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.counts)
    }
}

impl Serve {
    /// Starts an origin. When this returns, connections are taken.
    ///
    /// # Errors
    /// Options that cannot be, with the reason; an address that cannot be listened on, with its name; a certificate that
    /// cannot be used; a thread that cannot be started.
    pub fn start(options: Options) -> io::Result<Running> {
        check(&options).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let Options { listen, tls, h1, h2, h3, threads, cores, script } = options;
        let speaks = Speaks { h1, h2 };
        let ips: Vec<IpAddr> = listen.iter().filter_map(ip).collect();
        let identity = tls.map(|tls| Identity::open(&tls, &ips)).transpose()?;
        let acceptor = match &identity {
            Some(identity) => Some(TlsAcceptor::from(identity.for_streams(speaks)?)),
            None => None,
        };
        let pace = Arc::new(Pace::new(&script));
        let shared = Shared { script: Arc::new(script), pace, start: Instant::now() };
        let mut sockets = Sockets { per_thread: (0..threads).map(|_| Vec::new()).collect(), ..Sockets::default() };
        for address in &listen {
            let streams = h1 || h2;
            sockets.open(address, streams, h3).map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))?;
        }
        let mut running = Running {
            addresses: sockets.addresses,
            certificate: identity.as_ref().map(Identity::certificate),
            counts: Vec::new(),
            threads: Vec::new(),
            shards: Vec::new(),
            _names: sockets.names,
        };
        if let Some(identity) = identity.filter(|_| h3) {
            let quic = identity.for_quic()?;
            let start = http3::Start { shared: shared.clone(), groups: sockets.groups, quic, shards: threads };
            (running.shards, running.counts) = http3::start(start, &cores)?;
        }
        for (index, listeners) in sockets.per_thread.into_iter().enumerate().filter(|(_, l)| !l.is_empty()) {
            let counts = Arc::new(Counts::default());
            running.counts.push(counts.clone());
            let core = cores.iter().cycle().nth(index).copied();
            let part =
                Part { shared: shared.clone(), index, counts, listeners, acceptor: acceptor.clone(), speaks, core };
            running.threads.push(part.start()?);
        }
        Ok(running)
    }
}

fn ip(address: &Address) -> Option<IpAddr> {
    match address {
        Address::Ip(addr) => Some(addr.ip()),
        Address::Unix(_) => None,
    }
}

fn check(options: &Options) -> Result<(), String> {
    if options.listen.is_empty() {
        return Err("there is no address to listen on".into());
    }
    if !(options.h1 || options.h2 || options.h3) {
        return Err("there is no protocol to speak".into());
    }
    if options.h3 && options.tls.is_none() {
        return Err("HTTP/3 needs TLS".into());
    }
    if let (Address::Unix(path), false) = (&options.listen[0], options.h1 || options.h2) {
        return Err(format!("unix:{}: HTTP/3 goes over UDP, not over unix sockets", path.display()));
    }
    if !(1..=THREADS_MAX).contains(&options.threads) {
        return Err(format!("between 1 and {THREADS_MAX} threads are possible"));
    }
    Ok(())
}

/// A listening socket of one thread.
enum Listener {
    Tcp(OwnedFd),
    Unix(OwnedFd),
}

/// All sockets, before they are handed to their threads.
#[derive(Default)]
struct Sockets {
    addresses: Vec<Address>,
    per_thread: Vec<Vec<Listener>>,
    groups: Vec<Arc<Group>>,
    names: Vec<SocketName>,
}

impl Sockets {
    fn open(&mut self, address: &Address, streams: bool, datagrams: bool) -> io::Result<()> {
        let bound = match address {
            Address::Unix(path) => {
                let socket = listen::unix(path, SOCKET_MODE)?;
                for listeners in &mut self.per_thread {
                    listeners.push(Listener::Unix(socket.try_clone()?));
                }
                self.names.push(socket.into_parts().1);
                address.clone()
            }
            Address::Ip(addr) => Address::Ip(self.open_ip(*addr, streams, datagrams)?),
        };
        self.addresses.push(bound);
        Ok(())
    }

    fn open_ip(&mut self, addr: SocketAddr, streams: bool, datagrams: bool) -> io::Result<SocketAddr> {
        let threads = self.per_thread.len();
        let udp = |addr| Group::bind(addr, threads, Wanted::Auto, Buffers::default());
        let mut tries = if addr.port() == 0 { PORTS_TRIED } else { 1 };
        loop {
            tries -= 1;
            let mut tcp = Vec::new();
            let mut bound = addr;
            if streams {
                listen::probe(addr)?;
                for _ in 0..threads {
                    let socket = listen::tcp(bound)?;
                    bound = listen::local_addr(&socket)?;
                    tcp.push(Listener::Tcp(socket));
                }
            }
            if datagrams {
                match udp(bound) {
                    Ok(group) => {
                        bound = group.local_addr();
                        self.groups.push(group);
                    }
                    Err(_) if tries > 0 => continue,
                    Err(e) => return Err(e),
                }
            }
            self.per_thread.iter_mut().zip(tcp).for_each(|(listeners, socket)| listeners.push(socket));
            return Ok(bound);
        }
    }
}

/// What one thread is started with.
struct Part {
    shared: Shared,
    index: usize,
    counts: Arc<Counts>,
    listeners: Vec<Listener>,
    acceptor: Option<TlsAcceptor>,
    speaks: Speaks,
    core: Option<usize>,
}

impl Part {
    fn start(self) -> io::Result<Thread> {
        let (stop, stopped) = oneshot::channel();
        let (started, has_started) = mpsc::channel();
        let handle = std::thread::Builder::new().name(format!("origin-{}", self.index)).spawn(move || {
            if let Some(core) = self.core {
                // Not being pinned costs speed, not correctness.
                let _ = cores::pin(core);
            }
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(e) => return drop(started.send(Err(e))),
            };
            let tasks = LocalSet::new();
            runtime.block_on(tasks.run_until(async {
                let begun = self.begin();
                let is_begun = begun.is_ok();
                let _ = started.send(begun);
                if is_begun {
                    let _ = stopped.await;
                }
            }));
        })?;
        let thread = Thread { stop: Some(stop), handle: Some(handle) };
        has_started.recv().unwrap_or_else(|_| Err(io::Error::other("the origin's thread ended before it began")))?;
        Ok(thread)
    }

    fn begin(self) -> io::Result<()> {
        let desk = Desk::new(&self.shared, self.index as u64, self.counts)?;
        spawn_local({
            let desk = desk.clone();
            async move { desk.alarms.run().await }
        });
        let open = Rc::new(Cell::new(0));
        for listener in self.listeners {
            let accept =
                Accept { desk: desk.clone(), acceptor: self.acceptor.clone(), speaks: self.speaks, open: open.clone() };
            match listener {
                Listener::Tcp(fd) => {
                    let listener = TcpListener::from_std(fd.into())?;
                    spawn_local(async move {
                        loop {
                            accept.take(listener.accept().await.map(|(tcp, _)| Stream::Tcp(tcp))).await;
                        }
                    });
                }
                Listener::Unix(fd) => {
                    let listener = UnixListener::from_std(fd.into())?;
                    spawn_local(async move {
                        loop {
                            accept.take(listener.accept().await.map(|(unix, _)| Stream::Unix(unix))).await;
                        }
                    });
                }
            }
        }
        Ok(())
    }
}

/// What becomes of the connections of one listener.
struct Accept {
    desk: Rc<Desk>,
    acceptor: Option<TlsAcceptor>,
    speaks: Speaks,
    /// Of the whole thread.
    open: Rc<Cell<usize>>,
}

impl Accept {
    async fn take(&self, accepted: io::Result<Stream>) {
        let Ok(stream) = accepted else { return tokio::time::sleep(NO_DESCRIPTORS).await };
        self.desk.counts.connections.inc();
        if self.open.get() >= CONNECTIONS_MAX {
            return self.desk.counts.not_served.inc();
        }
        self.open.set(self.open.get() + 1);
        let place = Place(self.open.clone());
        let (desk, acceptor, speaks) = (self.desk.clone(), self.acceptor.clone(), self.speaks);
        spawn_local(async move {
            let _place = place;
            connection::serve(desk, stream, acceptor, speaks).await;
        });
    }
}

/// Counted as open until it is dropped.
struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
