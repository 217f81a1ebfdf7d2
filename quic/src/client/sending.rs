//! The way out of a client connection: requests, and packets.
use super::{Connection, Lost, Place, Prepared, ending::varint};
use crate::h3::ErrorCode;
use quinn_proto::{Dir, EcnCodepoint};
use std::task::Context;

/// Messages that one flush sends at most before other tasks get their turn.
const MESSAGES_PER_FLUSH: u32 = 8;
/// What the kernel takes as one message, bytes.
const MESSAGE_MAX: usize = 65_507;
/// Messages that are tried when a connection is closed.
const LAST_MESSAGES: u32 = 4;

/// A message that the socket did not take.
pub(super) struct Waiting {
    data: Vec<u8>,
    segment: Option<usize>,
    ecn: Option<EcnCodepoint>,
}

impl Connection {
    /// Whether the server, and what is left of the connection, allow one more request now.
    #[inline]
    pub fn can_open(&mut self) -> bool {
        if self.going || self.lost.is_some() {
            return false;
        }
        if self.reserved.is_none() {
            self.reserved = self.quic.streams().open(Dir::Bi);
        }
        self.reserved.is_some()
    }

    /// Sends a request: its place, or `None` when the server, or what is left of the connection, allows no more now.
    #[inline]
    pub fn open(&mut self, request: &Prepared) -> Option<Place> {
        if !self.can_open() {
            return None;
        }
        let id = self.reserved.take()?;
        let place = self.streams.insert(id, request.stream());
        if let Some(asked) = self.streams.get(place) {
            asked.send(&mut self.quic.send_stream(id), [request.head.clone(), request.body.clone()]);
        }
        Some(place)
    }

    /// Nobody wants the answer in `place` any more: both directions are cancelled (RFC 9114, section 4.1.1), and the place
    /// is free. No event follows.
    pub fn cancel(&mut self, place: Place) {
        self.give_up(place, ErrorCode::H3_REQUEST_CANCELLED);
    }

    pub(super) fn give_up(&mut self, place: Place, code: ErrorCode) {
        let Some((id, engine, _)) = self.streams.remove(place) else { return };
        self.engine.cancelled(engine, id.into());
        // Either may be through already.
        let _ = self.quic.recv_stream(id).stop(varint(code.0));
        let _ = self.quic.send_stream(id).reset(varint(code.0));
    }

    /// Sends what there is to send, and has the task woken when time is up or there is room for more.
    pub fn flush(&mut self, cx: &mut Context<'_>) {
        let client = self.client.clone();
        let out = &mut client.memory.borrow_mut().out;
        self.transmit(cx, out);
        // The socket tells it once: if that was on the way out, nothing more will be there to read.
        if self.wire.is_refused() && self.lost.is_none() {
            self.lost = Some(Lost::Refused);
            cx.waker().wake_by_ref();
        }
        self.endpoint_events();
        self.deadline = self.quic.poll_timeout();
        match self.deadline {
            Some(at) => self.timer.set(at.saturating_duration_since(self.now)),
            None => self.timer.clear(),
        }
        let _ = self.timer.poll_fired(cx);
    }

    fn transmit(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) {
        for _ in 0..MESSAGES_PER_FLUSH {
            if !self.send_waiting() {
                if self.wire.poll_writable(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
                return;
            }
            if !self.send_next(out) {
                return;
            }
        }
        cx.waker().wake_by_ref(); // others first
    }

    /// One message; whether there may be more.
    #[inline]
    fn send_next(&mut self, out: &mut Vec<u8>) -> bool {
        out.clear();
        let fit = MESSAGE_MAX / usize::from(self.quic.current_mtu()).max(1);
        let segments = self.wire.segments().min(fit).max(1);
        let Some(transmit) = self.quic.poll_transmit(self.now, segments, out) else { return false };
        let data = out.get(..transmit.size).unwrap_or(out);
        self.sent += data.len() as u64;
        if self.wire.send(data, transmit.segment_size, transmit.ecn).is_err() {
            self.waiting =
                Some(Waiting { data: std::mem::take(out), segment: transmit.segment_size, ecn: transmit.ecn });
        }
        true
    }

    /// Whether nothing waits any more.
    fn send_waiting(&mut self) -> bool {
        if let Some(waiting) = &self.waiting
            && self.wire.send(&waiting.data, waiting.segment, waiting.ecn).is_err()
        {
            return false;
        }
        self.waiting = None;
        true
    }

    /// What a closed connection has to say; nobody waits for room.
    pub(super) fn send_last(&mut self) {
        let mut out = Vec::new();
        for _ in 0..LAST_MESSAGES {
            if !self.send_waiting() || !self.send_next(&mut out) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{Client, Settings},
        crypto::ClientCrypto,
    };
    use edge_io::{ring::Driver, runtime};
    use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
    use std::{
        net::UdpSocket,
        sync::{Arc, mpsc},
        time::Duration,
    };

    #[test]
    fn a_refusal_is_seen_on_the_way_out() {
        let addr = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        let (tell, told) = mpsc::channel();
        let shard = runtime::spawn_shard(0, None, Driver::Epoll, move |local| async move {
            let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
            let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
            let mut tls = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
            // Two datagrams, each a message of its own: the second is told of the first one's fate, and nobody else is.
            tls.alpn_protocols = vec![vec![b'x'; 250], vec![b'y'; 250]];
            let crypto = Arc::new(ClientCrypto::new(Arc::new(tls)).unwrap());
            let client = Client::new(&local.reactor, &local.timers, crypto, &Settings::default()).unwrap();
            let mut connection = client.connect(addr, "edge.example").unwrap();
            connection.wire.cuts = false;
            let lost = connection.connected(Duration::from_secs(5)).await.unwrap_err();
            tell.send((matches!(lost, Lost::Refused), lost.to_string(), connection.sent)).unwrap();
        });
        let (refused, lost, sent) = told.recv_timeout(Duration::from_secs(20)).unwrap();
        shard.unwrap().join().unwrap();
        assert!(refused, "{lost}");
        assert_eq!(sent, 2400, "at once");
    }
}
