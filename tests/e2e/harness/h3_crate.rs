//! The `h3` crate over `quinn`: a client whose HTTP/3 and QPACK are neither the edge's nor the harness's, as a service of
//! hyper's types.
use super::{Addr, tls};
use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// One connection.
pub type Sender = SendRequest<h3_quinn::OpenStreams, Bytes>;

/// Connects to [`tls::EDGE_NAME`]; within a runtime that then drives the connection.
///
/// # Errors
/// As QUIC and HTTP/3 say.
pub async fn connect(to: &Addr) -> io::Result<Sender> {
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls::client(&["h3"])).map_err(io::Error::other)?;
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().map_err(io::Error::other)?)?;
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connecting = endpoint.connect_with(config, to.tcp(), tls::EDGE_NAME).map_err(io::Error::other)?;
    let quic = h3_quinn::Connection::new(connecting.await.map_err(io::Error::other)?);
    let (mut connection, sender) = h3::client::new(quic).await.map_err(io::Error::other)?;
    tokio::spawn(async move { connection.wait_idle().await });
    Ok(sender)
}

/// Sends a request, its body beside whatever comes back.
///
/// # Errors
/// As the stream says before the answer's head.
pub async fn call<B>(mut sender: Sender, request: http::Request<B>) -> io::Result<http::Response<Incoming>>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let (parts, mut body) = request.into_parts();
    let stream = sender.send_request(http::Request::from_parts(parts, ())).await.map_err(io::Error::other)?;
    let (mut send, mut recv) = stream.split();
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let sent = match frame.into_data() {
                Ok(data) => send.send_data(data).await,
                Err(frame) => send.send_trailers(frame.into_trailers().unwrap_or_default()).await,
            };
            if sent.is_err() {
                return;
            }
        }
        let _ = send.finish().await;
    });
    let head = recv.recv_response().await.map_err(io::Error::other)?;
    Ok(head.map(|()| Incoming { recv, in_trailers: false, ended: false, _connection: sender }))
}

/// The body of an answer. Dropped before its end, it is cancelled.
pub struct Incoming {
    recv: RequestStream<h3_quinn::RecvStream, Bytes>,
    in_trailers: bool,
    ended: bool,
    /// The last sender to go takes the connection with it.
    _connection: Sender,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if !self.in_trailers {
            match ready!(self.recv.poll_recv_data(cx)) {
                Ok(Some(mut data)) => return Poll::Ready(Some(Ok(Frame::data(data.copy_to_bytes(data.remaining()))))),
                Ok(None) => self.in_trailers = true,
                Err(e) => return Poll::Ready(Some(Err(io::Error::other(e)))),
            }
        }
        let trailers = ready!(self.recv.poll_recv_trailers(cx)).map_err(io::Error::other);
        self.ended = true;
        Poll::Ready(trailers.map(|t| t.map(Frame::trailers)).transpose())
    }
}
