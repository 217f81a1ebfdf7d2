//! A new connection to an endpoint: the socket, TLS where it is spoken, and what ALPN chose. Each step is bounded in time.
use super::{EndpointAddr, EndpointRule, rule::Protocol};
use crate::{
    message::{Category, Fault, Side},
    tls::UpstreamTls,
};
use edge_io::{
    runtime::Local,
    stream::Stream,
    tcp,
    timer::Timer,
    tls::{self, Alpn},
};
use rustls::ClientConfig;
use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll, time::Duration};

/// A connection that stands, and whether HTTP/2 is spoken on it.
pub struct Dialed {
    /// The connection.
    pub stream: Stream,
    /// HTTP/2 by prior knowledge or by ALPN.
    pub h2: bool,
}

/// Makes a connection; how long connecting and the TLS handshake may take are the `patience`. `h1_only`: the request cannot go
/// over HTTP/2, so that it is not offered.
///
/// Faults, all `unsent`: `upstream_connect_failed`, `upstream_timeout`, `upstream_tls`.
pub async fn dial(
    local: &Local,
    rule: &EndpointRule,
    h1_only: bool,
    patience: (Duration, Duration),
) -> Result<Dialed, Fault> {
    let timer = Timer::new(&local.timers);
    let (for_connect, for_tls) = patience;
    timer.set(for_connect);
    let socket = in_time(&timer, connect(local, rule), "connect took too long").await?;
    let Some(tls) = &rule.tls else {
        return Ok(Dialed { stream: Stream::from(socket), h2: rule.protocol == Protocol::Http2 });
    };
    timer.set(for_tls);
    in_time(&timer, secure(socket, rule.protocol, tls, h1_only), "the TLS handshake took too long").await
}

/// What `work` comes to, if it does so before `timer` fires.
async fn in_time<T>(
    timer: &Timer,
    work: impl Future<Output = Result<T, Fault>>,
    late: &'static str,
) -> Result<T, Fault> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        timer.poll_fired(cx).map(|()| Err(Fault::new(Category::UpstreamTimeout, Side::Upstream, late).unsent()))
    })
    .await
}

async fn connect(local: &Local, rule: &EndpointRule) -> Result<tcp::Stream, Fault> {
    let addr = match &rule.addr {
        EndpointAddr::Tcp(a) => Ok(socket2::SockAddr::from(*a)),
        EndpointAddr::Unix(path) => socket2::SockAddr::unix(path),
        EndpointAddr::Abstract(name) => edge_io::listen::abstract_addr(name),
    };
    let addr = addr.map_err(|e| connect_fault(&e))?;
    tcp::Stream::connect(&local.reactor, &addr).await.map_err(|e| connect_fault(&e))
}

async fn secure(socket: tcp::Stream, protocol: Protocol, with: &UpstreamTls, h1_only: bool) -> Result<Dialed, Fault> {
    let config = if h1_only { without_h2(&with.client) } else { with.client.clone() };
    let stream = tls::connect(socket, config, with.name.clone()).await.map_err(|e| tls_fault(&e))?;
    let chosen = stream.tls().map(|t| t.alpn);
    let h2 = chosen == Some(Alpn::H2);
    if protocol == Protocol::Http2 && !h2 {
        let fault = Fault::new(Category::UpstreamTls, Side::Upstream, "the endpoint does not speak HTTP/2 (ALPN)");
        return Err(fault.unsent());
    }
    Ok(Dialed { stream, h2 })
}

/// The same settings, but that HTTP/2 is not offered: rare enough to be made on the spot.
fn without_h2(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut other = ClientConfig::clone(config);
    other.alpn_protocols.retain(|p| p != b"h2");
    Arc::new(other)
}

fn connect_fault(e: &io::Error) -> Fault {
    let detail = match e.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::NotFound => "no such socket",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        io::ErrorKind::AddrNotAvailable => "no local port left",
        _ => "connect failed",
    };
    Fault::new(Category::UpstreamConnectFailed, Side::Upstream, detail).unsent()
}

fn tls_fault(e: &tls::Error) -> Fault {
    Fault::new(Category::UpstreamTls, Side::Upstream, e.kind.as_str()).unsent()
}
