//! One request over HTTP/1.1 or HTTP/2, by the script.
use super::{
    desk::{Desk, Verdict},
    echo::{self, Told},
    orders::{Order, Orders},
    payload::{CutShort, Events, Payload, Pieces, Timer},
    script::{Fault, Reply},
    websocket,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode, Version,
    body::{Body, Incoming},
    ext::Protocol,
    header::{CONTENT_TYPE, HeaderValue, UPGRADE},
    http::request,
};
use hyper_util::rt::TokioIo;
use std::rc::Rc;

pub(super) type Answer = Response<Payload>;

/// Answers a request; an error resets its stream (HTTP/2).
///
/// # Errors
/// The script wants it so.
pub(super) async fn answer(
    desk: Rc<Desk>,
    orders: Rc<Orders>,
    mut request: Request<Incoming>,
) -> Result<Answer, CutShort> {
    desk.counts.requests.inc();
    if let Some(accept) = upgrade(&request) {
        return Ok(orders.give(Order::WebSocket(switch(&accept))).await);
    }
    if request.method() == Method::CONNECT {
        return Ok(connect(desk, &mut request));
    }
    let (head, mut body) = request.into_parts();
    let mut received = 0;
    if !body.is_end_stream() {
        while let Some(Ok(frame)) = body.frame().await {
            received += frame.data_ref().map_or(0, Bytes::len);
        }
    }
    if desk.script.echo {
        return Ok(echo(&desk, &head, received).await);
    }
    if head.uri.path() == "/ws" {
        return Ok(told(StatusCode::UPGRADE_REQUIRED, "a WebSocket is expected here\n".into()));
    }
    match desk.judge(head.uri.path(), head.uri.query()) {
        Verdict::Reply(reply, due) => {
            desk.wait(due).await;
            reply_to(&desk, &orders, &head, reply).await
        }
        Verdict::Events(every, count) => Ok(events(&desk, every, count)),
        Verdict::Never => std::future::pending().await,
        Verdict::Refused => {
            desk.wait(desk.pace.release(desk.alarms.now())).await;
            Ok(told(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait already\n".into()))
        }
        Verdict::Mistake(mistake) => Ok(told(StatusCode::BAD_REQUEST, format!("{mistake}\n"))),
    }
}

/// What the request looked like.
async fn echo(desk: &Desk, head: &request::Parts, received: usize) -> Answer {
    let fields = || head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let line = format_args!("{} {} {:?}", head.method, head.uri, head.version);
    match echo::answer(desk, head.uri.path(), head.uri.query(), || echo::text(line, fields(), received)).await {
        Told::Bytes(left) => Response::new(Payload::Sized { left }),
        Told::Text(status, text) => told(StatusCode::from_u16(status).unwrap_or_default(), text),
    }
}

async fn reply_to(
    desk: &Rc<Desk>,
    orders: &Rc<Orders>,
    head: &request::Parts,
    reply: Reply,
) -> Result<Answer, CutShort> {
    let multiplexed = head.version == Version::HTTP_2;
    // A truncated answer needs a body to be cut.
    let bodiless = head.method == Method::HEAD || !reply.has_body();
    let body = match reply.fault {
        None => whole(desk, &reply),
        Some(Fault::Reset) if multiplexed => return Err(CutShort),
        Some(Fault::Reset) => return orders.give(Order::Reset).await,
        Some(Fault::Garbage) => return orders.give(Order::Garbage).await,
        Some(Fault::Truncate) if !bodiless => {
            let announced = reply.size.max(2);
            Payload::Cut { left: announced / 2, announced, waited: false }
        }
        Some(Fault::Truncate | Fault::Close) => return orders.give(Order::Close).await,
        Some(Fault::Stall) => std::future::pending().await,
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    *answer.headers_mut() = desk.fields.clone();
    Ok(answer)
}

fn whole(desk: &Rc<Desk>, reply: &Reply) -> Payload {
    match reply.chunk {
        _ if !reply.has_body() => Payload::Sized { left: 0 },
        None => Payload::Sized { left: reply.size },
        Some(piece) => Payload::Pieces(Pieces {
            left: reply.size,
            piece: piece.get(),
            pause: reply.chunk_delay_us,
            timer: Timer::new(desk),
        }),
    }
}

fn events(desk: &Rc<Desk>, every: u64, count: u64) -> Answer {
    let mut answer = Response::new(Payload::Events(Box::new(Events::new(desk, every, count))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer
}

/// A text for people.
pub(super) fn told(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Payload::text(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::UPGRADE_REQUIRED {
        answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    answer
}

/// HTTP/1.1: what accepts the WebSocket that a request asks for (RFC 6455, section 4.2.1).
fn upgrade(request: &Request<Incoming>) -> Option<String> {
    let wanted = request.headers().get(UPGRADE)?.as_bytes();
    if request.version() != Version::HTTP_11 || !wanted.eq_ignore_ascii_case(b"websocket") {
        return None;
    }
    request.headers().get("sec-websocket-key").map(|key| crate::websocket::accept(key.as_bytes()))
}

fn switch(accept: &str) -> Bytes {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: \
         {accept}\r\n\r\n"
    );
    Bytes::from(head)
}

/// HTTP/2: an extended CONNECT for a WebSocket (RFC 8441), or one for something that is not here.
fn connect(desk: Rc<Desk>, request: &mut Request<Incoming>) -> Answer {
    let protocol = request.extensions().get::<Protocol>();
    if protocol.is_none_or(|protocol| protocol.as_str() != "websocket") {
        return told(StatusCode::NOT_IMPLEMENTED, "only WebSockets can be connected to\n".into());
    }
    let upgraded = hyper::upgrade::on(request);
    tokio::task::spawn_local(async move {
        if let Ok(stream) = upgraded.await {
            // A client that goes away has what it wanted.
            let _ = websocket::serve(&desk, TokioIo::new(stream)).await;
        }
    });
    Response::new(Payload::Text(None))
}
