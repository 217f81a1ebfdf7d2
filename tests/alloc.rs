//! Steady state asks the allocator for nothing: a proxied request on kept connections allocates no byte on its shard, the TLS
//! library only for its records, and a stream of HTTP/2 costs no more than its task.
use edge_io::count_alloc::{CountingAllocator, counts};
use std::{
    alloc::System,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator(System);

/// Requests before anything is counted, so that every buffer and table has its size.
const WARM_UP: usize = 2_000;
/// Requests between two looks at the counter, and how many looks.
const WINDOW: usize = 200;
const WINDOWS: usize = 40;

/// An origin of one connection at a time that allocates once and then only writes the same bytes.
fn origin(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, answer));
        }
    });
    addr
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    let mut buf = [0; 16384];
    let mut have = 0;
    while let Ok(n @ 1..) = stream.read(&mut buf[have..]) {
        have += n;
        // Requests of this test have bodies of a fixed end, or none: both end in this.
        if buf[..have].ends_with(b"\r\n\r\n") || buf[..have].ends_with(b"END") {
            have = 0;
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

fn config(dir: &Path, origin: SocketAddr) -> std::path::PathBuf {
    config_with(dir, &format!("http://{origin}"), "")
}

fn config_with(dir: &Path, endpoint: &str, listener: &str) -> std::path::PathBuf {
    let path = dir.join("edge.toml");
    let text = format!(
        "version = 1\n[server]\nshards = 1\nadmin = \"unix:{0}/admin.sock\"\naccess_log = \"{0}/access.log\"\nlb_grace = \"0s\"\n\
         [[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n{listener}\n\
         [pool.app]\nendpoints = [\"{endpoint}\"]\n[[route]]\nid = \"all\"\npool = \"app\"\n",
        dir.display()
    );
    fs::write(&path, text).expect("the temporary directory takes files");
    path
}

/// Starts an edge within this process and returns where it listens.
fn start_edge(config: std::path::PathBuf) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let source = edge::control::reload::Source::File(config);
        let options = edge::serve::Options { source, shards: None, admin: Vec::new() };
        let end = edge::serve::run(options, |ready| {
            let _ = tell.send(ready.listening[0].1.clone());
        });
        panic!("the edge ended: {end:?}");
    });
    let addr = told.recv_timeout(Duration::from_secs(20)).expect("the edge becomes ready");
    addr.parse().expect("an address")
}

/// The counters of threads that are shards now.
fn shard_allocations() -> u64 {
    let is_shard = |tid: i32| {
        let name = fs::read_to_string(format!("/proc/self/task/{tid}/comm")).unwrap_or_default();
        name.starts_with("shard-")
    };
    let shards: Vec<_> = counts().into_iter().filter(|c| is_shard(c.tid)).collect();
    assert_eq!(shards.len(), 1, "one shard thread, by its name");
    shards.iter().map(|c| c.allocations).sum()
}

/// Connects to the edge.
fn connect(edge: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(edge).expect("the edge accepts");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    client.set_nodelay(true).expect("a socket takes TCP_NODELAY");
    client
}

/// Asks the same again and again over one connection and returns the allocations of each window.
fn windows(client: impl Read + Write, request: &[u8], body_end: &[u8]) -> Vec<u64> {
    let mut client = client;
    let mut buf = [0; 65536];
    counted(|| {
        client.write_all(request).expect("the edge reads");
        let mut have = 0;
        while !buf[..have].ends_with(body_end) {
            let n = client.read(&mut buf[have..]).expect("an answer");
            assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&buf[..have]));
            have += n;
        }
        assert!(buf.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&buf[..have]));
    })
}

/// Warms up, and then returns the allocations of each window of requests.
fn counted(mut ask: impl FnMut()) -> Vec<u64> {
    (0..WARM_UP).for_each(|_| ask());
    let begun = Instant::now();
    let mut before = shard_allocations();
    let mut each = Vec::new();
    for _ in 0..WINDOWS {
        (0..WINDOW).for_each(|_| ask());
        let now = shard_allocations();
        each.push(now - before);
        before = now;
    }
    println!("{} requests in {:?}; allocations by {WINDOW} requests: {each:?}", WINDOW * WINDOWS, begun.elapsed());
    each
}

/// Once a second the shard renders a date, a few times a second it looks after its pools; the requests themselves must
/// not count. A task would be a boxed future, so no allocation also means no task.
fn check(what: &str, each: &[u64]) {
    let quiet = each.iter().filter(|n| **n == 0).count();
    assert!(
        quiet * 4 >= each.len() * 3,
        "{what}: only {quiet} of {} windows without an allocation: {each:?}",
        each.len()
    );
    let most = each.iter().max().copied().unwrap_or(0);
    assert!(most < WINDOW as u64 / 4, "{what}: {most} allocations within {WINDOW} requests: {each:?}");
}

#[test]
fn steady_state_allocates_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let length = origin(
        b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 8\r\nX-A: b\r\n\r\nall done",
    );
    let edge = start_edge(config(dir.path(), length));
    let get = b"GET /path?a=1 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: alloc\r\nAccept: */*\r\nCookie: a=1\r\n\r\n";
    check("GET", &windows(connect(edge), get, b"all done"));
    let post = b"POST /form HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\n1234567END";
    check("POST", &windows(connect(edge), post, b"all done"));
}

#[test]
fn chunked_steady_state_allocates_nothing() {
    if elsewhere("chunked_steady_state_allocates_nothing") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let chunked = origin(
        b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n4\r\ndone\r\n0\r\n\r\n",
    );
    let edge = start_edge(config(dir.path(), chunked));
    let get = b"GET /path HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    check("chunked GET", &windows(connect(edge), get, b"0\r\n\r\n"));
}

/// Runs a test in a process of its own, because the shard is found by its name; `false` within that process.
fn elsewhere(test: &str) -> bool {
    if std::env::var_os("EDGE_ALLOC_ALONE").is_some() {
        return false;
    }
    let me = std::env::current_exe().expect("a path");
    let run = std::process::Command::new(me)
        .args(["--exact", test, "--nocapture"])
        .env("EDGE_ALLOC_ALONE", "1")
        .output()
        .expect("this test starts again");
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    println!("{out}");
    assert!(run.status.success(), "{out}{err}");
    true
}

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 8\r\nX-A: b\r\n\r\nall done";
const GET: &[u8] = b"GET /path?a=1 HTTP/1.1\r\nHost: alloc.test\r\nUser-Agent: alloc\r\nAccept: */*\r\n\r\n";

/// Allocations of the TLS library for a record in and a record out.
const RECORDS_MOST: u64 = 2;

/// The usual window has no more than so many allocations for each request, and so many beside.
fn at_most(what: &str, each: &[u64], most: u64, beside: u64) {
    let mut sorted = each.to_vec();
    sorted.sort_unstable();
    let usual = sorted[sorted.len() / 2];
    assert!(usual <= most * WINDOW as u64 + beside, "{what}: {usual} allocations by {WINDOW} requests: {each:?}");
}

/// What a listener needs for TLS, and a client that trusts it.
fn tls(dir: &Path) -> (String, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["alloc.test".to_owned()]).expect("a certificate");
    fs::write(dir.join("a.pem"), made.cert.pem()).expect("the temporary directory takes files");
    fs::write(dir.join("a.key"), made.signing_key.serialize_pem()).expect("the temporary directory takes files");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a good root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (
        format!("tls = {{ certificates = [{{ cert = \"{0}/a.pem\", key = \"{0}/a.key\" }}] }}", dir.display()),
        Arc::new(config),
    )
}

#[test]
fn tls_allocates_for_records_only() {
    if elsewhere("tls_allocates_for_records_only") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (listener, client) = tls(dir.path());
    let endpoint = format!("http://{}", origin(ANSWER));
    let edge = start_edge(config_with(dir.path(), &endpoint, &listener));
    let name = "alloc.test".try_into().expect("a name");
    let session = rustls::ClientConnection::new(client, name).expect("a client");
    let stream = rustls::StreamOwned::new(session, connect(edge));
    at_most("GET over TLS", &windows(stream, GET, b"all done"), RECORDS_MOST, 0);
}

/// A frame of HTTP/2 (RFC 9113 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// GET as a header block that no table remembers (RFC 7541 6.2.2).
fn http2_get() -> Vec<u8> {
    let lines = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "alloc.test"),
        (":path", "/path?a=1"),
        ("accept", "*/*"),
    ];
    let mut out = Vec::new();
    for (name, value) in lines {
        out.extend_from_slice(&[0, name.len() as u8]);
        out.extend_from_slice(name.as_bytes());
        out.push(value.len() as u8);
        out.extend_from_slice(value.as_bytes());
    }
    out
}

/// Allocations that a stream may cost: the task that serves it.
const STREAM_MOST: u64 = 1;

#[test]
fn http2_streams_allocate_little() {
    if elsewhere("http2_streams_allocate_little") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let endpoint = format!("http://{}", origin(ANSWER));
    let edge = start_edge(config_with(dir.path(), &endpoint, ""));
    let mut client = connect(edge);
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(4, 0, 0, &[]));
    hello.extend(frame(8, 0, 0, &0x7000_0000u32.to_be_bytes()));
    client.write_all(&hello).expect("the edge reads");
    let (block, mut stream) = (http2_get(), 1);
    let mut unread: Vec<u8> = Vec::new();
    let mut buf = [0; 65536];
    let each = counted(|| {
        // END_STREAM and END_HEADERS.
        client.write_all(&frame(1, 5, stream, &block)).expect("the edge reads");
        loop {
            let length = unread.get(..3).map(|l| u32::from_be_bytes([0, l[0], l[1], l[2]]) as usize);
            let Some(length) = length.filter(|l| unread.len() >= 9 + l) else {
                let n = client.read(&mut buf).expect("an answer");
                assert!(n > 0, "closed at stream {stream}");
                unread.extend_from_slice(&buf[..n]);
                continue;
            };
            let whole: Vec<u8> = unread.drain(..9 + length).collect();
            let (kind, flags) = (whole[3], whole[4]);
            assert!(!matches!(kind, 3 | 7), "RST_STREAM or GOAWAY at stream {stream}: {whole:?}");
            if kind == 4 && flags == 0 {
                client.write_all(&frame(4, 1, 0, &[])).expect("the edge reads");
            } else if kind == 6 && flags == 0 {
                client.write_all(&frame(6, 1, 0, &whole[9..])).expect("the edge reads");
            } else if matches!(kind, 0 | 1) && flags & 1 == 1 {
                break;
            }
        }
        stream += 2;
    });
    at_most("GET over HTTP/2", &each, STREAM_MOST, 0);
}

/// GET as a HEADERS frame of HTTP/3 that no table remembers (RFC 9204 4.5.6).
fn http3_get() -> Vec<u8> {
    let lines = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "alloc.test"),
        (":path", "/path?a=1"),
        ("accept", "*/*"),
    ];
    // No dynamic table.
    let mut section = vec![0, 0];
    for (name, value) in lines {
        match name.len() {
            n @ 0..7 => section.push(0x20 | n as u8),
            n => section.extend_from_slice(&[0x27, n as u8 - 7]),
        }
        section.extend_from_slice(name.as_bytes());
        section.push(value.len() as u8);
        section.extend_from_slice(value.as_bytes());
    }
    let mut out = vec![1, 0x40, section.len() as u8];
    out.extend_from_slice(&section);
    out
}

/// A client's connection, with its control stream open.
async fn http3_connect(edge: SocketAddr, config: Arc<rustls::ClientConfig>) -> (quinn::Connection, quinn::SendStream) {
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).expect("TLS 1.3");
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a socket");
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connecting = endpoint.connect_with(config, edge, "alloc.test").expect("a configuration");
    let quic = connecting.await.expect("a connection");
    let mut control = quic.open_uni().await.expect("a stream");
    // The stream's type, and SETTINGS without any.
    control.write_all(&[0, 4, 0]).await.expect("the edge reads");
    (quic, control)
}

/// Allocations that a stream may cost: the task that serves it, the packet that brought it (quinn-proto wants one of its
/// own), and of quinn-proto: a handle on the packet's payload, the sending half, its queue of what is not acknowledged,
/// the answer's bytes in it, and the set of what is.
const HTTP3_STREAM_MOST: u64 = 7;

/// What a window may cost beside its streams: packets that only acknowledge, and frames that raise limits.
const HTTP3_BESIDE_MOST: u64 = WINDOW as u64 / 4;

#[test]
fn http3_streams_allocate_little() {
    if elsewhere("http3_streams_allocate_little") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (listener, client) = tls(dir.path());
    let mut client = (*client).clone();
    client.alpn_protocols = vec![b"h3".to_vec()];
    let endpoint = format!("http://{}", origin(ANSWER));
    let listener = format!("protocols = [\"h1\", \"h2\", \"h3\"]\n{listener}");
    let edge = start_edge(config_with(dir.path(), &endpoint, &listener));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (quic, _control) = runtime.block_on(http3_connect(edge, Arc::new(client)));
    let get = http3_get();
    let each = counted(|| {
        let answer = runtime.block_on(async {
            let (mut send, mut recv) = quic.open_bi().await.expect("a stream");
            send.write_all(&get).await.expect("the edge reads");
            send.finish().expect("an open stream");
            recv.read_to_end(65536).await.expect("an answer")
        });
        assert!(answer.ends_with(b"all done"), "{answer:?}");
    });
    at_most("GET over HTTP/3", &each, HTTP3_STREAM_MOST, HTTP3_BESIDE_MOST);
}
