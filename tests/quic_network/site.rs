//! The edge with HTTP/3 in front of an origin whose bodies show every missing or misplaced piece.
use crate::harness::{
    Driver, Edge, Metrics, Origin, Protocol, Setup,
    edge::{listener_text, pool_text},
    served::Served,
};
use aws_lc_rs::digest;
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// Bytes of one piece of a body.
const PIECE: usize = 64 * 1024;
/// Bytes of a little piece.
const BIT: usize = 3000;
/// A mebibyte.
pub const MIB: usize = 1 << 20;

/// What an origin answers by the target: `/bytes/N` with N bytes; `/hash` with the hash of the request's body;
/// `/held/N` with N bytes as soon as the gate is open; `/bits/N` with N bytes in little pieces.
pub struct Site {
    /// The origin.
    pub origin: Origin,
    /// Holds answers back.
    pub gate: Arc<Gate>,
}

/// Closed until it is opened.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    /// Lets everybody through from now on.
    pub fn open(&self) {
        *self.open.lock().expect("opening does not panic") = true;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let open = self.open.lock().expect("waiting does not panic");
        let patience = Duration::from_secs(60);
        let _ = self.changed.wait_timeout_while(open, patience, |open| !*open);
    }
}

impl Site {
    /// An origin that speaks HTTP/1.1.
    pub fn new() -> Site {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let origin = Origin::serving(Protocol::H1, move |served| serve(served, &held));
        Site { origin, gate }
    }

    /// Everything behind `[server]`: a listener `web` that speaks HTTP/3, with more keys, and more text.
    pub fn text(&self, address: &str, listener: &str, more: &str) -> String {
        let tls = listener_text("web", Protocol::H2, listener)
            .replace("127.0.0.1:0", address)
            .replace("protocols = [\"h1\", \"h2\"]", "protocols = [\"h1\", \"h2\", \"h3\"]");
        tls + &pool_text("app", &[&self.origin], "")
            + "[[route]]\nid = \"all\"\nmatch = { path_prefix = \"/\" }\npool = \"app\"\n"
            + more
    }

    /// A running edge in front of it.
    pub fn edge(&self, driver: Driver, shards: usize, steering: &str, address: &str) -> Edge {
        self.setup(driver, shards, steering).text(&self.text(address, "", "")).start()
    }

    /// The same, without the text.
    pub fn setup(&self, driver: Driver, shards: usize, steering: &str) -> Setup {
        Setup::new(driver).shards(shards).server("quic", &format!("{{ steering = \"{steering}\" }}"))
    }
}

fn serve(served: &mut Served<'_>, gate: &Gate) -> io::Result<()> {
    let target = served.target().to_owned();
    if target.starts_with("/hash") {
        let mut hash = Hash::new();
        while let Some(piece) = served.next()? {
            hash.update(&piece);
        }
        let hash = hash.finish();
        served.begin(200, &Vec::new(), Some(hash.len()))?;
        served.send(hash)?;
        return served.finish(&Vec::new());
    }
    served.skip()?;
    if target.starts_with("/held") {
        gate.pass();
    }
    let digits = target.rsplit('/').next().unwrap_or_default();
    let length = digits.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    served.begin(200, &Vec::new(), Some(length).filter(|_| !target.starts_with("/bits")))?;
    let mut body = Body::new(length);
    let most = if target.starts_with("/bits") { BIT } else { PIECE };
    while let Some(piece) = body.next() {
        for part in piece.chunks(most) {
            served.send(part)?;
        }
    }
    served.finish(&Vec::new())
}

/// A body of some length; no two of its pieces are alike.
pub struct Body {
    left: usize,
    number: u64,
    piece: Vec<u8>,
}

impl Body {
    /// So many bytes.
    pub fn new(left: usize) -> Body {
        Body { left, number: 0, piece: crate::harness::pattern(PIECE) }
    }

    /// The next piece.
    #[allow(clippy::should_implement_trait)] // it lends
    pub fn next(&mut self) -> Option<&[u8]> {
        self.piece[..8].copy_from_slice(&self.number.to_le_bytes());
        self.number += 1;
        let length = self.left.min(PIECE);
        self.left -= length;
        Some(&self.piece[..length]).filter(|piece| !piece.is_empty())
    }

    /// The hash of all of it.
    pub fn hash(length: usize) -> String {
        let (mut body, mut hash) = (Body::new(length), Hash::new());
        while let Some(piece) = body.next() {
            hash.update(piece);
        }
        hash.finish()
    }
}

/// SHA-256, in hex.
pub struct Hash(digest::Context);

impl Hash {
    /// Of nothing.
    pub fn new() -> Hash {
        Hash(digest::Context::new(&digest::SHA256))
    }

    /// More bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of everything.
    pub fn finish(self) -> String {
        self.0.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Where the listener `web` takes UDP.
pub fn udp_addr(edge: &Edge) -> SocketAddr {
    udp_addr_of(edge, "web")
}

/// Where a listener takes UDP.
pub fn udp_addr_of(edge: &Edge, name: &str) -> SocketAddr {
    let status = edge.status();
    let listeners = status["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
    let addresses = listeners.iter().filter(|l| l["name"] == name).filter_map(|l| l["address"].as_array()).flatten();
    let mut udp = addresses.rev().filter_map(|a| a.as_str()?.strip_prefix("udp:")?.parse().ok());
    udp.next().unwrap_or_else(|| panic!("no UDP socket of {name:?} in {status}"))
}

/// The addresses to listen on: both families, as far as they are there.
pub fn loopbacks() -> Vec<&'static str> {
    let there = |address: &&str| UdpSocket::bind(*address).is_ok();
    let all = ["127.0.0.1:0", "[::1]:0"];
    if !there(&all[1]) {
        crate::harness::not_run("tests over IPv6: there is no ::1");
    }
    all.into_iter().filter(there).collect()
}

/// The value of a metric, by shard.
pub fn by_shard(metrics: &Metrics, shards: usize, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
    let of = |shard: usize| {
        let shard = shard.to_string();
        let labels: Vec<_> = labels.iter().copied().chain([("shard", shard.as_str())]).collect();
        metrics.sum(name, &labels)
    };
    (0..shards).map(of).collect()
}
