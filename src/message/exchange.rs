//! One request and its answer, whatever protocol carries them: what `flow` sees of a connection.
use super::{BodySink, BodySize, BodySource, Deadlines, Fault};
use edge_io::{
    head::{FieldRef, Head},
    tls,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    task::{Context, Poll},
};

/// Who is at the other end of a downstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; unspecified for unix sockets.
    pub ip: IpAddr,
    /// Its port; 0 for unix sockets.
    pub port: u16,
    /// The port it connected to; 0 for unix sockets.
    pub local_port: u16,
    /// Whether the bytes came through TLS.
    pub tls: bool,
    /// Whether it is a unix socket.
    pub unix: bool,
}

impl Peer {
    /// The other end of a unix socket.
    pub const UNIX: Peer =
        Peer { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0, local_port: 0, tls: false, unix: true };
}

/// A final answer's head, before its protocol frames it.
pub struct ResponseHead<'a> {
    /// The status code, 200..=599 or 101.
    pub status: u16,
    /// The reason phrase for protocols that have one; empty = the usual one.
    pub reason: &'a [u8],
    /// Its end-to-end fields go along; framing is the sink's.
    pub fields: Option<&'a Head>,
    /// `Date`, where the answer has none (RFC 9110 6.6.1).
    pub date: Option<&'a [u8]>,
    /// Fields of our own.
    pub extra: &'a [(&'a [u8], &'a [u8])],
    /// The body that follows.
    pub size: BodySize,
    /// For HEAD and 304: the length that a GET would have had.
    pub shown_length: Option<u64>,
    /// Trailers may follow even a body of known length.
    pub may_trail: bool,
}

/// One request and its answer on a downstream connection.
pub trait Exchange {
    /// The request's body.
    type Source<'a>: BodySource
    where
        Self: 'a;
    /// The way of the answer.
    type Sink<'a>: ResponseSink
    where
        Self: 'a;

    /// The request's head.
    fn head(&self) -> &Head;
    /// How long the request's body is.
    fn body_size(&self) -> BodySize;
    /// Whether trailers may follow even a body of known length.
    fn may_trail(&self) -> bool;
    /// Whether the client waits for `100 Continue` before it sends the body.
    fn expects_continue(&self) -> bool;
    /// Whether the client asked to switch to WebSocket.
    fn wants_websocket(&self) -> bool;
    /// The client.
    fn peer(&self) -> Peer;
    /// What the client's TLS handshake agreed on; `None` without TLS.
    fn tls(&self) -> Option<&tls::Info>;
    /// Whether the request came in TLS early data, before the handshake was complete: it may be somebody's repetition of
    /// an earlier one (RFC 8470).
    fn early_data(&self) -> bool {
        false
    }
    /// The protocol, as logs and metrics name it.
    fn protocol(&self) -> &'static str;
    /// The connection's deadlines.
    fn deadlines(&self) -> &Deadlines;
    /// Whether the client takes trailers.
    fn takes_trailers(&self) -> bool;
    /// Whether the answer has begun.
    fn started(&self) -> bool;
    /// Takes back an answer of which nothing has gone out yet; whether that was possible.
    fn take_back(&mut self) -> bool;
    /// Whether the request's body has been read to its end.
    fn is_body_read(&self) -> bool;
    /// After this answer the connection ends.
    fn close_after(&mut self);
    /// The status that was sent, 0 before there is one.
    fn status(&self) -> u16;
    /// Bytes of the request so far, head included.
    fn bytes_in(&self) -> u64;
    /// Bytes of the answer so far, head included.
    fn bytes_out(&self) -> u64;
    /// Request head, body, answer and deadlines, borrowed apart.
    fn parts(&mut self) -> (&Head, Self::Source<'_>, Self::Sink<'_>, &Deadlines);
}

/// The way of an answer: informational heads, one final head, then the body.
pub trait ResponseSink: BodySink {
    /// Sends a 1xx head (not 101) to clients that can take it; others miss it. Flushes with what follows.
    fn inform(&mut self, status: u16, fields: &mut dyn Iterator<Item = FieldRef<'_>>);
    /// Begins the final answer.
    fn start(&mut self, head: ResponseHead<'_>);
    /// Whether `start` was called.
    fn started(&self) -> bool;
    /// After this answer the connection ends.
    fn close_after(&mut self);
    /// Ready when the client is gone (not merely silent). Cheap: no system call while nothing happened.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Fault>;
    /// Whether it is one of many on its connection: then it can be reset by itself, whatever else is waited for.
    fn is_stream(&self) -> bool;
    /// Whether the client has every byte that it was promised, though the endpoint may not have ended its answer.
    fn is_whole(&self) -> bool;
    /// On an upgraded connection: the edge is going, and says so where the protocol has a word for it.
    fn say_goodbye(&mut self);
    /// Whether a body may follow the head that `start` sent (not after HEAD, 204, 304).
    fn has_body(&self) -> bool;
}
