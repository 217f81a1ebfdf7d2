//! Changing the configuration while connections of every kind go on.
use crate::harness::{
    Ask, Client, Driver, Edge, Origin, Pair, Reply, Setup, Wire,
    edge::{Extra, proxy_text, proxy_text_over},
    eventually,
    exchange::Fields,
};
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tungstenite::Message;

crate::suite!("reload";
    each_pair:
        requests_in_flight_keep_their_snapshot,
        removed_endpoints_are_let_go;
    some_pairs:
        reloads_under_load_lose_nothing,
        websockets_survive_reloads,
        fifty_reloads_leave_long_streams_alone;
    each_driver:
        reload_applies_and_prints_the_difference,
        sighup_applies,
        invalid_config_keeps_the_old_one,
        invalid_config_by_sighup_keeps_the_old_one,
        listeners_come_and_go,
        unchanged_listeners_keep_their_sockets,
        listener_that_cannot_be_opened_keeps_the_old_config,
        metrics_survive_reloads,
        every_shard_adopts;
);

/// A listener `web`, a pool of `origin`, and a route `/version` that says which text this is.
fn numbered(origin: &Origin, number: usize) -> String {
    proxy_text(origin, &Extra::default()) + &version_route(number)
}

fn numbered_over(at: Pair, origin: &Origin, number: usize) -> String {
    proxy_text_over(at.down, origin, &Extra::default()) + &version_route(number)
}

fn version_route(number: usize) -> String {
    format!("[[route]]\nid = \"v{number}\"\nmatch = {{ path = \"/version\" }}\nrespond = {{ body = \"{number}\" }}\n")
}

fn start_over(at: Pair, origin: &Origin, shards: usize) -> Edge {
    Setup::over(at).shards(shards).text(&numbered_over(at, origin, 0)).start()
}

fn applied_over(at: Pair, edge: &Edge, origin: &Origin, number: usize) {
    edge.rewrite(&numbered_over(at, origin, number));
    let out = edge.reload();
    assert_eq!(out.code, 0, "{out:?}");
}

fn start(driver: Driver, origin: &Origin, shards: usize) -> Edge {
    Setup::new(driver).shards(shards).text(&numbered(origin, 0)).start()
}

fn applied(edge: &Edge, origin: &Origin, number: usize) {
    edge.rewrite(&numbered(origin, number));
    let out = edge.reload();
    assert_eq!(out.code, 0, "{out:?}");
}

fn reload_applies_and_prints_the_difference(driver: Driver) {
    let origin = Origin::ok();
    let edge = start(driver, &origin, 2);
    let mut client = edge.connect();
    assert_eq!((edge.version(), client.get("/version").text().as_str()), (1, "0"));
    edge.rewrite(&numbered(&origin, 1));
    let out = edge.reload();
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stdout.contains("v0") && out.stdout.contains("v1"), "the difference names what changed: {out:?}");
    // It returns when every shard has acknowledged: the very next request sees it, on the old connection too.
    assert_eq!(client.get("/version").text(), "1");
    assert_eq!(edge.connect().get("/version").text(), "1");
    assert_eq!(edge.version(), 2);
}

fn sighup_applies(driver: Driver) {
    let origin = Origin::ok();
    let edge = start(driver, &origin, 2);
    let mut client = edge.connect();
    for number in 1..=3 {
        edge.rewrite(&numbered(&origin, number));
        edge.signal(Signal::HUP);
        eventually("the new config", || (client.get("/version").text() == number.to_string()).then_some(()));
    }
}

/// GETs on kept-alive and on new connections until told to stop, counts them, and panics at the first that fails.
fn load(client: impl Fn() -> Client, stop: &AtomicBool, done: &AtomicUsize, fresh: bool) {
    let mut one = client();
    while !stop.load(Ordering::SeqCst) {
        if fresh {
            one = client();
        }
        let got = one.get("/load");
        assert_eq!((got.status(), got.text().as_str()), (200, "ok"), "request {done:?}");
        assert!(!got.has("connection"), "request {done:?}: {got:?}");
        done.fetch_add(1, Ordering::SeqCst);
    }
}

fn reloads_under_load_lose_nothing(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = start_over(at, &origin, 2);
    let addr = edge.addr();
    let stop = AtomicBool::new(false);
    let done = AtomicUsize::new(0);
    std::thread::scope(|s| {
        for fresh in [false, false, true] {
            let (addr, stop, done) = (&addr, &stop, &done);
            s.spawn(move || load(|| Client::connect(at.down, addr), stop, done, fresh));
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 1..=10 {
                applied_over(at, &edge, &origin, number);
                let before = done.load(Ordering::SeqCst);
                eventually("requests between two reloads", || (done.load(Ordering::SeqCst) > before + 3).then_some(()));
            }
        }));
        stop.store(true, Ordering::SeqCst);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

fn fifty_reloads_leave_long_streams_alone(at: Pair) {
    let origin = Origin::serving(at.up, |served| match served.target() {
        "/echo" => {
            served.begin(200, &Fields::new(), None)?;
            while let Some(piece) = served.next()? {
                served.send(piece)?;
            }
            served.finish(&Fields::new())
        }
        _ => served.answer(&Reply::new(200, "ok")),
    });
    let edge = start_over(at, &origin, 2);
    let client = edge.client();
    let mut long: Vec<_> = (0..5).map(|_| client.begin(Ask::upload("/echo", None))).collect();
    for number in 1..=50 {
        applied_over(at, &edge, &origin, number);
        for (i, call) in long.iter_mut().enumerate() {
            call.send(format!("{number:02}-{i}"));
            if number == 1 {
                assert_eq!(call.head().status(), 200);
            }
            assert_eq!(String::from_utf8_lossy(&call.take(4)), format!("{number:02}-{i}"));
        }
        assert_eq!(client.get("/between").text(), "ok");
    }
    for mut call in long {
        call.finish();
        assert_eq!(call.next().expect("an end in order"), None);
    }
}

fn websockets_survive_reloads(at: Pair) {
    let origin = Origin::echoing(at.up);
    let edge = start_over(at, &origin, 2);
    let client = edge.client();
    let mut open: Vec<_> = (0..20).map(|_| client.websocket("/ws")).collect();
    for n in 1..=10 {
        edge.rewrite(&numbered_over(at, &origin, n));
        if n % 2 == 0 {
            let version = edge.version();
            edge.signal(Signal::HUP);
            eventually("the next version", || (edge.version() > version).then_some(()));
        } else {
            assert_eq!(edge.reload().code, 0);
        }
        for (i, ws) in open.iter_mut().enumerate() {
            ws.send(Message::text(format!("{n} {i}"))).expect("still open");
            assert_eq!(ws.read().expect("an echo").to_text().expect("text"), format!("{n} {i}"));
        }
    }
}

const BROKEN: &str =
    "[[listener]]\nname = \"web\"\naddres = [\"127.0.0.1:0\"]\n[[route]]\nid = \"x\"\npool = \"nowhere\"\n";

fn invalid_config_keeps_the_old_one(driver: Driver) {
    let origin = Origin::ok();
    let edge = start(driver, &origin, 2);
    let mut client = edge.connect();
    edge.rewrite(BROKEN);
    let out = edge.reload();
    assert_eq!(out.code, 3, "{out:?}");
    assert!(
        out.stderr.contains("addres") && out.stderr.contains("address") && out.stderr.contains("nowhere"),
        "all reasons: {out:?}"
    );
    assert_eq!((edge.version(), client.get("/version").text().as_str()), (1, "0"));
    let metrics = edge.metrics();
    assert!(metrics.has("edge_config_apply_total"));
    applied(&edge, &origin, 7);
    assert_eq!(client.get("/version").text(), "7", "and the next good one is taken");
}

fn invalid_config_by_sighup_keeps_the_old_one(driver: Driver) {
    let origin = Origin::ok();
    let edge = start(driver, &origin, 1);
    let mut client = edge.connect();
    let before = edge.stderr().len();
    edge.rewrite(BROKEN);
    edge.signal(Signal::HUP);
    edge.wait_stderr_from(before, "the reason", |l| l.contains("addres"));
    assert_eq!((edge.version(), client.get("/version").text().as_str()), (1, "0"));
    std::fs::remove_file(edge.config()).expect("the config file is there");
    edge.signal(Signal::HUP);
    edge.wait_stderr_from(before + 1, "the missing file", |l| l.to_lowercase().contains("no such file"));
    assert_eq!(client.get("/version").text(), "0");
}

fn listener_text(name: &str) -> String {
    format!("[[listener]]\nname = \"{name}\"\naddress = [\"127.0.0.1:0\"]\n")
}

fn listeners_come_and_go(driver: Driver) {
    let origin = Origin::ok();
    let edge = start(driver, &origin, 2);
    edge.rewrite(&(numbered(&origin, 0) + &listener_text("second")));
    assert_eq!(edge.reload().code, 0);
    let second = edge.listener("second").remove(0);
    for _ in 0..8 {
        assert_eq!(Wire::connect(&second).get("/version").text(), "0", "every shard listens");
    }
    let mut open = Wire::connect(&second);
    assert_eq!(open.get("/version").text(), "0");
    edge.rewrite(&numbered(&origin, 1));
    assert_eq!(edge.reload().code, 0);
    assert!(edge.find_listener("second").is_none(), "{}", edge.status());
    eventually("the second listener to be gone", || Wire::try_connect(&second).is_err().then_some(()));
    assert_eq!(edge.connect().get("/version").text(), "1");
}

fn unchanged_listeners_keep_their_sockets(driver: Driver) {
    let origin = Origin::ok();
    let edge = start(driver, &origin, 2);
    let addr = edge.addr();
    for number in 1..5 {
        applied(&edge, &origin, number);
        assert_eq!(edge.addr(), addr, "port 0 was resolved once");
    }
    // New limits of a listener hold without opening it anew.
    let limited = numbered(&origin, 9)
        .replace("address = [\"127.0.0.1:0\"]", "address = [\"127.0.0.1:0\"]\nlimits = { fields = 3 }");
    edge.rewrite(&limited);
    assert_eq!(edge.reload().code, 0);
    assert_eq!(edge.addr(), addr);
    assert_eq!(edge.connect().ask("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 1\r\nC: 1\r\n\r\n").status(), 431);
}

fn listener_that_cannot_be_opened_keeps_the_old_config(driver: Driver) {
    let origin = Origin::ok();
    let edge = start(driver, &origin, 2);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let second = listener_text("second").replace(":0\"", &format!(":{port}\""));
    edge.rewrite(&(numbered(&origin, 1) + &second));
    let out = edge.reload();
    assert_ne!(out.code, 0, "{out:?}");
    assert!(out.stderr.contains(&port.to_string()), "it says which address: {out:?}");
    assert_eq!(edge.connect().get("/version").text(), "0");
}

fn requests_in_flight_keep_their_snapshot(at: Pair) {
    let (go, turn) = std::sync::mpsc::channel::<()>();
    let turn = std::sync::Mutex::new(turn);
    let old = Origin::serving(at.up, move |served| {
        served.request()?;
        served.begin(200, &Fields::new(), Some(8))?;
        served.send("half")?;
        let _ = turn.lock().expect("one exchange").recv();
        served.send("done")?;
        served.finish(&Fields::new())
    });
    let new = Origin::replying(at.up, |_| Reply::new(200, "new"));
    let edge = start_over(at, &old, 1);
    let client = edge.client();
    let mut call = client.begin(Ask::get("/slow"));
    assert_eq!(call.head().status(), 200);
    edge.rewrite(&numbered_over(at, &new, 1));
    assert_eq!(edge.reload().code, 0);
    assert_eq!(edge.client().get("/x").text(), "new");
    go.send(()).expect("the origin waits");
    assert_eq!(call.response().text(), "halfdone");
    assert_eq!(client.get("/next").text(), "new", "the next request of the same connection uses the new one");
}

fn removed_endpoints_are_let_go(at: Pair) {
    let old = Origin::fine(at.up);
    let new = Origin::fine(at.up);
    let edge = start_over(at, &old, 2);
    for _ in 0..8 {
        assert_eq!(edge.client().get("/").status(), 200);
    }
    assert!(old.open() > 0, "idle connections are kept");
    edge.rewrite(&numbered_over(at, &new, 1));
    assert_eq!(edge.reload().code, 0);
    old.wait_idle();
}

fn metrics_survive_reloads(driver: Driver) {
    let origin = Origin::ok();
    let edge = start(driver, &origin, 2);
    let mut client = edge.connect();
    let all = |edge: &Edge| edge.metrics().sum("edge_http_requests_total", &[("route", "all")]);
    for n in 1..=5 {
        assert_eq!(client.get("/").status(), 200);
        applied(&edge, &origin, n);
        eventually("the counter", || (all(&edge) == n as f64).then_some(()));
    }
    assert_eq!(edge.metrics().faults(), Vec::<String>::new());
}

fn every_shard_adopts(driver: Driver) {
    let origin = Origin::ok();
    let edge = start(driver, &origin, 3);
    for n in 1..=5 {
        applied(&edge, &origin, n);
        let metrics = edge.metrics();
        assert_eq!(metrics.values("edge_config_version", "shard").len(), 3);
        assert_eq!(
            metrics.sum("edge_config_version", &[]),
            3.0 * (n + 1) as f64,
            "each shard serves version {}",
            n + 1
        );
    }
}
