//! Many exchanges at once, and the ends of HTTP/2 streams and connections: nothing is lost that can be had again.
use crate::harness::{
    Ask, Call, Driver, Edge, Message, Origin, Pair, Protocol, Reply, Setup,
    edge::{Extra, listener_text},
    eventually,
    exchange::Fields,
    frames::Peer,
    http2::reason,
    served::Order,
};
use h2::Reason;
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

crate::suite!("streams";
    each_pair:
        a_hundred_at_once_both_ways,
        a_waiting_exchange_holds_up_no_other,
        cancelled_exchanges_leave_no_trace;
    to_h2:
        refused_streams_are_retried,
        refused_uploads_are_retried_if_nothing_was_sent,
        goaway_storm_costs_no_client_an_error,
        unprocessed_streams_are_sent_again,
        processed_posts_are_never_sent_twice,
        connections_that_fail_are_replaced,
        upstream_reset_mid_body_is_told_to_the_client;
    h1_to_h2:
        answer_that_is_whole_by_its_length_is_no_abort;
    from_streams:
        more_streams_than_the_pool_has_connections;
    once:
        streams_of_one_client_share_an_upstream_connection,
        lost_h2_connection_ends_only_its_own_streams,
);

fn none() -> Fields {
    Fields::new()
}

fn a_hundred_at_once_both_ways(at: Pair) {
    const COUNT: usize = 100;
    let all = Arc::new(Barrier::new(COUNT));
    let origin = Origin::serving(at.up, {
        let all = Arc::clone(&all);
        move |served| {
            let mut got = served.next()?.unwrap_or_default();
            // Nobody is answered before everybody is here.
            all.wait();
            while let Some(piece) = served.next()? {
                got.extend(piece);
            }
            served.reply(&Reply::new(200, got).field("X-Target", served.target()).streamed())
        }
    });
    let edge = Setup::pair_with(at, &origin, &PATIENT).start();
    let client = edge.client();
    let mut calls: Vec<Call> = (0..COUNT)
        .map(|i| {
            let mut call = client.begin(Ask::upload(&format!("/{i}"), None));
            call.send(format!("first of {i}, "));
            call
        })
        .collect();
    for (i, call) in calls.iter_mut().enumerate() {
        call.send(format!("last of {i}"));
        call.finish();
    }
    for (i, call) in calls.into_iter().enumerate() {
        let got = call.response();
        assert_eq!((got.status(), got.get("x-target")), (200, Some(format!("/{i}").as_str())));
        assert_eq!(got.text(), format!("first of {i}, last of {i}"));
    }
    assert!(origin.active_max() >= COUNT, "{} at once", origin.active_max());
    assert!(!at.up.http2() || origin.connections() <= 4, "{} connections for a hundred streams", origin.connections());
}

/// Handshakes by the hundred take their time on a busy machine.
const PATIENT: Extra<'_> = Extra {
    listener: "",
    pool: "timeouts = { connect = \"20s\", tls = \"20s\", first_byte = \"30s\" }",
    policy: "",
    route: "",
};

fn a_waiting_exchange_holds_up_no_other(at: Pair) {
    let origin = Origin::serving(at.up, |served| match served.target() {
        "/hold" => served.wait_cancel(),
        _ => served.answer(&Reply::new(200, "quick")),
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let held: Vec<Call> = (0..5).map(|_| client.begin(Ask::get("/hold"))).collect();
    eventually("five waiting", || (origin.active() == 5).then_some(()));
    for _ in 0..20 {
        assert_eq!(client.get("/quick").text(), "quick");
    }
    held.into_iter().for_each(Call::cancel);
    origin.wait_quiet();
}

fn cancelled_exchanges_leave_no_trace(at: Pair) {
    let origin = Origin::serving(at.up, |served| match served.target() {
        "/hold" => {
            served.begin(200, &none(), None)?;
            served.send("begun")?;
            served.wait_cancel()
        }
        _ => served.answer(&Reply::new(200, "fine")),
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for round in 0..20 {
        let mut call = client.begin(Ask::get("/hold"));
        if round % 2 == 0 {
            assert_eq!(call.head().status(), 200);
            assert_eq!(call.take(5), b"begun");
        }
        call.cancel();
        assert_eq!(client.get("/fine").text(), "fine", "round {round}");
    }
    origin.wait_quiet();
    eventually("no request in flight", || {
        (edge.metrics().sum("edge_http_requests_in_flight", &[]) == 0.0).then_some(())
    });
    assert!(!at.up.http2() || origin.connections() <= 2, "{} connections", origin.connections());
}

fn refused_streams_are_retried(at: Pair) {
    // Every third stream is refused: RFC 9113 8.7, it was not processed and may go again whatever its method is.
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(at.up, move |served| {
        if count.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            served.reset(Reason::REFUSED_STREAM);
            return Ok(());
        }
        served.answer(&Reply::new(200, "done"))
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for i in 0..30 {
        let got = match i % 2 {
            0 => client.get(&format!("/{i}")),
            _ => client.ask(Ask::new("POST", &format!("/{i}")).field("X-Money", "1")),
        };
        assert_eq!((got.status(), got.text().as_str()), (200, "done"), "{i}");
    }
}

fn refused_uploads_are_retried_if_nothing_was_sent(at: Pair) {
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(at.up, move |served| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            served.reset(Reason::REFUSED_STREAM);
            return Ok(());
        }
        let body = served.request()?.body;
        served.reply(&Reply::new(200, body))
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut call = client.begin(Ask::upload("/", None));
    origin.wait_begun(2);
    call.send("late body");
    call.finish();
    assert_eq!(call.response().text(), "late body");
}

fn goaway_storm_costs_no_client_an_error(at: Pair) {
    // Every connection is told to go away again and again while four clients ask on.
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(at.up, move |served| {
        let request = served.request()?;
        if count.fetch_add(1, Ordering::SeqCst) % 7 == 3 {
            served.order(Order::GoAway);
        }
        served.reply(&Reply::new(200, request.target()))
    });
    let edge = Setup::pair(at, &origin).shards(2).start();
    std::thread::scope(|s| {
        for c in 0..4 {
            let edge = &edge;
            s.spawn(move || {
                let client = edge.client();
                for i in 0..60 {
                    let target = format!("/{c}/{i}");
                    let ask = if i % 3 == 0 { Ask::post(&target, "body") } else { Ask::get(&target) };
                    let got = client.ask(ask);
                    assert_eq!((got.status(), got.text()), (200, target));
                }
            });
        }
    });
    assert!(origin.connections() > 10, "{} connections", origin.connections());
}

fn unprocessed_streams_are_sent_again(at: Pair) {
    // The first connections say GOAWAY with last stream 0 to whatever arrives: nothing was processed, not even a POST.
    let origin = Peer::going_away(at.up, 2);
    let text = listener_text("web", at.down, "") + &origin.pool_text("app") + ALL;
    let edge = Setup::over(at).text(&text).start();
    let client = edge.client();
    for ask in [Ask::new("POST", "/post").field("X-Money", "1"), Ask::get("/get")] {
        let got = client.ask(ask);
        assert_eq!((got.status(), got.text().as_str()), (200, "ok"), "{got:?}");
    }
    assert!(origin.connections() >= 3, "two that went away and one that stayed");
}

const ALL: &str = "[[route]]\nid = \"all\"\nmatch = { path_prefix = \"/\" }\npool = \"app\"\n";

fn processed_posts_are_never_sent_twice(at: Pair) {
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(at.up, move |served| {
        served.request()?;
        if count.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            served.reset(Reason::INTERNAL_ERROR);
            return Ok(());
        }
        served.reply(&Reply::new(200, "paid"))
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let paid = (0..60).filter(|i| client.ask(Ask::post(&format!("/{i}"), "payment")).status() == 200).count();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for request in origin.begun() {
        *seen.entry(request.target().to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "seen more than once: {twice:?}");
    assert_eq!((paid, seen.len()), (40, 60));
}

fn connections_that_fail_are_replaced(at: Pair) {
    let origin = Origin::serving(at.up, |served| match served.target() {
        "/fail" => {
            served.request()?;
            served.order(Order::Fail(Reason::ENHANCE_YOUR_CALM));
            served.wait_cancel()
        }
        _ => served.answer(&Reply::new(200, "fine")),
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for round in 0..3 {
        assert_eq!(client.ask(Ask::post("/fail", "x")).status(), 502, "round {round}");
        assert_eq!(client.get("/fine").text(), "fine", "round {round}");
    }
    assert!(origin.connections() >= 3, "{} connections", origin.connections());
}

/// The client has all that Content-Length promised and goes; END_STREAM is still to come, and no news to anybody.
fn answer_that_is_whole_by_its_length_is_no_abort(at: Pair) {
    let (gone, is_gone) = std::sync::mpsc::channel::<()>();
    let is_gone = std::sync::Mutex::new(is_gone);
    let origin = Origin::serving(at.up, move |served| {
        served.request()?;
        served.begin(200, &none(), Some(5))?;
        served.send("whole")?;
        let _ = is_gone.lock().expect("one exchange").recv();
        let _ = served.finish(&none());
        Ok(())
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    assert_eq!(client.get("/whole").text(), "whole");
    drop(client);
    let seen = || edge.metrics().sum("edge_connections", &[("listener", "web")]) == 0.0;
    eventually("the edge to see the client go", || seen().then_some(()));
    gone.send(()).expect("the origin waits");
    let line = edge.wait_log_path("/whole");
    assert_eq!((line["status"].as_u64(), line["category"].as_str()), (Some(200), None), "{line}");
}

fn upstream_reset_mid_body_is_told_to_the_client(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        if served.target() == "/whole" {
            return served.answer(&Reply::new(200, "whole"));
        }
        served.begin(200, &none(), None)?;
        served.send("some of it")?;
        // Only once the client has it: a reset overtakes data (RFC 9113 6.4).
        while !served.next()?.unwrap_or_default().ends_with(b"got it") {}
        served.reset(Reason::INTERNAL_ERROR);
        Ok(())
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for _ in 0..3 {
        let mut call = client.begin(Ask::upload("/cut", None));
        assert_eq!(call.head().status(), 200);
        assert_eq!(call.take(10), b"some of it");
        call.send("got it");
        let e = loop {
            match call.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a cut answer looks whole"),
                Err(e) => break e,
            }
        };
        assert_ne!(e.kind(), io::ErrorKind::TimedOut, "{e}");
        if at.down.multiplexed() {
            assert!(reason(&e).is_some_and(|r| r != Reason::NO_ERROR), "RST_STREAM with an error: {e}");
        }
        drop(call);
        assert_eq!(client.get("/whole").text(), "whole", "everybody else goes on");
    }
}

fn more_streams_than_the_pool_has_connections(at: Pair) {
    // Counted until just before the answer: what the edge opens once it has the answer is another one's place.
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, peak) = (Arc::clone(&now), Arc::clone(&most));
    let origin = Origin::serving(at.up, move |served| {
        peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
        inside.fetch_sub(1, Ordering::SeqCst);
        served.answer(&Reply::new(200, "ok"))
    });
    let pool = "max_connections = 2\nmax_waiting = 1000\nwait_timeout = \"20s\"\nmax_streams = 4\n";
    let edge = Setup::pair_with(at, &origin, &Extra { pool, ..Extra::default() }).start();
    let client = edge.client();
    let calls: Vec<Call> = (0..60).map(|i| client.begin(Ask::get(&format!("/{i}")))).collect();
    for call in calls {
        assert_eq!(call.response().status(), 200);
    }
    assert!(origin.open_max() <= 2, "{} connections", origin.open_max());
    let most = most.load(Ordering::SeqCst);
    assert!(most <= if at.up.http2() { 2 * 4 } else { 2 }, "{most} at once");
}

fn streams_of_one_client_share_an_upstream_connection() {
    let origin = Origin::fine(Protocol::H2c);
    let at = Pair { driver: Driver::IoUring, down: Protocol::H2c, up: Protocol::H2c };
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for _ in 0..3 {
        let calls: Vec<Call> = (0..50).map(|_| client.begin(Ask::get("/"))).collect();
        calls.into_iter().for_each(|c| assert_eq!(c.response().status(), 200));
    }
    assert!(origin.connections() <= 2, "{} connections for 50 streams", origin.connections());
}

fn lost_h2_connection_ends_only_its_own_streams() {
    let at = Pair { driver: Driver::IoUring, down: Protocol::H2, up: Protocol::H2c };
    let origin = Origin::serving(at.up, |served| match served.target() {
        "/cut" => {
            served.order(Order::Cut);
            served.wait_cancel()
        }
        _ => served.answer(&Reply::new(200, "fine")),
    });
    let edge: Edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for _ in 0..5 {
        let cut: Message = client.ask(Ask::post("/cut", "x"));
        assert_eq!(cut.status(), 502, "{cut:?}");
        let begun = Instant::now();
        assert_eq!(client.get("/fine").text(), "fine");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
