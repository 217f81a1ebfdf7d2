//! One connection over TCP or a unix socket: handshake, which protocol, and what the script does to it as a whole.
use super::{
    desk::Desk,
    http,
    orders::{Order, Orders},
    script::{Delay, Stalls},
    websocket,
    wire::{GARBAGE, Stream, Wire},
};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{io, rc::Rc, time::Duration};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For garbage to get into the socket.
const GARBAGE_TIME: Duration = Duration::from_secs(1);
/// Streams at once on one connection: as many as any generator opens.
const STREAMS: u32 = 4096;
/// Bytes of a request's body, and of all of a connection's, that may be under way.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Bytes of one answer that wait in memory for the client's window.
const SEND_BUFFER: usize = 256 << 10;

/// Which protocols a socket speaks; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Speaks {
    pub h1: bool,
    pub h2: bool,
}

/// Serves one connection to its end.
pub(super) async fn serve(desk: Rc<Desk>, stream: Stream, tls: Option<TlsAcceptor>, speaks: Speaks) {
    let stream = match tls {
        None => stream,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE, stream.secured(&acceptor)).await {
            Ok(Ok(stream)) => stream,
            _ => return desk.counts.not_served.inc(),
        },
    };
    let orders = Rc::new(Orders::default());
    let chosen = stream.chose_h2();
    let mut wire = Wire::new(stream, &orders);
    let is_h2 = match (chosen, speaks) {
        (Some(h2), _) => h2,
        (None, Speaks { h1: true, h2: true }) => match wire.begins_as_h2().await {
            Ok(h2) => h2,
            Err(_) => return,
        },
        (None, Speaks { h2, .. }) => h2,
    };
    // How a connection ends is the client's business: what there is to know is counted.
    let _ = if is_h2 { serve_h2(desk, orders, wire).await } else { serve_h1(desk, orders, wire).await };
}

async fn serve_h1(desk: Rc<Desk>, orders: Rc<Orders>, wire: Wire) -> io::Result<()> {
    let answer = |request: hyper::Request<Incoming>| http::answer(desk.clone(), orders.clone(), request);
    // There is no timer for heads: it would cost each request an allocation, and connections have a bound.
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .pipeline_flush(at_once(&desk))
        .serve_connection(TokioIo::new(wire), service_fn(answer));
    let Some(order) = orders.or_end(&mut connection).await else { return Ok(()) };
    let parts = connection.into_parts();
    let mut wire = parts.io.into_inner();
    match order {
        Order::Close => wire.shutdown().await,
        Order::Reset => {
            wire.reset();
            Ok(())
        }
        Order::Garbage => {
            wire.write_all(GARBAGE).await?;
            wire.shutdown().await
        }
        Order::WebSocket(switch) => {
            wire.give_back(&parts.read_buf);
            wire.write_all(&switch).await?;
            websocket::serve(&desk, wire).await
        }
    }
}

/// Whether every answer follows its request at once. Only then may the answers to pipelined requests wait for each
/// other, to go out with one write.
fn at_once(desk: &Desk) -> bool {
    let script = &desk.script;
    let gated = script.capacity.is_some() || script.concurrency.is_some();
    let plain = script.delay == Delay::default() && script.stalls == Stalls::default() && script.faults.is_empty();
    plain && !gated && script.chunk_delay.is_zero() && script.events.is_none()
}

/// Spawns on the thread's own runtime.
#[derive(Clone, Copy)]
struct Here;

impl<F: Future + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move { drop(task.await) });
    }
}

async fn serve_h2(desk: Rc<Desk>, orders: Rc<Orders>, wire: Wire) -> io::Result<()> {
    let answer = |request: hyper::Request<Incoming>| http::answer(desk.clone(), orders.clone(), request);
    let mut connection = http2::Builder::new(Here)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        // Load generators that time out reset what they asked for: no abuse here.
        .max_pending_accept_reset_streams(usize::try_from(STREAMS).ok())
        .max_local_error_reset_streams(None)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(wire), service_fn(answer));
    match orders.or_end(&mut connection).await {
        Some(Order::Garbage) => {
            orders.garbage.set(GARBAGE.len());
            let gone = async {
                while orders.garbage.get() > 0 {
                    tokio::select! {
                        biased;
                        ended = &mut connection => return drop(ended),
                        () = tokio::task::yield_now() => {}
                    }
                }
            };
            let _ = tokio::time::timeout(GARBAGE_TIME, gone).await;
        }
        // Dropping the connection closes it.
        Some(Order::Close | Order::Reset | Order::WebSocket(_)) | None => {}
    }
    Ok(())
}
