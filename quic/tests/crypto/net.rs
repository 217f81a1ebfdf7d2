//! Two endpoints and the datagrams between them. Time stands still but for [`Net::pass`].
use bytes::BytesMut;
use edge_io::tls::Info;
use edge_quic::{
    crypto::{ClientCrypto, ServerCrypto, VERSION, info},
    keys::Shared,
};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionEvent, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, Event, Incoming, RandomConnectionIdGenerator, ServerConfig, StreamEvent, StreamId, Transmit,
};
use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

pub const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 1000);
pub const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 443);

/// An endpoint, and what its connections told.
pub struct End {
    pub endpoint: Endpoint,
    pub connections: BTreeMap<usize, Connection>,
    /// Connections that were refused before there was one.
    pub refused: Vec<ConnectionError>,
    pub lost: Vec<(usize, ConnectionError)>,
    /// Bytes that came on streams.
    pub received: Vec<u8>,
    handles: BTreeMap<usize, ConnectionHandle>,
    /// Whether clients must show that they have their address.
    pub retry: bool,
}

fn endpoint(shared: &Shared, server: Option<ServerConfig>) -> Endpoint {
    let mut config = EndpointConfig::new(shared.reset());
    config.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(8)));
    config.supported_versions(vec![VERSION]);
    Endpoint::new(Arc::new(config), server.map(Arc::new), true, None)
}

impl End {
    fn new(endpoint: Endpoint) -> End {
        End {
            endpoint,
            connections: BTreeMap::new(),
            refused: Vec::new(),
            lost: Vec::new(),
            received: Vec::new(),
            handles: BTreeMap::new(),
            retry: false,
        }
    }

    pub fn server(crypto: Arc<ServerCrypto>, shared: &Shared) -> End {
        End::server_with(ServerConfig::new(crypto, shared.token()), shared)
    }

    pub fn server_with(config: ServerConfig, shared: &Shared) -> End {
        End::new(endpoint(shared, Some(config)))
    }

    pub fn client() -> End {
        End::new(endpoint(&Shared::new().unwrap(), None))
    }

    fn begin(&mut self, incoming: Incoming, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        let mut buffer = Vec::new();
        if self.retry && !incoming.remote_address_validated() {
            let transmit = self.endpoint.retry(incoming, &mut buffer).unwrap();
            return split(&transmit, &buffer, out);
        }
        match self.endpoint.accept(incoming, now, &mut buffer, None) {
            Ok((handle, connection)) => {
                self.connections.insert(handle.0, connection);
                self.handles.insert(handle.0, handle);
            }
            Err(e) => {
                self.refused.push(e.cause);
                if let Some(transmit) = e.response {
                    split(&transmit, &buffer, out);
                }
            }
        }
    }

    /// A datagram came; answers go to `out`.
    pub fn take(&mut self, datagram: &[u8], from: SocketAddr, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        let mut buffer = Vec::new();
        match self.endpoint.handle(now, from, None, None, BytesMut::from(datagram), &mut buffer) {
            Some(DatagramEvent::NewConnection(incoming)) => self.begin(incoming, now, out),
            Some(DatagramEvent::ConnectionEvent(handle, event)) => self.tell(handle.0, event),
            Some(DatagramEvent::Response(transmit)) => split(&transmit, &buffer, out),
            None => {}
        }
    }

    fn tell(&mut self, number: usize, event: ConnectionEvent) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.handle_event(event);
        }
    }

    /// Lets the connections say what they have to.
    pub fn work(&mut self, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        for (number, connection) in &mut self.connections {
            if connection.poll_timeout().is_some_and(|at| at <= now) {
                connection.handle_timeout(now);
            }
            while let Some(event) = connection.poll_endpoint_events() {
                if let Some(answer) = self.endpoint.handle_event(self.handles[number], event) {
                    connection.handle_event(answer);
                }
            }
            while let Some(event) = connection.poll() {
                match event {
                    Event::ConnectionLost { reason } => self.lost.push((*number, reason)),
                    Event::Stream(StreamEvent::Opened { dir }) => {
                        while let Some(stream) = connection.streams().accept(dir) {
                            self.received.extend(read(connection, stream));
                        }
                    }
                    Event::Stream(StreamEvent::Readable { id }) => self.received.extend(read(connection, id)),
                    _ => {}
                }
            }
            let mut buffer = Vec::new();
            while let Some(transmit) = connection.poll_transmit(now, 1, &mut buffer) {
                split(&transmit, &buffer, out);
                buffer.clear();
            }
        }
    }

    /// What the only connection agreed on.
    pub fn info(&self, number: usize) -> Info {
        info(&self.connections[&number]).unwrap()
    }
}

fn read(connection: &mut Connection, stream: StreamId) -> Vec<u8> {
    let mut all = Vec::new();
    let mut stream = connection.recv_stream(stream);
    if let Ok(mut chunks) = stream.read(true) {
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            all.extend_from_slice(&chunk.bytes);
        }
        let _ = chunks.finalize();
    }
    all
}

fn split(transmit: &Transmit, buffer: &[u8], out: &mut VecDeque<Vec<u8>>) {
    let all = &buffer[..transmit.size];
    out.extend(all.chunks(transmit.segment_size.unwrap_or(transmit.size)).map(<[u8]>::to_vec));
}

/// A client, a server, and what is on its way.
pub struct Net {
    pub now: Instant,
    pub client: End,
    pub server: End,
    pub to_server: VecDeque<Vec<u8>>,
    pub to_client: VecDeque<Vec<u8>>,
    /// Everything the client sent.
    pub sent: Vec<Vec<u8>>,
}

impl Net {
    pub fn new(server: Arc<ServerCrypto>) -> Net {
        Net::with(End::server(server, &Shared::new().unwrap()))
    }

    pub fn with(server: End) -> Net {
        Net {
            now: Instant::now(),
            client: End::client(),
            server,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    /// A connection begins; nothing is sent yet.
    pub fn begin(&mut self, crypto: &Arc<ClientCrypto>, name: &str) -> usize {
        self.begin_with(ClientConfig::new(crypto.clone()), name)
    }

    pub fn begin_with(&mut self, config: ClientConfig, name: &str) -> usize {
        let (handle, connection) = self.client.endpoint.connect(self.now, config, SERVER, name).unwrap();
        self.client.connections.insert(handle.0, connection);
        self.client.handles.insert(handle.0, handle);
        handle.0
    }

    /// Both sides say what they have to say now; nothing arrives.
    pub fn work(&mut self) {
        let before = self.to_server.len();
        self.client.work(self.now, &mut self.to_server);
        self.sent.extend(self.to_server.iter().skip(before).cloned());
        self.server.work(self.now, &mut self.to_client);
    }

    /// Carries datagrams until nobody has anything to say.
    pub fn settle(&mut self) {
        for _ in 0..1000 {
            self.work();
            if self.to_server.is_empty() && self.to_client.is_empty() {
                return;
            }
            for datagram in std::mem::take(&mut self.to_server) {
                self.server.take(&datagram, CLIENT, self.now, &mut self.to_client);
            }
            for datagram in std::mem::take(&mut self.to_client) {
                self.client.take(&datagram, SERVER, self.now, &mut self.to_server);
            }
        }
        panic!("they do not come to an end");
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// A whole handshake: the number of the connection on either side.
    pub fn connect(&mut self, crypto: &Arc<ClientCrypto>) -> (usize, usize) {
        let client = self.begin(crypto, super::pki::NAME);
        self.settle();
        assert!(!self.client.connections[&client].is_handshaking(), "{:?} {:?}", self.client.lost, self.server.lost);
        (client, *self.server.connections.keys().last().unwrap())
    }

    /// The client says `text` on a stream of its own.
    pub fn say(&mut self, client: usize, text: &[u8]) {
        say(self.client.connections.get_mut(&client).unwrap(), text);
    }
}

/// `connection` says `text` on a stream of its own.
pub fn say(connection: &mut Connection, text: &[u8]) {
    let stream = connection.streams().open(Dir::Uni).unwrap();
    let mut stream = connection.send_stream(stream);
    assert_eq!(stream.write(text).unwrap(), text.len());
    stream.finish().unwrap();
}
