//! A client of HTTP/3 that shares nothing with the edge's side of it: quinn, with the h3 crate.
use crate::{
    harness::{PATIENCE, tls},
    relay,
    site::{Body, Hash},
};
use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3_quinn::{BidiStream, OpenStreams};
use quinn::crypto::rustls::QuicClientConfig;
use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// What is downloaded or told in one piece.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the response.
    pub status: u16,
    /// Bytes of its body.
    pub length: usize,
    /// SHA-256 of its body, in hex.
    pub hash: String,
    /// Its first bytes.
    pub text: String,
}

/// An error of a request, as text.
pub type Failed = String;

/// One connection, driven in the background.
pub struct Client {
    /// Of quinn: all of its knobs.
    pub endpoint: quinn::Endpoint,
    /// Of quinn.
    pub quic: quinn::Connection,
    send: SendRequest<OpenStreams, Bytes>,
}

/// Runs the client's side of a test, bounded.
///
/// # Panics
/// After a minute.
pub fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), what).await })
        .expect("all of it takes less than a minute")
}

/// Waits without keeping the client from its work.
///
/// # Panics
/// After the harness's patience.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "still waiting after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a client offers and knows, for quinn.
pub fn config() -> quinn::ClientConfig {
    let tls = tls::client(&["h3"]);
    let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3 is among the versions");
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport());
    config
}

fn transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    // A client behind a NAT that forgot it is heard of again with its next packet, and not before.
    transport.keep_alive_interval(Some(Duration::from_millis(250)));
    Arc::new(transport)
}

/// An endpoint with a socket that can hold a burst.
pub fn endpoint(to: SocketAddr) -> quinn::Endpoint {
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new(quinn::EndpointConfig::default(), None, relay::socket(to.ip()), runtime).expect("an endpoint")
}

impl Client {
    /// A connection to this address, from a socket of its own.
    pub async fn connect(to: SocketAddr) -> Client {
        Client::connect_with(to, config()).await
    }

    /// The same, with a configuration.
    pub async fn connect_with(to: SocketAddr, config: quinn::ClientConfig) -> Client {
        Client::connect_from(endpoint(to), to, config).await
    }

    /// The same, from a socket that others may use too.
    pub async fn connect_from(endpoint: quinn::Endpoint, to: SocketAddr, config: quinn::ClientConfig) -> Client {
        let connecting = endpoint.connect_with(config, to, tls::EDGE_NAME).expect("a good configuration");
        let quic = connecting.await.expect("a handshake");
        let (mut driver, send) =
            h3::client::new(h3_quinn::Connection::new(quic.clone())).await.expect("an HTTP/3 connection");
        tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        Client { endpoint, quic, send }
    }

    /// From now on its packets come from another port.
    pub fn rebind(&self) {
        let ip = self.endpoint.local_addr().expect("a bound socket has an address").ip();
        self.endpoint.rebind(relay::socket(ip)).expect("a socket of the same kind");
    }

    /// A request to be continued.
    pub async fn begin(&self, method: &str, target: &str) -> Result<RequestStream<BidiStream<Bytes>, Bytes>, Failed> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("https://{}{target}", tls::EDGE_NAME))
            .body(())
            .expect("a request");
        self.send.clone().send_request(request).await.map_err(|e| format!("{target}: request: {e}"))
    }

    /// GET; `watch` is told how many bytes of the body there are so far.
    pub async fn get_watched(&self, target: &str, watch: impl FnMut(usize)) -> Result<Answer, Failed> {
        let mut stream = self.begin("GET", target).await?;
        stream.finish().await.map_err(|e| format!("{target}: end of the request: {e}"))?;
        answer(stream, target, watch).await
    }

    /// POST of a body of this length.
    pub async fn post(&self, target: &str, length: usize) -> Result<Answer, Failed> {
        let mut stream = self.begin("POST", target).await?;
        let mut body = Body::new(length);
        while let Some(piece) = body.next() {
            let piece = Bytes::copy_from_slice(piece);
            stream.send_data(piece).await.map_err(|e| format!("{target}: body: {e}"))?;
        }
        stream.finish().await.map_err(|e| format!("{target}: end of the request: {e}"))?;
        answer(stream, target, |_| {}).await
    }

    /// A download that has to be right.
    pub async fn download(&self, length: usize) {
        self.download_watched(length, |_| {}).await;
    }

    /// The same, watched.
    pub async fn download_watched(&self, length: usize, watch: impl FnMut(usize)) {
        let got = self.get_watched(&format!("/bytes/{length}"), watch).await.expect("a download");
        assert_eq!((got.status, got.length), (200, length));
        assert_eq!(got.hash, Body::hash(length), "the bytes that came are not those that were sent");
    }

    /// An upload that has to be right.
    pub async fn upload(&self, length: usize) {
        let got = self.post("/hash", length).await.expect("an upload");
        assert_eq!((got.status, got.text), (200, Body::hash(length)), "the bytes that arrived are others");
    }
}

/// The rest of an exchange whose request is complete.
pub async fn answer(
    mut stream: RequestStream<BidiStream<Bytes>, Bytes>,
    target: &str,
    mut watch: impl FnMut(usize),
) -> Result<Answer, Failed> {
    let head = stream.recv_response().await.map_err(|e| format!("{target}: response: {e}"))?;
    let (mut hash, mut length, mut text) = (Hash::new(), 0, Vec::new());
    while let Some(mut piece) = stream.recv_data().await.map_err(|e| format!("{target}: after {length}: {e}"))? {
        while piece.has_remaining() {
            let bytes = piece.chunk();
            hash.update(bytes);
            length += bytes.len();
            text.extend_from_slice(&bytes[..bytes.len().min(256_usize.saturating_sub(text.len()))]);
            let n = bytes.len();
            piece.advance(n);
        }
        watch(length);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(Answer { status: head.status().as_u16(), length, hash: hash.finish(), text })
}
