//! How a connection ends: gracefully, at once, or because its time is over; and when it has to be looked at for that.
use super::{Connection, varint};
use crate::h3::ErrorCode;
use bytes::Bytes;
use quinn_proto::ConnectionError;
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// Above every id that a client can open (RFC 9114 5.2): "no new requests, but I do not yet know the last one".
const NO_LAST_REQUEST: u64 = (1 << 62) - 4;
/// How long a client that was told so may still be sending requests, if round trips are shorter.
const LATE_REQUESTS: Duration = Duration::from_millis(100);

/// How far the end of the connection, as this side wants it, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Going {
    No,
    /// "No new requests" was said; the last one is named at this time.
    Announced(Instant),
    /// Requests from this id on are not answered; the connection stays until this time at least, so that its peer hears
    /// of that before the end.
    Last(u64, Instant),
}

impl Connection {
    /// Begins a graceful end: no new requests, those under way are finished.
    pub fn go_away(self: &Rc<Self>) {
        if self.going.get() != Going::No || self.over.get() {
            return;
        }
        if !self.established.get() {
            return self.close(ErrorCode::H3_NO_ERROR, b"");
        }
        self.engine().go_away(NO_LAST_REQUEST);
        self.flush_own();
        self.going.set(Going::Announced(self.core.refreshed() + self.late()));
        self.touch();
    }

    /// How long what was said takes to have an effect on what arrives.
    fn late(&self) -> Duration {
        (self.quic.borrow().rtt() * 2).min(LATE_REQUESTS)
    }

    /// Ends the connection at once.
    pub fn close(self: &Rc<Self>, code: ErrorCode, reason: &'static [u8]) {
        let now = self.core.refreshed();
        self.quic().close(now, varint(code.0), Bytes::from_static(reason));
        self.end(&ConnectionError::LocallyClosed);
        self.touch();
    }

    /// What has to happen at some time, and has.
    pub(super) fn keep_time(self: &Rc<Self>, now: Instant) {
        if self.over.get() {
            return;
        }
        if !self.established.get() && now >= self.born + self.policy.handshake_timeout {
            self.end(&ConnectionError::TimedOut);
            return self.close(ErrorCode::H3_NO_ERROR, b"");
        }
        self.late_heads(now);
        if let Going::Announced(at) = self.going.get()
            && at <= now
        {
            let last = self.next_request.get();
            self.engine().go_away(last);
            self.going.set(Going::Last(last, now + self.late()));
            self.flush_own();
        }
        let busy = self.requests.get() > 0;
        if busy && self.ping_at.get() <= now {
            // A peer that is there answers: a request that takes long does not end with its silence.
            self.quic().ping();
            self.ping_at.set(now + self.policy.ping_every);
        }
        if !busy && self.established.get() {
            if now.saturating_duration_since(self.idle_since.get()) >= self.policy.keepalive {
                self.go_away();
            }
            self.close_when_done(now);
        }
    }

    /// A graceful end is complete when every answer has arrived.
    fn close_when_done(self: &Rc<Self>, now: Instant) {
        let own = self.own.get().iter().flatten().count();
        let Going::Last(_, heard) = self.going.get() else { return };
        // One who does not take what was sent does not keep the connection for ever.
        let late = now >= self.hard_end(heard);
        let done = heard <= now
            && self.nascent.borrow().is_empty()
            && self.tails.borrow().is_empty()
            && self.quic().streams().send_streams() <= own;
        if done || late {
            self.close(ErrorCode::H3_NO_ERROR, b"");
        }
    }

    /// Until when a peer may take to receive the last answers, behind a graceful end that it was told of at `heard`.
    fn hard_end(&self, heard: Instant) -> Instant {
        heard.max(self.idle_since.get()) + self.policy.write_timeout
    }

    /// When it has to be looked at again, whatever comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let quic = self.quic().poll_timeout();
        if self.over.get() {
            return quic;
        }
        let own = if !self.established.get() {
            Some(self.born + self.policy.handshake_timeout)
        } else if self.requests.get() > 0 {
            Some(self.ping_at.get())
        } else {
            // Once it has passed, it is the client's acknowledgements that are waited for.
            (self.going.get() == Going::No).then(|| self.idle_since.get() + self.policy.keepalive)
        };
        let going = match self.going.get() {
            Going::Announced(at) => Some(at),
            Going::Last(_, heard) if heard > self.core.now() => Some(heard),
            Going::Last(_, heard) if self.requests.get() == 0 => Some(self.hard_end(heard)),
            Going::Last(..) => None,
            Going::No => None,
        };
        let nascent = self.nascent.borrow().values().map(|n| n.since).min();
        let head = nascent.map(|oldest| oldest + self.policy.header_timeout);
        [quic, own, going, head].into_iter().flatten().min()
    }
}
