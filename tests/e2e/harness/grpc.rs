//! A tonic client and a tonic server over hyper, with messages that need no compiler of their own.
use super::{Addr, Protocol, h3_crate, http2::Engine, tls};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{io::AsyncRead, io::AsyncWrite, sync::mpsc, sync::watch};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, body::Body};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// The message of every method.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Number {
    /// What counts.
    #[prost(uint64, tag = "1")]
    pub value: u64,
    /// What makes it large.
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
}

impl Number {
    /// Without data.
    pub fn of(value: u64) -> Number {
        Number { value, data: Vec::new() }
    }
}

/// Both ways.
pub type Codec = ProstCodec<Number, Number>;
type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;
type Numbers = Pin<Box<dyn Stream<Item = Result<Number, Status>> + Send>>;

/// A server: `Next` adds one and copies the data, `Count` streams the numbers below, `Each` answers every message with
/// the next number, `Sleep` never answers, `Fail` says NOT_FOUND.
pub struct GrpcOrigin {
    addr: SocketAddr,
    protocol: Protocol,
    stop: watch::Sender<bool>,
    /// Calls of `Sleep` and `Each` that somebody waits for.
    pub waiting: Arc<AtomicUsize>,
    _engine: Engine,
}

impl GrpcOrigin {
    /// On a free port.
    pub fn start(protocol: Protocol) -> GrpcOrigin {
        let engine = Engine::start();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let (stop, mut stopped) = watch::channel(false);
        let waiting = Arc::new(AtomicUsize::new(0));
        let acceptor = protocol.tls().then(|| tokio_rustls::TlsAcceptor::from(tls::pki().origin.server(&["h2"])));
        let server = Server { waiting: Arc::clone(&waiting) };
        engine.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for the runtime");
            loop {
                let socket = tokio::select! {
                    _ = stopped.changed() => return,
                    accepted = listener.accept() => match accepted { Ok((socket, _)) => socket, Err(_) => continue },
                };
                let _ = socket.set_nodelay(true);
                let (server, acceptor, stopped) = (server.clone(), acceptor.clone(), stopped.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => server.serve(socket, stopped).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(socket).await {
                                server.serve(stream, stopped).await;
                            }
                        }
                    }
                });
            }
        });
        GrpcOrigin { addr, protocol, stop, waiting, _engine: engine }
    }

    /// A pool of it.
    pub fn pool_text(&self, name: &str, keys: &str) -> String {
        let scheme = if self.protocol.tls() { "https" } else { "h2c" };
        let tls = match self.protocol.tls() {
            true => format!("tls = {{ ca = \"@DIR@/ca.pem\", server_name = \"{}\" }}\n", tls::ORIGIN_NAME),
            false => String::new(),
        };
        format!("[pool.{name}]\nendpoints = [\"{scheme}://{}\"]\n{tls}{keys}\n", self.addr)
    }

    /// Ends every connection and listens no more.
    pub fn kill(&self) {
        let _ = self.stop.send(true);
    }
}

#[derive(Clone)]
struct Server {
    waiting: Arc<AtomicUsize>,
}

impl Server {
    async fn serve<T>(self, io: T, mut stopped: watch::Receiver<bool>)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = hyper::service::service_fn(move |request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.call(request).await) }
        });
        let connection =
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), service);
        tokio::select! {
            _ = stopped.changed() => {}
            _ = connection => {}
        }
    }

    async fn call(self, request: http::Request<Incoming>) -> http::Response<Body> {
        let mut grpc = tonic::server::Grpc::new(Codec::default());
        match request.uri().path() {
            "/test.Numbers/Next" => grpc.unary(Next, request).await,
            "/test.Numbers/Fail" => grpc.unary(Fail, request).await,
            "/test.Numbers/Sleep" => grpc.unary(Sleep(Held::new(&self.waiting)), request).await,
            "/test.Numbers/Count" => grpc.server_streaming(Count, request).await,
            _ => grpc.streaming(Each(Held::new(&self.waiting)), request).await,
        }
    }
}

/// Counts while it lives.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(count: &Arc<AtomicUsize>) -> Held {
        count.fetch_add(1, Ordering::SeqCst);
        Held(Arc::clone(count))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Next;
struct Fail;
struct Sleep(Held);
struct Count;
struct Each(Held);

impl tonic::server::UnaryService<Number> for Next {
    type Response = Number;
    type Future = Answer<Number>;

    fn call(&mut self, request: Request<Number>) -> Self::Future {
        Box::pin(async move {
            let word = request.metadata().get("x-word").cloned();
            let number = request.into_inner();
            let mut response = Response::new(Number { value: number.value + 1, data: number.data });
            if let Some(word) = word {
                response.metadata_mut().insert("x-word", word);
            }
            Ok(response)
        })
    }
}

impl tonic::server::UnaryService<Number> for Fail {
    type Response = Number;
    type Future = Answer<Number>;

    fn call(&mut self, _: Request<Number>) -> Self::Future {
        Box::pin(async { Err(Status::not_found("no such number: 100 %")) })
    }
}

impl tonic::server::UnaryService<Number> for Sleep {
    type Response = Number;
    type Future = Answer<Number>;

    fn call(&mut self, _: Request<Number>) -> Self::Future {
        let held = Held::new(&self.0.0);
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(held);
            Err(Status::internal("never"))
        })
    }
}

impl tonic::server::ServerStreamingService<Number> for Count {
    type Response = Number;
    type ResponseStream = Numbers;
    type Future = Answer<Numbers>;

    fn call(&mut self, request: Request<Number>) -> Self::Future {
        let numbers = tokio_stream::iter((0..request.into_inner().value).map(|n| Ok(Number::of(n))));
        Box::pin(async move { Ok(Response::new(Box::pin(numbers) as Numbers)) })
    }
}

impl tonic::server::StreamingService<Number> for Each {
    type Response = Number;
    type ResponseStream = Numbers;
    type Future = Answer<Numbers>;

    fn call(&mut self, request: Request<Streaming<Number>>) -> Self::Future {
        let held = Held::new(&self.0.0);
        let next = move |n: Result<Number, Status>| {
            let _ = &held;
            n.map(|n| Number { value: n.value + 1, data: n.data })
        };
        let numbers = request.into_inner().map(next);
        Box::pin(async move { Ok(Response::new(Box::pin(numbers) as Numbers)) })
    }
}

/// The tonic client's way to a server: one connection, of hyper or of the `h3` crate.
#[derive(Clone)]
pub enum Channel {
    /// HTTP/2.
    Http2(hyper::client::conn::http2::SendRequest<Body>),
    /// HTTP/3.
    Http3(h3_crate::Sender),
}

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Channel::Http2(sender) => sender.poll_ready(cx).map_err(Into::into),
            Channel::Http3(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self {
            Channel::Http2(sender) => {
                let answer = sender.send_request(request);
                Box::pin(async { Ok(answer.await?.map(Body::new)) })
            }
            Channel::Http3(sender) => {
                let answer = h3_crate::call(sender.clone(), request);
                Box::pin(async { Ok(answer.await?.map(Body::new)) })
            }
        }
    }
}

/// Connects a tonic client.
///
/// # Errors
/// As the socket, TLS, HTTP/2 or HTTP/3 say.
pub async fn connect(protocol: Protocol, to: &Addr) -> io::Result<tonic::client::Grpc<Channel>> {
    if protocol == Protocol::H3 {
        let origin = "https://grpc.test".parse().map_err(io::Error::other)?;
        return Ok(tonic::client::Grpc::with_origin(Channel::Http3(h3_crate::connect(to).await?), origin));
    }
    let socket = tokio::net::TcpStream::connect(to.tcp()).await?;
    socket.set_nodelay(true)?;
    let origin = format!("{}://grpc.test", protocol.scheme()).parse().map_err(io::Error::other)?;
    let channel = match protocol.tls() {
        false => shake(socket).await?,
        true => {
            let connector = tokio_rustls::TlsConnector::from(tls::client(&["h2"]));
            shake(connector.connect(tls::server_name(tls::EDGE_NAME), socket).await?).await?
        }
    };
    Ok(tonic::client::Grpc::with_origin(channel, origin))
}

async fn shake<T>(io: T) -> io::Result<Channel>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(Channel::Http2(sender))
}

/// The receiving end of a channel as a stream of messages.
pub struct Sent(pub mpsc::Receiver<Number>);

impl Stream for Sent {
    type Item = Number;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Number>> {
        self.0.poll_recv(cx)
    }
}
