//! A shard for the client, servers made of quinn and h3 on a thread of their own, and requests in a row.
use bytes::{Buf, Bytes, BytesMut};
use edge_io::{
    ring::Driver,
    runtime::{self, Local},
};
use edge_quic::{
    client::{Client, Connection, Event, Failure, Prepared, Settings},
    crypto::ClientCrypto,
    h3::RequestHead,
};
use quinn::crypto::rustls::QuicServerConfig;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, mpsc},
    task::Poll,
    time::Duration,
};

/// The name of all servers.
pub const NAME: &str = "edge.example";
/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate, and clients that trust it alone.
#[derive(Clone)]
pub struct Trust {
    certificate: CertificateDer<'static>,
    pem: String,
    key: Arc<KeyPair>,
}

impl Trust {
    pub fn new() -> Trust {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
        Trust { certificate: certificate.der().clone(), pem: certificate.pem(), key: Arc::new(key) }
    }

    /// The certificate, as authorities are given to programs.
    pub fn pem(&self) -> String {
        self.pem.clone()
    }

    pub fn server_tls(&self) -> rustls::ServerConfig {
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap().with_no_client_auth();
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![self.certificate.clone()], key).unwrap();
        config.alpn_protocols = vec![b"h3".to_vec()];
        config
    }

    pub fn server(&self) -> quinn::ServerConfig {
        self.server_of(self.server_tls())
    }

    pub fn server_of(&self, tls: rustls::ServerConfig) -> quinn::ServerConfig {
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        Arc::get_mut(&mut config.transport).unwrap().max_concurrent_bidi_streams(100u32.into());
        config
    }

    pub fn client_tls(&self) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h3".to_vec()];
        config
    }

    pub fn client(&self, local: &Local) -> Rc<Client> {
        self.client_with(local, &Settings::default())
    }

    pub fn client_with(&self, local: &Local, settings: &Settings) -> Rc<Client> {
        client(local, self.client_tls(), settings)
    }
}

pub fn client(local: &Local, tls: rustls::ClientConfig, settings: &Settings) -> Rc<Client> {
    let crypto = Arc::new(ClientCrypto::new(Arc::new(tls)).unwrap());
    Client::new(&local.reactor, &local.timers, crypto, settings).unwrap()
}

/// Runs `main` on a shard.
pub fn on_shard<T, F, M>(main: F) -> T
where
    T: Send + 'static,
    F: FnOnce(Local) -> M + Send + 'static,
    M: Future<Output = T> + 'static,
{
    let (done, is_done) = mpsc::channel();
    let thread = runtime::spawn_shard(0, None, Driver::Epoll, move |local| async move {
        let _ = done.send(main(local).await);
    });
    let result = is_done.recv_timeout(PATIENCE);
    thread.unwrap().join().unwrap();
    result.expect("the shard's main came to its end in time")
}

/// A server on a thread of its own. It ends when this is dropped.
pub struct Server {
    pub addr: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// `each` has every connection that comes.
    pub fn start<F, M>(config: quinn::ServerConfig, each: F) -> Server
    where
        F: Fn(quinn::Incoming) -> M + Send + 'static,
        M: Future<Output = ()> + 'static,
    {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (bound, is_bound) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
                bound.send(endpoint.local_addr().unwrap()).unwrap();
                let serve = async {
                    while let Some(incoming) = endpoint.accept().await {
                        tokio::task::spawn_local(each(incoming));
                    }
                };
                tokio::select! { () = serve => {}, _ = stopped => {} }
            });
        });
        Server { addr: is_bound.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    /// Answers by the path: `/bytes/N` with N bytes, `/echo` with the request's body, `/trailers` with some.
    pub fn good(config: quinn::ServerConfig) -> Server {
        Server::start(config, |incoming| async move {
            let Ok(connection) = incoming.await else { return };
            let connection = h3_quinn::Connection::new(connection);
            let Ok(mut connection) = h3::server::Connection::<_, Bytes>::new(connection).await else { return };
            while let Ok(Some(resolver)) = connection.accept().await {
                tokio::task::spawn_local(answer(resolver));
            }
        })
    }

    /// What comes on a request's stream is read, and `answer` has what is to be done.
    pub fn raw<F, M>(config: quinn::ServerConfig, answer: F) -> Server
    where
        F: Fn(quinn::Connection, quinn::SendStream, u64) -> M + Clone + Send + 'static,
        M: Future<Output = ()> + 'static,
    {
        Server::start(config, move |incoming| {
            let answer = answer.clone();
            async move {
                let Ok(connection) = incoming.await else { return };
                let mut control = connection.open_uni().await.unwrap();
                control.write_all(&[0, 4, 0]).await.unwrap();
                let mut number = 0;
                while let Ok((send, mut receive)) = connection.accept_bi().await {
                    let (answer, connection) = (answer.clone(), connection.clone());
                    tokio::task::spawn_local(async move {
                        let _ = receive.read_to_end(1 << 20).await;
                        answer(connection, send, number).await;
                    });
                    number += 1;
                }
            }
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn answer(resolver: h3::server::RequestResolver<h3_quinn::Connection, Bytes>) {
    let Ok((request, mut stream)) = resolver.resolve_request().await else { return };
    let mut body = BytesMut::new();
    while let Ok(Some(mut data)) = stream.recv_data().await {
        body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    let path = request.uri().path();
    if let Some(n) = path.strip_prefix("/bytes/") {
        body = pattern(n.parse().unwrap())[..].into();
    }
    let response = http::Response::builder().status(if path == "/none" { 404 } else { 200 });
    let response = response.header("x-method", request.method().as_str()).body(()).unwrap();
    if stream.send_response(response).await.is_err() {
        return;
    }
    if !body.is_empty() && request.method() != http::Method::HEAD {
        let _ = stream.send_data(body.freeze()).await;
    }
    if path == "/trailers" {
        let _ = stream
            .send_trailers(http::HeaderMap::from_iter([(
                http::HeaderName::from_static("x-end"),
                http::HeaderValue::from_static("yes"),
            )]))
            .await;
    }
    let _ = stream.finish().await;
}

/// Bytes of which no two stretches are alike.
pub fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

pub fn request(method: &str, path: &str, body: &[u8]) -> Prepared {
    let head = RequestHead {
        method: method.as_bytes(),
        scheme: b"https",
        authority: NAME.as_bytes(),
        path: path.as_bytes(),
        protocol: None,
    };
    Prepared::new(&head, std::iter::empty(), &Bytes::copy_from_slice(body))
}

pub fn get(path: &str) -> Prepared {
    request("GET", path, b"")
}

/// What became of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Got {
    pub status: u16,
    pub body: Vec<u8>,
    pub trailers: usize,
    /// How it ended; `None` if it did not.
    pub end: Option<Result<(), Failure>>,
}

impl Got {
    pub fn is_whole(&self) -> bool {
        self.end == Some(Ok(()))
    }
}

/// Sends all requests, at most `at_once` at a time, until each has come to its end or the connection has.
pub async fn ask(connection: &mut Connection, requests: &[Prepared], at_once: usize) -> Vec<Got> {
    let mut got: Vec<Got> = Vec::new();
    let mut places: HashMap<u32, usize> = HashMap::new();
    poll_fn(|cx| {
        connection.turn(cx, &mut |place, event| {
            let at = places[&place];
            match event {
                Event::Head(head) => got[at].status = head.status(),
                Event::Data(data) => got[at].body.extend_from_slice(data),
                Event::Trailers(head) => got[at].trailers += head.fields().count(),
                Event::End => got[at].end = Some(Ok(())),
                Event::Failed(failure) => got[at].end = Some(Err(failure)),
            }
            if got[at].end.is_some() {
                places.remove(&place);
            }
        });
        while places.len() < at_once && got.len() < requests.len() {
            let Some(place) = connection.open(&requests[got.len()]) else { break };
            places.insert(place, got.len());
            got.push(Got::default());
        }
        assert_eq!(connection.requests(), places.len());
        connection.flush(cx);
        let refused = connection.is_going() && places.is_empty();
        let done = places.is_empty() && got.len() == requests.len();
        if done || refused || connection.lost().is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    got
}
