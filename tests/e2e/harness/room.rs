//! Origins that keep their requests until they may end, and what tests ask of queues before them.
use super::{Edge, Origin, PATIENCE, Protocol, Reply, Wire, eventually, wire::Addr};
use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// A queue in which nobody's time is up before the test's.
pub const PATIENT: &str = "queue = 1000\nqueue_timeout = \"1m\"\n";

/// What is at an origin: each stays until it may end.
#[derive(Default)]
pub struct Room {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    now: usize,
    most: usize,
    may_end: usize,
    /// Targets that nobody stays for.
    free: Vec<String>,
    /// Targets in the order in which they came.
    order: Vec<String>,
}

impl Room {
    /// Comes in, and stays until it may end.
    pub fn stay(&self, target: &str) {
        let mut inside = self.inside.lock().unwrap();
        inside.now += 1;
        inside.most = inside.most.max(inside.now);
        inside.order.push(target.to_owned());
        let is_free = |inside: &Inside| inside.free.iter().any(|free| free == target);
        let stays = |inside: &mut Inside| inside.may_end == 0 && !is_free(inside);
        let (mut inside, _) = self.changed.wait_timeout_while(inside, PATIENCE * 3, stays).unwrap();
        if !is_free(&inside) {
            inside.may_end = inside.may_end.saturating_sub(1);
        }
        // Before the answer: whoever comes because of it comes later.
        inside.now -= 1;
    }

    /// So many more may end.
    pub fn release(&self, count: usize) {
        self.inside.lock().unwrap().may_end += count;
        self.changed.notify_all();
    }

    /// All who come for this target may end, now and later.
    pub fn free(&self, target: &str) {
        self.inside.lock().unwrap().free.push(target.to_owned());
        self.changed.notify_all();
    }

    /// Who are inside.
    pub fn now(&self) -> usize {
        self.inside.lock().unwrap().now
    }

    /// The most there ever were.
    pub fn most(&self) -> usize {
        self.inside.lock().unwrap().most
    }

    /// Targets in the order in which they came.
    pub fn order(&self) -> Vec<String> {
        self.inside.lock().unwrap().order.clone()
    }

    /// Waits until so many are inside.
    pub fn wait(&self, count: usize) {
        eventually(&format!("{count} at the origin"), || (self.now() == count).then_some(()));
    }
}

/// An origin with such a room.
pub fn held(protocol: Protocol) -> (Origin, Arc<Room>) {
    let room = Arc::new(Room::default());
    let inside = room.clone();
    let origin = Origin::replying(protocol, move |request| {
        inside.stay(request.target());
        Reply::new(200, "ok")
    });
    (origin, room)
}

/// A pool of one endpoint with keys of its own.
pub fn endpoint_text(origin: &Origin, keys: &str) -> String {
    format!(
        "[pool.app]\nendpoints = [{{ address = {}{}{keys} }}]\n{}timeouts = {{ connect = \"20s\", tls = \"20s\" }}\n\
         [[route]]\nid = \"all\"\npool = \"app\"\n",
        origin.endpoint(),
        if keys.is_empty() { "" } else { ", " },
        origin.pool_keys()
    )
}

/// How many wait in a queue.
pub fn depth(edge: &Edge, queue: &str) -> usize {
    edge.metrics().sum("edge_queue_depth", &[("queue", queue)]) as usize
}

/// Waits until so many do.
pub fn wait_depth(edge: &Edge, queue: &str, count: usize) {
    eventually(&format!("{count} in the queue of the {queue}"), || (depth(edge, queue) == count).then_some(()));
}

/// How many were refused there.
pub fn refused(edge: &Edge, queue: &str, reason: &str) -> usize {
    edge.metrics().sum("edge_overload_rejected_total", &[("queue", queue), ("reason", reason)]) as usize
}

/// A connection of its own, so on any shard, that has asked.
pub fn asked(addr: &Addr, target: &str) -> Wire {
    let mut wire = Wire::connect(addr);
    wire.patience(PATIENCE * 3);
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    wire
}

/// How many were served, and how many were told to come back later. There is nothing else.
pub fn tally(clients: &mut [Wire]) -> (usize, usize) {
    let (mut served, mut later) = (0, 0);
    for client in clients {
        let got = client.response();
        match got.status() {
            200 => served += 1,
            503 => {
                assert_eq!(got.get("retry-after"), Some("1"), "{got:?}");
                later += 1;
            }
            _ => panic!("{got:?}"),
        }
    }
    (served, later)
}

/// Reloads with this text.
pub fn reload(edge: &Edge, text: &str) {
    edge.rewrite(text);
    let done = edge.reload();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
}

/// Routes of each class to one pool.
pub const CLASSES: &str = "[policy.critical]\npriority = \"critical\"\nretry = \"off\"\n\
     [policy.bulk]\npriority = \"bulk\"\nretry = \"off\"\n[policy.normal]\nretry = \"off\"\n\
     [[route]]\nid = \"critical\"\nmatch = { path_prefix = \"/critical\" }\npool = \"app\"\npolicy = \"critical\"\n\
     [[route]]\nid = \"bulk\"\nmatch = { path_prefix = \"/bulk\" }\npool = \"app\"\npolicy = \"bulk\"\n\
     [[route]]\nid = \"normal\"\npool = \"app\"\npolicy = \"normal\"\n";

/// What runs beside a test ends with it, however that ends.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
