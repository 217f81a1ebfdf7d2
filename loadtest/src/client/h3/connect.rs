//! Making an HTTP/3 connection, and what its ends mean.
use super::{Driver, Ended, Fault, Shard, Why};
use crate::{client::connect, plan::Address};
use edge_io::tls;
use edge_quic::{
    client::{Connection, Lost},
    h3::ErrorCode,
};
use std::{future::poll_fn, io, pin::pin, rc::Rc, task::Poll};

/// One connection, from its making to its end. `None`: the run is over.
pub(in crate::client) async fn one(shard: &Rc<Shard>, origin: usize, turn: usize) -> Option<Ended> {
    let begun = shard.now();
    let connection = match establish(shard, origin, turn).await? {
        Ok(connection) => connection,
        Err(fault) => {
            shard.failed(fault, None, shard.now());
            return Some(Ended { why: Why::Failed(fault), answered: 0 });
        }
    };
    let now = shard.now();
    let resumed = connection.tls().is_some_and(|info| info.resumed);
    shard.connected(now.saturating_sub(begun), None, resumed, now);
    let mut driver = Driver::new(shard, origin, connection);
    let ended = poll_fn(|cx| driver.poll(cx)).await;
    drop(driver);
    shard.closed(shard.now());
    Some(ended)
}

/// Connects within the time for it. `None`: the run is over.
async fn establish(shard: &Shard, origin: usize, turn: usize) -> Option<Result<Connection, Fault>> {
    let origin = shard.plan.origins.get(origin)?;
    let Some(Address::Ip(remote)) = origin.addresses.get(turn % origin.addresses.len().max(1)) else {
        return Some(Err(Fault::ConnectFailed));
    };
    let Some(client) = &shard.h3.client else { return Some(Err(Fault::ConnectFailed)) };
    let mut connection = match client.connect(*remote, &origin.server_name) {
        Ok(connection) => connection,
        Err(e) => return Some(Err(fault(&e))),
    };
    let patience = shard.plan.connect_timeout;
    let connected = {
        let mut connecting = pin!(connection.connected(patience));
        poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done.map(|_| ()).map_err(|lost| connect_fault(&lost)))),
            Poll::Pending if !shard.goes_on() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await?
    };
    Some(connected.map(|()| connection))
}

/// Why there is no socket.
fn fault(e: &io::Error) -> Fault {
    match e.kind() {
        io::ErrorKind::WouldBlock => Fault::PortsExhausted, // what UDP says when none is free
        io::ErrorKind::InvalidInput => Fault::Handshake,    // no name that a certificate could have
        _ => connect::fault(e),
    }
}

/// Why there is no connection.
fn connect_fault(lost: &Lost) -> Fault {
    match lost {
        Lost::Refused => Fault::ConnectRefused,
        Lost::TimedOut => Fault::ConnectTimeout,
        Lost::Handshake(e) if e.kind == tls::ErrorKind::NoSharedProtocol => Fault::Alpn,
        Lost::Handshake(_) | Lost::Version | Lost::Protocol(_) => Fault::Handshake,
        Lost::Closed(_) | Lost::GivenUp(_) | Lost::Reset | Lost::Local => Fault::ConnectFailed,
    }
}

/// What the end of a connection is to the requests on it that had no byte of an answer.
pub(super) fn lost_fault(lost: &Lost) -> Fault {
    match lost {
        Lost::Refused | Lost::Reset => Fault::Reset,
        Lost::TimedOut => Fault::Timeout,
        Lost::Handshake(_) | Lost::Version | Lost::Protocol(_) => Fault::Protocol,
        // It says that we broke the protocol, or that it did itself; either way it does not go on.
        Lost::Closed(ErrorCode::H3_NO_ERROR) | Lost::Closed(_) | Lost::GivenUp(_) | Lost::Local => Fault::Closed,
    }
}
