//! Datagrams on their way in: read in batches, told apart by shard, handed to their connection or to another shard.
use super::{Count, Endpoint};
use crate::{forward::Packet, socket::Received, steer};
use bytes::BytesMut;
use quinn_proto::{DatagramEvent, EcnCodepoint};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    task::Context,
};

/// Receive calls before other tasks get their turn.
const BATCHES_PER_TURN: u32 = 4;

impl Endpoint {
    /// Reads what has come. `true`: there may be more.
    pub(super) fn receive(&self, cx: &mut Context<'_>) -> bool {
        let mut inbox = self.inbox.borrow_mut();
        for _ in 0..BATCHES_PER_TURN {
            if self.socket.poll_readable(cx).is_pending() {
                return false;
            }
            match self.socket.try_recv(&mut inbox, |message| self.message(&message)) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return true,
            }
        }
        true
    }

    fn message(&self, message: &Received<'_>) {
        let mut n = 0;
        for datagram in message.datagrams() {
            n += 1;
            match steer::shard_of(datagram, self.group.shards()) {
                Some(shard) if shard == self.shard => {
                    let Received { remote, local_ip, ecn, .. } = *message;
                    self.datagram(remote, local_ip, ecn, datagram.into());
                }
                Some(shard) => self.forward(shard, message, datagram),
                None => self.core.count(Count::TooShort),
            }
        }
        self.core.count(Count::Received(n));
    }

    fn forward(&self, shard: usize, message: &Received<'_>, datagram: &[u8]) {
        let Received { remote, local_ip, ecn, .. } = *message;
        let packet =
            Packet { group: self.group.id(), remote, local_ip, ecn, stride: datagram.len(), data: datagram.into() };
        self.core.count(match self.port.send(shard, packet) {
            Ok(()) => Count::Forwarded(1),
            Err(_) => Count::ForwardFull(1),
        });
    }

    /// A packet that came to another shard's socket.
    pub fn foreign(&self, packet: Packet) {
        self.core.refreshed();
        self.datagram(packet.remote, packet.local_ip, packet.ecn, packet.data);
        self.core.wake();
    }

    /// One datagram. If it makes the state machine panic, it alone is lost.
    fn datagram(&self, remote: SocketAddr, local_ip: Option<IpAddr>, ecn: Option<EcnCodepoint>, data: BytesMut) {
        if catch_unwind(AssertUnwindSafe(|| self.handle(remote, local_ip, ecn, data))).is_err() {
            edge_io::tasks::note_panic();
        }
    }

    fn handle(&self, remote: SocketAddr, local_ip: Option<IpAddr>, ecn: Option<EcnCodepoint>, data: BytesMut) {
        let now = self.core.now();
        let mut outbox = self.outbox.borrow_mut();
        let out = outbox.answer();
        let event = self.core.proto().handle(now, remote, local_ip, ecn, data, out);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                drop(outbox);
                self.connection_event(handle, event);
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                drop(outbox);
                self.incoming(incoming);
            }
            Some(DatagramEvent::Response(transmit)) => {
                self.count_response(outbox.answered());
                self.answer(&mut outbox, &transmit);
            }
            None => self.core.count(Count::Invalid),
        }
    }

    fn count_response(&self, packet: &[u8]) {
        match packet {
            [first, 0, 0, 0, 0, ..] if first & 0x80 != 0 => self.core.count(Count::VersionNegotiation),
            [first, ..] if first & 0x80 == 0 => self.core.count(Count::StatelessReset),
            _ => {}
        }
    }
}
