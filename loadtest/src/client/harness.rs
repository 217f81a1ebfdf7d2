//! For tests: one shard that drives connections to a server of the test's, without what a whole run has around that.
use super::{Ended, Parts, Shard, Span, h2, sse, testing, tls, ws};
use crate::{
    pace::Pace,
    plan::{Address, Exchange, Load, Plan, Protocol},
    record::{Fault, Interval},
};
use edge_io::{clock::monotonic_us, ring::Driver, runtime, stream::Stream, tasks, tcp, timer::Timer};
use std::{
    cell::Cell,
    future::poll_fn,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::{Arc, mpsc},
    task::Poll,
    thread::JoinHandle,
    time::Duration,
};

/// A plan for one connection to a server: requests of `GET /` by HTTP/2, until the test's time is over.
pub fn plan(server: SocketAddr) -> Plan {
    let mut plan = testing::plan(server);
    (plan.protocol, plan.body_max, plan.expect.status) = (Protocol::H2, 16 << 20, (200, 299));
    plan.origins[0].requests[0].target = "/".into();
    plan
}

/// What a shard's connections came to: the record, and how the last of them ended.
pub struct Came {
    /// What was recorded.
    pub record: Box<Interval>,
    /// Ends of connections, in order.
    pub ends: Vec<Ended>,
}

impl Came {
    /// How often a fault was counted.
    pub fn faults(&self, fault: Fault) -> u64 {
        self.record.counts.faults.get(&fault).copied().unwrap_or(0)
    }

    /// All faults with their counts.
    pub fn all_faults(&self) -> Vec<(Fault, u64)> {
        self.record.counts.faults.iter().map(|(fault, n)| (*fault, *n)).collect()
    }

    /// Answers.
    pub fn answered(&self) -> u64 {
        self.record.counts.answered
    }
}

/// Runs it until its requests are through, its time is over, or `ends` connections have ended.
pub fn run(plan: Plan, ends: usize) -> Came {
    let (tell, told) = mpsc::channel();
    let thread = runtime::spawn_shard(0, None, Driver::Epoll, move |local| async move {
        let now = monotonic_us();
        let start_us = now + plan.warmup.as_micros() as u64;
        let span = Span { begin_us: now, start_us, end_us: start_us + plan.duration.as_micros() as u64 };
        let pace = match plan.load {
            Load::Closed => None,
            Load::Open { rate, arrivals } => Some(Pace::new(rate, arrivals, (0, 1), plan.seed, span.begin_us)),
        };
        let alpn: &[&[u8]] = if plan.protocol == Protocol::H2 { &[b"h2"] } else { &[b"http/1.1"] };
        let tls = Arc::new(tls::config(&plan.tls, alpn).unwrap());
        let requests = plan.requests.map(|n| n.get());
        let plan = Arc::new(plan);
        let parts = Parts { local, plan, span, tls, paces: vec![pace], requests };
        let shard = Shard::new(parts).unwrap();
        tasks::spawn(shard.clone().pace());
        let ended = Rc::new(Cell::new(Vec::new()));
        let running = Rc::new(Cell::new(shard.plan.connections));
        for _ in 0..shard.plan.connections {
            let (shard, ended, running) = (shard.clone(), ended.clone(), running.clone());
            tasks::spawn(async move {
                poll_fn(|cx| {
                    shard.attend(cx);
                    Poll::Ready(())
                })
                .await;
                for _ in 0..ends {
                    let end = connect_and_drive(&shard).await;
                    let mut all = ended.take();
                    all.push(end);
                    ended.set(all);
                    if shard.is_over() {
                        break;
                    }
                }
                running.set(running.get() - 1);
                if running.get() == 0 {
                    shard.finish();
                }
            });
        }
        let timer = Timer::new(&shard.local.timers);
        while running.get() > 0 {
            timer.set(Duration::from_millis(5));
            timer.fired().await;
            if shard.now() > shard.span.end_us {
                shard.finish();
            }
        }
        let _ = tell.send(Came { record: shard.swap(Box::new(Interval::new())), ends: ended.take() });
    });
    let came = told.recv().expect("the shard's end");
    thread.unwrap().join().unwrap();
    came
}

async fn connect_and_drive(shard: &Rc<Shard>) -> Ended {
    let origin = &shard.plan.origins[0];
    let Address::Ip(address) = origin.addresses[0] else { panic!("an address") };
    let tcp = tcp::Stream::connect(&shard.local.reactor, &address.into()).await.unwrap();
    let stream = Stream::from(tcp);
    shard.connected(1, None, false, shard.now());
    match (&shard.plan.exchange, shard.plan.protocol) {
        (_, Protocol::H2) => h2::drive(shard, 0, &stream).await,
        (Exchange::WebSocket { size }, _) => ws::drive(shard, 0, &stream, *size).await,
        (Exchange::Events, _) => sse::drive(shard, 0, &stream).await,
        (Exchange::Requests, _) => panic!("not tested here"),
    }
}

/// A server that says what a script says: each connection in turn is handed to `script`, with its number. Ends when as many
/// came as `connections`.
pub fn server(
    connections: usize,
    mut script: impl FnMut(usize, TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        for n in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            script(n, stream);
        }
    });
    (address, thread)
}

/// Reads until the peer closes.
pub fn read_to_end(stream: &mut TcpStream) {
    let mut rest = [0; 4096];
    while matches!(stream.read(&mut rest), Ok(1..)) {}
}

/// Reads an HTTP/1.1 head.
pub fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Writes, whether or not anyone reads.
pub fn say(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}
