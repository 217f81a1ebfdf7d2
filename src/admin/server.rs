//! The server's side: a few bounded HTTP/1.1 connections on the control thread.
use super::Backend;
use bytes::Bytes;
use edge_io::listen::{self, SocketName};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, ORIGIN},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use std::{convert::Infallible, io, net::SocketAddr, os::fd::OwnedFd, path::Path, rc::Rc, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    task::spawn_local,
    time::{sleep, timeout},
};

/// Connections at once, over all admin listeners of a process together with those that wait for a reload.
const CONNECTIONS_MAX: usize = 64;
/// For a request's head, and between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection's whole life: whoever reads slower than this gets no more.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A socket of the admin API.
#[derive(Debug)]
pub enum Listener {
    /// TCP; loopback recommended.
    Tcp(TcpListener),
    /// A unix socket, and the owner of its name.
    Unix(UnixListener, SocketName),
}

impl Listener {
    /// On TCP. No two processes share the address: it speaks for this one.
    pub fn tcp(addr: SocketAddr) -> io::Result<Listener> {
        let socket = std::net::TcpListener::bind(addr)?;
        socket.set_nonblocking(true)?;
        Ok(Listener::Tcp(TcpListener::from_std(socket)?))
    }

    /// On a unix socket with mode 0660.
    pub fn unix(path: &Path) -> io::Result<Listener> {
        let (fd, name): (OwnedFd, _) = listen::unix(path, 0o660)?.into_parts();
        Ok(Listener::Unix(UnixListener::from_std(fd.into())?, name))
    }

    /// As `--admin` takes it: `127.0.0.1:9090` with the real port, `unix:/path`.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(socket) => socket.local_addr().map_or_else(|_| "?".to_owned(), |a| a.to_string()),
            Listener::Unix(socket, _) => {
                let addr = socket.local_addr().ok();
                let path = addr.as_ref().and_then(|a| a.as_pathname());
                format!("unix:{}", path.unwrap_or(Path::new("?")).display())
            }
        }
    }
}

/// Serves until its task is dropped. Must run within a `LocalSet`.
pub async fn serve(listeners: Vec<Listener>, backend: Rc<dyn Backend>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = tokio::task::JoinSet::new();
    for listener in listeners {
        tasks.spawn_local(accept(listener, backend.clone(), room.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

async fn accept(listener: Listener, backend: Rc<dyn Backend>, room: Arc<Semaphore>) {
    loop {
        // Never closed, so this cannot fail; further clients wait in the backlog.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let backend = backend.clone();
        match &listener {
            Listener::Tcp(socket) => match socket.accept().await {
                Ok((stream, _)) => drop(spawn_local(async move {
                    connection(stream, backend).await;
                    drop(place);
                })),
                Err(_) => pause().await,
            },
            Listener::Unix(socket, _) => match socket.accept().await {
                Ok((stream, _)) => drop(spawn_local(async move {
                    connection(stream, backend).await;
                    drop(place);
                })),
                Err(_) => pause().await,
            },
        }
    }
}

/// Accepting fails when descriptors run out: trying again at once would only burn time.
async fn pause() {
    sleep(Duration::from_millis(100)).await;
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + 'static>(stream: S, backend: Rc<dyn Backend>) {
    let service = service_fn(move |request| {
        let backend = backend.clone();
        async move { Ok::<_, Infallible>(answer(&request, &*backend).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A client that misbehaves or goes away is its own affair.
    let _ = timeout(CONNECTION_TIMEOUT, served).await;
}

type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// The whole API. Bodies of requests are not read: nothing here takes one.
async fn answer(request: &Request<Incoming>, backend: &dyn Backend) -> Answer {
    // A page in someone's browser can reach loopback, but not without saying where it comes from.
    if request.headers().contains_key(ORIGIN) {
        return problem(StatusCode::FORBIDDEN, "requests from web pages are refused");
    }
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/metrics" if read => reply(200, crate::observe::metrics::CONTENT_TYPE, backend.metrics()),
        "/healthz" if read => check(backend.health()),
        "/ready" if read => check(backend.ready()),
        "/api/v2/status" if read => json(200, JSON, &backend.status()),
        "/api/v2/config/current" if read => json(200, JSON, &backend.status().config),
        "/api/v2/shards" if read => json(200, JSON, &backend.status().shards),
        "/api/v2/config/reload" if request.method() == Method::POST => {
            let reload = backend.reload().await;
            json(reload.status, if reload.status == 200 { JSON } else { PROBLEM }, &reload)
        }
        "/api/v2/config/reload" => not_allowed("POST"),
        "/metrics" | "/healthz" | "/ready" | "/api/v2/status" | "/api/v2/config/current" | "/api/v2/shards" => {
            not_allowed("GET, HEAD")
        }
        _ => problem(StatusCode::NOT_FOUND, "there is nothing of that name"),
    }
}

fn check(result: Result<(), String>) -> Answer {
    match result {
        Ok(()) => reply(200, TEXT, "ok\n".to_owned()),
        Err(why) => reply(503, TEXT, why + "\n"),
    }
}

fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "not with this method");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail });
    json(status.as_u16(), PROBLEM, &body)
}

fn json(status: u16, content_type: &'static str, body: &impl Serialize) -> Answer {
    match serde_json::to_string(body) {
        Ok(text) => reply(status, content_type, text + "\n"),
        Err(e) => reply(500, TEXT, format!("{e}\n")),
    }
}

fn reply(status: u16, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{
        LocalFuture, client,
        view::{Outcome, Reload, Status},
    };
    use std::{cell::Cell, os::unix::fs::PermissionsExt};

    struct Fake {
        healthy: Cell<bool>,
        outcome: Cell<Outcome>,
    }

    impl Backend for Fake {
        fn metrics(&self) -> String {
            "edge_x 1\n".to_owned()
        }
        fn health(&self) -> Result<(), String> {
            if self.healthy.get() { Ok(()) } else { Err("shard 1 is silent".to_owned()) }
        }
        fn ready(&self) -> Result<(), String> {
            Ok(())
        }
        fn status(&self) -> Status {
            Status { pid: 42, shards: vec![Default::default(); 3], ..Status::default() }
        }
        fn reload(&self) -> LocalFuture<Reload> {
            let outcome = self.outcome.get();
            Box::pin(async move { Reload::new(outcome, 7, "1. line 3: no such pool") })
        }
    }

    /// Runs `test` against a server on a real unix socket; gets the backend and the address.
    fn with_server<F: Future<Output = ()>>(test: impl FnOnce(Rc<Fake>, client::Addr) -> F) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let backend = Rc::new(Fake { healthy: Cell::new(true), outcome: Cell::new(Outcome::Applied) });
            let listener = Listener::unix(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
            let address: client::Addr = listener.address().parse().unwrap();
            let server = spawn_local(serve(vec![listener], backend.clone()));
            timeout(Duration::from_secs(20), test(backend, address)).await.expect("in time");
            server.abort();
            let _ = server.await;
        });
        assert!(!path.exists(), "the name went with the server");
    }

    async fn get(addr: &client::Addr, path: &str) -> (u16, String) {
        client::request(addr, "GET", path).await.unwrap()
    }

    #[test]
    fn every_path_answers() {
        with_server(|fake, addr| async move {
            assert_eq!(get(&addr, "/metrics").await, (200, "edge_x 1\n".to_owned()));
            assert_eq!(get(&addr, "/healthz").await, (200, "ok\n".to_owned()));
            fake.healthy.set(false);
            assert_eq!(get(&addr, "/healthz").await, (503, "shard 1 is silent\n".to_owned()));
            assert_eq!(get(&addr, "/ready").await.0, 200);
            let (_, text) = get(&addr, "/api/v2/status").await;
            assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), fake.status());
            let (_, text) = get(&addr, "/api/v2/shards").await;
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap().as_array().unwrap().len(), 3);
            assert_eq!(get(&addr, "/api/v2/config/current").await.0, 200);
            assert_eq!(get(&addr, "/").await.0, 404);
        });
    }

    #[test]
    fn reload_says_how_it_ended() {
        with_server(|fake, addr| async move {
            for (outcome, status) in [
                (Outcome::Applied, 200),
                (Outcome::Invalid, 422),
                (Outcome::ConfigPressure, 429),
                (Outcome::BindFailed, 409),
            ] {
                fake.outcome.set(outcome);
                let (got, text) = client::request(&addr, "POST", "/api/v2/config/reload").await.unwrap();
                assert_eq!(got, status);
                let reload: Reload = serde_json::from_str(&text).unwrap();
                assert_eq!((reload.outcome, reload.version), (outcome, 7));
                assert!(reload.detail.contains("no such pool"));
            }
            assert_eq!(get(&addr, "/api/v2/config/reload").await.0, 405);
            assert_eq!(client::request(&addr, "DELETE", "/metrics").await.unwrap().0, 405);
        });
    }

    #[test]
    fn a_web_page_is_refused() {
        with_server(|_, addr| async move {
            let raw =
                b"POST /api/v2/config/reload HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\nConnection: close\r\n\r\n";
            assert!(client::raw(&addr, raw).await.unwrap().starts_with("HTTP/1.1 403"));
        });
    }

    #[test]
    fn an_endless_head_is_cut() {
        with_server(|_, addr| async move {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
            // It may answer 431 or just close while we still write.
            if let Ok(text) = client::raw(&addr, head.as_bytes()).await {
                assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
            }
        });
    }

    #[test]
    fn more_clients_than_room_wait_for_their_turn() {
        with_server(|_, addr| async move {
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..3 * CONNECTIONS_MAX {
                let addr = addr.clone();
                clients.spawn_local(async move { get(&addr, "/ready").await.0 });
            }
            assert!(clients.join_all().await.into_iter().all(|status| status == 200));
        });
    }
}
