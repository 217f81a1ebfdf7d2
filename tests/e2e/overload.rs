//! More requests than there is room for: limits on those in flight, their queues, and who goes first there.
use crate::harness::{
    Ask, Call, Client, Driver, Origin, Pair, Protocol, Setup, Wire,
    edge::{Extra, listener_text, pool_text},
    eventually,
    room::{CLASSES, Room, asked, depth, endpoint_text, held, refused, tally, wait_depth},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

crate::suite!("overload";
    each_pair:
        an_endpoint_never_has_more_than_its_limit,
        those_who_wait_go_in_their_order;
    each_upstream:
        hedged_requests_keep_the_limit;
    each_driver:
        two_thousand_connections_share_fifty_places,
        whoever_waits_too_long_is_refused,
        a_route_has_a_limit_of_its_own,
        bulk_goes_last_in_every_queue,
        bulk_gives_its_place_in_a_full_queue_away;
);

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
        eventually("six wait", || (waits() >= before + 6.0).then_some(()));
        // Long enough for a second attempt of each, which waits like the first ones.
        std::thread::sleep(Duration::from_millis(300));
        let now: Vec<usize> = rooms.iter().map(|(_, room)| room.now()).collect();
        assert_eq!(now, [2, 2], "round {round}");
        rooms.iter().for_each(|(_, room)| room.free(round));
        assert_eq!(tally(&mut calls), (10, 0), "round {round}");
    }
    let metrics = edge.metrics();
    assert!(metrics.sum("edge_hedges_total", &[]) >= 1.0);
    assert_eq!(metrics.sum("edge_queue_depth", &[]), 0.0);
}
