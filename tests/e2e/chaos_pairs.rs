//! As `chaos`, over every pair of protocols: many exchanges at once on one client, some of which break, and no answer goes
//! to anybody but who asked.
use crate::chaos::{Dice, seed, word};
use crate::harness::{Ask, Call, Client, Message, Origin, Pair, Reply, Served, Setup, pattern};
use std::{io, time::Duration};

crate::suite!("chaos_pairs";
    each_pair:
        answers_never_cross;
);

/// How many clients there are, how many batches each asks, and how many at once in one.
const CLIENTS: u64 = 3;
const BATCHES: usize = 12;
const AT_ONCE: u64 = 6;

/// Answers as the path says.
fn serve(served: &mut Served<'_>) -> io::Result<()> {
    let target = served.target().to_owned();
    let kind = target.split('/').nth(1).unwrap_or("");
    if kind == "early" {
        let reply = Reply::new(403, format!("early {target}"));
        if served.is_http2() {
            served.reply(&reply)?;
            return served.skip().map(drop);
        }
        // An unannounced end could honestly fail the next request.
        served.reply(&reply.field("Connection", "close"))?;
        let _ = served.skip();
        return Ok(());
    }
    let request = served.request()?;
    let text = word(request.method(), &target, &request.body);
    let reply = Reply::new(200, &text).field("X-Word", &text);
    match kind {
        "none" => served.reply(&Reply::new(204, "").field("X-Word", &text)),
        "streamed" => served.reply(&reply.streamed().trailer("X-Sum", &text)),
        "interim" => served.reply(&reply.interim(103, "X-Word", "wrong")),
        "late" => {
            std::thread::sleep(Duration::from_millis(3));
            served.reply(&reply)
        }
        "big" => served.reply(&Reply { body: pattern(200_000), ..reply }),
        "cut" => {
            served.begin(200, &vec![("X-Word".to_owned(), text.into_bytes())], Some(100_000))?;
            served.send("cut")?;
            served.reset(h2::Reason::INTERNAL_ERROR);
            Ok(())
        }
        _ => served.reply(&reply),
    }
}

/// A call under way and what its answer must be.
struct Asked {
    call: Call,
    method: &'static str,
    target: String,
    body: Vec<u8>,
    /// Still to be sent.
    left: Vec<u8>,
}

fn begin(client: &Client, dice: &mut Dice, who: &str) -> Asked {
    let kinds = ["plain", "streamed", "none", "interim", "late", "big", "cut", "early"];
    let target = format!("/{}/{who}", kinds[dice.roll(kinds.len() as u64) as usize]);
    let body = pattern(dice.roll(30_000) as usize);
    let (method, ask) = match dice.roll(4) {
        0 => ("GET", Ask::get(&target)),
        1 => ("HEAD", Ask::new("HEAD", &target)),
        2 => ("POST", Ask::post(&target, &body)),
        _ => ("POST", Ask::upload(&target, None)),
    };
    let later = matches!(ask.body, crate::harness::exchange::Body::Later(_));
    let whole = matches!(ask.body, crate::harness::exchange::Body::Whole(_));
    let call = client.begin(ask);
    let left = if later { body.clone() } else { Vec::new() };
    Asked { call, method, target, body: if later || whole { body } else { Vec::new() }, left }
}

/// The answer must be the one to this request, or an honest failure of what is made to fail.
fn check(got: io::Result<Message>, method: &str, target: &str, body: &[u8]) {
    let kind = target.split('/').nth(1).unwrap_or("");
    let got = match got {
        Ok(got) => got,
        Err(e) => {
            assert!(matches!(kind, "cut" | "early") && e.kind() != io::ErrorKind::TimedOut, "{method} {target}: {e}");
            return;
        }
    };
    let word = word(method, target, body);
    let says = |w: &str| assert_eq!(got.get("x-word"), Some(w), "{method} {target}: {got:?}");
    match (kind, got.status()) {
        // An origin that stops reading may take the connection with it, so that nobody hears what it said.
        ("early" | "cut", 502) => {}
        ("early", 403) => assert!(method == "HEAD" || got.text() == format!("early {target}"), "{got:?}"),
        ("cut", 200) => {
            says(&word);
            assert_eq!(method, "HEAD", "a cut answer looks whole: {got:?}");
        }
        ("none", 204) => says(&word),
        (_, 200) => {
            says(&word);
            let body = if kind == "big" { pattern(200_000) } else { word.into_bytes() };
            assert!(method == "HEAD" || got.body == body, "{method} {target}: {got:?}");
        }
        _ => panic!("{method} {target}: {got:?}"),
    }
}

fn client(client: &Client, who: &str, seed: u64) {
    let mut dice = Dice(seed);
    for batch in 0..BATCHES {
        let count = 1 + dice.roll(AT_ONCE);
        let mut asked: Vec<Asked> =
            (0..count).map(|i| begin(client, &mut dice, &format!("{who}/{batch}/{i}"))).collect();
        // Pieces of all uploads take turns.
        while asked.iter().any(|a| !a.left.is_empty()) {
            for a in asked.iter_mut().filter(|a| !a.left.is_empty()) {
                let size = a.left.len().min(1 + dice.roll(9_000) as usize);
                let piece: Vec<u8> = a.left.drain(..size).collect();
                if a.call.try_send(piece).is_err() {
                    a.left.clear();
                }
            }
        }
        for mut a in asked {
            if matches!(dice.roll(8), 0) {
                a.call.cancel();
                continue;
            }
            a.call.try_finish();
            check(a.call.whole(), a.method, &a.target, &a.body);
        }
    }
}

fn answers_never_cross(at: Pair) {
    let origin = Origin::serving(at.up, serve);
    let edge = Setup::pair(at, &origin).shards(2).start();
    std::thread::scope(|s| {
        for c in 0..CLIENTS {
            let edge = &edge;
            s.spawn(move || {
                client(&edge.client(), &format!("c{c}"), seed().wrapping_mul(0x9e37_79b9) ^ (c << 32 | (c + 1)))
            });
        }
    });
    assert_eq!(edge.ended(), None, "still running");
    assert_eq!(edge.metrics().sum("edge_panics_total", &[]), 0.0);
}
