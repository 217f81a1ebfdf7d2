//! The listeners of one shard: opened and closed as snapshots say; each has its accept loop.
use super::{Shard, accept, quic};
use crate::{
    observe::stats::{ListenerStats, StatsRegistry},
    proto::h1::{ListenerShare, Waiting},
    snapshot::{ListenAddr, ListenerRule, command::ShardListener},
};
use edge_io::{http2, tcp};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

/// One listening socket's settings and counters, shared by its connections.
pub(crate) struct Listener {
    pub id: u64,
    pub tcp: bool,
    /// Counted inside the shard: requests touch no other core.
    pub rule: RefCell<Rc<InForce>>,
    pub share: Rc<ListenerShare>,
    pub stats: Arc<ListenerStats>,
    /// The accept loop ends; waiting in `stop`.
    pub closed: Cell<bool>,
    pub stop: Waiting,
}

/// The rule that requests see; the snapshot's own counter is touched once per reload.
pub(crate) struct InForce(Arc<ListenerRule>);

impl std::ops::Deref for InForce {
    type Target = ListenerRule;

    fn deref(&self) -> &ListenerRule {
        &self.0
    }
}

/// All of a shard.
pub(crate) struct Listeners {
    open: RefCell<Vec<Rc<Listener>>>,
    registry: Arc<StatsRegistry>,
}

impl Listeners {
    pub fn new(registry: Arc<StatsRegistry>) -> Listeners {
        Listeners { open: RefCell::default(), registry }
    }

    /// No connection is accepted any more, idle ones end, busy ones end after their answer.
    pub fn close_all(&self) {
        for listener in self.open.borrow_mut().drain(..) {
            listener.close();
        }
    }
}

impl Listener {
    /// What is demanded of clients now.
    pub fn demand(&self) -> Option<u64> {
        self.rule.borrow().tls.as_ref().map(|tls| tls.demand())
    }

    fn close(&self) {
        self.closed.set(true);
        self.stop.wake_all();
        self.share.closing.set(true);
        self.share.waiting.wake_all();
    }

    fn renew(&self, rule: Arc<ListenerRule>) {
        self.share.limits.set(rule.limits);
        self.share.timeouts.set(rule.timeouts);
        self.share.pipeline_depth.set(rule.pipeline_depth);
        self.share.early_hints.set(rule.early_hints_h1);
        self.share.h2.set(rule.h2);
        *self.share.http2.borrow_mut() = http2_limits(&rule);
        *self.rule.borrow_mut() = Rc::new(InForce(rule));
    }
}

/// The engine's bounds, as the configuration has them.
fn http2_limits(rule: &ListenerRule) -> Rc<http2::Limits> {
    let c = &rule.http2;
    Rc::new(http2::Limits {
        streams: c.streams,
        stream_window: c.stream_window,
        connection_window: c.connection_window,
        head_bytes: c.head_bytes,
        fields: c.fields,
        frame_bytes: c.frame_bytes,
        table_bytes: c.table_bytes,
        memory_bytes: c.memory_bytes,
        out_bytes: c.out_bytes,
        control_out_bytes: c.control_out_bytes,
        resets: c.resets,
        control_frames: c.control_frames,
        continuations: c.continuations,
        connect_protocol: c.connect_protocol,
    })
}

/// Listens on `wanted` and nothing else; why some could not be opened.
pub(super) fn adopt(shard: &Rc<Shard>, wanted: Vec<ShardListener>) -> Vec<String> {
    let mut errors = Vec::new();
    let mut adopted = Vec::with_capacity(wanted.len());
    let before = std::mem::take(&mut *shard.listeners.open.borrow_mut());
    let mut after = Vec::with_capacity(wanted.len());
    for mut want in wanted {
        let listener = match before.iter().find(|l| l.id == want.id) {
            Some(known) => {
                known.renew(want.rule.clone());
                known.clone()
            }
            None => match open(shard, &mut want) {
                Ok(listener) => listener,
                Err(e) => {
                    errors.push(e);
                    continue;
                }
            },
        };
        after.push(listener.clone());
        adopted.push((want, listener));
    }
    errors.extend(quic::adopt(shard, &adopted));
    for gone in before.iter().filter(|l| !after.iter().any(|a| a.id == l.id)) {
        gone.close();
    }
    *shard.listeners.open.borrow_mut() = after;
    errors
}

fn open(shard: &Rc<Shard>, want: &mut ShardListener) -> Result<Rc<Listener>, String> {
    let name = want.rule.name.clone();
    let watch = |fd| {
        tcp::Listener::from_fd(&shard.flow.local.reactor, fd)
            .map_err(|e| format!("listener \"{name}\": cannot be watched: {e}"))
    };
    let socket = match want.fd.take() {
        Some(fd) => Some(watch(fd)?),
        None if want.udp.is_some() => None, // HTTP/3 alone
        None => return Err(format!("listener \"{name}\": its socket was not handed over")),
    };
    let share = ListenerShare {
        limits: Cell::new(want.rule.limits),
        timeouts: Cell::new(want.rule.timeouts),
        pipeline_depth: Cell::new(want.rule.pipeline_depth),
        early_hints: Cell::new(want.rule.early_hints_h1),
        h2: Cell::new(want.rule.h2),
        http2: RefCell::new(http2_limits(&want.rule)),
        timers: shard.flow.local.timers.clone(),
        closing: Cell::new(false),
        stats: shard.flow.stats.clone(),
        waiting: Waiting::default(),
    };
    let listener = Rc::new(Listener {
        id: want.id,
        tcp: matches!(want.addr, ListenAddr::Tcp(_)),
        stats: shard.listeners.registry.listener(&name),
        rule: RefCell::new(Rc::new(InForce(want.rule.clone()))),
        share: Rc::new(share),
        closed: Cell::new(false),
        stop: Waiting::default(),
    });
    if let Some(socket) = socket {
        edge_io::tasks::spawn(accept::run(shard.clone(), listener.clone(), socket));
    }
    Ok(listener)
}
