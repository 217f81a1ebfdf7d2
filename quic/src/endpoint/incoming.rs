//! Connections that begin: let in, sent away for a token, or refused.
use super::{Count, Endpoint};
use crate::{
    connection::{Connection, Handler, Owned},
    crypto,
    outbox::Outbox,
    policy::Policy,
};
use quinn_proto::{ConnectionHandle, Incoming, Transmit};
use std::{rc::Rc, sync::Arc};

impl Endpoint {
    /// A client begins a handshake.
    pub(super) fn incoming(&self, incoming: Incoming) {
        let policy = self.policy.borrow().clone();
        let half_open = self.core.half_open_now();
        let mut proto = self.core.proto();
        let mut outbox = self.outbox.borrow_mut();
        if !self.closed.get()
            && half_open >= policy.retry_after
            && incoming.may_retry()
            && !incoming.remote_address_validated()
        {
            if let Ok(transmit) = proto.retry(incoming, outbox.answer()) {
                self.core.count(Count::Retry);
                self.answer(&mut outbox, &transmit);
            }
            return;
        }
        let full = half_open >= policy.max_handshakes;
        if full {
            self.core.count(Count::Refused);
        }
        let handler = match self.closed.get() || full {
            true => None,
            false => self.core.owner().admit(incoming.remote_address(), incoming.local_ip()),
        };
        let Some(handler) = handler else {
            let transmit = proto.refuse(incoming, outbox.answer());
            self.answer(&mut outbox, &transmit);
            return;
        };
        match proto.accept(incoming, self.core.now(), outbox.answer(), None) {
            Ok((handle, quic)) => {
                drop((proto, outbox));
                self.core.half_open(1);
                self.insert(handle, quic, policy, handler);
            }
            Err(e) => {
                if let Some(transmit) = e.response {
                    self.answer(&mut outbox, &transmit);
                }
                drop((proto, outbox));
                handler.failed(Some(&crypto::failure(&e.cause, None)));
            }
        }
    }

    fn insert(
        &self,
        handle: ConnectionHandle,
        quic: quinn_proto::Connection,
        policy: Arc<Policy>,
        handler: Rc<dyn Handler>,
    ) {
        let connection = Connection::new(
            self.core.clone(),
            handle.0,
            quic,
            policy,
            Owned { handler, _member: self.group.join() },
            self.core.now(),
        );
        let mut all = self.connections.borrow_mut();
        if all.len() <= handle.0 {
            all.resize_with(handle.0 + 1, || None);
        }
        if let Some(place) = all.get_mut(handle.0) {
            *place = Some(connection.clone());
            self.open.set(self.open.get() + 1);
        }
        drop(all);
        self.mark(&connection);
    }

    /// Sends a packet of no connection.
    pub(super) fn answer(&self, outbox: &mut Outbox, transmit: &Transmit) {
        self.core.count(Count::Sent(1));
        outbox.send_answer(&self.socket, transmit);
    }
}
