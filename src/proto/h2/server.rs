//! The server's side of an HTTP/2 connection: its driver, its timeouts, its graceful end.
use super::{
    H2Exchange, H2Stream,
    link::{Link, Over},
};
use crate::{
    message::{Deadlines, Peer, Phase},
    proto::{
        Opening,
        h1::{ListenerShare, PARK_AFTER},
    },
};
use edge_io::{
    buf::Buf,
    http2::{ErrorCode, Role},
    stream::Stream,
};
use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

/// After the last frame so much is still read, so that GOAWAY arrives; bytes and time.
const LINGER_BYTES: u64 = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// One downstream connection.
pub struct Connection {
    link: Rc<Link>,
    peer: Peer,
    deadlines: Deadlines,
    share: Rc<ListenerShare>,
    goodbye: Cell<bool>,
    /// Output when the write deadline was last set, and input when the read deadline was.
    seen: Cell<(u64, u64)>,
    /// Frames that had come when the deadline for their completion was last set.
    frames: Cell<u64>,
    parked: Cell<bool>,
}

impl Connection {
    /// A connection whose first bytes may already have been read.
    pub fn new(stream: Stream, peer: Peer, deadlines: Deadlines, share: Rc<ListenerShare>, input: Buf) -> Connection {
        let link = Link::new(stream, Role::Server, &share.http2.borrow(), deadlines.now(), input);
        Connection {
            link,
            peer,
            deadlines,
            share,
            goodbye: Cell::new(false),
            seen: Cell::new((0, 0)),
            frames: Cell::new(0),
            parked: Cell::new(false),
        }
    }

    fn poll(&self, cx: &mut Context<'_>, place: usize, begin: &mut dyn FnMut(H2Exchange)) -> Poll<Over> {
        if self.share.closing.get() && !self.goodbye.replace(true) {
            self.link.go_away_gracefully();
        }
        self.share.waiting.wait(place, cx);
        let driven = self.link.poll_drive(cx, self.deadlines.now(), &mut |id, end, head| {
            let opening = Opening { head, end, protocol: self.link.engine().protocol() };
            let stream = H2Stream::opened(self.link.clone(), id, end);
            begin(H2Exchange::new(stream, opening, self.peer, &self.share));
        });
        if let Some(abuse) = self.link.abuse() {
            self.share.stats.http2_abused(&abuse);
        }
        if let Poll::Ready(over) = driven {
            return Poll::Ready(over);
        }
        self.keep_deadlines();
        self.poll_deadlines(cx)
    }

    fn keep_deadlines(&self) {
        let timeouts = self.share.timeouts.get();
        let (written, read) = (self.link.written(), self.link.read());
        let seen = self.seen.replace((written, read));
        let keep = |phase: Phase, wanted: bool, moved: bool, after: Duration| match wanted {
            true if moved || !self.deadlines.is_set(phase) => self.deadlines.set(phase, after),
            true => {}
            false => self.deadlines.clear(phase),
        };
        keep(Phase::ClientWrite, self.link.is_blocked(), written != seen.0, timeouts.write);
        // What has begun must end in time, however many bytes dribble in.
        let frames = self.link.frames();
        let another = self.frames.replace(frames) != frames;
        let settled = self.link.is_settled() && self.link.is_acknowledged();
        keep(Phase::ClientHead, self.link.is_mid_message() || !settled, another && settled, timeouts.header);
        let idle = self.link.open_streams() == 0;
        let moved = (written, read) != seen;
        if !idle || moved {
            self.parked.set(false);
        }
        let after = if self.parked.get() { timeouts.keepalive } else { PARK_AFTER.min(timeouts.keepalive) };
        keep(Phase::ClientBody, idle, moved, after);
    }

    fn poll_deadlines(&self, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            let phase = match self.deadlines.poll_expired(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(phase) => phase,
            };
            let timeouts = self.share.timeouts.get();
            if phase == Phase::ClientBody && !self.parked.replace(true) && timeouts.keepalive > PARK_AFTER {
                self.link.release_memory();
                self.deadlines.set(Phase::ClientBody, timeouts.keepalive - PARK_AFTER);
                continue;
            }
            let late = phase == Phase::ClientHead && self.link.is_settled() && !self.link.is_acknowledged();
            self.link.go_away(if late { ErrorCode::SETTINGS_TIMEOUT } else { ErrorCode::NO_ERROR });
            return Poll::Ready(Over::Drained);
        }
    }
}

impl Drop for Connection {
    /// Whatever ends the driver, streams do not wait for it.
    fn drop(&mut self) {
        self.link.abandon();
    }
}

/// Serves a connection until it ends. `begin` is given each request, and has it answered by a task of its own.
pub async fn serve(conn: Connection, mut begin: impl FnMut(H2Exchange)) {
    let place = conn.share.waiting.enter();
    let over = poll_fn(|cx| conn.poll(cx, place, &mut begin)).await;
    conn.share.waiting.leave(place);
    conn.link.abandon();
    if !matches!(over, Over::Closed) {
        Box::pin(last_words(&conn)).await;
    }
}

/// Writes what is left, ends our direction, and reads what still comes for a while: closing at once would reset the
/// connection, and could take GOAWAY with it.
async fn last_words(conn: &Connection) {
    let deadlines = &conn.deadlines;
    deadlines.clear_all();
    deadlines.set(Phase::ClientWrite, LINGER_TIME);
    let flushed = poll_fn(|cx| match conn.link.poll_flush(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending => deadlines.poll_expired(cx).map(|_| false),
    });
    if !flushed.await {
        return;
    }
    conn.link.stream.shutdown_write();
    poll_fn(|cx| match conn.link.poll_linger(cx, LINGER_BYTES) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => deadlines.poll_expired(cx).map(|_| ()),
    })
    .await;
}
