//! What TLS costs: CPU per request and answer of 1 KiB and per MiB of bulk, and memory per idle connection, through
//! the stream type and through rustls' buffered interface on the same sockets.
//!
//! `tls_cost [SECONDS]`; both ends run on this thread, so that a figure is the cost of both.
use edge_io::{reactor::Reactor, ring, runtime, stream::Stream, tcp, tls};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, ServerName},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    future::poll_fn,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Poll, ready},
    time::Duration,
};

/// Counts how often something is allocated.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let key = KeyPair::generate().expect("key");
    let cert = CertificateParams::new(["localhost".to_owned()]).expect("name").self_signed(&key).expect("certificate");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("certificate");
    server.ticketer = aws_lc_rs::Ticketer::new().expect("ticketer");
    server.send_tls13_tickets = 1;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(tls::Unverified(Arc::new(aws_lc_rs::default_provider()))))
        .with_no_client_auth();
    client.resumption = rustls::client::Resumption::disabled();
    (Arc::new(client), Arc::new(server))
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("name")
}

fn sockets(reactor: &Rc<Reactor>) -> (tcp::Stream, tcp::Stream) {
    let (a, b) = UnixStream::pair().expect("socket pair");
    let [a, b] = [a, b].map(|end| {
        end.set_nonblocking(true).expect("non-blocking");
        socket2::SockRef::from(&end).set_send_buffer_size(1 << 20).expect("SO_SNDBUF");
        tcp::Stream::from_fd(reactor, end.into()).expect("stream")
    });
    (a, b)
}

/// An end of a connection, whatever is inside.
trait End {
    /// Some bytes, or pending.
    fn poll_read(&mut self, cx: &mut std::task::Context<'_>, room: &mut [u8]) -> Poll<usize>;
    /// Takes some bytes and sends what the kernel takes, or pending.
    fn poll_write(&mut self, cx: &mut std::task::Context<'_>, data: &[u8]) -> Poll<usize>;
    /// Sends the rest.
    fn poll_flush(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()>;
}

impl End for Stream {
    fn poll_read(&mut self, cx: &mut std::task::Context<'_>, room: &mut [u8]) -> Poll<usize> {
        loop {
            ready!(self.poll_readable(cx));
            match self.try_recv(room) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done.expect("read")),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut std::task::Context<'_>, data: &[u8]) -> Poll<usize> {
        loop {
            match self.try_send(data) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_writable(cx)),
                done => return Poll::Ready(done.expect("write")),
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        Stream::poll_flush(self, cx).map(|done| done.expect("flush"))
    }
}

/// rustls' buffered interface on the same sockets.
struct Buffered {
    conn: rustls::Connection,
    tcp: tcp::Stream,
}

struct Socket<'a>(&'a tcp::Stream);

impl Read for Socket<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_recv(buf)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_send(buf)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_sendv(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffered {
    async fn shake(&mut self) {
        poll_fn(|cx| {
            while self.conn.is_handshaking() {
                ready!(End::poll_flush(self, cx));
                if self.conn.is_handshaking() {
                    ready!(self.poll_more(cx));
                }
            }
            End::poll_flush(self, cx)
        })
        .await;
    }

    fn poll_more(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        loop {
            ready!(self.tcp.poll_readable(cx));
            match self.conn.read_tls(&mut Socket(&self.tcp)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => {
                    done.expect("read");
                    self.conn.process_new_packets().expect("records");
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl End for Buffered {
    fn poll_read(&mut self, cx: &mut std::task::Context<'_>, room: &mut [u8]) -> Poll<usize> {
        loop {
            match self.conn.reader().read(room) {
                Ok(n) => return Poll::Ready(n),
                Err(_) => ready!(self.poll_more(cx)),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut std::task::Context<'_>, data: &[u8]) -> Poll<usize> {
        ready!(End::poll_flush(self, cx));
        let n = self.conn.writer().write(data).expect("room");
        let _ = End::poll_flush(self, cx);
        Poll::Ready(n)
    }

    fn poll_flush(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        while self.conn.wants_write() {
            match self.conn.write_tls(&mut Socket(&self.tcp)) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.tcp.poll_writable(cx)),
                Err(e) => panic!("{e}"),
            }
        }
        Poll::Ready(())
    }
}

async fn ours(reactor: &Rc<Reactor>, client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (Stream, Stream) {
    let (a, b) = sockets(reactor);
    both(
        async {
            let mut s = tls::connect(a, client.clone(), name()).await.expect("client's side");
            write_all(&mut s, b"x").await;
            s
        },
        async {
            let mut s = tls::accept(b, server.clone()).await.expect("server's side");
            read_exact(&mut s, &mut [0; 1]).await;
            s
        },
    )
    .await
}

async fn theirs(reactor: &Rc<Reactor>, client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (Buffered, Buffered) {
    let (a, b) = sockets(reactor);
    let a = ClientConnection::new(client.clone(), name()).map(|c| Buffered { conn: c.into(), tcp: a });
    let b = ServerConnection::new(server.clone()).map(|c| Buffered { conn: c.into(), tcp: b });
    let (mut a, mut b) = (a.expect("client"), b.expect("server"));
    b.conn.set_buffer_limit(Some(64 * 1024));
    both(
        async {
            a.shake().await;
            write_all(&mut a, b"x").await;
        },
        async {
            b.shake().await;
            read_exact(&mut b, &mut [0; 1]).await;
        },
    )
    .await;
    (a, b)
}

async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    poll_fn(|cx| {
        if of_a.is_none() {
            of_a = match a.as_mut().poll(cx) {
                Poll::Ready(v) => Some(v),
                Poll::Pending => None,
            };
        }
        if of_b.is_none() {
            of_b = match b.as_mut().poll(cx) {
                Poll::Ready(v) => Some(v),
                Poll::Pending => None,
            };
        }
        match (of_a.take(), of_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (of_a, of_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

async fn write_all(end: &mut impl End, mut data: &[u8]) {
    while !data.is_empty() {
        data = &data[poll_fn(|cx| end.poll_write(cx, data)).await..];
    }
    poll_fn(|cx| end.poll_flush(cx)).await;
}

async fn read_exact(end: &mut impl End, mut room: &mut [u8]) {
    while !room.is_empty() {
        let n = poll_fn(|cx| end.poll_read(cx, room)).await;
        assert!(n > 0, "the other end closed");
        room = &mut room[n..];
    }
}

/// Bytes in use, those of the cryptographic library (which is C) included.
fn live() -> i64 {
    // SAFETY: no arguments; the result is a plain struct.
    let m = unsafe { libc::mallinfo2() };
    (m.uordblks + m.hblkhd) as i64
}

fn cpu() -> Duration {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is valid for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// CPU and allocations per turn of `work`, over `time` of CPU.
async fn measure(label: &str, time: Duration, mut work: impl AsyncFnMut()) {
    for _ in 0..20 {
        work().await;
    }
    let (began, allocated) = (cpu(), ALLOCATIONS.load(Relaxed));
    let mut turns = 0u64;
    while cpu() - began < time {
        for _ in 0..10 {
            work().await;
        }
        turns += 10;
    }
    let each = (cpu() - began).as_nanos() as f64 / turns as f64 / 1000.0;
    let allocations = (ALLOCATIONS.load(Relaxed) - allocated) as f64 / turns as f64;
    println!("{label:<44} {each:>9.2} us {allocations:>8.1} allocations");
}

async fn exchange<E: End>(what: &str, ends: &mut (E, E), time: Duration) {
    let (client, server) = (&mut ends.0, &mut ends.1);
    let mut room = [0; 1024];
    measure(&format!("{what}: 1 KiB there, 1 KiB back"), time, async || {
        write_all(client, &[1; 1024]).await;
        read_exact(server, &mut room).await;
        write_all(server, &[2; 1024]).await;
        read_exact(client, &mut room).await;
    })
    .await;
    let data = vec![3; 1 << 20];
    let mut room = vec![0; 1 << 16];
    measure(&format!("{what}: 1 MiB"), time, async || {
        both(write_all(server, &data), async {
            let mut left = data.len();
            while left > 0 {
                let most = room.len().min(left);
                left -= poll_fn(|cx| client.poll_read(cx, &mut room[..most])).await;
            }
        })
        .await;
    })
    .await;
}

/// Bytes allocated per established connection that is idle, by role.
async fn idle<E: End>(what: &str, mut make: impl AsyncFnMut() -> (E, E)) {
    const N: i64 = 200;
    let (mut clients, mut servers) = (Vec::with_capacity(200), Vec::with_capacity(200));
    for _ in 0..N {
        let (mut a, mut b) = make().await;
        write_all(&mut b, b"answer").await;
        read_exact(&mut a, &mut [0; 6]).await;
        clients.push(a);
        servers.push(b);
    }
    // What the vectors hold inline counts as well.
    let inline = size_of::<E>() as i64;
    let all = live();
    servers.clear();
    let without = live();
    clients.clear();
    let none = live();
    println!(
        "{what}: idle server's side {} bytes, client's side {} bytes",
        inline + (all - without) / N,
        inline + (without - none) / N
    );
}

fn main() {
    let time = Duration::from_secs_f64(std::env::args().nth(1).map_or(2.0, |a| a.parse().expect("seconds")));
    let (driver, _) = ring::choose().expect("a driver");
    let shard = runtime::spawn_shard(0, None, driver, move |local| async move {
        let (client, server) = configs();
        let reactor = &local.reactor;
        for _ in 0..2 {
            let plain = sockets(reactor);
            exchange("plain", &mut (plain.0.into(), plain.1.into()) as &mut (Stream, Stream), time).await;
            exchange("stream", &mut ours(reactor, &client, &server).await, time).await;
            exchange("buffered", &mut theirs(reactor, &client, &server).await, time).await;
        }
        idle("plain", async || {
            let (a, b) = sockets(reactor);
            (Stream::from(a), Stream::from(b))
        })
        .await;
        idle("stream", async || ours(reactor, &client, &server).await).await;
        idle("buffered", async || theirs(reactor, &client, &server).await).await;
        measure("stream: full handshake, both sides", time, async || drop(ours(reactor, &client, &server).await)).await;
        measure("buffered: full handshake, both sides", time, async || {
            drop(theirs(reactor, &client, &server).await);
        })
        .await;
    });
    shard.expect("shard").join().expect("shard");
}
