//! Much data and slow peers: bodies pass in flat memory, and whoever is slow holds back whoever sends to it.
use crate::harness::{
    Ask, Driver, Edge, Origin, Pair, Setup,
    edge::Extra,
    eventually,
    exchange::Fields,
    message::{Ends, Kind, ends},
    origin::answer,
    pattern,
    wire::timed_out,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

crate::suite!("flow";
    some_pairs:
        much_data_passes_in_flat_memory,
        slow_reader_holds_the_origin_back,
        slow_origin_holds_the_client_back;
    each_driver:
        upload_of_256_mib_in_flat_memory,
        download_of_256_mib_in_flat_memory;
);

const LARGE: usize = 256 << 20;
const UNLIMITED: Extra<'_> = Extra { listener: "", pool: "", policy: "max_body = \"off\"", route: "" };

/// Watches the edge's memory while `work` goes on and returns growth in KiB over the state before.
fn rss_growth(edge: &Edge, work: impl FnOnce(&mut dyn FnMut())) -> u64 {
    let before = edge.rss_kib();
    let mut most = before;
    work(&mut || most = most.max(edge.rss_kib()));
    most.max(edge.rss_kib()) - before
}

fn upload_of_256_mib_in_flat_memory(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        while let Some(head) = wire.head(Kind::Request)? {
            if let Ok(Ends::After(n)) = ends(&head, Kind::Request) {
                wire.skip(n)?;
            }
            wire.try_send(answer(200, "got it"))?;
        }
        Ok(())
    });
    let edge = Setup::proxy_with(driver, &origin, &UNLIMITED).start();
    let mut client = edge.connect();
    assert_eq!(client.get("/warm").status(), 200);
    let piece = pattern(1 << 20);
    let grown = rss_growth(&edge, |look| {
        client.send(format!("PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
        for _ in 0..LARGE / piece.len() {
            client.send(&piece);
            look();
        }
        assert_eq!(client.response().text(), "got it");
    });
    assert!(grown <= 4096, "memory grew by {grown} KiB");
    assert_eq!(edge.wait_log_path("/up")["bytes_in"].as_u64().map(|n| n >= LARGE as u64), Some(true));
}

fn download_of_256_mib_in_flat_memory(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        let piece = pattern(1 << 20);
        while let Some(request) = wire.request()? {
            if request.target() == "/warm" {
                wire.try_send(answer(200, "warm"))?;
                continue;
            }
            wire.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))?;
            for _ in 0..LARGE / piece.len() {
                wire.try_send(&piece)?;
            }
        }
        Ok(())
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    assert_eq!(client.get("/warm").status(), 200);
    let grown = rss_growth(&edge, |look| {
        client.send("GET /down HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head(Kind::Response).expect("an answer").expect("an answer");
        for _ in 0..LARGE >> 20 {
            client.skip(1 << 20).expect("the whole body");
            look();
        }
    });
    assert!(grown <= 4096, "memory grew by {grown} KiB");
    assert_eq!(client.get("/warm").status(), 200, "the connection goes on");
}

/// How much goes each way over every protocol.
const MUCH: usize = 48 << 20;
/// How far memory may grow: windows of HTTP/2, buffers of TLS, and the allocator's own.
const FLAT_KIB: u64 = 8192;

fn much_data_passes_in_flat_memory(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        let got = served.skip()?;
        let size = if served.target() == "/warm" { 10_000 } else { MUCH };
        served.begin(200, &vec![("X-Got".to_owned(), got.to_string().into_bytes())], Some(size))?;
        pattern(size).chunks(1 << 17).try_for_each(|piece| served.send(piece))?;
        served.finish(&Fields::new())
    });
    let edge = Setup::pair_with(at, &origin, &UNLIMITED).start();
    let client = edge.client();
    assert_eq!(client.ask(Ask::post("/warm", pattern(10_000))).body, pattern(10_000));
    let expected = pattern(MUCH);
    let grown = rss_growth(&edge, |look| {
        let mut call = client.begin(Ask::upload("/much", Some(MUCH)));
        for piece in expected.chunks(1 << 17) {
            call.send(piece);
            look();
        }
        call.finish();
        assert_eq!(call.head().get("x-got"), Some(MUCH.to_string().as_str()));
        let mut seen = 0;
        while let Some(piece) = call.next().expect("the whole body") {
            assert!(piece == expected[seen..seen + piece.len()], "changed at {seen}");
            seen += piece.len();
            look();
        }
        assert_eq!(seen, MUCH);
    });
    assert!(grown <= FLAT_KIB, "memory grew by {grown} KiB");
    assert_eq!(edge.client().ask(Ask::post("/warm", "x")).body.len(), 10_000);
}

/// Socket buffers of two loopback connections and windows may hold this much; the edge itself little of it.
const STUCK_BELOW: usize = 40 << 20;

fn slow_reader_holds_the_origin_back(at: Pair) {
    let sent = Arc::new(AtomicUsize::new(0));
    let origin = Origin::serving(at.up, {
        let sent = Arc::clone(&sent);
        move |served| {
            served.begin(200, &Fields::new(), None)?;
            let piece = pattern(64 << 10);
            loop {
                served.send(&piece)?;
                sent.fetch_add(piece.len(), Ordering::SeqCst);
            }
        }
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let before = edge.rss_kib();
    let mut call = client.begin(Ask::get("/slow"));
    assert_eq!(call.head().status(), 200);
    let stuck = wait_stuck(&sent);
    assert!(stuck < STUCK_BELOW, "the edge took {stuck} bytes for a client that reads nothing");
    let grown = edge.rss_kib().saturating_sub(before);
    assert!(grown <= FLAT_KIB, "memory grew by {grown} KiB");
    if at.down.multiplexed() {
        // Another stream of the same connection is not held back.
        let mut other = client.begin(Ask::get("/other"));
        assert_eq!(other.head().status(), 200);
        other.take(1000);
    }
    drop(call);
    drop(client);
    origin.wait_quiet();
}

/// Waits until a counter stands still for a while.
fn wait_stuck(count: &AtomicUsize) -> usize {
    let (mut last, mut since) = (0, Instant::now());
    eventually("the sender to get stuck", || {
        let now = count.load(Ordering::SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        assert!(now < 1 << 30, "{now} bytes and no end");
        (now > 0 && since.elapsed() > Duration::from_millis(600)).then_some(now)
    })
}

fn slow_origin_holds_the_client_back(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        served.next()?;
        // Reads nothing more until the edge goes away.
        served.wait_without_reading()
    });
    let edge = Setup::pair_with(at, &origin, &UNLIMITED).start();
    let client = edge.client();
    let before = edge.rss_kib();
    let mut call = client.begin(Ask::upload("/slow", None));
    call.patience(Duration::from_millis(600));
    let piece = pattern(64 << 10);
    let mut sent = 0;
    let stopped = loop {
        match call.try_send(&piece) {
            Ok(()) => sent += piece.len(),
            Err(e) => break e,
        }
        assert!(sent < STUCK_BELOW, "the edge took {sent} bytes for an origin that reads nothing");
    };
    assert!(timed_out(&stopped), "{stopped}");
    let grown = edge.rss_kib().saturating_sub(before);
    assert!(grown <= FLAT_KIB, "memory grew by {grown} KiB");
    drop(call);
    origin.wait_quiet();
}
