//! The origin over HTTP/3: the project's own QUIC endpoint, on shards of its own.
use super::{
    counts::Counts,
    desk::{Desk, Shared, Verdict},
    payload::{Events, Timer, filler},
    script::{Fault, Reply},
    websocket::Echo,
};
use bytes::Bytes;
use edge_io::{
    head::{FieldId, FieldRef},
    mailbox,
    message::Protocol,
    reactor::Source,
    ring,
    runtime::{self, Local},
    tasks, tls,
};
use edge_quic::{
    Congestion, Count, Cut, Endpoint, Handler, Next, Owner, Parts, Policy, Request, Settings, Stream,
    crypto::ServerCrypto,
    forward::{self, Port},
    group::Group,
    h3,
    keys::Shared as Keys,
    tokens::Log,
};
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

/// One request.
struct Exchange {
    desk: Rc<Desk>,
    stream: Stream,
}

impl Exchange {
    async fn answer(mut self, head: &edge_io::head::Head, protocol: Protocol) -> Result<(), Cut> {
        match protocol {
            Protocol::WebSocket => return self.echo().await,
            Protocol::Other => return self.tell(501, "only WebSockets can be connected to\n").await,
            Protocol::None => {}
        }
        self.drain().await?;
        let text = |bytes| str::from_utf8(bytes).unwrap_or_default();
        let (path, query) = (text(head.path()), head.query().map(text));
        if path == "/ws" {
            return self.tell(400, "a WebSocket is expected here\n").await;
        }
        match self.desk.judge(path, query) {
            Verdict::Reply(reply, due) => {
                self.desk.wait(due).await;
                self.reply(reply, head.method_bytes() == b"HEAD").await
            }
            Verdict::Events(every, count) => self.events(every, count).await,
            Verdict::Never => {
                let (_, send) = self.stream.halves();
                Err(poll_fn(|cx| send.poll_cut(cx)).await)
            }
            Verdict::Refused => {
                self.desk.wait(self.desk.pace.release(self.desk.alarms.now())).await;
                self.tell(503, "too many requests wait already\n").await
            }
            Verdict::Mistake(mistake) => self.tell(400, &format!("{mistake}\n")).await,
        }
    }

    async fn drain(&mut self) -> Result<(), Cut> {
        let (mut recv, _) = self.stream.halves();
        while poll_fn(|cx| recv.poll_fill(cx)).await? == Next::Data {
            let n = recv.data().len();
            recv.consume(n);
        }
        Ok(())
    }

    async fn reply(mut self, reply: Reply, head_only: bool) -> Result<(), Cut> {
        let bodiless = head_only || !reply.has_body();
        match reply.fault {
            None => {}
            Some(Fault::Close) => {
                self.stream.connection().close(h3::ErrorCode::H3_NO_ERROR, b"");
                return Ok(());
            }
            Some(Fault::Truncate | Fault::Garbage) if !bodiless => return self.spoil(reply).await,
            Some(Fault::Reset | Fault::Stall | Fault::Truncate | Fault::Garbage) => {
                self.stream.code = h3::ErrorCode::H3_INTERNAL_ERROR;
                return Ok(()); // dropped before its end, the stream is reset
            }
        }
        let length = (reply.chunk.is_none() && reply.has_body()).then_some(reply.size);
        let ends = bodiless || reply.size == 0;
        self.head(reply.status, length, ends);
        match reply.chunk {
            _ if ends => Ok(()),
            None => self.bytes(reply.size, true).await,
            Some(piece) => self.pieces(reply.size, piece.get() as u64, reply.chunk_delay_us).await,
        }
    }

    /// Less comes than was announced: then the stream is reset, or for garbage ends as if all were well (RFC 9114,
    /// section 4.1.2: malformed).
    async fn spoil(mut self, reply: Reply) -> Result<(), Cut> {
        let announced = reply.size.max(2);
        self.head(reply.status, Some(announced), false);
        let garbage = reply.fault == Some(Fault::Garbage);
        self.bytes(announced / 2, garbage).await?;
        if !garbage {
            self.stream.halves().1.flush();
            for _ in 0..LAST_TURNS {
                tasks::turn().await;
            }
            self.stream.code = h3::ErrorCode::H3_INTERNAL_ERROR;
        }
        Ok(())
    }

    fn head(&mut self, status: u16, length: Option<u64>, end: bool) {
        let mut digits = [0; 20];
        let digits = length.map(|length| decimal(length, &mut digits));
        let length = digits.map(|value| FieldRef { id: FieldId::ContentLength, name: b"content-length", value });
        let fields = self.desk.fields.iter().map(|(name, value)| {
            let name = name.as_str().as_bytes();
            FieldRef { id: FieldId::of(name), name, value: value.as_bytes() }
        });
        self.stream.halves().1.response(status, fields.chain(length), end);
    }

    async fn tell(&mut self, status: u16, text: &str) -> Result<(), Cut> {
        let kind = FieldRef { id: FieldId::ContentType, name: b"content-type", value: b"text/plain; charset=utf-8" };
        self.stream.halves().1.response(status, [kind].into_iter(), false);
        self.send(&Bytes::copy_from_slice(text.as_bytes()), true).await
    }

    /// So many bytes, in one DATA frame after another.
    async fn bytes(&mut self, mut left: u64, end: bool) -> Result<(), Cut> {
        self.stream.halves().1.announce(left);
        loop {
            let piece = Bytes::from_static(filler(left));
            left -= piece.len() as u64;
            self.send(&piece, end && left == 0).await?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    async fn pieces(&mut self, mut left: u64, piece: u64, pause: u64) -> Result<(), Cut> {
        let mut timer = Timer::new(&self.desk);
        loop {
            let now = left.min(piece);
            left -= now;
            self.bytes(now, left == 0).await?;
            if left == 0 {
                return Ok(());
            }
            self.stream.halves().1.flush();
            if pause > 0 {
                timer.set(self.desk.alarms.now() + pause);
                poll_fn(|cx| timer.poll(cx)).await;
            }
        }
    }

    async fn send(&mut self, data: &Bytes, end: bool) -> Result<(), Cut> {
        let (_, mut send) = self.stream.halves();
        let mut done = 0;
        loop {
            let rest = data.slice(done..);
            done += poll_fn(|cx| send.poll_shared(cx, &rest, end)).await?;
            if done >= data.len() {
                return Ok(());
            }
        }
    }

    async fn events(mut self, every: u64, count: u64) -> Result<(), Cut> {
        let kind = FieldRef { id: FieldId::ContentType, name: b"content-type", value: b"text/event-stream" };
        let (_, mut send) = self.stream.halves();
        send.response(200, [kind].into_iter(), false);
        send.flush();
        let mut events = Events::new(&self.desk, every, count);
        while let Some(event) = poll_fn(|cx| events.poll_next(cx)).await {
            self.send(&event, false).await?;
            self.stream.halves().1.flush();
        }
        self.send(&Bytes::new(), true).await
    }

    /// A WebSocket (RFC 9220).
    async fn echo(mut self) -> Result<(), Cut> {
        self.stream.halves().1.response(200, [].into_iter(), false);
        self.stream.halves().1.flush();
        let mut echo = Echo::default();
        let mut out = Vec::new();
        while !echo.is_over() {
            let (mut recv, _) = self.stream.halves();
            if poll_fn(|cx| recv.poll_fill(cx)).await? == Next::End {
                break;
            }
            echo.feed(recv.data(), &mut out);
            let n = recv.data().len();
            recv.consume(n);
            self.desk.wait_to_echo(&mut echo).await;
            self.send(&Bytes::from(std::mem::take(&mut out)), false).await?;
            self.stream.halves().1.flush();
        }
        self.send(&Bytes::new(), true).await
    }
}

/// A number in decimal, in as many digits as it takes.
fn decimal(mut n: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
        at -= 1;
        if n == 0 {
            break;
        }
    }
    digits.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        for n in [0, 7, 10, 1024, u64::MAX] {
            assert_eq!(decimal(n, &mut [0; 20]), n.to_string().as_bytes());
        }
    }
}
