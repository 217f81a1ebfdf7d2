//! A small origin: what the demo and the tests put behind the proxy.
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | N bytes, N at most 1 GiB |
//! | `/slow?ms=N` | the echo, N milliseconds later, N at most 60,000 |
//! | anything else | an echo of the request: method, target, fields and the size of its body, as text |
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    fmt::Write as _,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

/// Longest delay of `/slow`.
const SLOW_MAX: Duration = Duration::from_secs(60);
/// Largest answer of `/bytes/N`.
const BYTES_MAX: u64 = 1 << 30;

/// A running origin; ends when dropped.
#[derive(Debug)]
pub struct Origin {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts one on its own thread. Port 0 takes a free port.
    ///
    /// # Errors
    /// The address cannot be listened on, or the thread not be started.
    pub fn start(addr: SocketAddr) -> io::Result<Origin> {
        let listener = std::net::TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("origin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Origin { addr, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Connections end with the runtime, which ends with the thread.
        self.stop.take().map(|stop| stop.send(()));
        self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: std::net::TcpListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // The answer is written at once, whatever is still to come.
                    let _ = stream.set_nodelay(true);
                    let served = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service_fn(answer));
                    connections.spawn(async move { drop(served.await) });
                }
                // No descriptors left: give others a chance to close theirs.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

type Answer = Response<Either<Full<Bytes>, Repeat>>;

async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut received = 0;
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, Bytes::len);
    }
    let path = head.uri.path();
    if let Some(size) = path.strip_prefix("/bytes/") {
        return Ok(match size.parse() {
            Ok(left) if left <= BYTES_MAX => Response::new(Either::Right(Repeat { left })),
            _ => text(StatusCode::BAD_REQUEST, format!("a number up to {BYTES_MAX} is expected, as in /bytes/1000\n")),
        });
    }
    if path == "/slow" {
        let pairs = head.uri.query().unwrap_or_default().split('&');
        let ms = pairs.filter_map(|pair| pair.strip_prefix("ms=")?.parse().ok()).next().unwrap_or(1000);
        tokio::time::sleep(Duration::from_millis(ms).min(SLOW_MAX)).await;
    }
    let mut echo = format!("{} {} {:?}\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        let _ = writeln!(echo, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    if received > 0 {
        let _ = writeln!(echo, "\n({received} bytes of body)");
    }
    Ok(text(StatusCode::OK, echo))
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from(text))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// So many bytes, piece by piece.
struct Repeat {
    left: u64,
}

static PIECE: [u8; 16 << 10] = [b'x'; 16 << 10];

impl Body for Repeat {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let n = self.left.min(PIECE.len() as u64);
        self.left -= n;
        let piece = Bytes::from_static(PIECE.get(..n as usize).unwrap_or(&PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    fn talk(origin: &Origin, request: &str) -> String {
        let mut stream = TcpStream::connect(origin.addr()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    fn get(origin: &Origin, target: &str) -> String {
        talk(origin, &format!("GET {target} HTTP/1.1\r\nHost: x\r\nX-Test: yes\r\nConnection: close\r\n\r\n"))
    }

    #[test]
    fn answers_and_ends() {
        let origin = Origin::start("127.0.0.1:0".parse().unwrap()).unwrap();
        let echo = get(&origin, "/a?b=c");
        assert!(
            echo.starts_with("HTTP/1.1 200") && echo.contains("GET /a?b=c HTTP/1.1") && echo.contains("x-test: yes")
        );
        let posted = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        assert!(talk(&origin, posted).contains("(5 bytes of body)"));
        let bytes = get(&origin, "/bytes/100000");
        assert!(bytes.contains("content-length: 100000\r\n"));
        assert_eq!(bytes.split_once("\r\n\r\n").unwrap().1.len(), 100_000);
        assert!(get(&origin, "/bytes/x").starts_with("HTTP/1.1 400"));
        assert!(get(&origin, "/bytes/99999999999").starts_with("HTTP/1.1 400"));
        assert!(get(&origin, "/slow?ms=1").starts_with("HTTP/1.1 200"));
        let addr = origin.addr();
        drop(origin);
        assert!(TcpStream::connect(addr).is_err());
    }
}
