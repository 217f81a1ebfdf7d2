//! What one shard writes down: a few additions and histogram records for each request, and nothing that allocates.
use super::{
    Counts, Done, FAULTS, Fault, Interval,
    interval::{histogram, record},
};
use hdrhistogram::Histogram;
use std::mem;

/// Statuses that have a place of their own; HTTP has none above (RFC 9110, section 15).
const STATUSES: usize = 1000;

/// Notes of one shard.
///
/// Only requests that should have been sent in the measured time count: from its beginning (included) to its end (not
/// included). One that was asked for in the warm-up does not, however late its answer; one that was asked for in the
/// measured time does, even if its answer comes after it. So neither end favours the quick ones. What is no request
/// (connections, bytes) counts when it happens in the measured time.
pub struct Recorder {
    from_us: u64,
    until_us: u64,
    open: bool,
    now: Box<Interval>,
    status: Box<[u64; STATUSES]>,
    faults: [u64; FAULTS.len()],
    early: Early,
}

/// Times of connections from before the measured time: mostly, there are no others.
#[derive(Clone, Debug)]
pub struct Early {
    /// As in [`Interval::connect`].
    pub connect: Histogram<u64>,
    /// As in [`Interval::tls`].
    pub tls: Histogram<u64>,
}

impl Default for Early {
    fn default() -> Early {
        Early { connect: histogram(), tls: histogram() }
    }
}

impl Recorder {
    /// Measures from `from_us` (included) to `until_us` (not included), microseconds of the shard's clock. `open`: an
    /// open loop, where service times are other than response times.
    pub fn new(open: bool, from_us: u64, until_us: u64) -> Recorder {
        Recorder {
            from_us,
            until_us,
            open,
            now: Box::new(Interval::new()),
            status: Box::new([0; STATUSES]),
            faults: [0; FAULTS.len()],
            early: Early::default(),
        }
    }

    /// Moves the measured time, for runs that learn late when it begins or ends. What was recorded stays.
    pub fn measure(&mut self, from_us: u64, until_us: u64) {
        (self.from_us, self.until_us) = (from_us, until_us);
    }

    /// Whether something that belongs to this time counts.
    #[inline]
    pub fn counts(&self, us: u64) -> bool {
        us >= self.from_us && us < self.until_us
    }

    /// A request's first byte was handed to the kernel.
    #[inline]
    pub fn sent(&mut self, intended_us: u64) {
        self.now.counts.sent += u64::from(self.counts(intended_us));
    }

    /// An answer came whole. Status 0 is none: a message of a WebSocket, an event.
    #[inline]
    pub fn done(&mut self, done: &Done) {
        if !self.counts(done.intended_us) {
            return;
        }
        let now = &mut *self.now;
        record(&mut now.response, done.end_us.saturating_sub(done.intended_us));
        record(&mut now.first_byte, done.first_us.saturating_sub(done.sent_us));
        if self.open {
            record(&mut now.service, done.end_us.saturating_sub(done.sent_us));
        }
        now.counts.answered += 1;
        now.counts.body_bytes += done.body;
        self.status[usize::from(done.status).min(STATUSES - 1)] += 1;
    }

    /// A request failed, or its answer is not as expected (which is then told to [`done`](Recorder::done) as well). Who
    /// waited until the time for it was over has waited at least so long: that is in the response times too, so that a
    /// server that answers nobody does not look quick.
    pub fn failed(&mut self, fault: Fault, intended_us: u64, now_us: u64) {
        if !self.counts(intended_us) {
            return;
        }
        self.faults[fault.index()] += 1;
        if fault == Fault::Timeout {
            record(&mut self.now.response, now_us.saturating_sub(intended_us));
        }
    }

    /// A connection failed that had no request.
    pub fn connection_failed(&mut self, fault: Fault, now_us: u64) {
        self.faults[fault.index()] += u64::from(self.counts(now_us));
    }

    /// The run is over, and the request that was sent has no answer yet, nor is the time for one over: it has waited until
    /// now. No fault, but it is not left out of the response times.
    pub fn unanswered(&mut self, intended_us: u64, now_us: u64) {
        if self.counts(intended_us) {
            record(&mut self.now.response, now_us.saturating_sub(intended_us));
        }
    }

    /// A request of the schedule was never sent, and the run is over: it has waited until now.
    pub fn unsent(&mut self, intended_us: u64, now_us: u64) {
        if self.counts(intended_us) {
            self.now.counts.unsent += 1;
            record(&mut self.now.response, now_us.saturating_sub(intended_us));
        }
    }

    /// A connection became usable at `now_us`. `connect_us`: from the first packet to established; `tls_us`: of the
    /// handshake, when there was one apart from that; `resumed`: it took up an earlier TLS session.
    pub fn connected(&mut self, now_us: u64, connect_us: u64, tls_us: Option<u64>, resumed: bool) {
        let counts = self.counts(now_us);
        let (connect, tls) = match counts {
            true => (&mut self.now.connect, &mut self.now.tls),
            false => (&mut self.early.connect, &mut self.early.tls),
        };
        record(connect, connect_us);
        if let Some(us) = tls_us {
            record(tls, us);
        }
        self.now.counts.connections += u64::from(counts);
        self.now.counts.resumed += u64::from(counts && resumed);
    }

    /// A connection ended, by whichever side.
    pub fn closed(&mut self, now_us: u64) {
        self.now.counts.closed += u64::from(self.counts(now_us));
    }

    /// Bytes that connections received and sent.
    #[inline]
    pub fn bytes(&mut self, received: u64, sent: u64, now_us: u64) {
        if self.counts(now_us) {
            self.now.counts.bytes_in += received;
            self.now.counts.bytes_out += sent;
        }
    }

    /// What was recorded since the last time, in exchange for an empty interval: one that was given out before and is
    /// merged by now, so that a shard needs two in all.
    pub fn swap(&mut self, mut empty: Box<Interval>) -> Box<Interval> {
        empty.clear();
        let mut full = mem::replace(&mut self.now, empty);
        self.flush_into(&mut full.counts);
        full
    }

    /// The same, with a new interval in its place.
    pub fn take_interval(&mut self) -> Box<Interval> {
        self.swap(Box::new(Interval::new()))
    }

    /// Times of the connections that were made before the measured time.
    pub fn early(&self) -> &Early {
        &self.early
    }

    fn flush_into(&mut self, counts: &mut Counts) {
        for (status, n) in self.status.iter_mut().enumerate().filter(|(_, n)| **n > 0) {
            if status > 0 {
                counts.status.insert(status as u16, *n);
            }
            *n = 0;
        }
        for (fault, n) in FAULTS.iter().zip(&mut self.faults).filter(|(_, n)| **n > 0) {
            counts.faults.insert(*fault, mem::take(n));
        }
    }
}
