//! A request's whole life, in order, on one screen. The same for every protocol.
mod account;
mod fields;
mod forwarding;
mod ids;
pub mod protect;
mod secure;
mod shard;
pub use ids::RequestIds;
pub use shard::{Pinned, Scratch, Shard};

use crate::{
    answer::{self, RedirectRule, RespondRule},
    message::{
        BodySink, BodySize, BodySource, Category, Deadlines, Exchange, Fault, Phase, ResponseHead, ResponseSink, Side,
        path::{self, Normalized},
    },
    policy::rewrite::RewriteRule,
    proto::websocket,
    route::{Found, Query},
    snapshot::{Action, ListenerRule, PolicyRule, RouteRule, Snapshot},
    upstream::{self, PoolRule, Trace, Tunnel},
};
use account::Account;
use bytes::Bytes;
use edge_io::head::{FieldId, Head, Version};
use fields::Fields;
use std::{
    future::poll_fn,
    task::{Context, Poll},
};

/// `Allow` where no route was looked for: everything but CONNECT.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, TRACE";

/// Answers one request, or refuses it with the fault its connection found; then counts and logs it.
///
/// Order: request id → client address → certificate's host → early data → route → `https://` → shed → (policies) → answer or upstream → count → log.
pub async fn handle<E: Exchange>(shard: &Shard, listener: &ListenerRule, exchange: &mut E, refused: Option<Fault>) {
    let pinned = shard.pin();
    let mut scratch = shard.scratch();
    let mut account = Account::begin(shard, pinned.clone());
    forwarding::identify(shard, listener, exchange.head(), exchange.peer(), &mut scratch);
    let result = match refused {
        Some(fault) => Err(fault),
        None => respond(shard, listener, &pinned.snapshot, exchange, &mut scratch, &mut account).await,
    };
    match result {
        Ok(None) => {}
        Ok(Some(tunnel)) => {
            // It may stay open for days: the configuration it began under must not stay with it.
            drop(pinned);
            account.keep_names_only();
            let (_, mut source, mut sink, deadlines) = exchange.parts();
            // Boxed, as all that is rare: every connection's task is as large as the largest thing it may do.
            let relay = Box::pin(tunnel.run(&shard.upstreams, &mut source, &mut sink, deadlines));
            account.fault = relay.await.err();
        }
        Err(fault) => {
            account.fault = Some(fault);
            // A client that cannot be told either is counted with the first fault.
            let allow = account.allow.as_deref();
            let _ = Box::pin(refuse(shard, listener, exchange, fault, allow, &mut scratch)).await;
        }
    }
    account.finish(listener, exchange, &scratch);
    shard.give_back(scratch);
}

/// Finds the route and does what it says.
async fn respond<E: Exchange>(
    shard: &Shard,
    listener: &ListenerRule,
    snapshot: &Snapshot,
    exchange: &mut E,
    scratch: &mut Scratch,
    account: &mut Account<'_>,
) -> Result<Option<Tunnel>, Fault> {
    let head = exchange.head();
    secure::directed(listener, exchange.tls(), head)?;
    let early = exchange.early_data();
    secure::repeatable(early, head.method(), exchange.wants_websocket())?;
    scratch.path.clear();
    scratch.rewritten = path::normalize(head.path(), &mut scratch.path) == Normalized::Changed;
    let path = if scratch.rewritten { &scratch.path } else { head.path() };
    let query = Query { head, path, client: scratch.client, tls: exchange.peer().tls };
    let found = snapshot.router.find(&query);
    let route = match found {
        Found::Route(index) => snapshot.routes.get(index as usize),
        Found::MethodNotAllowed(_) | Found::None => None,
    };
    if secure::redirected(listener, snapshot, route, exchange, scratch) {
        return Box::pin(to_https(shard, exchange, scratch)).await.map(|()| None);
    }
    let index = match found {
        Found::Route(index) => index,
        Found::MethodNotAllowed(allow) => {
            account.allow = Some(allow.to_owned());
            return Err(Fault::new(Category::MethodNotAllowed, Side::Downstream, "no route takes this method here"));
        }
        Found::None => return Err(Fault::new(Category::NoRoute, Side::Downstream, "no route matches")),
    };
    let Some(route) = route else {
        return Err(Fault::new(Category::NoRoute, Side::Edge, "the route is not in the snapshot"));
    };
    account.route(index, route);
    if shard.sheds(route.policy.priority) {
        return Err(protect::refuse(&shard.stats, route.policy.priority));
    }
    secure::certified(&route.policy, exchange.tls())?;
    match &route.action {
        Action::Proxy { pool, rewrite, preserve_host } => {
            let Some(pool) = snapshot.pools.get(*pool as usize) else {
                return Err(Fault::new(Category::NoHealthyEndpoint, Side::Edge, "the pool is not in the snapshot"));
            };
            target(head, rewrite.as_deref(), *preserve_host, scratch)?;
            forwarding::fields(shard, listener, head, exchange.peer(), scratch);
            secure::early_data(early, head, scratch);
            secure::client_cert(&route.policy, exchange.tls(), &mut scratch.ours);
            proxy(shard, listener, pool, route, exchange, scratch, &mut account.trace).await
        }
        Action::Redirect(rule) => Box::pin(redirect(shard, listener, rule, exchange, scratch)).await.map(|()| None),
        Action::Respond(rule) => fixed(shard, listener, rule, exchange, scratch).await.map(|()| None),
    }
}

/// What the endpoint is asked for: `scratch.target` and `scratch.host`.
fn target(head: &Head, rewrite: Option<&RewriteRule>, preserve_host: bool, scratch: &mut Scratch) -> Result<(), Fault> {
    scratch.target.clear();
    scratch.host.clear();
    let path: &[u8] = if scratch.rewritten { &scratch.path } else { head.path() };
    match rewrite {
        Some(rule) if rule.changes_target() => rule.apply(head, path, &mut scratch.target)?,
        _ if scratch.rewritten => {
            scratch.target.extend_from_slice(path);
            if let Some(query) = head.query() {
                scratch.target.push(b'?');
                scratch.target.extend_from_slice(query);
            }
        }
        _ => scratch.target.extend_from_slice(head.path_and_query()),
    }
    let chosen = match rewrite {
        Some(rule) => rule.host(head, &mut scratch.host)?,
        None => false,
    };
    if !chosen && preserve_host {
        scratch.host.extend_from_slice(head.authority());
    }
    Ok(())
}

/// What an answer says of HTTP/3, where the client speaks something else and might come back by it (RFC 7838 3).
fn alt_svc<'l, E: Exchange>(listener: &'l ListenerRule, exchange: &E) -> Option<&'l [u8]> {
    match exchange.head().version() {
        Version::Http3 => None,
        _ => listener.alt_svc.at(exchange.peer().local_port),
    }
}

async fn proxy<E: Exchange>(
    shard: &Shard,
    listener: &ListenerRule,
    pool: &PoolRule,
    route: &RouteRule,
    exchange: &mut E,
    scratch: &mut Scratch,
    trace: &mut Trace,
) -> Result<Option<Tunnel>, Fault> {
    let policy: &PolicyRule = &route.policy;
    let max_body = policy.max_body.map(|most| {
        (most, Fault::new(Category::BodyTooLarge, Side::Downstream, "the request body is larger than the route allows"))
    });
    let body = exchange.body_size();
    if let (BodySize::Exact(n), Some((most, fault))) = (body, max_body)
        && n > most
    {
        return Err(fault);
    }
    let timeouts = policy.timeouts.unwrap_or(pool.timeouts);
    let grpc = answer::grpc::is_grpc(exchange.head());
    let patience = if grpc { answer::grpc::timeout(exchange.head()) } else { None };
    if let Some(total) = [timeouts.total, patience].into_iter().flatten().min() {
        exchange.deadlines().set(Phase::Total, total);
    }
    let hurried = patience.is_some_and(|patience| timeouts.total.is_none_or(|total| patience < total));
    let (expects_continue, websocket) = (exchange.expects_continue(), exchange.wants_websocket());
    let (te_trailers, may_trail) = (exchange.takes_trailers(), exchange.may_trail());
    let (alt_svc, secure) = (alt_svc(listener, exchange), exchange.peer().tls);
    let (head, mut source, mut sink, deadlines) = exchange.parts();
    if grpc {
        source.take_time(); // a call may be a conversation
    }
    if sink.is_stream() {
        still_wanted(&mut sink).await?;
        if body == BodySize::Exact(0) {
            Box::pin(nothing_more(&mut source, deadlines)).await?;
        }
    }
    let date = shard.date();
    let response_fields: [(&[u8], &[u8]); 2] =
        [(b"x-request-id", &scratch.id), (b"alt-svc", alt_svc.unwrap_or_default())];
    let request = upstream::Request {
        date: &date,
        target: &scratch.target,
        host: &scratch.host,
        our_fields: &scratch.ours,
        response_fields: if alt_svc.is_some() { &response_fields } else { &response_fields[..1] },
        alt_svc: alt_svc.is_some(),
        body,
        expects_continue,
        websocket,
        te_trailers,
        may_trail,
        priority: policy.priority,
        max_body,
        websocket_key: websocket_key(shard, head, websocket),
    };
    let plan = upstream::Plan {
        timeouts: &timeouts,
        retry: policy.retry.as_ref(),
        hedge: policy.hedge.as_ref(),
        state: route.state.as_ref(),
        breaker: policy.breaker.as_ref(),
        gate: route.gate.as_deref(),
        priority: policy.priority,
        client: scratch.client,
        path: if scratch.rewritten { &scratch.path } else { head.path() },
        secure,
        hurried,
    };
    let upstreams = &shard.upstreams;
    let result =
        upstream::forward(upstreams, pool, plan, &request, head, &mut source, &mut sink, deadlines, trace).await;
    deadlines.clear(Phase::Total);
    result
}

/// What follows a request at once on its connection is seen first: one that is reset in the same breath costs no
/// endpoint anything.
async fn still_wanted(sink: &mut impl ResponseSink) -> Result<(), Fault> {
    let mut seen = false;
    poll_fn(|cx| match sink.poll_gone(cx) {
        Poll::Ready(fault) => Poll::Ready(Err(fault)),
        Poll::Pending if std::mem::replace(&mut seen, true) => Poll::Ready(Ok(())),
        Poll::Pending => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// A request that says it has no body, but has not ended: what comes decides whether it is one (RFC 9113 8.1.1).
async fn nothing_more(source: &mut impl BodySource, deadlines: &Deadlines) -> Result<(), Fault> {
    const LATE: Fault = Fault::new(Category::BodyTimeout, Side::Downstream, "the request does not end");
    poll_fn(|cx| match source.poll_fill(cx) {
        Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
        Poll::Ready(Err(fault)) => Poll::Ready(Err(fault)),
        Poll::Pending => deadlines.poll_expired(cx).map(|_| Err(LATE)),
    })
    .await
}

/// A key for an endpoint that speaks HTTP/1.1, where the client's protocol has none (RFC 8441 5).
fn websocket_key(shard: &Shard, head: &Head, websocket: bool) -> Option<String> {
    let needed = websocket && matches!(head.version(), Version::Http2 | Version::Http3);
    needed.then(|| websocket::key(shard.upstreams.random()))
}

async fn redirect<E: Exchange>(
    shard: &Shard,
    listener: &ListenerRule,
    rule: &RedirectRule,
    exchange: &mut E,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let scheme = if exchange.peer().tls { "https" } else { "http" };
    let head = exchange.head();
    let path: &[u8] = if scratch.rewritten { &scratch.path } else { head.path() };
    scratch.target.clear();
    rule.location(head, path, scheme, &mut scratch.target)?;
    let date = shard.date();
    let fields = Fields::of(&[(b"location", &scratch.target), (b"date", &date), (b"x-request-id", &scratch.id)])
        .maybe(b"alt-svc", alt_svc(listener, exchange));
    send(exchange, rule.status, fields.all(), Whole::Copied(b"")).await
}

/// Sends the client to `scratch.target`, for good and with the same method.
async fn to_https<E: Exchange>(shard: &Shard, exchange: &mut E, scratch: &Scratch) -> Result<(), Fault> {
    let fields: [(&[u8], &[u8]); 3] =
        [(b"location", &scratch.target), (b"date", &shard.date()), (b"x-request-id", &scratch.id)];
    send(exchange, 308, &fields, Whole::Copied(b"")).await
}

async fn fixed<E: Exchange>(
    shard: &Shard,
    listener: &ListenerRule,
    rule: &RespondRule,
    exchange: &mut E,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let date = shard.date();
    let said = rule.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("alt-svc"));
    let own = Fields::of(&[(b"date", &date), (b"x-request-id", &scratch.id)])
        .maybe(b"content-type", rule.content_type.as_deref().map(str::as_bytes))
        .maybe(b"alt-svc", alt_svc(listener, exchange).filter(|_| !said));
    if rule.headers.is_empty() {
        return send(exchange, rule.status, own.all(), Whole::of(&rule.body)).await;
    }
    let headers = rule.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    let fields: Vec<(&[u8], &[u8])> = own.all().iter().copied().chain(headers).collect();
    send(exchange, rule.status, &fields, Whole::of(&rule.body)).await
}

/// Tells the client what went wrong, if it can still be told.
async fn refuse<E: Exchange>(
    shard: &Shard,
    listener: &ListenerRule,
    exchange: &mut E,
    fault: Fault,
    allow: Option<&str>,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let unheard = matches!(fault.category, Category::ClientAbort | Category::WriteTimeout);
    if unheard || exchange.started() && !exchange.take_back() {
        return Ok(());
    }
    // What came too early is sent again below gRPC, by whoever sent it early.
    if answer::grpc::is_grpc(exchange.head()) && fault.category != Category::TooEarly {
        return refuse_grpc(shard, listener, exchange, fault, scratch).await;
    }
    let mut body = std::mem::take(&mut scratch.body);
    body.clear();
    let id = std::str::from_utf8(&scratch.id).unwrap_or_default();
    let accept = exchange.head().get(FieldId::Accept);
    let content_type = answer::error::render(&fault, accept, id, &mut body);
    let date = shard.date();
    let of_method = (fault.status == 405).then(|| allow.unwrap_or(METHODS).as_bytes());
    let fields = Fields::of(&[
        (b"content-type", content_type.as_bytes()),
        (b"cache-control", b"no-store"),
        (b"date", &date),
        (b"x-request-id", &scratch.id),
        (b"proxy-status", answer::error::proxy_status(&fault).as_bytes()),
    ])
    .maybe(b"allow", of_method)
    .maybe(b"retry-after", (fault.status == 503).then_some(b"1"))
    .maybe(b"x-edge-circuit-open", (fault.category == Category::CircuitOpen).then_some(b"1"))
    .maybe(b"alt-svc", alt_svc(listener, exchange));
    let sent = send(exchange, fault.status, fields.all(), Whole::Copied(&body)).await;
    scratch.body = body;
    sent
}

/// The same for a gRPC client, which looks for `grpc-status` alone: no body, and everything in the head.
async fn refuse_grpc<E: Exchange>(
    shard: &Shard,
    listener: &ListenerRule,
    exchange: &mut E,
    fault: Fault,
    scratch: &Scratch,
) -> Result<(), Fault> {
    let date = shard.date();
    let fields = Fields::of(&[
        (b"content-type", b"application/grpc"),
        (b"grpc-status", answer::grpc::status(&fault).as_bytes()),
        (b"grpc-message", fault.category.as_str().as_bytes()),
        (b"date", &date),
        (b"x-request-id", &scratch.id),
        (b"proxy-status", answer::error::proxy_status(&fault).as_bytes()),
    ])
    .maybe(b"alt-svc", alt_svc(listener, exchange));
    send(exchange, 200, fields.all(), Whole::Copied(b"")).await
}

/// From this size on a body is shared with the protocol rather than copied, if both can, bytes.
const SHARED: usize = 8 * 1024;

/// A body of our own.
#[derive(Clone, Copy)]
enum Whole<'a> {
    Copied(&'a [u8]),
    Shared(&'a Bytes),
}

impl<'a> Whole<'a> {
    fn of(body: &'a Bytes) -> Whole<'a> {
        if body.len() < SHARED { Whole::Copied(body) } else { Whole::Shared(body) }
    }

    fn len(&self) -> usize {
        match self {
            Whole::Copied(body) => body.len(),
            Whole::Shared(body) => body.len(),
        }
    }

    /// Gives the sink what is behind the first `at` bytes.
    fn push(&self, sink: &mut impl BodySink, cx: &mut Context<'_>, at: usize) -> Poll<Result<usize, Fault>> {
        match self {
            Whole::Copied(body) => sink.poll_push(cx, body.get(at..).unwrap_or_default()),
            Whole::Shared(body) => sink.poll_push_shared(cx, &body.slice(at.min(body.len())..)),
        }
    }
}

/// Sends an answer of our own.
async fn send<E: Exchange>(
    exchange: &mut E,
    status: u16,
    fields: &[(&[u8], &[u8])],
    body: Whole<'_>,
) -> Result<(), Fault> {
    if !exchange.is_body_read() {
        exchange.close_after(); // nobody will read it, and the next request is behind it
    }
    let (_, _, mut sink, deadlines) = exchange.parts();
    deadlines.clear_all(); // what was waited for before does not matter any more
    let empty = Head::new();
    sink.start(ResponseHead {
        status,
        reason: b"",
        fields: None,
        date: None,
        extra: fields,
        size: if body.len() == 0 { BodySize::Empty } else { BodySize::Exact(body.len() as u64) },
        shown_length: Some(body.len() as u64),
        may_trail: false,
    });
    let (mut at, end) = (0, if sink.has_body() { body.len() } else { 0 });
    poll_fn(|cx| {
        while at < end {
            match body.push(&mut sink, cx, at) {
                Poll::Ready(Ok(n)) => at += n,
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => return expired(deadlines, cx),
            }
        }
        match sink.poll_finish(cx, &empty) {
            Poll::Pending => expired(deadlines, cx),
            done => done,
        }
    })
    .await
}

fn expired(deadlines: &Deadlines, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
    deadlines
        .poll_expired(cx)
        .map(|_| Err(Fault::new(Category::WriteTimeout, Side::Downstream, "the client stopped reading")))
}
