//! What one exchange leaves behind for the next: nothing, however it ended.
use crate::harness::{
    Driver, Edge, Message, Origin, PATIENCE, Setup, Wire, eventually,
    message::{Kind, every},
    origin::{answer, answer_with},
    pattern,
    wire::timed_out,
};
use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

crate::suite!("aftermath";
    each_driver:
        upload_cut_off_while_blocked_spoils_no_later_request,
        download_cut_off_while_blocked_spoils_no_later_answer,
        late_surplus_answers_nobody,
        surplus_behind_a_full_read_answers_nobody;
    once:
);

/// Everything goes to `good`, only `/bad` to the other one. Both share the buffers of the only shard.
fn beside(driver: Driver, good: &Origin, bad: &Origin) -> Edge {
    let text = format!(
        "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n\
         [pool.good]\nendpoints = [{}]\n[pool.bad]\nendpoints = [{}]\n[policy.large]\nmax_body = \"off\"\n\
         [[route]]\nid = \"good\"\nmatch = {{ path_prefix = \"/\" }}\npool = \"good\"\n\
         [[route]]\nid = \"bad\"\nmatch = {{ path = \"/bad\" }}\npool = \"bad\"\npolicy = \"large\"\n",
        good.endpoint(),
        bad.endpoint()
    );
    Setup::new(driver).shards(1).text(&text).start()
}

/// More than the socket buffers on the way hold.
const ENOUGH: usize = 64 << 20;

/// `total` bytes in chunks of `size`, ready to be sent; without the last chunk.
fn chunked(total: usize, size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pattern(total).chunks(size) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Sends chunks of `size` until the peer takes no more for a while.
fn send_until_stuck(wire: &mut Wire, size: usize) {
    wire.patience(Duration::from_millis(500));
    let chunks = chunked(1 << 20, size);
    for _ in 0..ENOUGH >> 20 {
        match wire.try_send(&chunks) {
            Ok(()) => {}
            Err(e) if timed_out(&e) => return wire.patience(PATIENCE),
            Err(e) => panic!("sending: {e}"),
        }
    }
    panic!("{ENOUGH} bytes went to somebody who reads none of them");
}

/// A message without what differs from one to the next.
fn plain(m: &Message) -> Message {
    let mut m = m.clone();
    m.fields
        .retain(|(name, _)| !["x-request-id", "x-request-start", "date"].contains(&name.to_ascii_lowercase().as_str()));
    m
}

/// GETs and POSTs after the accident; each must reach the origin as `before` did.
fn requests_arrive_exactly(edge: &Edge, origin: &Origin, before: &Message) {
    let known = origin.requests().len();
    let mut client = edge.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/plain").text(), "good");
    }
    let body = pattern(30_000);
    let mut chunks = chunked(body.len(), 77);
    chunks.extend_from_slice(b"0\r\n\r\n");
    client.send("POST /chunked HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    chunks.chunks(1_000).for_each(|piece| client.send(piece));
    assert_eq!(client.response().text(), "good");
    client.send(format!("POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len()));
    body.chunks(500).for_each(|piece| client.send(piece));
    assert_eq!(client.response().text(), "good");

    let all = origin.requests().split_off(known);
    let (gets, posts) = all.split_at(20);
    gets.iter().for_each(|got| assert_eq!(plain(got), *before));
    assert_eq!(posts.iter().map(Message::target).collect::<Vec<_>>(), ["/chunked", "/length"]);
    assert!(posts.iter().all(|p| p.body == body), "a body that is not the one sent");
    for bytes in origin.received() {
        let (_, rest) = every(&bytes, Kind::Request).expect("well-formed requests");
        assert!(rest.is_empty(), "stray bytes at the origin: {:?}", String::from_utf8_lossy(&rest));
    }
}

fn upload_cut_off_while_blocked_spoils_no_later_request(driver: Driver) {
    let (stuck, is_stuck) = mpsc::channel();
    let is_stuck = Mutex::new(is_stuck);
    let bad = Origin::scripted(move |wire, _| {
        wire.head(Kind::Request)?;
        // Reads no more: the edge is left with the rest of a write.
        let _ = is_stuck.lock().expect("one upload at a time").recv_timeout(PATIENCE * 2);
        wire.try_send(answer_with(413, "Connection: close\r\n", b"too much"))
    });
    let good = Origin::answering(|_| answer(200, "good"));
    let edge = beside(driver, &good, &bad);
    edge.connect().get("/plain");
    let before = plain(&good.requests()[0]);
    for size in [1_000, 4_096] {
        let mut client = edge.connect();
        client.send("POST /bad HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        send_until_stuck(&mut client, size);
        stuck.send(()).expect("the origin waits");
        let got = client.response();
        assert_eq!((got.status(), got.text().as_str()), (413, "too much"));
        requests_arrive_exactly(&edge, &good, &before);
    }
}

fn download_cut_off_while_blocked_spoils_no_later_answer(driver: Driver) {
    let (stuck, is_stuck) = mpsc::channel();
    let stuck = Mutex::new(stuck);
    let bad = Origin::scripted(move |wire, _| {
        wire.request()?;
        wire.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        send_until_stuck(wire, 4_096);
        let _ = stuck.lock().expect("one download at a time").send(());
        wire.read_to_close();
        Ok(())
    });
    let body = pattern(5_000);
    let good = Origin::answering({
        let body = body.clone();
        move |r| match r.target() {
            "/chunked" => {
                let chunks = [chunked(body.len(), 77), b"0\r\n\r\n".to_vec()].concat();
                [b"HTTP/1.1 200 OK\r\nX-Kept: yes\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), chunks].concat()
            }
            _ => answer_with(200, "X-Kept: yes\r\n", &body),
        }
    });
    let edge = beside(driver, &good, &bad);
    let targets = ["/length", "/chunked"];
    let before = targets.map(|target| plain(&edge.connect().get(target)));
    assert!(before.iter().all(|m| m.body == body));
    for round in 1..=2 {
        let mut client = edge.connect();
        client.send("GET /bad HTTP/1.1\r\nHost: test\r\n\r\n");
        client.head(Kind::Response).expect("a head").expect("a head");
        is_stuck.recv_timeout(PATIENCE * 2).expect("the origin gets stuck");
        drop(client);
        eventually("the log to tell of it", || {
            (edge.log().iter().filter(|l| l["path"] == "/bad").count() == round).then_some(())
        });
        for _ in 0..10 {
            let mut client = edge.connect();
            for (target, before) in targets.iter().zip(&before) {
                assert_eq!(plain(&client.get(target)), *before);
            }
            assert!(client.unread().is_empty());
        }
    }
}

const POISON: &[u8] = b"HTTP/1.1 200 OK\r\nX-Target: poison\r\nContent-Length: 6\r\n\r\npoison";

/// Answers with the target in a field; HEAD too.
fn named(r: &Message, body: &str) -> Vec<u8> {
    let mut out = answer_with(200, &format!("X-Target: {}\r\n", r.target()), body.as_bytes());
    if r.method() == "HEAD" {
        out.truncate(out.len() - body.len());
    }
    out
}

fn late_surplus_answers_nobody(driver: Driver) {
    let (answered, is_answered) = mpsc::channel();
    let (sent, is_sent) = mpsc::channel();
    let hands = Mutex::new((is_answered, sent));
    let origin = Origin::scripted(move |wire, _| {
        while let Some(request) = wire.request()? {
            wire.try_send(named(&request, "complete"))?;
            if request.target() == "/surplus" {
                // In a segment of its own, once the answer is through.
                let hands = hands.lock().expect("one surplus at a time");
                let _ = hands.0.recv_timeout(PATIENCE);
                let surplus = if request.has("x-body") { &b"complete"[..] } else { POISON };
                let done = wire.try_send(surplus);
                let _ = hands.1.send(());
                done?;
            }
        }
        Ok(())
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    let mut ask = |method: &str, target: &str, fields: &str| {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let got = if method == "HEAD" { client.response_to_head() } else { client.response() };
        assert_eq!((got.status(), got.get("x-target")), (200, Some(target)), "{method} {target}: {got:?}");
    };
    for (method, fields) in [("GET", ""), ("HEAD", ""), ("HEAD", "X-Body: yes\r\n")] {
        for (next, length) in [("GET", ""), ("HEAD", ""), ("POST", "Content-Length: 0\r\n")] {
            for count in 0..5 {
                ask(method, "/surplus", fields);
                answered.send(()).expect("the origin waits");
                is_sent.recv_timeout(PATIENCE).expect("the surplus is sent");
                ask(next, &format!("/{next}/{count}"), length);
            }
        }
    }
}

fn surplus_behind_a_full_read_answers_nobody(driver: Driver) {
    // The answer ends where the edge's read does, so that the surplus is still in the kernel when the answer is through
    // and the next request, already there, looks for a connection.
    let origin = Origin::answering(|r| {
        let size: usize = r.target().trim_start_matches('/').parse().unwrap_or(0);
        let empty = named(r, &"x".repeat(size)).len() - size;
        let mut out = named(r, &"x".repeat(size.saturating_sub(empty)));
        if size > 0 {
            assert_eq!(out.len(), size);
            out.extend_from_slice(POISON);
        }
        out
    });
    let edge = Setup::proxy(driver, &origin).start();
    for size in [16 << 10, 80 << 10] {
        for next in ["GET", "POST"] {
            let mut client = edge.connect();
            client.send(format!(
                "GET /{size} HTTP/1.1\r\nHost: a\r\n\r\n{next} /next HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
            ));
            assert_eq!(client.response().get("x-target"), Some(format!("/{size}").as_str()));
            assert_eq!(client.response().get("x-target"), Some("/next"), "{next} after {size} bytes");
        }
    }
}
