//! Endpoints that are taken out of a pool, and put back, while requests go on.
use crate::harness::{
    Client, Edge, Origin, Pair, Reply, Setup,
    edge::{listener_text, pool_text},
    eventually,
};
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

crate::suite!("removal";
    each_downstream:
        nothing_fails_while_endpoints_come_and_go;
    some_pairs:
        what_is_in_flight_ends_and_what_is_idle_closes;
);

fn text(at: Pair, origins: &[&Origin]) -> String {
    listener_text("web", at.down, "")
        + &pool_text("app", origins, "balance = \"round_robin\"\n")
        + "[[route]]\nid = \"all\"\npool = \"app\"\n"
}

fn apply(edge: &Edge, at: Pair, origins: &[&Origin]) {
    edge.rewrite(&text(at, origins));
    let out = edge.reload();
    assert_eq!(out.code, 0, "{out:?}");
}

fn nothing_fails_while_endpoints_come_and_go(at: Pair) {
    let origins: Vec<Origin> = (0..3).map(|_| Origin::fine(at.up)).collect();
    let all: Vec<&Origin> = origins.iter().collect();
    let edge = Setup::over(at).shards(2).text(&text(at, &all)).start();
    let addr = edge.addr();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|s| {
        for _ in 0..6 {
            s.spawn(|| {
                let client = Client::connect(at.down, &addr);
                while !stop.load(Ordering::SeqCst) {
                    let got = client.get("/");
                    assert_eq!(got.status(), 200, "{got:?}");
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for turn in 0..12 {
                // One of them is missing in every second turn.
                let stays = |(i, _): &(usize, &&Origin)| turn % 2 == 1 || i % 3 != turn / 2 % 3;
                let present: Vec<&Origin> = all.iter().enumerate().filter(stays).map(|(_, o)| *o).collect();
                apply(&edge, at, &present);
                let before = done.load(Ordering::SeqCst);
                eventually("requests", || (done.load(Ordering::SeqCst) > before + 30).then_some(()));
            }
        }));
        stop.store(true, Ordering::SeqCst);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
    println!("{} requests", done.load(Ordering::SeqCst));
    assert_eq!(edge.metrics().sum("edge_errors_total", &[]), 0.0);
}

fn what_is_in_flight_ends_and_what_is_idle_closes(at: Pair) {
    let slow = Origin::serving(at.up, |served| {
        served.request()?;
        if served.target() == "/slow" {
            std::thread::sleep(Duration::from_millis(700));
        }
        served.reply(&Reply::new(200, "slow"))
    });
    let other = Origin::fine(at.up);
    let edge = Setup::over(at).text(&text(at, &[&slow])).start();
    let client = edge.client();
    assert_eq!(client.get("/").text(), "slow");
    let call = client.begin(crate::harness::Ask::get("/slow"));
    slow.wait_begun(2);
    apply(&edge, at, &[&other]);
    assert_eq!(client_of(&edge).get("/").text(), "ok", "the removed one gets nothing new");
    let got = call.response();
    assert_eq!((got.status(), got.text().as_str()), (200, "slow"));
    eventually("its connections are closed", || (slow.open() == 0).then_some(()));
    // It comes back as itself: what was counted of it goes on.
    apply(&edge, at, &[&slow]);
    assert_eq!(client_of(&edge).get("/").text(), "slow");
    let endpoint = slow.endpoint();
    let endpoint = endpoint.trim_matches('"');
    let labels = [("endpoint", endpoint), ("code_class", "2xx")];
    let counted = || edge.metrics().sum("edge_upstream_requests_total", &labels) == 3.0;
    eventually("three counted requests", || counted().then_some(()));
}

fn client_of(edge: &Edge) -> Client {
    edge.client()
}
