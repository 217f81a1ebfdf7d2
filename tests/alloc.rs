//! Steady state asks the allocator for nothing: a proxied request on kept connections allocates no byte on its shard.
use edge_io::count_alloc::{CountingAllocator, counts};
use std::{
    alloc::System,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
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
    let path = dir.join("edge.toml");
    let text = format!(
        "version = 1\n[server]\nshards = 1\nadmin = \"unix:{0}/admin.sock\"\naccess_log = \"{0}/access.log\"\nlb_grace = \"0s\"\n\
         [[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n\
         [pool.app]\nendpoints = [\"http://{origin}\"]\n[[route]]\nid = \"all\"\npool = \"app\"\n",
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

/// Asks the same again and again over one connection and returns the allocations of each window.
fn windows(edge: SocketAddr, request: &[u8], body_end: &[u8]) -> Vec<u64> {
    let mut client = TcpStream::connect(edge).expect("the edge accepts");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    client.set_nodelay(true).expect("a socket takes TCP_NODELAY");
    let mut buf = [0; 65536];
    let mut ask = |times: usize| {
        for _ in 0..times {
            client.write_all(request).expect("the edge reads");
            let mut have = 0;
            while !buf[..have].ends_with(body_end) {
                let n = client.read(&mut buf[have..]).expect("an answer");
                assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&buf[..have]));
                have += n;
            }
            assert!(buf.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&buf[..have]));
        }
    };
    ask(WARM_UP);
    let begun = Instant::now();
    let mut before = shard_allocations();
    let mut each = Vec::new();
    for _ in 0..WINDOWS {
        ask(WINDOW);
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
    assert!(quiet * 4 >= each.len() * 3, "{what}: only {quiet} of {} windows without an allocation: {each:?}", each.len());
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
    check("GET", &windows(edge, get, b"all done"));
    let post = b"POST /form HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\n1234567END";
    check("POST", &windows(edge, post, b"all done"));
}

#[test]
fn chunked_steady_state_allocates_nothing() {
    // In a process of its own, because the shard is found by its name.
    let me = std::env::current_exe().expect("a path");
    if std::env::var_os("EDGE_ALLOC_CHUNKED").is_none() {
        let run = std::process::Command::new(me)
            .args(["--exact", "chunked_steady_state_allocates_nothing", "--nocapture"])
            .env("EDGE_ALLOC_CHUNKED", "1")
            .output()
            .expect("this test starts again");
        assert!(
            run.status.success(),
            "{}{}",
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr)
        );
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let chunked = origin(
        b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n4\r\ndone\r\n0\r\n\r\n",
    );
    let edge = start_edge(config(dir.path(), chunked));
    let get = b"GET /path HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    check("chunked GET", &windows(edge, get, b"0\r\n\r\n"));
}
