//! QUIC on a shard: its endpoints, one per address, and what their connections belong to.
use super::{
    Shard,
    connection::{Counted, answer},
    handshake::result_of,
    listener::Listener,
};
use crate::{
    message::Peer,
    observe::stats::{Direction, Dropped, EarlyData, Handshake, HandshakeResult, Limit, QuicStats},
    proto::{Http3Limits, Opening, h3::H3Exchange},
    snapshot::{ListenerRule, command::ShardListener},
};
use edge_io::{head::Version, reactor::Source, tasks, tls};
use edge_quic::{
    Connection, Count, Endpoint, Handler, Owner, Parts, Policy, Request, Settings, forward::Port, h3, keys::Shared,
    socket::Inbox, tokens::Log,
};
use std::{
    cell::RefCell,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    rc::{Rc, Weak},
    sync::Arc,
    task::Poll,
};

/// What every shard is given for QUIC.
pub struct Start {
    /// The keys of all shards.
    pub keys: Shared,
    /// Which address-validation tokens were used, on whatever shard.
    pub tokens: Arc<Log>,
    /// For packets that come to the wrong shard.
    pub port: Port,
    /// How many shards there are.
    pub shards: usize,
}

/// QUIC on one shard.
pub(super) struct Quic {
    keys: Shared,
    tokens: Arc<Log>,
    port: Rc<Port>,
    shards: usize,
    inbox: Rc<RefCell<Inbox>>,
    /// Those that are wanted, and those whose connections drain.
    endpoints: RefCell<Vec<Open>>,
}

/// One endpoint, and what it belongs to.
struct Open {
    endpoint: Rc<Endpoint>,
    owner: Rc<Belongs>,
}

impl Quic {
    pub fn new(start: Start) -> Quic {
        let Start { keys, tokens, port, shards } = start;
        Quic {
            keys,
            tokens,
            port: Rc::new(port),
            shards: shards.max(1),
            inbox: Rc::default(),
            endpoints: RefCell::default(),
        }
    }

    /// No connection is accepted any more, and those that are there end gracefully.
    pub fn close_all(&self) {
        for endpoint in self.all() {
            endpoint.close();
        }
    }

    /// Whether this shard has connections, or gets packets of other shards' connections.
    pub fn is_live(&self) -> bool {
        self.endpoints.borrow().iter().any(|open| open.endpoint.is_live())
    }

    /// Ends every connection at once.
    pub fn abort_all(&self) {
        for endpoint in self.all() {
            endpoint.abort();
        }
    }

    /// Frees what idle connections do not need.
    pub fn trim(&self) {
        for endpoint in self.all() {
            endpoint.trim();
        }
    }

    fn all(&self) -> Vec<Rc<Endpoint>> {
        self.endpoints.borrow().iter().map(|open| open.endpoint.clone()).collect()
    }

    fn find(&self, group: u64) -> Option<(Rc<Endpoint>, Rc<Belongs>)> {
        let endpoints = self.endpoints.borrow();
        let open = endpoints.iter().find(|open| open.endpoint.group() == group)?;
        Some((open.endpoint.clone(), open.owner.clone()))
    }

    fn policy(&self, rule: &ListenerRule) -> Option<Arc<Policy>> {
        let crypto = rule.tls.as_ref()?.quic()?.clone();
        Some(Arc::new(Policy::new(&settings(rule, self.shards), crypto, &self.keys, &self.tokens)))
    }
}

/// Serves HTTP/3 on the addresses that are `wanted` and on no others; why some could not be opened.
pub(super) fn adopt(shard: &Rc<Shard>, wanted: &[(ShardListener, Rc<Listener>)]) -> Vec<String> {
    let mut errors = Vec::new();
    let mut kept = Vec::new();
    for (want, listener) in wanted {
        let Some(group) = &want.udp else { continue };
        kept.push(group.id());
        let name = &want.rule.name;
        let Some(policy) = shard.quic.policy(&want.rule) else {
            errors.push(format!("listener \"{name}\": HTTP/3 without TLS"));
            continue;
        };
        if let Some((endpoint, owner)) = shard.quic.find(group.id()) {
            *owner.listener.borrow_mut() = listener.clone();
            endpoint.renew(policy);
        } else if let Err(e) = open(shard, want, listener, policy) {
            errors.push(format!("listener \"{name}\": UDP: {e}"));
        }
    }
    for endpoint in shard.quic.all().iter().filter(|e| !kept.contains(&e.group())) {
        endpoint.close();
    }
    errors
}

fn open(shard: &Rc<Shard>, want: &ShardListener, listener: &Rc<Listener>, policy: Arc<Policy>) -> std::io::Result<()> {
    let Some(group) = &want.udp else { return Ok(()) };
    let owner = Rc::new(Belongs {
        shard: Rc::downgrade(shard),
        listener: RefCell::new(listener.clone()),
        local_port: group.local_addr().port(),
        this: Default::default(),
    });
    owner.this.replace(Rc::downgrade(&owner));
    let quic = &shard.quic;
    let endpoint = Endpoint::new(Parts {
        group: group.clone(),
        shard: shard.flow.index,
        reactor: &shard.flow.local.reactor,
        timers: &shard.flow.local.timers,
        keys: &quic.keys,
        cid_lifetime: want.rule.http3.cid_lifetime,
        max_udp_payload: want.rule.http3.max_udp_payload,
        port: quic.port.clone(),
        inbox: quic.inbox.clone(),
        policy,
        owner: owner.clone(),
    })?;
    quic.endpoints.borrow_mut().push(Open { endpoint: endpoint.clone(), owner });
    let shard = Rc::downgrade(shard);
    tasks::spawn(async move {
        endpoint.clone().run().await;
        if let Some(shard) = shard.upgrade() {
            shard.quic.endpoints.borrow_mut().retain(|open| !Rc::ptr_eq(&open.endpoint, &endpoint));
        }
    });
    Ok(())
}

/// Takes packets that came to other shards' sockets, for as long as the shard runs.
pub(super) async fn receive_foreign(shard: Rc<Shard>) {
    let port = shard.quic.port.clone();
    let watched = port.as_fd().try_clone_to_owned().and_then(|fd| shard.flow.local.reactor.register(fd));
    let Ok(bell) = watched else { return };
    loop {
        rung(&bell).await;
        port.clear_wake();
        bell.not_readable();
        port.drain(|packet| {
            if let Some((endpoint, _)) = shard.quic.find(packet.group) {
                endpoint.foreign(packet);
            }
        });
    }
}

async fn rung(bell: &Source) {
    poll_fn(|cx| match bell.poll_readable(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => Poll::Pending,
    })
    .await;
}

/// What an endpoint's connections belong to.
struct Belongs {
    shard: Weak<Shard>,
    listener: RefCell<Rc<Listener>>,
    local_port: u16,
    this: RefCell<Weak<Belongs>>,
}

impl Belongs {
    fn stats<R>(&self, with: impl FnOnce(&QuicStats) -> R) -> Option<R> {
        self.shard.upgrade().map(|shard| with(&shard.flow.stats.quic))
    }
}

impl Owner for Belongs {
    fn admit(&self, _: SocketAddr, _: Option<IpAddr>) -> Option<Rc<dyn Handler>> {
        let shard = self.shard.upgrade()?;
        let stats = &shard.flow.stats;
        let listener = self.listener.borrow().clone();
        stats.accepts.inc();
        listener.stats.shard(shard.flow.index).accepts.inc();
        if shard.connections.open() >= shard.flow.pin().snapshot.server.max_connections {
            stats.limit_hit(Limit::Connections);
            return None;
        }
        let mut counted = Counted::new(&shard, &listener);
        counted.becomes(Version::Http3);
        let owner = self.this.borrow().upgrade()?;
        Some(Rc::new(Served { counted, owner }))
    }

    fn count(&self, what: Count<'_>) {
        let Some(shard) = self.shard.upgrade() else { return };
        let stats = &shard.flow.stats;
        let quic = &stats.quic;
        match what {
            Count::Received(n) => quic.packets(Direction::Received, n),
            Count::Sent(n) => quic.packets(Direction::Sent, n),
            Count::Forwarded(n) => quic.packets(Direction::Forwarded, n),
            Count::ForwardFull(n) => (0..n).for_each(|_| quic.dropped(Dropped::ForwardQueue)),
            Count::Invalid => quic.dropped(Dropped::Invalid),
            Count::TooShort => quic.dropped(Dropped::TooShort),
            Count::SendErrors(n) => (0..n).for_each(|_| quic.dropped(Dropped::SendError)),
            Count::Retry => quic.retries.inc(),
            Count::StatelessReset => quic.stateless_resets.inc(),
            Count::VersionNegotiation => quic.version_negotiations.inc(),
            Count::Migration => quic.migrations.inc(),
            Count::Lost(n) => quic.lost_packets.add(n),
            Count::HalfOpen(change) => quic.half_open.add(change),
            Count::Error(code) => quic.http3_error(code.0),
            Count::Abuse(counts) => quic.http3_abused(counts),
            Count::Refused => stats.limit_hit(Limit::QuicHandshakes),
        }
    }
}

/// One connection.
struct Served {
    counted: Counted,
    owner: Rc<Belongs>,
}

impl Handler for Served {
    fn established(&self, info: &tls::Info) {
        let (version, group, resumed) = (info.version, info.group, info.resumed);
        self.owner.stats(|stats| {
            stats.handshakes.count(&Handshake { result: HandshakeResult::Ok, version, group, resumed });
            match info.early_data {
                tls::EarlyData::None => {}
                tls::EarlyData::Accepted => stats.early_data(EarlyData::Accepted),
                tls::EarlyData::Rejected => stats.early_data(EarlyData::Rejected),
            }
        });
    }

    fn failed(&self, why: Option<&tls::Error>) {
        let result = why.map_or(HandshakeResult::Timeout, |why| result_of(why.kind));
        self.owner.stats(|stats| {
            stats.handshakes.count(&Handshake { result, version: "", group: "", resumed: false });
        });
    }

    fn request(&self, request: Request) {
        let Request { stream, head, end, protocol } = request;
        let shard = &self.counted.shard;
        let listener = self.owner.listener.borrow().clone();
        let peer = peer(stream.connection(), self.owner.local_port);
        tasks::spawn_now(|| {
            let exchange = H3Exchange::new(stream, Opening { head, end, protocol }, peer, &listener.share);
            answer(shard.clone(), listener, self.counted.demand, exchange)
        });
    }
}

fn peer(connection: &Connection, local_port: u16) -> Peer {
    let remote = connection.remote();
    Peer { ip: remote.ip().to_canonical(), port: remote.port(), local_port, tls: true, unix: false }
}

/// The settings of a listener's connections; what the node may have, each shard has its share of.
fn settings(rule: &ListenerRule, shards: usize) -> Settings {
    let Http3Limits {
        streams,
        stream_window,
        connection_window,
        send_buffer,
        idle_timeout,
        retry_after,
        max_handshakes,
        migration,
        mtu_discovery,
        max_udp_payload,
        initial_mtu,
        congestion,
        ..
    } = rule.http3;
    Settings {
        h3: limits(&rule.http3),
        streams,
        stream_window,
        connection_window,
        send_buffer,
        idle_timeout,
        keepalive: rule.timeouts.keepalive,
        header_timeout: rule.timeouts.header,
        handshake_timeout: rule.timeouts.handshake,
        write_timeout: rule.timeouts.write,
        retry_after: retry_after.div_ceil(shards),
        max_handshakes: max_handshakes.div_ceil(shards),
        migration,
        mtu_discovery,
        max_udp_payload,
        initial_mtu,
        congestion,
    }
}

/// The engine's bounds, as the configuration has them.
fn limits(c: &Http3Limits) -> h3::Limits {
    h3::Limits {
        head_bytes: c.head_bytes,
        fields: c.fields,
        table_bytes: c.table_bytes,
        blocked_streams: c.blocked_streams,
        connect_protocol: c.connect_protocol,
        control_frames: c.control_frames,
        memory_bytes: c.memory_bytes,
        resets: c.resets,
        keep_fields: true,
    }
}
