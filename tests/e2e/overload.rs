//! More than there is room for: limits on requests in flight, their queues and classes, and shards that cannot keep up.
use crate::harness::{
    Ask, Call, Client, Driver, Edge, Origin, PATIENCE, Pair, Protocol, Reply, Setup, Wire,
    edge::{Extra, listener_text, pool_text, proxy_text, proxy_text_over},
    eventually,
    exchange::Fields,
    served::{Order, Served},
    wire::Addr,
};
use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

crate::suite!("overload";
    each_pair:
        an_endpoint_never_has_more_than_its_limit,
        those_who_wait_go_in_their_order,
        whoever_goes_away_leaves_the_place_to_the_next;
    some_pairs:
        a_websocket_gives_its_place_back_when_it_is_open;
    each_upstream:
        hedged_requests_keep_the_limit,
        no_place_is_lost_whatever_happens;
    each_driver:
        two_thousand_connections_share_fifty_places,
        whoever_waits_too_long_is_refused,
        a_route_has_a_limit_of_its_own,
        bulk_goes_last_in_every_queue,
        bulk_gives_its_place_in_a_full_queue_away,
        a_reload_moves_the_limit_under_those_who_wait,
        reloads_on_reloads_lose_nobody,
        a_shard_that_cannot_keep_up_refuses_bulk_and_recovers;
    once:
        a_limit_that_is_found_follows_its_origin;
);

/// A queue in which nobody's time is up before the test's.
const PATIENT: &str = "queue = 1000\nqueue_timeout = \"1m\"\n";

/// What is at an origin: each stays until it may end.
#[derive(Default)]
struct Room {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    now: usize,
    most: usize,
    may_end: usize,
    /// Targets that nobody stays for.
    free: Vec<String>,
    /// Targets in the order in which they came.
    order: Vec<String>,
}

impl Room {
    fn stay(&self, target: &str) {
        let mut inside = self.inside.lock().unwrap();
        inside.now += 1;
        inside.most = inside.most.max(inside.now);
        inside.order.push(target.to_owned());
        let is_free = |inside: &Inside| inside.free.iter().any(|free| free == target);
        let stays = |inside: &mut Inside| inside.may_end == 0 && !is_free(inside);
        let (mut inside, _) = self.changed.wait_timeout_while(inside, PATIENCE * 3, stays).unwrap();
        if !is_free(&inside) {
            inside.may_end = inside.may_end.saturating_sub(1);
        }
        // Before the answer: whoever comes because of it comes later.
        inside.now -= 1;
    }

    /// So many more may end.
    fn release(&self, count: usize) {
        self.inside.lock().unwrap().may_end += count;
        self.changed.notify_all();
    }

    /// All who come for this target may end, now and later.
    fn free(&self, target: &str) {
        self.inside.lock().unwrap().free.push(target.to_owned());
        self.changed.notify_all();
    }

    fn now(&self) -> usize {
        self.inside.lock().unwrap().now
    }

    /// The most there ever were.
    fn most(&self) -> usize {
        self.inside.lock().unwrap().most
    }

    fn order(&self) -> Vec<String> {
        self.inside.lock().unwrap().order.clone()
    }

    fn wait(&self, count: usize) {
        eventually(&format!("{count} at the origin"), || (self.now() == count).then_some(()));
    }
}

/// An origin with such a room.
fn held(protocol: Protocol) -> (Origin, Arc<Room>) {
    let room = Arc::new(Room::default());
    let inside = room.clone();
    let origin = Origin::replying(protocol, move |request| {
        inside.stay(request.target());
        Reply::new(200, "ok")
    });
    (origin, room)
}

/// A pool of one endpoint with keys of its own.
fn endpoint_text(origin: &Origin, keys: &str) -> String {
    format!(
        "[pool.app]\nendpoints = [{{ address = {}{}{keys} }}]\n{}timeouts = {{ connect = \"20s\", tls = \"20s\" }}\n\
         [[route]]\nid = \"all\"\npool = \"app\"\n",
        origin.endpoint(),
        if keys.is_empty() { "" } else { ", " },
        origin.pool_keys()
    )
}

fn depth(edge: &Edge, queue: &str) -> usize {
    edge.metrics().sum("edge_queue_depth", &[("queue", queue)]) as usize
}

fn wait_depth(edge: &Edge, queue: &str, count: usize) {
    eventually(&format!("{count} in the queue of the {queue}"), || (depth(edge, queue) == count).then_some(()));
}

fn refused(edge: &Edge, queue: &str, reason: &str) -> usize {
    edge.metrics().sum("edge_overload_rejected_total", &[("queue", queue), ("reason", reason)]) as usize
}

/// A connection of its own, so on any shard, that has asked.
fn asked(addr: &Addr, target: &str) -> Wire {
    let mut wire = Wire::connect(addr);
    wire.patience(PATIENCE * 3);
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    wire
}

/// How many were served, and how many were told to come back later. There is nothing else.
fn tally(clients: &mut [Wire]) -> (usize, usize) {
    let (mut served, mut later) = (0, 0);
    for client in clients {
        let got = client.response();
        match got.status() {
            200 => served += 1,
            503 => {
                assert_eq!(got.get("retry-after"), Some("1"), "{got:?}");
                later += 1;
            }
            _ => panic!("{got:?}"),
        }
    }
    (served, later)
}

fn reload(edge: &Edge, text: &str) {
    edge.rewrite(text);
    let done = edge.reload();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
}

fn two_thousand_connections_share_fifty_places(driver: Driver) {
    const CLIENTS: usize = 2000;
    let (origin, room) = held(Protocol::H1);
    let pool = "max_inflight = 50\nqueue = 100\nqueue_timeout = \"1m\"";
    let edge = Setup::proxy_with(driver, &origin, &Extra { pool, ..Extra::default() }).shards(8).start();
    let addr = edge.addr();
    let mut clients: Vec<Wire> = (0..CLIENTS).map(|_| asked(&addr, "/")).collect();
    eventually("all others are refused", || (refused(&edge, "pool", "queue_full") == CLIENTS - 150).then_some(()));
    assert_eq!((room.now(), depth(&edge, "pool")), (50, 100));
    room.release(150);
    assert_eq!(tally(&mut clients), (150, CLIENTS - 150));
    // Each looks again, among others or alone: what comes and goes does not leave the limit behind.
    room.release(CLIENTS);
    clients.iter_mut().for_each(|client| client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n"));
    let (served, later) = tally(&mut clients);
    assert_eq!(served + later, CLIENTS);
    assert_eq!(room.order().len(), 150 + served, "who was refused was never sent, who was served was sent once");
    assert_eq!(room.most(), 50);
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("edge_overload_rejected_total", &[]) as usize, CLIENTS - 150 + later);
    assert_eq!(metrics.sum("edge_errors_total", &[("category", "overloaded")]) as usize, CLIENTS - 150 + later);
    assert_eq!(metrics.sum("edge_queue_depth", &[]), 0.0);
    eventually("a line for each", || (edge.log().len() == 2 * CLIENTS).then_some(()));
    let told = edge.log().iter().filter(|line| line["category"] == "overloaded").count();
    assert_eq!(told, CLIENTS - 150 + later);
    assert_eq!(room.now(), 0);
}

fn whoever_waits_too_long_is_refused(driver: Driver) {
    let (origin, room) = held(Protocol::H1);
    let pool = "max_inflight = 5\nqueue = 100\nqueue_timeout = \"300ms\"";
    let edge = Setup::proxy_with(driver, &origin, &Extra { pool, ..Extra::default() }).shards(8).start();
    let addr = edge.addr();
    let mut first: Vec<Wire> = (0..5).map(|_| asked(&addr, "/first")).collect();
    room.wait(5);
    let begun = Instant::now();
    let mut others: Vec<Wire> = (0..40).map(|_| asked(&addr, "/other")).collect();
    assert_eq!(tally(&mut others), (0, 40));
    assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
    assert_eq!(refused(&edge, "pool", "queue_timeout"), 40);
    room.release(10);
    assert_eq!(tally(&mut first), (5, 0));
    assert_eq!(tally(&mut (0..5).map(|_| asked(&addr, "/next")).collect::<Vec<_>>()), (5, 0));
    assert_eq!(room.most(), 5);
}

fn an_endpoint_never_has_more_than_its_limit(at: Pair) {
    let (origin, room) = held(at.up);
    let keys = "max_inflight = 3, queue = 100, queue_timeout = \"1m\"";
    let text = listener_text("web", at.down, "") + &endpoint_text(&origin, keys);
    let edge = Setup::over(at).text(&text).shards(4).start();
    let clients: Vec<Client> = (0..5).map(|_| edge.client()).collect();
    let calls: Vec<Call> = clients.iter().flat_map(|client| (0..6).map(|_| client.begin(Ask::get("/")))).collect();
    wait_depth(&edge, "endpoint", 27);
    room.wait(3);
    room.release(30);
    calls.into_iter().for_each(|call| assert_eq!(call.response().status(), 200));
    assert_eq!((room.most(), room.order().len()), (3, 30));
    assert_eq!(edge.metrics().sum("edge_limit_hits_total", &[("limit", "endpoint_inflight")]), 27.0);
}

fn those_who_wait_go_in_their_order(at: Pair) {
    let (origin, room) = held(at.up);
    let keys = "max_inflight = 1, queue = 5, queue_timeout = \"1m\"";
    let text = listener_text("web", at.down, "") + &endpoint_text(&origin, keys);
    let edge = Setup::over(at).text(&text).start();
    let client = edge.client();
    let ask = |i: usize| client.begin(Ask::get(&format!("/{i}")));
    let mut calls = vec![ask(0)];
    room.wait(1);
    for i in 1..=5 {
        calls.push(ask(i));
        wait_depth(&edge, "endpoint", i);
    }
    assert_eq!(client.get("/one-too-many").status(), 503);
    room.release(6);
    calls.into_iter().for_each(|call| assert_eq!(call.response().status(), 200));
    assert_eq!(room.order(), ["/0", "/1", "/2", "/3", "/4", "/5"]);
    assert_eq!(room.most(), 1);
}

fn whoever_goes_away_leaves_the_place_to_the_next(at: Pair) {
    let (origin, room) = held(at.up);
    let keys = "max_inflight = 1, queue = 2, queue_timeout = \"1m\"";
    let text = listener_text("web", at.down, "") + &endpoint_text(&origin, keys);
    let edge = Setup::over(at).text(&text).start();
    let client = edge.client();
    let ask = |target: &str| client.begin(Ask::get(target));
    let first = ask("/first");
    room.wait(1);
    let second = ask("/second");
    wait_depth(&edge, "endpoint", 1);
    let third = ask("/third");
    wait_depth(&edge, "endpoint", 2);
    second.cancel();
    wait_depth(&edge, "endpoint", 1);
    first.cancel();
    wait_depth(&edge, "endpoint", 0);
    eventually("the third at the origin", || (room.order().len() == 2).then_some(()));
    room.release(2);
    assert_eq!(third.response().status(), 200);
    assert_eq!(room.order(), ["/first", "/third"]);
    assert_eq!(edge.metrics().sum("edge_overload_rejected_total", &[]), 0.0, "who goes away is not refused");
}

/// Ends as its target says; those at `/held` stay.
fn whatever(served: &mut Served<'_>, room: &Room) -> std::io::Result<()> {
    match served.target() {
        "/reset" => {
            served.request()?;
            served.reset(h2::Reason::INTERNAL_ERROR);
            Ok(())
        }
        "/cut" => {
            served.request()?;
            served.order(Order::Cut);
            if served.is_http2() { served.wait_cancel() } else { Ok(()) }
        }
        "/silent" => served.wait_cancel(),
        // The rest never comes.
        "/half" => {
            served.request()?;
            served.begin(200, &Fields::new(), Some(1000))?;
            served.send("half")
        }
        "/503" => served.answer(&Reply::new(503, "no")),
        "/held" => {
            served.request()?;
            room.stay("/held");
            served.reply(&Reply::new(200, "ok"))
        }
        _ => served.answer(&Reply::new(200, "ok")),
    }
}

fn no_place_is_lost_whatever_happens(at: Pair) {
    let room = Arc::new(Room::default());
    let inside = room.clone();
    let origin = Origin::serving(at.up, move |served| whatever(served, &inside));
    let policy = "max_inflight = 5\nqueue = 1000\nqueue_timeout = \"1m\"\n\
                  retry = { attempts = 3, backoff = \"1ms\", on = [\"connect\", \"reset\", \"timeout\", \"503\"], budget_burst = 1000 }";
    let text = |first_byte: &str| {
        let pool = format!(
            "max_inflight = 5\n{PATIENT}timeouts = {{ connect = \"20s\", tls = \"20s\", first_byte = \"{first_byte}\" }}"
        );
        let extra = Extra { policy, pool: &pool, ..Extra::default() };
        let limited = format!("{{ address = {}, max_inflight = 5, queue = 1000 }}", origin.endpoint());
        proxy_text_over(at.down, &origin, &extra).replace(&format!("[{}]", origin.endpoint()), &format!("[{limited}]"))
    };
    let edge = Setup::over(at).text(&text("100ms")).shards(3).start();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let edge = &edge;
            scope.spawn(move || {
                let paths = ["/reset", "/200", "/cut", "/silent", "/half", "/503", "/200"];
                for path in paths.iter().cycle().skip(client).take(3 * paths.len()) {
                    // Some have an answer, some an error, some are given up by their client.
                    let call = edge.client().begin(Ask::get(path));
                    match *path == "/silent" && client % 2 == 0 {
                        true => call.cancel(),
                        false => _ = call.whole(),
                    }
                }
            });
        }
    });
    reload(&edge, &text("1m"));
    for _ in 0..2 {
        let before = room.order().len();
        let clients: Vec<Client> = (0..9).map(|_| edge.client()).collect();
        let calls: Vec<Call> = clients.iter().map(|client| client.begin(Ask::get("/held"))).collect();
        wait_depth(&edge, "route", 4);
        room.wait(5);
        room.release(9);
        calls.into_iter().for_each(|call| assert_eq!(call.response().status(), 200));
        assert_eq!(room.order().len(), before + 9);
    }
    assert_eq!(room.most(), 5);
    assert_eq!(edge.metrics().sum("edge_queue_depth", &[]), 0.0);
}

fn a_route_has_a_limit_of_its_own(driver: Driver) {
    let (origin, room) = held(Protocol::H1);
    let text = listener_text("web", Protocol::H1, "")
        + &pool_text("app", &[&origin], "")
        + "[policy.narrow]\nmax_inflight = 2\nqueue = 3\nqueue_timeout = \"1m\"\n\
           [[route]]\nid = \"a\"\nmatch = { path_prefix = \"/a\" }\npool = \"app\"\npolicy = \"narrow\"\n\
           [[route]]\nid = \"b\"\nmatch = { path_prefix = \"/b\" }\npool = \"app\"\npolicy = \"narrow\"\n\
           [[route]]\nid = \"rest\"\npool = \"app\"\n";
    let edge = Setup::new(driver).text(&text).shards(4).start();
    let addr = edge.addr();
    let mut all: Vec<Wire> = ["/a", "/b"].iter().flat_map(|at| (0..10).map(|_| asked(&addr, at))).collect();
    eventually("ten are refused", || (refused(&edge, "route", "queue_full") == 10).then_some(()));
    assert_eq!((room.now(), depth(&edge, "route")), (4, 6));
    let order = room.order();
    assert_eq!(order.iter().filter(|target| *target == "/a").count(), 2, "{order:?}");
    let mut rest: Vec<Wire> = (0..20).map(|_| asked(&addr, "/rest")).collect();
    room.wait(24);
    room.release(30);
    assert_eq!(tally(&mut rest), (20, 0));
    assert_eq!(tally(&mut all), (10, 10));
    assert_eq!(edge.metrics().sum("edge_limit_hits_total", &[("limit", "route_inflight")]), 16.0);
}

/// Routes of each class to one pool.
const CLASSES: &str = "[policy.critical]\npriority = \"critical\"\nretry = \"off\"\n\
     [policy.bulk]\npriority = \"bulk\"\nretry = \"off\"\n[policy.normal]\nretry = \"off\"\n\
     [[route]]\nid = \"critical\"\nmatch = { path_prefix = \"/critical\" }\npool = \"app\"\npolicy = \"critical\"\n\
     [[route]]\nid = \"bulk\"\nmatch = { path_prefix = \"/bulk\" }\npool = \"app\"\npolicy = \"bulk\"\n\
     [[route]]\nid = \"normal\"\npool = \"app\"\npolicy = \"normal\"\n";

fn classes_text(origin: &Origin, endpoint: &str, pool: &str) -> String {
    let endpoints = format!("{{ address = {}{endpoint} }}", origin.endpoint());
    listener_text("web", Protocol::H1, "") + &format!("[pool.app]\nendpoints = [{endpoints}]\n{pool}\n{CLASSES}")
}

fn bulk_goes_last_in_every_queue(driver: Driver) {
    let cases = [
        ("pool", "", "max_inflight = 1\nqueue_timeout = \"1m\""),
        ("endpoint", ", max_inflight = 1, queue_timeout = \"1m\"", ""),
        ("connection", "", "max_connections = 1\nwait_timeout = \"1m\""),
    ];
    for (queue, endpoint, pool) in cases {
        let (origin, room) = held(Protocol::H1);
        let edge = Setup::new(driver).text(&classes_text(&origin, endpoint, pool)).start();
        let addr = edge.addr();
        let mut all = vec![asked(&addr, "/first")];
        room.wait(1);
        let came = ["/bulk/1", "/normal/1", "/bulk/2", "/critical/1", "/normal/2", "/critical/2"];
        for (i, target) in came.iter().enumerate() {
            all.push(asked(&addr, target));
            wait_depth(&edge, queue, i + 1);
        }
        room.release(7);
        assert_eq!(tally(&mut all), (7, 0), "{queue}");
        let wanted = ["/first", "/critical/1", "/critical/2", "/normal/1", "/normal/2", "/bulk/1", "/bulk/2"];
        assert_eq!(room.order(), wanted, "{queue}");
    }
}

fn bulk_gives_its_place_in_a_full_queue_away(driver: Driver) {
    let cases = [
        ("pool", "", "max_inflight = 1\nqueue = 2\nqueue_timeout = \"1m\""),
        ("endpoint", ", max_inflight = 1, queue = 2, queue_timeout = \"1m\"", ""),
        ("connection", "", "max_connections = 1\nmax_waiting = 2\nwait_timeout = \"1m\""),
    ];
    for (queue, endpoint, pool) in cases {
        let (origin, room) = held(Protocol::H1);
        let edge = Setup::new(driver).text(&classes_text(&origin, endpoint, pool)).start();
        let addr = edge.addr();
        let mut served = vec![asked(&addr, "/first")];
        room.wait(1);
        let mut lost: Vec<Wire> = (1..3)
            .map(|i| {
                let wire = asked(&addr, &format!("/bulk/{i}"));
                wait_depth(&edge, queue, i);
                wire
            })
            .collect();
        served.push(asked(&addr, "/normal"));
        assert_eq!(tally(&mut lost[1..]), (0, 1), "{queue}: who came last goes first");
        served.push(asked(&addr, "/critical"));
        assert_eq!(tally(&mut lost[..1]), (0, 1), "{queue}");
        assert_eq!(
            tally(&mut [asked(&addr, "/bulk/3"), asked(&addr, "/normal/2")]),
            (0, 2),
            "{queue}: nobody is below"
        );
        room.release(3);
        assert_eq!(tally(&mut served), (3, 0), "{queue}");
        assert_eq!(room.order(), ["/first", "/critical", "/normal"], "{queue}");
        assert_eq!((refused(&edge, queue, "displaced"), refused(&edge, queue, "queue_full")), (2, 2), "{queue}");
    }
}

fn a_websocket_gives_its_place_back_when_it_is_open(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        if served.target() != "/ws" {
            return served.answer(&Reply::new(200, "ok"));
        }
        let tunnel = served.tunnel()?;
        let mut ws = tungstenite::WebSocket::from_raw_socket(tunnel, tungstenite::protocol::Role::Server, None);
        while let Ok(message) = ws.read() {
            if (message.is_text() || message.is_binary()) && ws.send(message).is_err() {
                break;
            }
        }
        ws.get_mut().finish();
        Ok(())
    });
    let text = listener_text("web", at.down, "")
        + &endpoint_text(&origin, "max_inflight = 1, queue = 0")
            .replace("[[route]]", "max_inflight = 1\nqueue = 0\n[policy.one]\nmax_inflight = 1\nqueue = 0\n[[route]]")
        + "policy = \"one\"\n";
    let edge = Setup::over(at).text(&text).start();
    let client = edge.client();
    let mut open: Vec<_> = (0..3).map(|_| client.websocket("/ws")).collect();
    for ws in &mut open {
        assert_eq!(client.get("/beside").status(), 200);
        ws.send(tungstenite::Message::text("still here")).expect("sent");
        assert_eq!(ws.read().expect("an echo").to_text().expect("text"), "still here");
    }
    drop(open);
    assert_eq!(client.get("/after").status(), 200);
}

fn hedged_requests_keep_the_limit(at: Pair) {
    let rooms: Vec<(Origin, Arc<Room>)> = (0..2).map(|_| held(at.up)).collect();
    let endpoints = rooms.iter().map(|(origin, _)| {
        format!("{{ address = {}, max_inflight = 2, queue = 100, queue_timeout = \"1m\" }}", origin.endpoint())
    });
    let endpoints: Vec<String> = endpoints.collect();
    let text = listener_text("web", at.down, "")
        + &format!(
            "[pool.app]\nendpoints = [{}]\n{}timeouts = {{ connect = \"20s\", tls = \"20s\" }}\noutlier = \"off\"\n\
             [policy.api]\nhedge = {{ after = \"20ms\", budget = \"100%\" }}\n\
             [[route]]\nid = \"all\"\npool = \"app\"\npolicy = \"api\"\n",
            endpoints.join(", "),
            rooms[0].0.pool_keys()
        );
    let edge = Setup::over(at).text(&text).shards(2).start();
    let addr = edge.addr();
    // Successes, which hedges are a share of.
    rooms.iter().for_each(|(_, room)| room.free("/"));
    (0..40).for_each(|_| assert_eq!(edge.client().get("/").status(), 200));
    let waits = || edge.metrics().sum("edge_limit_hits_total", &[("limit", "endpoint_inflight")]);
    for round in ["/1", "/2", "/3"] {
        let before = waits();
        let mut calls: Vec<Wire> = (0..10).map(|_| asked(&addr, round)).collect();
        eventually("six wait, and others beside those who do not", || (waits() >= before + 8.0).then_some(()));
        // Long enough for a second attempt of each; where they went, there is no room either.
        std::thread::sleep(Duration::from_millis(200));
        let now: Vec<usize> = rooms.iter().map(|(_, room)| room.now()).collect();
        assert_eq!(now, [2, 2], "round {round}");
        rooms.iter().for_each(|(_, room)| room.free(round));
        assert_eq!(tally(&mut calls), (10, 0), "round {round}");
    }
    let metrics = edge.metrics();
    assert!(metrics.sum("edge_hedges_total", &[]) >= 1.0);
    assert_eq!(metrics.sum("edge_queue_depth", &[]), 0.0);
}

fn a_reload_moves_the_limit_under_those_who_wait(driver: Driver) {
    let (origin, room) = held(Protocol::H1);
    let text = |limit: &str| {
        listener_text("web", Protocol::H1, "")
            + &pool_text("app", &[&origin], limit)
            + "[[route]]\nid = \"all\"\npool = \"app\"\n"
    };
    let limited = |max: usize| text(&format!("max_inflight = {max}\n{PATIENT}"));
    let edge = Setup::new(driver).text(&limited(4)).shards(4).start();
    let addr = edge.addr();
    let mut all: Vec<Wire> = (0..40).map(|_| asked(&addr, "/")).collect();
    wait_depth(&edge, "pool", 36);
    reload(&edge, &limited(2));
    room.release(2);
    room.wait(2);
    std::thread::sleep(Duration::from_millis(100)); // in which nobody is to come
    assert_eq!((room.now(), depth(&edge, "pool")), (2, 36), "those in flight end before others begin");
    room.release(1);
    wait_depth(&edge, "pool", 35);
    room.wait(2);
    assert_eq!(room.most(), 4);
    reload(&edge, &limited(10));
    room.wait(10);
    wait_depth(&edge, "pool", 27);
    assert_eq!(room.most(), 10);
    // Without the limit nobody waits any more.
    reload(&edge, &text(""));
    room.wait(37);
    assert_eq!(depth(&edge, "pool"), 0);
    reload(&edge, &limited(3));
    room.release(37);
    assert_eq!(tally(&mut all), (40, 0));
    let mut next: Vec<Wire> = (0..20).map(|_| asked(&addr, "/")).collect();
    wait_depth(&edge, "pool", 17);
    assert_eq!(room.now(), 3);
    room.release(20);
    assert_eq!(tally(&mut next), (20, 0));
}

fn reloads_on_reloads_lose_nobody(driver: Driver) {
    let (origin, room) = held(Protocol::H1);
    room.free("/go");
    let patient = PATIENT.replace('\n', ", ");
    let text = |pool: &str, endpoint: &str, policy: &str| {
        let text = endpoint_text(&origin, endpoint)
            .replace("[[route]]", &format!("{pool}\n[policy.api]\n{policy}\n[[route]]"));
        listener_text("web", Protocol::H1, "") + &text + "policy = \"api\"\n"
    };
    let inline = |max: usize| format!("max_inflight = {max}, {}", patient.trim_end_matches(", "));
    let lines = |max: usize| format!("max_inflight = {max}\n{PATIENT}");
    let texts = [
        text(&lines(2), "", ""),
        text("", "", ""),
        text(&lines(1), &inline(1), &lines(1)),
        text("", &inline(3), ""),
        text("", "", &lines(2)),
        text(&format!("adaptive = true\n{PATIENT}"), "", ""),
        text(&lines(3), &inline(4), &lines(5)),
    ];
    let edge = Setup::new(driver).text(&texts[1]).shards(4).start();
    let (addr, stop, answered) = (edge.addr(), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        for _ in 0..16 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let mut client = Wire::connect(&addr);
                    client.patience(PATIENCE);
                    (0..20).for_each(|_| assert_eq!(client.get("/go").status(), 200));
                    answered.fetch_add(20, Relaxed);
                }
            });
        }
        for text in texts.iter().cycle().take(4 * texts.len()) {
            let before = answered.load(Relaxed);
            reload(&edge, text);
            eventually("answers go on", || (answered.load(Relaxed) > before + 100).then_some(()));
        }
    });
    // The last of them has 3 places.
    let mut calls: Vec<Wire> = (0..12).map(|_| asked(&addr, "/held")).collect();
    wait_depth(&edge, "route", 7);
    wait_depth(&edge, "pool", 2);
    room.wait(3);
    room.release(12);
    assert_eq!(tally(&mut calls), (12, 0));
    assert_eq!(edge.metrics().sum("edge_queue_depth", &[]), 0.0);
}

/// Asks for `target` without a pause, so much at once on each of its connections that a turn of the loop takes long.
fn flood(addr: &Addr, target: &str, stop: &AtomicBool, refused: &AtomicUsize) {
    const AT_ONCE: usize = 100;
    let requests = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(AT_ONCE);
    let mut all: Vec<Wire> = (0..64).map(|_| Wire::connect(addr)).collect();
    while !stop.load(Relaxed) {
        all.iter_mut().for_each(|wire| wire.send(&requests));
        for wire in &mut all {
            for _ in 0..AT_ONCE {
                refused.fetch_add(usize::from(wire.response().status() == 503), Relaxed);
            }
        }
    }
}

fn a_shard_that_cannot_keep_up_refuses_bulk_and_recovers(driver: Driver) {
    let respond = "respond = { status = 200, body = \"ok\" }";
    let text = listener_text("web", Protocol::H1, "") + &CLASSES.replace("pool = \"app\"", respond);
    let edge = Setup::new(driver).server("protect", "{ lag = \"10ms\" }").text(&text).start();
    let addr = edge.addr();
    let (mut critical, mut bulk) = (Wire::connect(&addr), Wire::connect(&addr));
    assert_eq!((critical.get("/critical").status(), bulk.get("/bulk").status()), (200, 200));
    let shed = |class: &str| edge.metrics().sum("edge_shed_total", &[("priority", class)]);
    let recovered: Vec<Duration> = ["/bulk", "/normal", "/bulk"]
        .into_iter()
        .map(|round| {
            let (stop, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                let floods: Vec<_> = (0..2).map(|_| scope.spawn(|| flood(&addr, round, &stop, &refused))).collect();
                let _ends = Ends(&stop);
                eventually("some are refused", || (refused.load(Relaxed) > 0).then_some(()));
                for _ in 0..20 {
                    assert_eq!(critical.get("/critical").status(), 200, "round {round}");
                    assert_eq!(edge.admin_get("/ready").status(), 200, "round {round}");
                }
                stop.store(true, Relaxed);
                floods.into_iter().for_each(|flood| flood.join().expect("every request is answered"));
            });
            let begun = Instant::now();
            eventually("nothing is refused any more", || {
                let refused = edge.metrics().sum("edge_shedding_ratio", &[]);
                (refused == 0.0 && bulk.get("/bulk").status() == 200).then_some(())
            });
            begun.elapsed()
        })
        .collect();
    // Once at least: others on this machine may keep it from its turn, too.
    assert!(recovered.iter().any(|took| *took < Duration::from_secs(1)), "{recovered:?}");
    assert_eq!(Wire::connect(&addr).get("/normal").status(), 200, "it accepts again");
    assert!(shed("bulk") > 0.0 && shed("normal") > 0.0);
    assert_eq!(shed("critical"), 0.0);
    let line = edge.wait_log("a refused request", |line| line["status"] == 503);
    assert_eq!(line["category"], "overloaded", "{line}");
    assert!(edge.log().iter().all(|line| line["status"] == 200 || line["route"] != "critical"));
}

/// Floods end with the test, however that ends.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// An origin with so many hands: others wait there for one.
struct Workshop {
    hands: Mutex<usize>,
    changed: Condvar,
}

impl Workshop {
    fn work(&self) {
        let free = self.hands.lock().unwrap();
        *self.changed.wait_while(free, |free| *free == 0).unwrap() -= 1;
        std::thread::sleep(Duration::from_millis(10));
        self.add(1);
    }

    fn add(&self, hands: usize) {
        *self.hands.lock().unwrap() += hands;
        self.changed.notify_all();
    }

    /// Takes hands away, each when it is free.
    fn remove(&self, hands: usize) {
        for _ in 0..hands {
            let free = self.hands.lock().unwrap();
            *self.changed.wait_while(free, |free| *free == 0).unwrap() -= 1;
        }
    }
}

fn a_limit_that_is_found_follows_its_origin() {
    let workshop = Arc::new(Workshop { hands: Mutex::new(200), changed: Condvar::new() });
    let works = workshop.clone();
    let origin = Origin::replying(Protocol::H1, move |_| {
        works.work();
        Reply::new(200, "ok")
    });
    let pool = "adaptive = { max = 60, probe_every = \"1h\" }\nqueue = 1000\nqueue_timeout = \"1m\"";
    let edge = Setup::proxy_with(Driver::Epoll, &origin, &Extra { pool, ..Extra::default() }).shards(2).start();
    let addr = edge.addr();
    let limit = || edge.metrics().sum("edge_pool_concurrency_limit", &[("pool", "app")]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        for _ in 0..60 {
            scope.spawn(|| {
                let mut client = Wire::connect(&addr);
                client.patience(PATIENCE * 3);
                while !stop.load(Relaxed) {
                    assert_eq!(client.get("/").status(), 200);
                }
            });
        }
        eventually("room for most of them", || (limit() >= 40.0).then_some(()));
        workshop.remove(196);
        eventually("room for few", || (limit() <= 20.0).then_some(()));
        workshop.add(196);
        eventually("room for most of them again", || (limit() >= 40.0).then_some(()));
    });
    reload(&edge, &proxy_text(&origin, &Extra::default()));
    eventually("the limit is gone", || (limit() == 0.0).then_some(()));
}
