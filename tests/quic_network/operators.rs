//! Reloads, new certificates, removed listeners and stops, while HTTP/3 is in use.
use crate::{
    client::{Client, answer, config, run, until},
    harness::{
        Addr, Ask, Driver, Edge, eventually,
        http3::{Session, request},
        tls::{self, EDGE_NAME},
    },
    relay::{Relay, Weather},
    site::{Body, Hash, MIB, Site, udp_addr, udp_addr_of},
    suite,
};
use bytes::Buf;
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

suite! {
    "operators";
    each_driver: reloads_during_requests, a_removed_listener_drains, a_stop_drains;
    once: a_new_certificate, a_silent_client_is_forgotten, a_long_request_outlives_the_idle_timeout,
        an_idle_connection_ends, a_removed_listener_comes_back, a_stop_is_bounded,
        an_end_that_nobody_acknowledges_costs_nothing, a_request_on_its_way_is_taken_at_the_end;
}

const RELOADS: usize = 50;
const HELD: usize = 200;

/// Version `i` of a configuration: other routes, another pool, another listener now and then.
fn version(site: &Site, i: usize) -> String {
    let mut more = format!("[pool.extra{}]\nendpoints = [{}]\n", i % 7, site.origin.endpoint());
    for k in 0..i % 5 {
        more +=
            &format!("[[route]]\nid = \"r{k}\"\nmatch = {{ path_prefix = \"/{i}/{k}\" }}\npool = \"extra{}\"\n", i % 7);
    }
    if i % 3 == 1 {
        more += "[[listener]]\nname = \"second\"\naddress = [\"127.0.0.1:0\"]\nprotocols = [\"h1\", \"h3\"]\n\
                 tls = { certificates = [{ cert = \"@DIR@/edge.pem\", key = \"@DIR@/edge.key\" }] }\n";
    }
    let keys = format!("http3 = {{ max_concurrent_streams = 300, stream_window = \"{}KiB\" }}\n", 256 + i);
    site.text("127.0.0.1:0", &keys, &more)
}

/// A body that is read no faster than it is asked for.
async fn metered(client: &Client, length: usize, mut allowed: watch::Receiver<usize>) {
    let target = format!("/bytes/{length}");
    let mut stream = client.begin("GET", &target).await.expect("a request");
    stream.finish().await.expect("the end of the request");
    assert_eq!(stream.recv_response().await.expect("a response").status(), 200);
    let (mut got, mut hash) = (0, Hash::new());
    while let Some(mut piece) = stream.recv_data().await.unwrap_or_else(|e| panic!("after {got} bytes: {e}")) {
        got += piece.remaining();
        hash.update(&piece.copy_to_bytes(piece.remaining()));
        if allowed.wait_for(|allowed| got < *allowed || *allowed == length).await.is_err() {
            continue; // nobody meters any more
        }
    }
    assert_eq!((got, hash.finish()), (length, Body::hash(length)));
}

fn reloads_during_requests(driver: Driver) {
    let site = Site::new();
    let edge = Arc::new(site.setup(driver, 2, "auto").text(&version(&site, 0)).start());
    run(async {
        let client = Client::connect(udp_addr(&edge)).await;
        let (allow, allowed) = watch::channel(MIB);
        let held: Vec<_> = futures(&client, HELD).await;
        until("all requests to arrive", || site.origin.begun().len() >= HELD).await;
        let before = edge.version();
        let reloading = reload_often(&edge, &site, allow);
        metered(&client, (RELOADS + 2) * MIB, allowed).await;
        reloading.await.expect("the reloads");
        assert_eq!(edge.version(), before + RELOADS as u64);
        site.gate.open();
        for stream in held {
            let got = answer(stream, "/held/1000", |_| {}).await.expect("an answer");
            assert_eq!((got.status, got.length, got.hash), (200, 1000, Body::hash(1000)));
        }
        assert_eq!(client.quic.close_reason(), None);
    });
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("edge_tls_handshakes_total", &[("transport", "quic")]), 1.0, "one connection did it all");
}

type Held = h3::client::RequestStream<h3_quinn::BidiStream<bytes::Bytes>, bytes::Bytes>;

async fn futures(client: &Client, count: usize) -> Vec<Held> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut stream = client.begin("GET", "/held/1000").await.expect("a request");
        stream.finish().await.expect("the end of a request");
        all.push(stream);
    }
    all
}

fn reload_often(edge: &Arc<Edge>, site: &Site, allow: watch::Sender<usize>) -> tokio::task::JoinHandle<()> {
    let texts: Vec<String> = (1..=RELOADS).map(|i| version(site, i)).collect();
    let edge = Arc::clone(edge);
    tokio::task::spawn_blocking(move || {
        for (i, text) in texts.iter().enumerate() {
            let version = edge.version();
            edge.rewrite(text);
            edge.signal(Signal::HUP);
            eventually("the new version", || Some(()).filter(|()| edge.version() > version));
            allow.send_replace((i + 2) * MIB);
        }
        allow.send_replace((RELOADS + 2) * MIB);
    })
}

fn a_new_certificate() {
    let site = Site::new();
    let edge = site.edge(Driver::IoUring, 2, "auto", "127.0.0.1:0");
    let leaf = |client: &Client| -> CertificateDer<'static> {
        let identity = client.quic.peer_identity().expect("the server showed a certificate");
        let chain = identity.downcast::<Vec<CertificateDer<'static>>>().expect("a chain");
        chain[0].clone()
    };
    run(async {
        let old = Client::connect(udp_addr(&edge)).await;
        assert_eq!(leaf(&old), tls::pki().edge.der);
        let held = futures(&old, 1).await.remove(0);
        let new = tls::pki().authority.issue(&[tls::EDGE_NAME]);
        new.write(edge.dir(), "edge");
        assert_eq!(edge.reload().code, 0);
        assert_eq!(leaf(&Client::connect(udp_addr(&edge)).await), new.der);
        old.download(MIB).await;
        site.gate.open();
        assert_eq!(answer(held, "/held/1000", |_| {}).await.expect("an answer").status, 200);
    });
}

/// Connections of clients that are open at the edge.
fn open_connections(edge: &Edge) -> f64 {
    edge.metrics().sum("edge_connections", &[("protocol", "h3")])
}

fn with_idle_timeout(site: &Site, idle: &str) -> Edge {
    let keys = format!("http3 = {{ idle_timeout = \"{idle}\" }}\n");
    site.setup(Driver::IoUring, 2, "auto").text(&site.text("127.0.0.1:0", &keys, "")).start()
}

/// A client that is gone without a word: also its request ends then.
fn a_silent_client_is_forgotten() {
    let site = Site::new();
    let edge = with_idle_timeout(&site, "1s");
    let relay = Relay::start(udp_addr(&edge), Weather::fair());
    run(async {
        let client = Client::connect(relay.addr()).await;
        client.download(1000).await;
        let _held = futures(&client, 1).await;
        until("both requests to arrive", || site.origin.begun().len() >= 2).await;
        assert_eq!(open_connections(&edge), 1.0);
        relay.shrink(0);
        until("the connection to be forgotten", || open_connections(&edge) == 0.0).await;
    });
    site.gate.open();
}

fn silent() -> quinn::ClientConfig {
    let mut config = config();
    config.transport_config(Arc::default());
    config
}

/// What takes long is not idle: the edge itself keeps the connection alive.
fn a_long_request_outlives_the_idle_timeout() {
    let site = Site::new();
    let edge = with_idle_timeout(&site, "1s");
    run(async {
        let client = Client::connect_with(udp_addr(&edge), silent()).await;
        let held = futures(&client, 1).await.remove(0);
        let gate = Arc::clone(&site.gate);
        let opening = tokio::time::sleep(Duration::from_millis(3500)); // the time itself is what is tested
        let ((), got) = tokio::join!(
            async {
                opening.await;
                gate.open();
            },
            answer(held, "/held/1000", |_| {}),
        );
        assert_eq!(got.expect("an answer").status, 200);
    });
}

fn an_idle_connection_ends() {
    let site = Site::new();
    let edge = with_idle_timeout(&site, "1s");
    run(async {
        let client = Client::connect_with(udp_addr(&edge), silent()).await;
        client.download(1000).await;
        let begun = Instant::now();
        let why = client.quic.closed().await;
        assert!(matches!(why, quinn::ConnectionError::TimedOut), "{why}");
        assert!(begun.elapsed() >= Duration::from_millis(900), "after {:?}", begun.elapsed());
    });
    eventually("the edge to forget it too", || Some(()).filter(|()| open_connections(&edge) == 0.0));
}

/// Several clients, so that in either steering mode some packets arrive at shards that have no connection.
const CLIENTS: usize = 6;

/// Downloads that are under way: `go` lets them come to their end.
struct Under {
    all: Vec<tokio::task::JoinHandle<Client>>,
    go: watch::Sender<usize>,
}

async fn under_way(edge: &Edge, length: usize) -> Under {
    let (go, allowed) = watch::channel(1);
    let (begun, mut begins) = tokio::sync::mpsc::channel(CLIENTS);
    let mut all = Vec::new();
    for _ in 0..CLIENTS {
        let (addr, allowed, begun) = (udp_addr(edge), allowed.clone(), begun.clone());
        all.push(tokio::spawn(async move {
            let client = Client::connect(addr).await;
            client.download(1000).await;
            begun.send(()).await.expect("somebody counts");
            metered(&client, length, allowed).await;
            client
        }));
    }
    for _ in 0..CLIENTS {
        begins.recv().await.expect("all begin");
    }
    Under { all, go }
}

fn a_removed_listener_drains(driver: Driver) {
    for steering in ["kernel", "forward"] {
        let site = Site::new();
        let edge = site.setup(driver, 4, steering).text(&version(&site, 0)).start();
        let length = 8 * MIB;
        run(async {
            let addr = udp_addr(&edge);
            let under = under_way(&edge, length).await;
            until("all downloads to begin", || site.origin.begun().len() >= 2 * CLIENTS).await;
            edge.rewrite(
                &version(&site, 1)
                    .replace("name = \"web\"", "name = \"elsewhere\"")
                    .replace("protocols = [\"h1\", \"h2\", \"h3\"]", "protocols = [\"h1\", \"h2\"]"),
            );
            assert_eq!(edge.reload().code, 0);
            let refused = tls_refused(addr).await;
            assert!(refused, "a removed listener takes connections");
            under.go.send_replace(length);
            for one in under.all {
                let client = one.await.expect("a download that ends well");
                let why = client.quic.closed().await;
                let quinn::ConnectionError::ApplicationClosed(close) = &why else { panic!("{why}") };
                assert_eq!(close.error_code.into_inner(), 0x100, "H3_NO_ERROR");
            }
        });
        eventually("the sockets to be closed", || Some(()).filter(|()| !udp_is_open(&edge)));
    }
}

/// Whether a new connection is refused.
async fn tls_refused(addr: std::net::SocketAddr) -> bool {
    let endpoint = crate::client::endpoint(addr);
    let connecting = endpoint.connect_with(config(), addr, tls::EDGE_NAME).expect("a good configuration");
    matches!(connecting.await, Err(quinn::ConnectionError::ConnectionClosed(_)))
}

/// Whether the process has UDP sockets besides those of the listener `second`.
fn udp_is_open(edge: &Edge) -> bool {
    let inodes: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", edge.pid()))
        .expect("the process is there")
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{}/net/udp", edge.pid())).expect("the process is there");
    let port = udp_addr_of(edge, "second").port();
    let ours = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let other = !fields.get(1).is_some_and(|local| local.ends_with(&format!(":{port:04X}")));
        other && fields.get(9).is_some_and(|inode| inodes.iter().any(|i| i == inode))
    };
    table.lines().skip(1).any(|line| ours(&line))
}

fn a_removed_listener_comes_back() {
    for steering in ["kernel", "forward"] {
        let site = Site::new();
        let edge = site.setup(Driver::IoUring, 4, steering).text(&version(&site, 1)).start();
        let length = 4 * MIB;
        run(async {
            let under = under_way(&edge, length).await;
            edge.rewrite(&version(&site, 1).replace("\"h2\", \"h3\"]", "\"h2\"]"));
            assert_eq!(edge.reload().code, 0);
            edge.rewrite(&version(&site, 1));
            assert_eq!(edge.reload().code, 0);
            let back = udp_addr(&edge);
            for _ in 0..CLIENTS {
                Client::connect(back).await.download(1000).await;
            }
            under.go.send_replace(length);
            for one in under.all {
                one.await.expect("a download that ends well");
            }
        });
    }
}

fn a_stop_drains(driver: Driver) {
    for steering in ["kernel", "forward"] {
        let site = Site::new();
        let edge = site.setup(driver, 4, steering).text(&version(&site, 0)).start();
        let length = 8 * MIB;
        run(async {
            let addr = udp_addr(&edge);
            let under = under_way(&edge, length).await;
            until("all downloads to begin", || site.origin.begun().len() >= 2 * CLIENTS).await;
            let begun = Instant::now();
            edge.signal(Signal::TERM);
            while !tls_refused(addr).await {}
            under.go.send_replace(length);
            for one in under.all {
                one.await.expect("a download that ends well");
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
        });
        assert_eq!(edge.wait_exit(), 0);
    }
}

/// A client that does not read keeps the process no longer than the time for draining.
fn a_stop_is_bounded() {
    let site = Site::new();
    let setup = site.setup(Driver::IoUring, 2, "auto").server("drain_timeout", "\"1s\"");
    let edge = setup.text(&version(&site, 0)).start();
    run(async {
        let under = under_way(&edge, 8 * MIB).await;
        let begun = Instant::now();
        edge.signal(Signal::TERM);
        until("the process to end", || edge.ended().is_some()).await;
        assert!(begun.elapsed() >= Duration::from_millis(950), "after {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
        under.all.iter().for_each(tokio::task::JoinHandle::abort);
    });
}

/// The keep-alive time is over, and the client is gone without a word: the edge waits for it in its sleep.
fn an_end_that_nobody_acknowledges_costs_nothing() {
    let site = Site::new();
    let keys = "http3 = { idle_timeout = \"20s\" }\ntimeouts = { keepalive = \"1s\" }\n";
    let edge = site.setup(Driver::IoUring, 1, "auto").text(&site.text("127.0.0.1:0", keys, "")).start();
    let relay = Relay::start(udp_addr(&edge), Weather::fair());
    let wakes = || -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", edge.pid())).expect("the process is there");
        let of = |path: std::path::PathBuf| {
            let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
            let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or_default()
        };
        tasks.filter_map(|task| Some(of(task.ok()?.path()))).sum()
    };
    run(async {
        let client = Client::connect_with(relay.addr(), silent()).await;
        let _held = futures(&client, 1).await;
        until("the request to arrive", || !site.origin.begun().is_empty()).await;
        relay.shrink(0);
        site.gate.open();
        // Times are what is tested here: the connection is to be over by now, and is not.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let before = wakes();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let woken = wakes() - before;
        assert_eq!(open_connections(&edge), 1.0);
        println!("woken {woken} times in two seconds");
        assert!(woken < 150, "{woken} times in two seconds");
    });
}

/// The first GOAWAY has time to be heard before the second names the last request: also on a connection of which nothing
/// was heard for a while.
fn a_request_on_its_way_is_taken_at_the_end() {
    let site = Site::new();
    let weather = Weather { delay: Duration::from_millis(25), ..Weather::fair() };
    // How soon it is sent is for the machine to say: sooner or later it is in time.
    let taken = (0..8).any(|_| {
        let edge = site.edge(Driver::IoUring, 1, "auto", "127.0.0.1:0");
        let relay = Relay::start(udp_addr(&edge), weather);
        let session = Session::open(&Addr::Tcp(relay.addr()), tls::client(&["h3"]), EDGE_NAME).expect("a connection");
        let ask = |session: &Session| session.begin(&Ask::get("/bytes/10")).and_then(|call| call.duplex.head(false));
        assert_eq!(ask(&session).expect("an answer").status(), 200);
        let quiet = session.closed_within(Duration::from_millis(400));
        assert!(quiet.is_err_and(|e| e.kind() == std::io::ErrorKind::TimedOut), "it goes on");
        let late = session.stream().expect("a stream");
        edge.signal(Signal::TERM);
        session.wait_go_away().expect("GOAWAY");
        let sent = late.raw(&request(&Ask::get("/bytes/10"))).and_then(|()| late.end());
        let answer = sent.and_then(|()| late.head(false));
        let said = session.wait_said(|said| said.go_away.len() == 2);
        if let Ok(said) = &said {
            assert_eq!(said.go_away[0], (1 << 62) - 4, "RFC 9114 5.2");
        }
        edge.wait_exit();
        answer.is_ok_and(|head| head.status() == 200)
    });
    assert!(taken, "eight requests sent right behind the first GOAWAY, and all too late");
}
