//! A new connection: the socket, TLS where it is spoken, and what ALPN chose.
use super::Shard;
use crate::{
    plan::{Address, Exchange, Origin, Plan, Protocol},
    record::Fault,
};
use edge_io::{
    stream::Stream,
    tcp,
    tls::{self, Alpn},
};
use rustls::pki_types::ServerName;
use socket2::SockAddr;
use std::{io, os::unix::ffi::OsStrExt};

/// A connection that stands, and what it took.
pub(super) struct Connected {
    pub stream: Stream,
    /// HTTP/2 by prior knowledge or by ALPN.
    pub h2: bool,
    /// To a connected socket, µs.
    pub connect_us: u64,
    /// The handshake apart from that, µs.
    pub tls_us: Option<u64>,
    /// It took up an earlier session.
    pub resumed: bool,
}

/// What TLS offers over TCP, the preferred first (RFC 7301).
pub(crate) fn alpn(plan: &Plan) -> &'static [&'static [u8]] {
    match (&plan.exchange, plan.protocol) {
        (_, Protocol::H2) => &[b"h2"],
        (_, Protocol::H3) => &[b"h3"],
        // A WebSocket begins with an upgrade, which HTTP/2 does not have (RFC 9113, section 8.6).
        (Exchange::WebSocket { .. }, _) | (_, Protocol::H1) => &[b"http/1.1"],
        (_, Protocol::Auto) => &[b"h2", b"http/1.1"],
    }
}

/// Connects to the origin's address number `turn`, counted round. The caller bounds the time.
pub(super) async fn connect(shard: &Shard, origin: &Origin, turn: usize) -> Result<Connected, Fault> {
    let Some(address) = origin.addresses.get(turn % origin.addresses.len().max(1)) else {
        return Err(Fault::ConnectFailed);
    };
    let address = socket_address(address).map_err(|e| fault(&e))?;
    let begun = shard.now();
    let socket = tcp::Stream::connect(&shard.local.reactor, &address).await.map_err(|e| fault(&e))?;
    if is_loopback(&address) {
        // There is nothing to congest, and the system's choice may pace: a timer for each request. As it comes if not.
        let _ = socket.set_congestion_control("reno");
    }
    let connected = shard.now();
    let connect_us = connected.saturating_sub(begun);
    let wants_h2 = shard.plan.protocol == Protocol::H2;
    if !origin.secure {
        return Ok(Connected { stream: socket.into(), h2: wants_h2, connect_us, tls_us: None, resumed: false });
    }
    let name = ServerName::try_from(origin.server_name.clone()).map_err(|_| Fault::Handshake)?;
    let stream = tls::connect(socket, shard.tls.clone(), name).await.map_err(|e| tls_fault(&e))?;
    let (alpn, resumed) = stream.tls().map_or((Alpn::None, false), |info| (info.alpn, info.resumed));
    let h2 = match alpn {
        Alpn::H2 => true,
        Alpn::H1 | Alpn::None if !wants_h2 => false,
        _ => return Err(Fault::Alpn),
    };
    Ok(Connected { stream, h2, connect_us, tls_us: Some(shard.now().saturating_sub(connected)), resumed })
}

fn socket_address(address: &Address) -> io::Result<SockAddr> {
    match address {
        Address::Ip(address) => Ok(SockAddr::from(*address)),
        Address::Unix(path) => match path.as_os_str().as_bytes() {
            [b'@', name @ ..] => edge_io::listen::abstract_addr(name),
            _ => SockAddr::unix(path),
        },
    }
}

fn is_loopback(address: &SockAddr) -> bool {
    address.as_socket().is_some_and(|address| address.ip().is_loopback())
}

/// Error numbers of Linux that `io::ErrorKind` has no word for: no descriptor left in this process, none in the system.
const NO_DESCRIPTORS: [i32; 2] = [24, 23];

/// What became of an attempt to connect, by kind.
pub(super) fn fault(e: &io::Error) -> Fault {
    if e.raw_os_error().is_some_and(|number| NO_DESCRIPTORS.contains(&number)) {
        return Fault::NoDescriptors;
    }
    match e.kind() {
        io::ErrorKind::ConnectionRefused => Fault::ConnectRefused,
        io::ErrorKind::AddrNotAvailable => Fault::PortsExhausted,
        io::ErrorKind::TimedOut => Fault::ConnectTimeout,
        _ => Fault::ConnectFailed,
    }
}

fn tls_fault(e: &tls::Error) -> Fault {
    match e.kind {
        tls::ErrorKind::NoSharedProtocol => Fault::Alpn,
        _ => Fault::Handshake,
    }
}
