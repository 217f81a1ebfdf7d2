//! A UDP relay between a client and the edge with weather of its own: what becomes of packet n is a matter of its seed.
use socket2::{Domain, Socket, Type};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Per mille of the packets, unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Decides everything below, packet by packet.
    pub seed: u64,
    /// Never arrive.
    pub loss: u64,
    /// Arrive twice.
    pub duplicate: u64,
    /// Arrive late, behind some of those that were sent after them.
    pub reorder: u64,
    /// Arrive, and so does a copy with some bits turned over.
    pub mutate: u64,
    /// Each direction.
    pub delay: Duration,
    /// Longer packets never arrive, bytes.
    pub mtu: usize,
}

impl Weather {
    /// Everything arrives, at once.
    pub fn fair() -> Weather {
        Weather { seed: 0, loss: 0, duplicate: 0, reorder: 0, mutate: 0, delay: Duration::ZERO, mtu: 65_535 }
    }
}

/// What became of the packets, both directions together.
#[derive(Default, Debug)]
pub struct Counts {
    /// Came.
    pub came: AtomicU64,
    /// Lost by the weather.
    pub lost: AtomicU64,
    /// Longer than the path takes.
    pub too_long: AtomicU64,
    /// Doubled.
    pub doubled: AtomicU64,
    /// Held back.
    pub late: AtomicU64,
    /// Forged copies.
    pub mutated: AtomicU64,
    /// Outgoing ports so far.
    pub ports: AtomicU64,
}

struct Shared {
    counts: Counts,
    stop: AtomicBool,
    /// How many times the outgoing ports were to change.
    rebinds: AtomicU64,
    mtu: AtomicUsize,
}

/// A relay in a thread of its own, until dropped.
pub struct Relay {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// In front of `to`, on a free port of the same address.
    pub fn start(to: SocketAddr, weather: Weather) -> Relay {
        let front = socket(to.ip());
        let addr = front.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            counts: Counts::default(),
            stop: AtomicBool::new(false),
            rebinds: AtomicU64::new(0),
            mtu: AtomicUsize::new(weather.mtu),
        });
        let mut running = Running {
            front,
            to,
            weather,
            shared: Arc::clone(&shared),
            flows: Vec::new(),
            rebinds: 0,
            numbers: [0; 2],
            waiting: BinaryHeap::new(),
            sequence: 0,
        };
        let thread = std::thread::spawn(move || running.run());
        Relay { addr, shared, thread: Some(thread) }
    }

    /// Where clients send to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What became of the packets so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// From now on packets go on from another port, and what comes to the old one is lost: a NAT forgot.
    pub fn rebind(&self) {
        self.shared.rebinds.fetch_add(1, SeqCst);
    }

    /// From now on packets longer than this are lost, bytes.
    pub fn shrink(&self, mtu: usize) {
        self.shared.mtu.store(mtu, SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A UDP socket on a free port of this address that can hold a burst.
pub fn socket(ip: IpAddr) -> UdpSocket {
    let addr = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), None).expect("a socket");
    let _ = socket.set_recv_buffer_size(4 << 20);
    let _ = socket.set_send_buffer_size(4 << 20);
    socket.bind(&addr.into()).expect("a free port");
    socket.into()
}

/// One client address, and what stands for it towards the edge.
struct Flow {
    client: SocketAddr,
    back: UdpSocket,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: Instant,
    sequence: u64,
    /// To the edge; else to the client.
    up: bool,
    client: SocketAddr,
    data: Vec<u8>,
}

struct Running {
    front: UdpSocket,
    to: SocketAddr,
    weather: Weather,
    shared: Arc<Shared>,
    flows: Vec<Flow>,
    rebinds: u64,
    /// Packets so far, from clients and from the edge.
    numbers: [u64; 2],
    waiting: BinaryHeap<Reverse<Waiting>>,
    sequence: u64,
}

impl Running {
    fn run(&mut self) {
        let mut room = vec![0; 65_536];
        while !self.shared.stop.load(SeqCst) {
            self.wait();
            if self.rebinds != self.shared.rebinds.load(SeqCst) {
                self.rebinds = self.shared.rebinds.load(SeqCst);
                for flow in &mut self.flows {
                    flow.back = back(&self.shared, self.to);
                }
            }
            for _ in 0..64 {
                let Ok((n, client)) = self.front.recv_from(&mut room) else { break };
                self.packet(true, client, &room[..n]);
            }
            for i in 0..self.flows.len() {
                for _ in 0..64 {
                    let Ok(n) = self.flows[i].back.recv(&mut room) else { break };
                    self.packet(false, self.flows[i].client, &room[..n]);
                }
            }
            self.deliver();
        }
    }

    /// Until something comes, or something that waits is due; not for long, so that a word to stop is heard.
    fn wait(&self) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let longest = Duration::from_millis(10);
        let until = |w: &Reverse<Waiting>| w.0.at.saturating_duration_since(Instant::now());
        let wait = self.waiting.peek().map_or(longest, until).min(longest);
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as i64 };
        let sockets = std::iter::once(&self.front).chain(self.flows.iter().map(|f| &f.back));
        let mut all: Vec<PollFd<'_>> = sockets.map(|s| PollFd::new(s, PollFlags::IN)).collect();
        let _ = poll(&mut all, Some(&timeout));
    }

    fn packet(&mut self, up: bool, client: SocketAddr, data: &[u8]) {
        let counts = &self.shared.counts;
        counts.came.fetch_add(1, SeqCst);
        if data.len() > self.shared.mtu.load(SeqCst) {
            counts.too_long.fetch_add(1, SeqCst);
            return;
        }
        let w = self.weather;
        let number = &mut self.numbers[usize::from(up)];
        let mut draw = Draw(w.seed ^ *number << 1 ^ u64::from(up));
        *number += 1;
        if draw.hits(w.loss) {
            counts.lost.fetch_add(1, SeqCst);
            return;
        }
        let (doubled, late, mutated) = (draw.hits(w.duplicate), draw.hits(w.reorder), draw.hits(w.mutate));
        counts.doubled.fetch_add(doubled.into(), SeqCst);
        counts.late.fetch_add(late.into(), SeqCst);
        counts.mutated.fetch_add(mutated.into(), SeqCst);
        if mutated {
            self.send(up, client, w.delay, draw.mutated(data));
        }
        if doubled {
            self.send(up, client, w.delay, data.to_vec());
        }
        let extra = if late { Duration::from_micros(500 + draw.next() % 4000) } else { Duration::ZERO };
        self.send(up, client, w.delay + extra, data.to_vec());
    }

    fn send(&mut self, up: bool, client: SocketAddr, after: Duration, data: Vec<u8>) {
        self.sequence += 1;
        let waiting = Waiting { at: Instant::now() + after, sequence: self.sequence, up, client, data };
        match after.is_zero() {
            true => self.put(&waiting),
            false => self.waiting.push(Reverse(waiting)),
        }
    }

    fn deliver(&mut self) {
        while self.waiting.peek().is_some_and(|w| w.0.at <= Instant::now()) {
            if let Some(Reverse(waiting)) = self.waiting.pop() {
                self.put(&waiting);
            }
        }
    }

    /// As in a network, what has no room is lost.
    fn put(&mut self, packet: &Waiting) {
        let _: io::Result<usize> = match packet.up {
            true => self.flow(packet.client).back.send(&packet.data),
            false => self.front.send_to(&packet.data, packet.client),
        };
    }

    fn flow(&mut self, client: SocketAddr) -> &Flow {
        let known = self.flows.iter().position(|f| f.client == client);
        let at = known.unwrap_or_else(|| {
            self.flows.push(Flow { client, back: back(&self.shared, self.to) });
            self.flows.len() - 1
        });
        &self.flows[at]
    }
}

fn back(shared: &Shared, to: SocketAddr) -> UdpSocket {
    let back = socket(to.ip());
    back.connect(to).expect("a socket can be told its peer");
    shared.counts.ports.fetch_add(1, SeqCst);
    back
}

/// Numbers that follow from one (SplitMix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn hits(&mut self, per_mille: u64) -> bool {
        self.next() % 1000 < per_mille
    }

    /// A copy with one to four bits turned over, sometimes cut short.
    fn mutated(&mut self, data: &[u8]) -> Vec<u8> {
        let mut copy = data.to_vec();
        for _ in 0..=self.next() % 4 {
            let at = self.next() as usize % copy.len().max(1);
            if let Some(byte) = copy.get_mut(at) {
                *byte ^= 1 << (self.next() % 8);
            }
        }
        if self.hits(250) {
            copy.truncate(self.next() as usize % data.len().max(1));
        }
        copy
    }
}
