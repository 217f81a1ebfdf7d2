//! Answers of a client connection: bytes of their streams become events.
use super::{Answer, Connection, Event, Failure, Place, ending::varint, streams::Asked};
use crate::h3::{self, Error, ErrorCode};
use bytes::{Buf, Bytes};
use quinn_proto::{ReadError, StreamId};

impl Connection {
    /// Something came on a request's stream.
    pub(super) fn read(&mut self, id: StreamId, answer: &mut Answer, on: &mut impl FnMut(Place, Event<'_>)) {
        let now_ms = self.now_ms();
        let Some((place, asked)) = self.streams.find(id) else { return discard(&mut self.quic, id) };
        if asked.engine.is_blocked() {
            return; // nothing is read before its head, which the table brings
        }
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        let mut feeder = Feeder { engine: &mut self.engine, id: id.into(), place, now_ms, answer };
        let mut step = Step::Open;
        let mut first = Bytes::new();
        while step == Step::Open {
            // The next piece shows whether this one is the last.
            let next = chunks.next(usize::MAX);
            step = match next {
                Ok(Some(chunk)) => {
                    let piece = std::mem::replace(&mut first, chunk.bytes);
                    if piece.is_empty() { Step::Open } else { feeder.feed(asked, piece, false, on) }
                }
                Ok(None) => feeder.feed(asked, std::mem::take(&mut first), true, on),
                Err(ReadError::Blocked) => {
                    let piece = std::mem::take(&mut first);
                    if !piece.is_empty() {
                        step = feeder.feed(asked, piece, false, on);
                    }
                    break;
                }
                Err(ReadError::Reset(code)) => {
                    let piece = std::mem::take(&mut first);
                    if !piece.is_empty() {
                        feeder.feed(asked, piece, false, on);
                    }
                    Step::Reset(ErrorCode(code.into()))
                }
            };
        }
        if !first.is_empty() {
            // The table has to come first.
            asked.held = if asked.held.is_empty() { first } else { [asked.held.as_ref(), &first].concat().into() };
        }
        let _ = chunks.finalize(); // what it gives leave to send goes out with everything else
        self.settle(place, step, on);
    }

    /// What became of a request.
    fn settle(&mut self, place: Place, step: Step, on: &mut impl FnMut(Place, Event<'_>)) {
        match step {
            Step::Open | Step::Blocked => {}
            Step::Done => {
                if let Some((id, _, false)) = self.streams.remove(place) {
                    // It was answered before it was there (RFC 9114, section 4.1).
                    let _ = self.quic.send_stream(id).reset(varint(ErrorCode::H3_NO_ERROR.0));
                }
                on(place, Event::End);
            }
            Step::Reset(code) => {
                self.give_up(place, ErrorCode::H3_REQUEST_CANCELLED);
                let rejected = code == ErrorCode::H3_REQUEST_REJECTED;
                on(place, Event::Failed(if rejected { Failure::Rejected } else { Failure::Reset(code) }));
            }
            Step::Failed(Error::Stream { code, detail, .. }) => {
                self.give_up(place, code);
                on(place, Event::Failed(Failure::Broken(code, detail)));
            }
            Step::Failed(Error::Connection(fatal)) => self.fail(fatal),
        }
    }

    /// The head that a request waits for can be read.
    pub(super) fn unblocked(&mut self, id: StreamId, answer: &mut Answer, on: &mut impl FnMut(Place, Event<'_>)) {
        let now_ms = self.now_ms();
        let Some((place, asked)) = self.streams.find(id) else { return };
        let mut feeder = Feeder { engine: &mut self.engine, id: id.into(), place, now_ms, answer };
        let step = feeder.resume(asked, on);
        self.settle(place, step, on);
        if step == Step::Open {
            self.read(id, answer, on);
        }
    }

    /// The server said that it does not process requests on stream `first` and higher ones.
    pub(super) fn rejected(&mut self, first: u64, on: &mut impl FnMut(Place, Event<'_>)) {
        for place in self.streams.from(first) {
            self.give_up(place, ErrorCode::H3_REQUEST_CANCELLED);
            on(place, Event::Failed(Failure::Rejected));
        }
    }
}

/// Where reading an answer has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// More may come.
    Open,
    /// The QPACK table has to come first.
    Blocked,
    /// The answer is complete.
    Done,
    /// The server gave it up.
    Reset(ErrorCode),
    Failed(Error),
}

/// Gives what came to the engine, and its events to the owner.
struct Feeder<'a> {
    engine: &'a mut h3::Connection,
    id: u64,
    place: Place,
    now_ms: u64,
    answer: &'a mut Answer,
}

impl Feeder<'_> {
    /// All of `piece`; `last`: nothing follows it.
    #[inline]
    fn feed(&mut self, asked: &mut Asked, mut piece: Bytes, last: bool, on: &mut impl FnMut(Place, Event<'_>)) -> Step {
        loop {
            let (n, event) = match self.receive(asked, &piece, last) {
                Ok(received) => received,
                Err(e) => return Step::Failed(e),
            };
            let Some(event) = event else {
                return if last { Step::Done } else { Step::Open };
            };
            let ends = self.tell(event, &piece, on);
            piece.advance(n.min(piece.len()));
            if ends {
                return Step::Done;
            }
            if asked.engine.is_blocked() {
                (asked.held, asked.ended) = (piece, last);
                return Step::Blocked;
            }
            if piece.is_empty() && !last {
                return Step::Open;
            }
        }
    }

    #[inline]
    fn receive(&mut self, asked: &mut Asked, piece: &[u8], last: bool) -> Result<(usize, Option<h3::Event>), Error> {
        let Answer { head, known } = self.answer;
        if let Some(received) = self.engine.receive_known(&mut asked.engine, known, piece, last) {
            return received.map(|(n, event)| (n, Some(event)));
        }
        let fresh = asked.engine.is_fresh();
        let received = self.engine.receive(&mut asked.engine, self.id, piece, last, self.now_ms, head);
        match &received {
            Ok((n, Some(h3::Event::Head { .. }))) if fresh => {
                self.engine.learn(known, piece.get(..*n).unwrap_or_default(), head.status());
            }
            Ok((_, Some(h3::Event::Data { .. } | h3::Event::End) | None)) => {}
            // The head holds something else now, or nothing.
            Ok((_, Some(_))) | Err(_) => known.forget(),
        }
        received
    }

    /// Whether it was the answer's last.
    #[inline]
    fn tell(&mut self, event: h3::Event, piece: &[u8], on: &mut impl FnMut(Place, Event<'_>)) -> bool {
        match event {
            h3::Event::Head { end } => {
                on(self.place, Event::Head(&self.answer.head));
                end
            }
            h3::Event::Data { range, end } => {
                on(self.place, Event::Data(piece.get(range).unwrap_or_default()));
                end
            }
            h3::Event::Trailers => {
                on(self.place, Event::Trailers(&self.answer.head));
                false
            }
            h3::Event::End => true,
            h3::Event::Blocked => false,
        }
    }

    /// The head that was waited for, and what came behind it.
    fn resume(&mut self, asked: &mut Asked, on: &mut impl FnMut(Place, Event<'_>)) -> Step {
        self.answer.known.forget();
        match self.engine.resume(&mut asked.engine, self.id, &mut self.answer.head) {
            Ok(Some(event)) => {
                if self.tell(event, &[], on) {
                    return Step::Done;
                }
            }
            Ok(None) => return Step::Blocked,
            Err(e) => return Step::Failed(e),
        }
        let (held, ended) = (std::mem::take(&mut asked.held), asked.ended);
        if held.is_empty() && !ended { Step::Open } else { self.feed(asked, held, ended, on) }
    }
}

/// Takes what comes on a stream that nobody waits for.
#[cold]
fn discard(quic: &mut quinn_proto::Connection, id: StreamId) {
    let mut stream = quic.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else { return };
    while let Ok(Some(_)) = chunks.next(usize::MAX) {}
    let _ = chunks.finalize();
}

pub(super) fn stream_id(id: u64) -> StreamId {
    StreamId::from(varint(id))
}
