//! Servers made of others' crates: hyper over HTTP/1.1 and (with the `h2` crate) HTTP/2, in clear and over TLS, and the
//! `h3` crate over quinn. They remember what was asked of them.
use crate::harness::{pattern, tls::pki};
use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};

/// Bytes of every answer's body.
pub const BODY: u64 = 1000;

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1 in clear.
    H1,
    /// HTTP/1.1 over TLS.
    H1Tls,
    /// HTTP/2 in clear, by prior knowledge.
    H2c,
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/3.
    H3,
}

impl Speaks {
    /// All of them.
    pub const ALL: [Speaks; 5] = [Speaks::H1, Speaks::H1Tls, Speaks::H2c, Speaks::H2, Speaks::H3];

    /// What the generator is told beside the URL.
    pub fn flags(self) -> &'static [&'static str] {
        match self {
            Speaks::H1 => &[],
            // ALPN chooses.
            Speaks::H1Tls | Speaks::H2 => &["-k"],
            Speaks::H2c => &["--h2"],
            Speaks::H3 => &["--h3", "-k"],
        }
    }

    /// As a result names it.
    pub fn name(self) -> &'static str {
        match self {
            Speaks::H1 | Speaks::H1Tls => "h1",
            Speaks::H2c | Speaks::H2 => "h2",
            Speaks::H3 => "h3",
        }
    }

    /// Several requests at once on a connection.
    pub fn many(self) -> bool {
        self.name() != "h1"
    }

    /// Over TLS, which QUIC has within itself.
    pub fn tls(self) -> bool {
        matches!(self, Speaks::H1Tls | Speaks::H2)
    }
}

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// Its field `x-word`.
    pub word: Option<String>,
    /// Its body.
    pub body: Bytes,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicU64,
}

impl Shared {
    fn note<T>(&self, request: &Request<T>, body: Bytes) {
        let word = request.headers().get("x-word").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let path = request.uri().path_and_query().map_or(String::new(), ToString::to_string);
        let seen = Seen { method: request.method().to_string(), path, word, body };
        self.seen.lock().expect("recording does not panic").push(seen);
    }
}

/// A server in a thread of its own.
pub struct Server {
    addr: SocketAddr,
    speaks: Speaks,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// On a free port.
    pub fn start(speaks: Speaks) -> Server {
        let shared = Arc::<Shared>::default();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async move {
                    match speaks {
                        Speaks::H3 => quic(&shared, stopped, tell).await,
                        _ => tcp(speaks, &shared, stopped, tell).await,
                    }
                });
            }
        });
        let addr = told.recv().expect("the server starts");
        Server { addr, speaks, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it is.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.speaks.tls() || self.speaks == Speaks::H3 { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.addr)
    }

    /// Every request that arrived.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("recording does not panic").clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Tell = std::sync::mpsc::Sender<SocketAddr>;

async fn tcp(speaks: Speaks, shared: &Arc<Shared>, mut stopped: oneshot::Receiver<()>, tell: Tell) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    tell.send(listener.local_addr().expect("a bound socket has an address")).expect("somebody waits");
    let alpn = if speaks.many() { "h2" } else { "http/1.1" };
    let acceptor = speaks.tls().then(|| tokio_rustls::TlsAcceptor::from(pki().origin.server(&[alpn])));
    loop {
        let socket = tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted { Ok((socket, _)) => socket, Err(_) => continue },
        };
        let _ = socket.set_nodelay(true);
        let (shared, acceptor) = (Arc::clone(shared), acceptor.clone());
        tokio::spawn(async move {
            match acceptor {
                None => connection(speaks, &shared, socket).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        connection(speaks, &shared, stream).await;
                    }
                }
            }
        });
    }
}

async fn connection(speaks: Speaks, shared: &Arc<Shared>, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let shared = Arc::clone(shared);
    let each = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let (parts, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                shared.note(&Request::from_parts(parts, ()), body.to_bytes());
            }
            Ok::<_, Infallible>(Response::new(Full::new(answer())))
        }
    });
    if speaks.many() {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(io), each)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), each).await;
    }
}

fn answer() -> Bytes {
    Bytes::from(pattern(BODY as usize))
}

async fn quic(shared: &Arc<Shared>, mut stopped: oneshot::Receiver<()>, tell: Tell) {
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(pki().origin.server(&["h3"])).expect("TLS 1.3");
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().expect("an address")).expect("a free port");
    tell.send(endpoint.local_addr().expect("a bound socket has an address")).expect("somebody waits");
    loop {
        let incoming = tokio::select! {
            _ = &mut stopped => return,
            incoming = endpoint.accept() => match incoming { Some(incoming) => incoming, None => return },
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let quic = h3_quinn::Connection::new(connection);
            let Ok(mut connection) = h3::server::Connection::<_, Bytes>::new(quic).await else { return };
            while let Ok(Some(resolver)) = connection.accept().await {
                tokio::spawn(exchange(Arc::clone(&shared), resolver));
            }
        });
    }
}

async fn exchange(shared: Arc<Shared>, resolver: h3::server::RequestResolver<h3_quinn::Connection, Bytes>) {
    let Ok((request, mut stream)) = resolver.resolve_request().await else { return };
    let mut body = Vec::new();
    while let Ok(Some(mut data)) = stream.recv_data().await {
        body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    shared.note(&request, Bytes::from(body));
    if stream.send_response(Response::new(())).await.is_ok() && stream.send_data(answer()).await.is_ok() {
        let _ = stream.finish().await;
    }
}
