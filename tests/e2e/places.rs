//! Places of limits come back: from clients that go away, failures of every kind, upgrades, and over reloads.
use crate::harness::{
    Ask, Call, Client, Driver, Origin, PATIENCE, Pair, Protocol, Reply, Setup, Wire,
    edge::{Extra, listener_text, pool_text, proxy_text_over},
    eventually,
    exchange::Fields,
    room::{Ends, PATIENT, Room, asked, depth, endpoint_text, held, reload, tally, wait_depth},
    served::{Order, Served},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

crate::suite!("places";
    each_pair:
        whoever_goes_away_leaves_the_place_to_the_next;
    some_pairs:
        a_websocket_gives_its_place_back_when_it_is_open;
    each_upstream:
        no_place_is_lost_whatever_happens;
    each_driver:
        a_reload_moves_the_limit_under_those_who_wait,
        reloads_on_reloads_lose_nobody;
);

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
