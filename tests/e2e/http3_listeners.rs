//! HTTP/3 comes and goes with the configuration: what clients are told of it, and what becomes of those who use it.
use crate::harness::{
    Addr, Ask, Call, Client, Driver, Edge, Origin, Pair, Protocol, Setup, Wire,
    edge::pool_text,
    eventually,
    http3::{Options, Session, code, transport},
    tls::{self, EDGE_NAME},
};
use std::{io, time::Duration};

crate::suite!("http3_listeners";
    each_driver:
        alt_svc_is_said_while_http3_is_spoken,
        http3_is_spoken_alone,
        removed_http3_finishes_what_is_in_flight,
        http3_comes_back_while_the_old_one_drains;
    once:
        connections_stay_on_their_shards,
        changed_keys_hold_for_new_connections;
);

fn over(driver: Driver) -> Pair {
    Pair { driver, down: Protocol::H3, up: Protocol::H1 }
}

/// Everything to `origin` over a listener of these protocols.
fn text(origin: &Origin, protocols: &str, keys: &str) -> String {
    format!(
        "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\nprotocols = {protocols}\n\
         tls = {{ certificates = [{{ cert = \"@DIR@/edge.pem\", key = \"@DIR@/edge.key\" }}] }}\n{keys}\n"
    ) + &pool_text("app", &[origin], "")
        + "[[route]]\nid = \"all\"\nmatch = { path_prefix = \"/\" }\npool = \"app\"\n"
}

const ALL: &str = "[\"h1\", \"h2\", \"h3\"]";
const OVER_TCP: &str = "[\"h1\", \"h2\"]";
const ALONE: &str = "[\"h3\"]";

fn start(driver: Driver, text: &str) -> Edge {
    Setup::over(over(driver)).text(text).start()
}

fn reload(edge: &Edge, text: &str) {
    edge.rewrite(text);
    let out = edge.reload();
    assert_eq!(out.code, 0, "{out:?}");
}

/// Connects by HTTP/3, and does not wait long for a server that is not there.
fn try_http3(to: &Addr) -> io::Result<Session> {
    let mut transport = transport();
    transport.max_idle_timeout(Some(Duration::from_secs(1).try_into().expect("a second")));
    let options = Options { transport: Some(transport), ..Options::default() };
    Session::open_with(to, tls::client(&["h3"]), EDGE_NAME, options)
}

fn get(session: &Session, path: &str) -> u16 {
    Call::Http3(Box::new(session.begin(&Ask::get(path)).expect("a request"))).response().status()
}

fn alt_svc_is_said_while_http3_is_spoken(driver: Driver) {
    let origin = Origin::fine(Protocol::H1);
    let edge = start(driver, &text(&origin, ALL, ""));
    let addr = edge.addr();
    let clients = [Protocol::H1Tls, Protocol::H2].map(|p| (p, Client::connect(p, &addr)));
    let said = format!("h3=\":{}\"; ma=86400", addr.tcp().port());
    let check = |expected: Option<&str>| {
        for (protocol, kept) in &clients {
            for client in [kept, &Client::connect(*protocol, &addr)] {
                let got = client.get("/");
                assert_eq!((got.status(), got.get("alt-svc")), (200, expected), "{protocol}: {got:?}");
            }
        }
    };
    check(Some(&said));
    assert_eq!(edge.client().get("/").get("alt-svc"), None, "who is there already is not told");
    for _ in 0..2 {
        reload(&edge, &text(&origin, OVER_TCP, ""));
        check(None);
        assert!(edge.sockets("web").is_some_and(|s| s.iter().all(|a| !a.starts_with("udp:"))));
        assert!(try_http3(&addr).is_err(), "nobody is there");
        reload(&edge, &text(&origin, ALL, ""));
        check(Some(&said));
        assert_eq!(get(&try_http3(&addr).expect("it is back, at the same port"), "/"), 200);
    }
}

fn http3_is_spoken_alone(driver: Driver) {
    let origin = Origin::fine(Protocol::H1);
    let edge = start(driver, &text(&origin, ALONE, ""));
    let addr = edge.addr();
    assert_eq!(edge.client().get("/").status(), 200);
    assert!(Wire::try_connect(&addr).is_err(), "no TCP");
    assert_eq!(edge.sockets("web"), Some(vec![format!("udp:{addr}")]));
}

/// Half a download at a time.
fn in_halves() -> (Origin, std::sync::mpsc::Sender<()>) {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let origin = Origin::serving(Protocol::H1, move |served| {
        let slow = served.target() == "/slow";
        served.request()?;
        served.begin(200, &Vec::new(), None)?;
        served.send("first half, ")?;
        if slow {
            let _ = gate.lock().expect("nobody panics with it").recv_timeout(crate::harness::PATIENCE);
        }
        served.send("second half")?;
        served.finish(&Vec::new())
    });
    (origin, release)
}

fn removed_http3_finishes_what_is_in_flight(driver: Driver) {
    let (origin, release) = in_halves();
    // An address of its own: the port that UDP was given has to be free for TCP later, whatever others do meanwhile.
    let text = |protocols: &str| text(&origin, protocols, "").replace("127.0.0.1:0", "127.88.0.1:0");
    for (before, after) in [(ALL, OVER_TCP), (ALONE, OVER_TCP)] {
        let edge = start(driver, &text(before));
        let addr = edge.addr();
        let (client, idle) = (edge.client(), edge.client());
        assert_eq!(idle.get("/").text(), "first half, second half");
        let mut call = client.begin(Ask::get("/slow"));
        assert_eq!(call.head().status(), 200);
        assert_eq!(call.take(12), b"first half, ");
        reload(&edge, &text(after));
        client.wait_go_away().expect("GOAWAY while the answer is on its way");
        idle.wait_end().expect("an end in order");
        assert!(try_http3(&addr).is_err(), "a new connection is refused");
        release.send(()).expect("the origin waits");
        assert_eq!(call.take(11), b"second half");
        assert!(call.next().expect("the end").is_none());
        client.wait_end().expect("an end in order");
        eventually("no connection in the gauge", || {
            (edge.metrics().sum("edge_connections", &[("protocol", "h3")]) == 0.0).then_some(())
        });
    }
}

fn http3_comes_back_while_the_old_one_drains(driver: Driver) {
    let (origin, release) = in_halves();
    let edge = start(driver, &text(&origin, ALL, ""));
    let addr = edge.addr();
    let mut going = Vec::new();
    for _ in 0..3 {
        let client = edge.client();
        let mut call = client.begin(Ask::get("/slow"));
        assert_eq!(call.head().status(), 200);
        reload(&edge, &text(&origin, OVER_TCP, ""));
        client.wait_go_away().expect("GOAWAY");
        reload(&edge, &text(&origin, ALL, ""));
        // Beside the old ones.
        assert_eq!(get(&try_http3(&addr).expect("it is back"), "/new"), 200);
        going.push((client, call));
    }
    for (client, call) in going {
        release.send(()).expect("the origin waits");
        assert_eq!(call.response().text(), "first half, second half");
        client.wait_end().expect("an end in order");
    }
    assert_eq!(get(&try_http3(&addr).expect("it goes on"), "/last"), 200);
}

fn connections_stay_on_their_shards() {
    let origin = Origin::fine(Protocol::H1);
    let edge = Setup::over(over(Driver::IoUring)).shards(3).text(&text(&origin, ALL, "")).start();
    let clients: Vec<Client> = (0..20).map(|_| edge.client()).collect();
    for round in 0..3 {
        for (number, client) in clients.iter().enumerate() {
            assert_eq!(client.get(&format!("/{number}")).status(), 200, "round {round}");
        }
    }
    let lines = eventually("every line", || Some(edge.log()).filter(|l| l.len() == 60));
    let shards = |number: usize| -> Vec<u64> {
        let path = format!("/{number}");
        lines.iter().filter(|l| l["path"] == path.as_str()).filter_map(|l| l["shard"].as_u64()).collect()
    };
    let mut used = std::collections::BTreeSet::new();
    for number in 0..20 {
        let of = shards(number);
        assert!(of.len() == 3 && of.iter().all(|s| *s == of[0]), "one connection, one shard: {of:?}");
        used.insert(of[0]);
    }
    assert!(used.len() > 1, "20 connections and one shard: {used:?}");
}

fn changed_keys_hold_for_new_connections() {
    let origin = Origin::fine(Protocol::H1);
    let edge = start(Driver::IoUring, &text(&origin, ALL, ""));
    let old = edge.client();
    assert_eq!(old.get("/").status(), 200);
    reload(&edge, &text(&origin, ALL, "http3 = { max_concurrent_streams = 1 }"));
    assert_eq!(old.get("/").status(), 200, "a change of bounds ends no connection");
    let new = edge.client();
    assert_eq!(new.get("/").status(), 200);
    let one = new.http3().stream().expect("one stream");
    let second = new.http3().stream_within(Duration::from_millis(300));
    assert!(second.is_err(), "and no second one");
    one.reset(code::REQUEST_CANCELLED);
}
