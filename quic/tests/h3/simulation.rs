//! A client and a server with streams that are cut and delivered in any order: every message arrives as it was sent.
use crate::support::*;
use edge_quic::h3::{Limits, Own, RequestHead, Role, Stream, Uni, data_header};
use std::collections::BTreeMap;

/// A generator that follows from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 33) as usize % n
    }
}

/// One direction of one stream.
#[derive(Default)]
struct Pipe {
    bytes: Vec<u8>,
    fin: bool,
    done: bool,
}

/// One side with what is on its way to it.
struct End {
    side: Side,
    unis: [(Uni, Pipe); 3],
    streams: BTreeMap<u64, (Stream, Pipe, Run)>,
}

const OWN: [Own; 3] = [Own::Control, Own::Encoder, Own::Decoder];

impl End {
    fn new(role: Role, limits: &Limits) -> End {
        End { side: Side::with(role, limits), unis: Default::default(), streams: BTreeMap::new() }
    }

    /// Takes some bytes of some stream; the id of a request that is complete.
    fn take(&mut self, dice: &mut Dice) -> Option<u64> {
        let which = dice.roll(3 + self.streams.len());
        if which < 3 {
            let (uni, pipe) = &mut self.unis[which];
            let n = dice.roll(pipe.bytes.len() + 1);
            let bytes: Vec<u8> = pipe.bytes.drain(..n).collect();
            if n > 0 {
                self.side.uni(uni, &bytes).expect("a good peer");
            }
            while self.side.connection.next_control().is_some() {}
            while let Some(id) = self.side.connection.next_unblocked() {
                let (stream, _, run) = self.streams.get_mut(&id).expect("a stream");
                let event = self.side.connection.resume(stream, id, &mut self.side.head).expect("a good head");
                run.note(event.expect("it waited"), &[], &self.side.head);
            }
            return None;
        }
        let (&id, (stream, pipe, run)) = self.streams.iter_mut().nth(which - 3).expect("one of them");
        if pipe.done || stream.is_blocked() {
            return None;
        }
        let n = dice.roll(pipe.bytes.len() + 1);
        let fin = pipe.fin && n == pipe.bytes.len();
        let mut at = 0;
        loop {
            let input = &pipe.bytes[at..n];
            let step = self.side.connection.receive(stream, id, input, fin, 0, &mut self.side.head);
            let (taken, event) = step.expect("a good peer");
            let idle = event.is_none();
            if let Some(event) = event {
                run.note(event, input, &self.side.head);
            }
            at += taken;
            if idle {
                break;
            }
        }
        pipe.bytes.drain(..at);
        pipe.done = stream.is_done();
        pipe.done.then_some(id)
    }

    fn send_unis(&mut self, to: &mut End) {
        for (own, (_, pipe)) in OWN.into_iter().zip(&mut to.unis) {
            pipe.bytes.append(self.side.connection.out(own));
        }
    }
}

type Message = (String, Vec<(String, String)>, Vec<u8>, Option<String>);

/// A message with values that repeat, so that the tables are used.
fn message(dice: &mut Dice) -> Message {
    let names = ["x-one", "x-two", "user-agent", "accept", "authorization", "cookie", "x-three"];
    let fields = (0..dice.roll(6)).map(|_| {
        let name = names[dice.roll(names.len())];
        (name.to_owned(), format!("{}-{}", "value".repeat(1 + dice.roll(4)), dice.roll(3)))
    });
    let mut fields: Vec<_> = fields.collect();
    fields.dedup_by(|a, b| a.0 == b.0);
    fields.retain(|(name, _)| name != "cookie");
    let length = [0, 10, 5000][dice.roll(3)];
    let body = (0..length).map(|i| i as u8).collect();
    let trailer = (dice.roll(3) == 0).then(|| format!("sum-{}", dice.roll(4)));
    (format!("/path/{}", dice.roll(5)), fields, body, trailer)
}

/// What is told of a message when it has arrived.
fn expected(start: String, message: &Message) -> Vec<Seen> {
    let (_, fields, body, trailer) = message;
    let lines = fields.iter().map(|(n, v)| format!("{n}: {v}"));
    let mut seen = vec![Seen::Head(std::iter::once(start).chain(lines).collect::<Vec<_>>().join("\n"))];
    if !body.is_empty() {
        seen.push(Seen::Data(body.clone()));
    }
    seen.push(match trailer {
        Some(sum) => Seen::Trailers(format!("  \nx-sum: {sum}")),
        None => Seen::End,
    });
    seen
}

/// The body and the trailers behind a head.
fn write_rest(side: &mut Side, id: u64, message: &Message, dice: &mut Dice, out: &mut Vec<u8>) {
    let (_, _, body, trailer) = message;
    let mut rest = &body[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(1 + dice.roll(rest.len()));
        data_header(now.len() as u64, out);
        out.extend_from_slice(now);
        rest = later;
    }
    if dice.roll(3) == 0 {
        out.extend_from_slice(&frame(GREASE, &[7; 9]));
    }
    if let Some(sum) = trailer {
        side.connection.write_trailers(id, fields(&[("x-sum", sum)]), out);
    }
}

fn pairs(message: &Message) -> Vec<(&str, &str)> {
    message.1.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
}

fn simulate(seed: u64) {
    let mut dice = Dice(seed);
    let limits = Limits { table_bytes: [0, 220, 4096][dice.roll(3)], ..Limits::default() };
    let (mut client, mut server) = (End::new(Role::Client, &limits), End::new(Role::Server, &limits));
    let count = 60;
    let (mut requests, mut responses) = (BTreeMap::new(), BTreeMap::new());
    let mut next = 0;
    let mut finished = 0;
    for turn in 0.. {
        assert!(turn < 1_000_000, "nothing is stuck");
        if next < count * 4 && requests.len() < finished + 8 && dice.roll(3) == 0 {
            let (id, message) = (next, message(&mut dice));
            next += 4;
            let (mut stream, mut out) = (Stream::new(), Vec::new());
            let head = RequestHead {
                method: b"POST",
                scheme: b"https",
                authority: b"a.example",
                path: message.0.as_bytes(),
                protocol: None,
            };
            client.side.connection.write_request(&mut stream, id, &head, fields(&pairs(&message)), &mut out);
            write_rest(&mut client.side, id, &message, &mut dice, &mut out);
            client.streams.insert(id, (stream, Pipe::default(), Run::default()));
            server.streams.insert(id, (Stream::new(), Pipe { bytes: out, fin: true, done: false }, Run::default()));
            requests.insert(id, message);
        }
        client.send_unis(&mut server);
        server.send_unis(&mut client);
        if let Some(id) = server.take(&mut dice) {
            let (message, mut out) = (message(&mut dice), Vec::new());
            if dice.roll(4) == 0 {
                server.side.connection.write_response(id, 103, std::iter::empty(), &mut out);
            }
            server.side.connection.write_response(id, 200, fields(&pairs(&message)), &mut out);
            write_rest(&mut server.side, id, &message, &mut dice, &mut out);
            let pipe = &mut client.streams.get_mut(&id).expect("it asked").1;
            (pipe.bytes, pipe.fin) = (out, true);
            responses.insert(id, message);
        }
        finished += usize::from(client.take(&mut dice).is_some());
        if finished as u64 == count {
            break;
        }
    }
    for (id, message) in &requests {
        let seen = settled(&server.streams[id].2);
        assert_eq!(seen, expected(format!("POST a.example {}", message.0), message), "seed {seed}, request {id}");
        let mut seen = settled(&client.streams[id].2);
        if seen.first() == Some(&Seen::Head("103".into())) {
            seen.remove(0);
        }
        assert_eq!(seen, expected("200".into(), &responses[id]), "seed {seed}, response {id}");
    }
    assert_eq!(client.side.connection.limits_hit().iter().chain(&server.side.connection.limits_hit()).sum::<u32>(), 0);
}

/// What was seen, but for waits.
fn settled(run: &Run) -> Vec<Seen> {
    assert_eq!(run.error, None);
    run.seen.iter().filter(|seen| **seen != Seen::Blocked).cloned().collect()
}

#[test]
fn every_message_arrives_as_it_was_sent() {
    for seed in 0..40 {
        simulate(seed);
    }
}
