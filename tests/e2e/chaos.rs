//! Clients and origins that do everything at once: whatever breaks, nobody gets an answer meant for another.
use crate::harness::{
    Addr, Driver, Message, Origin, Setup,
    edge::Extra,
    message::{Ends, Kind, ends},
    origin::answer,
    wire::Wire,
};
use std::io;

crate::suite!("chaos";
    each_driver:
        answers_never_cross;
    once:
);

/// A small seeded generator, so that a failure can be had again.
pub struct Dice(pub u64);

impl Dice {
    /// From 0 to below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What an answer to this request must say: method, target, and a digest of the body.
pub fn word(method: &str, target: &str, body: &[u8]) -> String {
    let digest = body.iter().fold(7u32, |d, b| d.wrapping_mul(31).wrapping_add(u32::from(*b)));
    format!("{method} {target} {digest}")
}

/// Reads a request and answers as its path says. `false`: the connection ends.
fn serve(wire: &mut Wire) -> io::Result<bool> {
    let Some(head) = wire.head(Kind::Request)? else { return Ok(false) };
    if head.target().starts_with("/early") {
        wire.try_send(answer(403, &format!("early {}", head.target())))?;
        wire.finish();
        wire.read_to_close();
        return Ok(false);
    }
    let body = read_body(wire, &head)?;
    let text = word(head.method(), head.target(), &body);
    let kind = head.target().split('/').nth(1).unwrap_or("");
    let bytes = match (kind, head.method()) {
        (_, "HEAD") => format!("HTTP/1.1 200 OK\r\nX-Word: {text}\r\nContent-Length: 1000\r\n\r\n"),
        ("none", _) => format!("HTTP/1.1 204 No Content\r\nX-Word: {text}\r\n\r\n"),
        ("chunks", _) => {
            let (a, b) = text.split_at(3);
            format!(
                "HTTP/1.1 200 OK\r\nX-Word: {text}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n",
                b.len()
            )
        }
        ("until-close", _) => format!("HTTP/1.1 200 OK\r\nX-Word: {text}\r\nConnection: close\r\n\r\n{text}"),
        ("interim", _) => format!(
            "HTTP/1.1 103 Early Hints\r\nX-Word: wrong\r\n\r\nHTTP/1.1 200 OK\r\nX-Word: {text}\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        ),
        ("big", _) => {
            format!("HTTP/1.1 200 OK\r\nX-Word: {text}\r\nContent-Length: 600000\r\n\r\n{}", "b".repeat(600_000))
        }
        ("surplus", _) => format!(
            "HTTP/1.1 200 OK\r\nX-Word: {text}\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX-Word: poison\r\nContent-Length: 6\r\n\r\npoison"
        ),
        ("cut", _) => format!("HTTP/1.1 200 OK\r\nX-Word: {text}\r\nContent-Length: 50\r\n\r\ncut"),
        _ => format!("HTTP/1.1 200 OK\r\nX-Word: {text}\r\nContent-Length: {}\r\n\r\n{text}", text.len()),
    };
    wire.try_send(bytes)?;
    // A connection that is to go on does: an unannounced end could honestly fail a request with a body.
    Ok(head.method() == "HEAD" || !matches!(kind, "until-close" | "cut"))
}

fn read_body(wire: &mut Wire, head: &Message) -> io::Result<Vec<u8>> {
    match ends(head, Kind::Request) {
        Ok(Ends::After(n)) => wire.take(n),
        Ok(Ends::Chunked) => {
            let mut body = Vec::new();
            loop {
                let mut size = Vec::new();
                while !size.ends_with(b"\r\n") {
                    size.extend(wire.take(1)?);
                }
                let text = String::from_utf8_lossy(&size);
                let len = usize::from_str_radix(text.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
                let mut piece = wire.take(len + 2)?;
                piece.truncate(len);
                body.extend(piece);
                if len == 0 {
                    return Ok(body);
                }
            }
        }
        _ => Ok(Vec::new()),
    }
}

/// A request with its method, target and body.
fn request(dice: &mut Dice, who: &str, count: usize) -> (String, String, Vec<u8>, Vec<u8>) {
    let kinds = ["plain", "chunks", "none", "until-close", "interim", "surplus", "big"];
    let target = format!("/{}/{who}/{count}", kinds[dice.roll(kinds.len() as u64) as usize]);
    let body: Vec<u8> = (0..dice.roll(5_000)).map(|i| (i as u8) ^ (count as u8)).collect();
    let (method, framing) = match dice.roll(4) {
        0 => ("GET", String::new()),
        1 => ("HEAD", String::new()),
        2 => ("POST", format!("Content-Length: {}\r\n", body.len())),
        _ => ("PUT", "Transfer-Encoding: chunked\r\n".to_owned()),
    };
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: {who}\r\n{framing}\r\n").into_bytes();
    let sent = match method {
        "POST" => {
            bytes.extend_from_slice(&body);
            body
        }
        "PUT" => {
            for piece in body.chunks(1_111) {
                bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            body
        }
        _ => Vec::new(),
    };
    (method.to_owned(), target, sent, bytes)
}

/// The answer must be the one to this request, or an honest failure of the connection it shared.
fn check(got: &Message, method: &str, target: &str, body: &[u8]) {
    assert_eq!(
        got.status(),
        if target.starts_with("/none") && method != "HEAD" { 204 } else { 200 },
        "{method} {target}: {got:?}"
    );
    assert_eq!(got.get("x-word"), Some(word(method, target, body).as_str()), "{method} {target}: {got:?}");
}

fn client(addr: &Addr, who: &str, seed: u64) {
    let mut dice = Dice(seed);
    let mut wire = Wire::connect(addr);
    for count in 0..150 {
        match dice.roll(12) {
            // Goes away in the middle of a request, of an answer, or before it.
            0 => {
                let (_, _, _, bytes) = request(&mut dice, who, count);
                let _ = wire.try_send(&bytes[..bytes.len() / 2]);
                wire = Wire::connect(addr);
            }
            1 => {
                wire.send(format!("GET /big/{who}/{count} HTTP/1.1\r\nHost: a\r\n\r\n"));
                let _ = wire.take(dice.roll(100_000) as usize);
                if dice.roll(2) == 0 {
                    wire.reset_on_close();
                }
                wire = Wire::connect(addr);
            }
            // The origin answers before it has read the body, or cuts its answer.
            2 => {
                wire.send(format!("POST /early/{who}/{count} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx"));
                let got = wire.response();
                assert_eq!((got.status(), got.text()), (403, format!("early /early/{who}/{count}")));
                wire = Wire::connect(addr);
            }
            3 => {
                wire.send(format!("GET /cut/{who}/{count} HTTP/1.1\r\nHost: a\r\n\r\n"));
                assert!(
                    !wire.message(Kind::Response).is_ok_and(|m| m.is_some_and(|m| m.status() == 200)),
                    "a cut answer looks whole"
                );
                wire = Wire::connect(addr);
            }
            // Several at once.
            4 | 5 => {
                let all: Vec<_> = (0..3).map(|i| request(&mut dice, who, count * 1000 + i)).collect();
                let mut bytes = Vec::new();
                all.iter().for_each(|r| bytes.extend_from_slice(&r.3));
                let mut sender = wire.second();
                std::thread::scope(|s| {
                    s.spawn(move || sender.try_send(bytes));
                    all.iter().for_each(|r| receive(&mut wire, r));
                });
            }
            _ => {
                let r = request(&mut dice, who, count);
                wire.send(&r.3);
                receive(&mut wire, &r);
            }
        }
    }
}

fn receive(wire: &mut Wire, (method, target, body, _): &(String, String, Vec<u8>, Vec<u8>)) {
    let got = if method == "HEAD" { wire.response_to_head() } else { wire.response() };
    check(&got, method, target, body);
}

/// What a run begins with; `EDGE_TEST_SEED` has a failure again.
pub fn seed() -> u64 {
    std::env::var("EDGE_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x9e37_79b9_7f4a_7c15u64)
}

fn answers_never_cross(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        while serve(wire)? {}
        Ok(())
    });
    let extra = Extra { pool: "keepalive = 3", ..Extra::default() };
    let edge = Setup::proxy_with(driver, &origin, &extra).shards(2).start();
    let addr = edge.addr();
    let seed = seed();
    std::thread::scope(|s| {
        for c in 0..8u64 {
            let addr = &addr;
            s.spawn(move || client(addr, &format!("c{c}"), seed.wrapping_mul(0x9e37_79b9) ^ (c << 32 | c)));
        }
    });
    assert_eq!(edge.metrics().sum("edge_panics_total", &[]), 0.0);
    let served = origin.requests().len();
    assert!(served > 1_000, "only {served} requests reached the origin whole");
}
