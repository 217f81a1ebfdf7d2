//! Third-party peers: a hyper origin, a hyper client.
use super::Addr;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{Request, Response, body::Frame, body::Incoming, header::HeaderMap, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, net::SocketAddr, thread::JoinHandle};
use tokio::sync::oneshot;

type Body = BoxBody<Bytes, hyper::Error>;

/// A hyper server in a thread of its own: `/echo` returns the body as it comes, `/bytes/N` returns N bytes, anything else
/// returns method, target and fields as text.
pub struct HyperOrigin {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HyperOrigin {
    /// On a free port.
    pub fn start() -> HyperOrigin {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || runtime().block_on(serve(listener, stopped)));
        HyperOrigin { addr, stop: Some(stop), thread: Some(thread) }
    }

    /// As an endpoint in a configuration, quoted.
    pub fn endpoint(&self) -> String {
        format!("\"http://{}\"", self.addr)
    }
}

impl Drop for HyperOrigin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn serve(listener: std::net::TcpListener, mut stopped: oneshot::Receiver<()>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for the runtime");
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted { Ok((stream, _)) => stream, Err(_) => continue },
        };
        tokio::spawn(async move {
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let body: Body = if path == "/echo" {
        request.into_body().boxed()
    } else if let Some(len) = path.strip_prefix("/bytes/").and_then(|n| n.parse().ok()) {
        full(super::pattern(len))
    } else {
        let mut text = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
        }
        full(text.into_bytes())
    };
    Ok(Response::new(body))
}

fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed()
}

/// What a hyper client got.
#[derive(Debug)]
pub struct HyperAnswer {
    /// The status.
    pub status: u16,
    /// The fields.
    pub fields: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

async fn hyper_connect(to: SocketAddr) -> hyper::client::conn::http1::SendRequest<Body> {
    let stream = tokio::net::TcpStream::connect(to).await.expect("the listener accepts");
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a client connection");
    tokio::spawn(connection);
    sender
}

/// Sends requests over one connection with hyper as long as that stays, one after the other; a body of several pieces goes out chunked.
pub fn hyper_ask(to: &Addr, requests: Vec<(Request<()>, Vec<Bytes>)>) -> Vec<HyperAnswer> {
    let to = to.tcp();
    runtime().block_on(async move {
        let mut sender = hyper_connect(to).await;
        let mut answers = Vec::new();
        for (head, pieces) in requests {
            // An answer that begins before the request has ended may announce the connection's end (RFC 9112 9.6).
            if sender.ready().await.is_err() {
                sender = hyper_connect(to).await;
            }
            let body = match pieces.len() {
                0 | 1 => full(pieces.concat()),
                _ => Pieces(pieces.into()).boxed(),
            };
            let response = sender.send_request(head.map(|()| body)).await.expect("an answer");
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
            answers.push(HyperAnswer { status: parts.status.as_u16(), fields: parts.headers, body });
        }
        answers
    })
}

/// A stream of ready pieces.
struct Pieces(std::collections::VecDeque<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        std::task::Poll::Ready(self.0.pop_front().map(|p| Ok(Frame::data(p))))
    }
}
