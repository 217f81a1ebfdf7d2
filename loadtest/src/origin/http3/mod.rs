//! The origin over HTTP/3: the project's own QUIC endpoint, on shards of its own.
mod exchange;

use super::{
    counts::Counts,
    desk::{Desk, Shared},
};
use edge_io::{
    mailbox,
    reactor::Source,
    ring,
    runtime::{self, Local},
    tasks, tls,
};
use edge_quic::{
    Congestion, Count, Endpoint, Handler, Owner, Parts, Policy, Request, Settings,
    crypto::ServerCrypto,
    forward::{self, Port},
    group::Group,
    h3,
    keys::Shared as Keys,
    tokens::Log,
};
use exchange::Exchange;
use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

/// Packets under way from one shard to another.
const FORWARD_QUEUE: usize = 256;
/// Requests at once on one connection: as many as any generator opens.
const STREAMS: u32 = 4096;
/// Largest UDP payload, bytes: what Ethernet takes.
const UDP_PAYLOAD: u16 = 1452;
/// Turns of the shard in which the last packets go out.
const LAST_TURNS: usize = 3;

/// What the shards are started with.
pub(super) struct Start {
    pub shared: Shared,
    /// One per address, with a socket for each shard.
    pub groups: Vec<Arc<Group>>,
    pub quic: Arc<rustls::ServerConfig>,
    pub shards: usize,
}

/// One shard; it ends when dropped.
pub(super) struct Shard {
    stop: mailbox::Sender<()>,
    handle: Option<JoinHandle<()>>,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shard")
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        // It has room for one, and only this one is ever sent.
        let _ = self.stop.send(());
        self.handle.take().map(JoinHandle::join);
    }
}

/// Starts them, pinned to `cores` in turn.
///
/// # Errors
/// Threads, rings or descriptors that cannot be had; a TLS configuration that QUIC cannot use.
pub(super) fn start(start: Start, cores: &[usize]) -> io::Result<(Vec<Shard>, Vec<Arc<Counts>>)> {
    let Start { shared, groups, quic, shards } = start;
    let (driver, _) = ring::choose()?;
    let keys = Keys::new().map_err(io::Error::other)?;
    let crypto = Arc::new(ServerCrypto::new(quic).map_err(io::Error::other)?);
    let tokens = Arc::new(Log::default());
    let mut started = (Vec::new(), Vec::new());
    for (index, port) in forward::mesh(shards, FORWARD_QUEUE)?.into_iter().enumerate() {
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = mailbox::channel(1)?;
        let policy = Arc::new(Policy::new(&settings(), crypto.clone(), &keys, &tokens));
        let (shared, groups, keys, of_shard) = (shared.clone(), groups.clone(), keys.clone(), counts.clone());
        let core = cores.iter().cycle().nth(index).copied();
        let handle = runtime::spawn_shard(index, core, driver, move |local| async move {
            let made = Desk::new(&shared, (shards + index) as u64, of_shard)
                .and_then(|desk| Running::open(local, desk, &groups, &keys, port, &policy));
            match made {
                Ok(running) => running.until(stopped).await,
                Err(e) => eprintln!("edge: the origin's HTTP/3 shard {index}: {e}"),
            }
        })?;
        started.0.push(Shard { stop, handle: Some(handle) });
        started.1.push(counts);
    }
    Ok(started)
}

fn settings() -> Settings {
    let h3 = h3::Limits {
        connect_protocol: true,
        fields: 1000,
        head_bytes: 64 * 1024,
        // Load generators that time out reset what they asked for: no abuse here.
        resets: u32::MAX,
        control_frames: 1_000_000,
        ..h3::Limits::default()
    };
    Settings {
        h3,
        streams: STREAMS,
        stream_window: 1 << 20,
        connection_window: 16 << 20,
        send_buffer: 4 << 20,
        idle_timeout: Duration::from_secs(60),
        keepalive: Duration::from_secs(3600),
        header_timeout: Duration::from_secs(10),
        handshake_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(10),
        retry_after: usize::MAX,
        max_handshakes: 100_000,
        migration: true,
        mtu_discovery: true,
        max_udp_payload: UDP_PAYLOAD,
        initial_mtu: 1200,
        congestion: Congestion::Cubic,
    }
}

/// A shard with its endpoints.
struct Running {
    local: Local,
    endpoints: Rc<[Rc<Endpoint>]>,
}

impl Running {
    fn open(
        local: Local,
        desk: Rc<Desk>,
        groups: &[Arc<Group>],
        keys: &Keys,
        port: Port,
        policy: &Arc<Policy>,
    ) -> io::Result<Running> {
        let clock = local.reactor.register(desk.alarms.descriptor()?)?;
        tasks::spawn({
            let desk = desk.clone();
            async move {
                loop {
                    poll_fn(|cx| clock.poll_readable(cx)).await;
                    clock.not_readable();
                    desk.alarms.fire();
                }
            }
        });
        let bell = local.reactor.register(port.as_fd().try_clone_to_owned()?)?;
        let (port, inbox) = (Rc::new(port), Rc::new(RefCell::default()));
        let owner = Rc::new(Served { desk });
        let open = |group: &Arc<Group>| {
            Endpoint::new(Parts {
                group: group.clone(),
                shard: local.shard,
                reactor: &local.reactor,
                timers: &local.timers,
                keys,
                cid_lifetime: None,
                max_udp_payload: UDP_PAYLOAD,
                port: port.clone(),
                inbox: Rc::clone(&inbox),
                policy: policy.clone(),
                owner: Rc::new(Belongs { served: owner.clone() }),
            })
        };
        let endpoints: Rc<[_]> = groups.iter().map(open).collect::<io::Result<Vec<_>>>()?.into();
        endpoints.iter().for_each(|endpoint| tasks::spawn(endpoint.clone().run()));
        tasks::spawn(receive_foreign(port, bell, endpoints.clone()));
        Ok(Running { local, endpoints })
    }

    /// Serves until there is mail.
    async fn until(self, stopped: mailbox::Receiver<()>) {
        let watched = stopped.as_fd().try_clone_to_owned().and_then(|fd| self.local.reactor.register(fd));
        if let Ok(mail) = watched {
            while stopped.try_recv().is_none() {
                poll_fn(|cx| mail.poll_readable(cx)).await;
                mail.not_readable();
                stopped.clear_wake();
            }
        }
        self.endpoints.iter().for_each(|endpoint| endpoint.abort());
        for _ in 0..LAST_TURNS {
            tasks::turn().await;
        }
    }
}

/// Takes packets that came to other shards' sockets.
async fn receive_foreign(port: Rc<Port>, bell: Source, endpoints: Rc<[Rc<Endpoint>]>) {
    loop {
        poll_fn(|cx| bell.poll_readable(cx)).await;
        port.clear_wake();
        bell.not_readable();
        port.drain(|packet| {
            if let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.group() == packet.group) {
                endpoint.foreign(packet);
            }
        });
    }
}

/// What an endpoint's connections belong to.
struct Belongs {
    served: Rc<Served>,
}

impl Owner for Belongs {
    fn admit(&self, _: SocketAddr, _: Option<IpAddr>) -> Option<Rc<dyn Handler>> {
        self.served.desk.counts.connections.inc();
        Some(self.served.clone())
    }

    fn count(&self, _: Count<'_>) {}
}

/// All connections of a shard.
struct Served {
    desk: Rc<Desk>,
}

impl Handler for Served {
    fn established(&self, _: &tls::Info) {}

    fn failed(&self, _: Option<&tls::Error>) {
        self.desk.counts.not_served.inc();
    }

    fn request(&self, request: Request) {
        self.desk.counts.requests.inc();
        let desk = self.desk.clone();
        tasks::spawn_now(|| async move {
            // A client that goes away has what it wanted.
            let _ = Exchange { desk, stream: request.stream }.answer(&request.head, request.protocol).await;
            edge_io::head::spare::give(request.head);
        });
    }
}
