//! Balance where it takes a process: cookies that bind, keys that stay, failover, and large pools over many shards.
use crate::harness::{
    Driver, Origin, Protocol, Reply, Setup,
    edge::listener_text,
    wire::{Addr, Wire},
};
use std::{
    collections::{BTreeSet, HashMap},
    io::{Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

crate::suite!("balance";
    each_driver:
        a_cookie_keeps_its_client_over_shards_and_reloads,
        a_cookie_gives_way_when_its_endpoint_is_gone,
        a_header_decides_on_every_shard,
        first_is_first_and_the_next_stands_in;
    once:
        many_shards_and_a_thousand_endpoints_keep_the_limit;
);

fn numbered(count: usize) -> Vec<Origin> {
    (0..count).map(|i| Origin::replying(Protocol::H1, move |_| Reply::new(200, i.to_string()))).collect()
}

fn text(endpoints: &[String], keys: &str) -> String {
    format!(
        "{}[pool.app]\nendpoints = [{}]\n{keys}\n[[route]]\nid = \"all\"\npool = \"app\"\n",
        listener_text("web", Protocol::H1, ""),
        endpoints.join(", ")
    )
}

fn endpoints(origins: &[Origin]) -> Vec<String> {
    origins.iter().map(Origin::endpoint).collect()
}

/// Who answers a request with these fields, and the cookie that came with it; on a connection of its own, so on any shard.
fn ask(addr: &Addr, fields: &str) -> (usize, Option<String>) {
    let got = Wire::connect(addr).ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!(got.status(), 200, "{got:?}");
    let set = got.all("set-cookie").into_iter().find(|set| set.starts_with("edge_sticky=")).map(str::to_owned);
    (got.text().parse().expect("an origin's number"), set)
}

fn cookie(set: &str) -> String {
    format!("Cookie: other=1; {}\r\n", set.split(';').next().unwrap_or_default())
}

fn a_cookie_keeps_its_client_over_shards_and_reloads(driver: Driver) {
    let origins = numbered(5);
    let mut listed = endpoints(&origins);
    let edge = Setup::new(driver).shards(8).text(&text(&listed, "sticky = {}")).start();
    let addr = edge.addr();
    let jar: Vec<(usize, String)> = (0..10)
        .map(|_| {
            let (at, set) = ask(&addr, "");
            let set = set.expect("a new client is bound");
            assert!(set.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"), "{set}");
            (at, cookie(&set))
        })
        .collect();
    let all_stay = |when: &str| {
        for (at, cookie) in &jar {
            for _ in 0..8 {
                assert_eq!(ask(&addr, cookie), (*at, None), "{when}");
            }
        }
    };
    all_stay("over shards");
    listed.reverse();
    edge.rewrite(&text(&listed, "sticky = {}\nbalance = \"round_robin\""));
    assert!(edge.reload().code == 0);
    all_stay("after a reload with another order");
}

fn a_cookie_gives_way_when_its_endpoint_is_gone(driver: Driver) {
    let origins = numbered(2);
    let listed = endpoints(&origins);
    let edge = Setup::new(driver).shards(2).text(&text(&listed, "sticky = {}")).start();
    let addr = edge.addr();
    let (at, set) = ask(&addr, "");
    let old = cookie(&set.expect("bound"));
    edge.rewrite(&text(&[listed[1 - at].clone()], "sticky = {}"));
    assert!(edge.reload().code == 0);
    let (now, set) = ask(&addr, &old);
    assert_eq!(now, 1 - at);
    let new = cookie(&set.expect("bound anew"));
    assert_eq!(ask(&addr, &new), (now, None));
    assert_eq!(ask(&addr, &new.replace("edge_sticky=", "edge_sticky=x")).0, now, "a forged one does no harm");
}

fn a_header_decides_on_every_shard(driver: Driver) {
    let origins = numbered(5);
    let edge = Setup::new(driver)
        .shards(8)
        .text(&text(&endpoints(&origins), "balance = { hash = \"header:x-user\" }"))
        .start();
    let addr = edge.addr();
    let mut used = BTreeSet::new();
    for user in 0..20 {
        let fields = format!("X-User: {user}\r\n");
        let (at, _) = ask(&addr, &fields);
        (0..8).for_each(|_| assert_eq!(ask(&addr, &fields).0, at, "user {user}"));
        used.insert(at);
    }
    assert!(used.len() >= 3, "{used:?}");
    let spread: BTreeSet<usize> = (0..60).map(|_| ask(&addr, "").0).collect();
    assert!(spread.len() >= 3, "requests without the header are for everybody: {spread:?}");
}

fn first_is_first_and_the_next_stands_in(driver: Driver) {
    let mut origins = numbered(2);
    let edge =
        Setup::new(driver).shards(2).text(&text(&endpoints(&origins), "balance = \"first\"\nkeepalive = 0")).start();
    let addr = edge.addr();
    (0..20).for_each(|_| assert_eq!(ask(&addr, "").0, 0));
    drop(origins.remove(0));
    (0..20).for_each(|_| assert_eq!(ask(&addr, "").0, 1, "the first is gone"));
}

/// Open connections by the address they came to, and the most there were.
type Open = Arc<Mutex<HashMap<IpAddr, (usize, usize)>>>;

/// Answers on every address of the loopback, one thread a connection.
fn everywhere(open: &Open) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let open = open.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let open = open.clone();
            let serve = std::thread::Builder::new().stack_size(128 << 10);
            let _ = serve.spawn(move || answer_all(stream, &open));
        }
    });
    port
}

fn answer_all(mut stream: TcpStream, open: &Open) {
    let Ok(at) = stream.local_addr().map(|addr| addr.ip()) else { return };
    {
        let mut open = open.lock().expect("no panic");
        open.entry(at).or_default().0 += 1;
    }
    // The thread of one that was closed before may not have noticed yet.
    let accepted = Instant::now();
    loop {
        let mut open = open.lock().expect("no panic");
        let (now, most) = open.entry(at).or_default();
        if *now <= 1 || accepted.elapsed() > Duration::from_secs(5) {
            *most = (*most).max(*now);
            break;
        }
        drop(open);
        std::thread::yield_now();
    }
    let mut seen = Vec::new();
    let mut buf = [0; 2048];
    while let Ok(n @ 1..) = stream.read(&mut buf) {
        seen.extend_from_slice(&buf[..n]);
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                break;
            }
        }
    }
    drop(stream);
    open.lock().expect("no panic").entry(at).or_default().0 -= 1;
}

fn many_shards_and_a_thousand_endpoints_keep_the_limit() {
    let open = Open::default();
    let port = everywhere(&open);
    let listed: Vec<String> =
        (0..1000).map(|i| format!("\"http://127.1.{}.{}:{port}\"", i / 250, 1 + i % 250)).collect();
    let keys = "max_connections = 1\nmax_waiting = 1000\nwait_timeout = \"20s\"\ntimeouts = { connect = \"20s\" }";
    let edge = Setup::new(Driver::Epoll).shards(16).text(&text(&listed, keys)).start();
    let addr = edge.addr();
    std::thread::scope(|s| {
        for _ in 0..32 {
            s.spawn(|| {
                for _ in 0..8 {
                    let mut client = Wire::connect(&addr);
                    (0..10).for_each(|_| assert_eq!(client.get("/").status(), 200));
                }
            });
        }
    });
    let seen = open.lock().expect("no panic");
    let most = seen.values().map(|(_, most)| *most).max().unwrap_or(0);
    assert_eq!(most, 1, "never two connections to one endpoint");
    assert!(seen.len() > 300, "{} endpoints were used", seen.len());
}
