//! The scripted origin, asked by other people's clients: curl, the crates h2, quinn with h3, and tungstenite.
mod http1;
mod http2;
mod http3;
mod life;
mod pace;
mod websocket;

use edge_loadtest::origin::{Options, Running, Script, Serve, Tls};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn serve(script: Script) -> Running {
    Serve::start(Options { script, ..Options::default() }).unwrap()
}

fn plain() -> Running {
    serve(Script::default())
}

/// Every protocol, with TLS.
fn secure(script: Script) -> Running {
    Serve::start(Options { script, tls: Some(Tls::SelfSigned), h3: true, ..Options::default() }).unwrap()
}

fn addr(origin: &Running) -> SocketAddr {
    origin.addr().unwrap()
}

fn connect(origin: &Running) -> TcpStream {
    let stream = TcpStream::connect(addr(origin)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends one request, which closes, and reads to the end.
fn get(origin: &Running, target: &str) -> String {
    let mut stream = connect(origin);
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// Trusts the origin's certificate.
fn client_tls(origin: &Running, alpn: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(origin.certificate().unwrap().to_vec().into()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

/// Runs a test that needs tokio; none takes longer than `PATIENCE`.
fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("in time") })
}
