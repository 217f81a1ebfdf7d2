//! Requests as they come: streams are accepted, heads read, priorities set, and each request handed to the owner.
use super::{Connection, Request, ending::Going, stream_id, varint};
use crate::{
    crypto,
    h3::{ErrorCode, Fatal},
    nascent::{Nascent, Step},
    policy::STREAMS_AT_FIRST,
    stream::Stream,
};
use edge_io::{
    head::{FieldId, Head, spare},
    message::Priority,
};
use quinn_proto::{Dir, StreamId};
use std::{rc::Rc, time::Instant};

/// Streams that are opened at most before other connections get their turn.
const OPENED_PER_TURN: u32 = 256;

impl Connection {
    /// Streams that the client opened.
    pub(super) fn accept_requests(self: &Rc<Self>) {
        // QUIC does not tell again of those that are left: `more_requests` stays.
        for _ in 0..OPENED_PER_TURN {
            let id = self.quic().streams().accept(Dir::Bi);
            let Some(id) = id else { return self.more_requests.set(false) };
            if let Going::Last(last, _) = self.going.get()
                && u64::from(id) >= last
            {
                self.refuse(id, ErrorCode::H3_REQUEST_REJECTED);
                continue;
            }
            self.next_request.set(u64::from(id) + 4);
            self.read_head(id, Nascent::new(self.core.now()));
        }
    }

    /// A request whose head is not complete may be now.
    pub(super) fn on_readable(self: &Rc<Self>, id: StreamId) {
        let nascent = match self.nascent.try_borrow_mut() {
            Ok(mut all) if !all.is_empty() => all.remove(&u64::from(id)),
            _ => None,
        };
        match nascent {
            Some(nascent) => self.read_head(id, *nascent),
            None => {
                self.wake(id);
            }
        }
    }

    fn read_head(self: &Rc<Self>, id: StreamId, mut nascent: Nascent) {
        match nascent.advance(self, id) {
            Step::Waiting => {
                self.nascent.borrow_mut().insert(id.into(), Box::new(nascent));
            }
            step => self.head_done(id, nascent, step),
        }
    }

    pub(super) fn head_done(self: &Rc<Self>, id: StreamId, nascent: Nascent, step: Step) {
        match step {
            Step::Waiting => {}
            Step::Complete { end } => self.begin(id, nascent, end),
            Step::Reset => {
                self.given_up(id);
                self.refuse(id, ErrorCode::H3_REQUEST_CANCELLED);
            }
            Step::Refused { code, respond } => self.refuse_with(id, nascent, code, respond),
            Step::Fatal(fatal) => self.fail(fatal),
            Step::Gone => {}
        }
    }

    fn begin(self: &Rc<Self>, id: StreamId, nascent: Nascent, end: bool) {
        let handler = self.handler();
        let Some(handler) = handler else { return };
        let protocol = self.engine.borrow().protocol();
        self.settle_early();
        self.prioritize(id, &nascent.head);
        let others = self.requests.replace(self.requests.get() + 1);
        if others == 0 {
            self.ping_at.set(self.core.now() + self.policy.ping_every);
        }
        let Nascent { engine, head, inflow, .. } = nascent;
        let stream = Stream::opened(self.clone(), id, engine, inflow, end);
        handler.request(Request { stream, head, end, protocol });
    }

    /// A request in early data is held to the host that was asked for, and to the certificate of the session.
    fn settle_early(&self) {
        if self.is_early()
            && self.early_info.get().is_none()
            && let Some(info) = crypto::info(&self.quic.borrow())
        {
            let _ = self.early_info.set(Box::new(info));
        }
    }

    /// Before its handshake was done, a client may open few streams: each that it may open costs memory at once.
    pub(super) fn allow_all_requests(&self) {
        if self.policy.streams > STREAMS_AT_FIRST {
            self.quic().set_max_concurrent_streams(Dir::Bi, self.policy.streams.into());
        }
    }

    /// RFC 9218: what the client asked for, if it is not the default.
    fn prioritize(&self, id: StreamId, head: &Head) {
        let early = match &mut *self.early.borrow_mut() {
            early if early.is_empty() => None,
            early => early.iter().position(|(e, _)| *e == u64::from(id)).map(|at| early.swap_remove(at).1),
        };
        let field = head.get(FieldId::Priority).map(Priority::parse);
        if let Some(priority) = early.or(field) {
            let _ = self.quic().send_stream(id).set_priority(level(priority));
        }
    }

    /// Ends both directions of a stream that nobody was told of.
    pub(super) fn refuse(&self, id: StreamId, code: ErrorCode) {
        let mut quic = self.quic();
        let _ = quic.recv_stream(id).stop(varint(code.0));
        let _ = quic.send_stream(id).reset(varint(code.0));
    }

    fn refuse_with(self: &Rc<Self>, id: StreamId, mut nascent: Nascent, code: ErrorCode, respond: Option<u16>) {
        self.engine().cancelled(&mut nascent.engine, id.into());
        spare::give(nascent.head);
        let Some(status) = respond else {
            return self.refuse(id, code);
        };
        let mut out = self.core.scratch();
        self.engine().write_response(id.into(), status, std::iter::empty(), &mut out);
        let mut quic = self.quic();
        let written = quic.send_stream(id).write(&out);
        if written == Ok(out.len()) && quic.send_stream(id).finish().is_ok() {
            let _ = quic.recv_stream(id).stop(varint(ErrorCode::H3_NO_ERROR.0));
        } else {
            drop(quic);
            self.refuse(id, code);
        }
        self.core.give_scratch(out);
    }

    /// Heads that do not come to an end.
    pub(super) fn late_heads(self: &Rc<Self>, now: Instant) {
        if self.nascent.borrow().is_empty() {
            return;
        }
        let timeout = self.policy.header_timeout;
        let late = |n: &Nascent| now.saturating_duration_since(n.since) >= timeout;
        let ids: Vec<u64> = self.nascent.borrow().iter().filter(|(_, n)| late(n)).map(|(id, _)| *id).collect();
        for id in ids {
            let nascent = self.nascent.borrow_mut().remove(&id);
            if let Some(nascent) = nascent {
                self.refuse_with(stream_id(id), *nascent, ErrorCode::H3_REQUEST_INCOMPLETE, Some(408));
            }
        }
    }

    pub(super) fn on_priority(self: &Rc<Self>, id: u64, priority: Priority) {
        let next = self.next_request.get();
        if id >= next + 4 * u64::from(self.policy.streams) {
            // RFC 9218 7.2: a request that it may not make.
            return self.fail(Fatal::new(ErrorCode::H3_ID_ERROR, "the priority of a request beyond the limit"));
        }
        // It counts more than what the request itself says (RFC 9218 7.1), which is not read before its head.
        let nascent = self.nascent.borrow();
        let waits = |id: u64| id >= next || nascent.contains_key(&id);
        if waits(id) {
            let mut early = self.early.borrow_mut();
            early.retain(|(e, _)| *e != id && waits(*e));
            if early.len() < self.policy.streams as usize {
                early.push((id, priority));
            }
            return;
        }
        let _ = self.quic().send_stream(stream_id(id)).set_priority(level(priority));
    }
}

/// quinn-proto sends higher ones first; 0 is what streams begin with, and urgency 3.
fn level(priority: Priority) -> i32 {
    3 - i32::from(priority.urgency)
}
