//! What one shard's requests share: the snapshot in force, ways upstream, counters, log, and lent scratch space.
use super::{RequestIds, protect::Shedder};
use crate::{
    message::{Priority, Spare},
    observe::{access_log, stats::ShardStats},
    snapshot::Snapshot,
    upstream::Upstreams,
};
use edge_io::{http1::write_decimal, runtime::Local};
use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

/// A snapshot as a request holds it: counted inside the shard, so that no other core is touched.
pub struct Pinned {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
}

/// What requests of one shard share.
pub struct Shard {
    /// Reactor and clock.
    pub local: Local,
    /// Its number.
    pub index: usize,
    /// Ways to endpoints.
    pub upstreams: Upstreams,
    /// What it counts.
    pub stats: Arc<ShardStats>,
    /// What it refuses while it cannot keep up.
    pub shedder: Shedder,
    /// Its end of the access log.
    pub log: RefCell<access_log::Writer>,
    pub(super) ids: RefCell<RequestIds>,
    snapshot: RefCell<Rc<Pinned>>,
    scratch: Spare<Scratch>,
    date: RefCell<(u64, Rc<[u8]>)>,
    /// The line for requests of this turn of the loop, by its time.
    request_start: RefCell<(u64, Vec<u8>)>,
}

/// Space that one request works in.
pub struct Scratch {
    /// The normalized path, where it differs from the one received.
    pub path: Vec<u8>,
    /// Whether it does.
    pub rewritten: bool,
    /// Path and query for the endpoint, or a redirect's location.
    pub target: Vec<u8>,
    /// `Host` for the endpoint.
    pub host: Vec<u8>,
    /// Field lines of the edge for the endpoint.
    pub ours: Vec<u8>,
    /// A generated body.
    pub body: Vec<u8>,
    /// The request's id: its own, or one a trusted peer gave it.
    pub id: Vec<u8>,
    /// The client's address, after trusted proxies.
    pub client: IpAddr,
    /// Whether the peer's forwarding fields are believed.
    pub trusted: bool,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch {
            path: Vec::new(),
            rewritten: false,
            target: Vec::with_capacity(256),
            host: Vec::with_capacity(64),
            ours: Vec::with_capacity(512),
            body: Vec::new(),
            id: Vec::with_capacity(64),
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            trusted: false,
        }
    }
}

impl Shard {
    /// A shard that serves `snapshot`. `seed` sets its random choices and request ids apart from other shards'.
    pub fn new(
        local: Local,
        snapshot: Arc<Snapshot>,
        stats: Arc<ShardStats>,
        log: access_log::Writer,
        seed: u64,
    ) -> Shard {
        Shard {
            index: local.shard,
            upstreams: Upstreams::new(local.clone(), stats.clone(), seed),
            local,
            stats,
            shedder: Shedder::default(),
            log: RefCell::new(log),
            ids: RefCell::new(RequestIds::new(seed)),
            snapshot: RefCell::new(Rc::new(Pinned { snapshot })),
            scratch: Spare::default(),
            date: RefCell::new((0, Rc::from(&b""[..]))),
            request_start: RefCell::default(),
        }
    }

    /// The snapshot in force, held as long as the result lives.
    pub fn pin(&self) -> Rc<Pinned> {
        self.snapshot.borrow().clone()
    }

    /// Requests that begin from now on see `snapshot`.
    pub fn adopt(&self, snapshot: Arc<Snapshot>) {
        self.upstreams.adopt(&snapshot.pools);
        self.upstreams.gates.adopt(snapshot.gates());
        *self.snapshot.borrow_mut() = Rc::new(Pinned { snapshot });
    }

    /// Whether a request of `class` is to be refused, as the shard cannot keep up with all.
    #[inline]
    pub fn sheds(&self, class: Priority) -> bool {
        self.shedder.sheds(class)
    }

    /// Space for a request.
    pub fn scratch(&self) -> Box<Scratch> {
        self.scratch.take()
    }

    /// The request is done with it.
    pub fn give_back(&self, scratch: Box<Scratch>) {
        self.scratch.give(scratch);
    }

    /// A burst is over: what it needed goes back, bit by bit.
    pub fn trim(&self) {
        self.scratch.trim();
        self.upstreams.trim();
    }

    /// Appends `X-Request-Start`, formatted once a turn of the loop.
    pub(super) fn write_request_start(&self, out: &mut Vec<u8>) {
        let now = self.local.timers.clock().wall_us();
        let cached = &mut *self.request_start.borrow_mut();
        if cached.0 != now {
            cached.0 = now;
            cached.1.clear();
            cached.1.extend_from_slice(b"X-Request-Start: t=");
            write_decimal(&mut cached.1, now);
            cached.1.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(&cached.1);
    }

    /// The value of `Date` (RFC 9110 6.6.1), formatted once a second.
    pub fn date(&self) -> Rc<[u8]> {
        let second = self.local.timers.clock().wall_us() / 1_000_000;
        let mut cached = self.date.borrow_mut();
        if cached.0 != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            *cached = (second, Rc::from(text.as_bytes()));
        }
        cached.1.clone()
    }
}
