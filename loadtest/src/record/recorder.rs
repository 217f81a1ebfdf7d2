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

#[cfg(test)]
mod tests {
    use super::*;

    fn done(intended_us: u64, sent_us: u64, first_us: u64, end_us: u64, status: u16) -> Done {
        Done { intended_us, sent_us, first_us, end_us, status, body: 10 }
    }

    #[test]
    fn what_was_asked_for_in_the_measured_time_counts_whenever_it_is_answered() {
        let mut recorder = Recorder::new(true, 1_000, 2_000);
        recorder.sent(999);
        recorder.done(&done(999, 1_000, 1_100, 1_500, 200));
        recorder.failed(Fault::Reset, 999, 1_500);
        recorder.unsent(999, 2_000);
        recorder.sent(2_000);
        recorder.done(&done(2_000, 2_000, 2_100, 2_500, 200));
        let none = recorder.take_interval();
        assert_eq!(none.counts, Counts::default());
        assert!(none.response.is_empty() && none.service.is_empty() && none.first_byte.is_empty());

        recorder.sent(1_000);
        recorder.done(&done(1_000, 1_000, 1_100, 1_500, 200));
        recorder.sent(1_999);
        recorder.done(&done(1_999, 2_300, 2_400, 2_900, 503));
        recorder.failed(Fault::Status, 1_999, 2_900);
        recorder.unsent(1_500, 2_000);
        let some = recorder.take_interval();
        assert_eq!((some.counts.sent, some.counts.answered, some.counts.unsent), (2, 2, 1));
        assert_eq!(some.counts.body_bytes, 20);
        assert_eq!(some.counts.status, [(200, 1), (503, 1)].into());
        assert_eq!(some.counts.faults, [(Fault::Status, 1)].into());
        assert_eq!((some.counts.errors(), some.counts.finished()), (1, 2));
        assert_eq!((some.response.len(), some.response.max()), (3, 901));
        assert_eq!((some.service.len(), some.service.max()), (2, 600));
        assert_eq!((some.first_byte.len(), some.first_byte.max()), (2, 100));
        assert_eq!(recorder.take_interval().counts, Counts::default(), "nothing counts twice");
    }

    #[test]
    fn a_closed_loop_has_no_service_times() {
        let mut recorder = Recorder::new(false, 0, u64::MAX);
        recorder.done(&done(5, 5, 6, 7, 200));
        let interval = recorder.take_interval();
        assert_eq!((interval.response.len(), interval.service.len()), (1, 0));
    }

    #[test]
    fn who_waited_in_vain_has_waited() {
        let mut recorder = Recorder::new(true, 0, u64::MAX);
        recorder.failed(Fault::Timeout, 100, 10_000_100);
        recorder.failed(Fault::Closed, 100, 10_000_100);
        let interval = recorder.take_interval();
        assert_eq!(interval.response.len(), 1);
        assert!(interval.response.max() >= 10_000_000);
        assert_eq!(interval.counts.faults, [(Fault::Timeout, 1), (Fault::Closed, 1)].into());
        assert_eq!((interval.counts.errors(), interval.counts.finished()), (2, 2));
    }

    #[test]
    fn times_out_of_bounds_count_as_the_bound_and_statuses_out_of_the_table_too() {
        let mut recorder = Recorder::new(true, 0, u64::MAX);
        recorder.done(&done(10, 10, 10, 10, 0));
        recorder.done(&done(10, 20, 15, 5, 999));
        recorder.done(&done(0, 0, 0, u64::MAX, u16::MAX));
        let interval = recorder.take_interval();
        assert_eq!((interval.response.len(), interval.response.min()), (3, 1));
        assert!(interval.response.equivalent(interval.response.max(), crate::record::HIGHEST_US));
        assert_eq!(interval.counts.status, [(999, 2)].into(), "0 is no status");
    }

    #[test]
    fn connections_and_bytes_count_when_they_happen() {
        let mut recorder = Recorder::new(false, 100, 200);
        recorder.connected(50, 30, Some(40), true);
        recorder.connected(150, 31, None, false);
        recorder.connected(199, 32, Some(42), true);
        recorder.closed(99);
        recorder.closed(100);
        recorder.bytes(1, 2, 99);
        recorder.bytes(10, 20, 100);
        recorder.connection_failed(Fault::ConnectRefused, 10);
        recorder.connection_failed(Fault::ConnectRefused, 110);
        let interval = recorder.take_interval();
        let counts = &interval.counts;
        assert_eq!((counts.connections, counts.resumed, counts.closed), (2, 1, 1));
        assert_eq!((counts.bytes_in, counts.bytes_out), (10, 20));
        assert_eq!(counts.faults, [(Fault::ConnectRefused, 1)].into());
        assert_eq!((interval.connect.len(), interval.tls.len()), (2, 1));
        assert_eq!((recorder.early().connect.len(), recorder.early().tls.max()), (1, 40));
    }

    #[test]
    fn a_swapped_interval_comes_back_empty() {
        let mut recorder = Recorder::new(false, 0, u64::MAX);
        recorder.done(&done(1, 1, 2, 9, 200));
        let first = recorder.take_interval();
        recorder.done(&done(1, 1, 2, 90, 404));
        let second = recorder.swap(first);
        assert_eq!((second.response.max(), second.counts.answered), (89, 1));
        assert_eq!(second.counts.status, [(404, 1)].into());
        let third = recorder.swap(second);
        assert!(third.response.is_empty() && third.counts == Counts::default());
        assert_eq!((third.response.min(), third.response.max()), (0, 0));
    }
}
