//! Unidirectional streams of a client connection: the server's control and QPACK streams, and ours.
use super::{Answer, Connection, Event, ending::varint};
use crate::h3::{Control, Own, Uni, UniNext};
use quinn_proto::{Dir, ReadError, StreamId};

/// Ours.
const OWN: [Own; 3] = [Own::Control, Own::Encoder, Own::Decoder];

impl Connection {
    /// Streams that the server opened.
    pub(super) fn accept_uni(&mut self) {
        while let Some(id) = self.quic.streams().accept(Dir::Uni) {
            self.uni.push((id, Uni::default()));
            self.read_uni(id);
        }
    }

    pub(super) fn read_uni(&mut self, id: StreamId) {
        let Some(at) = self.uni.iter().position(|(known, _)| *known == id) else { return };
        let (_, mut uni) = self.uni.swap_remove(at);
        if self.advance_uni(id, &mut uni) {
            self.uni.push((id, uni));
        }
    }

    /// Whether it goes on.
    fn advance_uni(&mut self, id: StreamId, uni: &mut Uni) -> bool {
        let now_ms = self.now_ms();
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return false };
        let verdict = loop {
            let next = match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => self.engine.receive_uni(uni, &chunk.bytes, false, now_ms),
                Ok(None) => break self.engine.receive_uni(uni, &[], true, now_ms).map(|_| None),
                Err(ReadError::Blocked) => break Ok(Some(UniNext::More)),
                Err(ReadError::Reset(_)) => break self.engine.uni_was_reset(uni).map(|()| None),
            };
            match next {
                Ok(UniNext::More) => {}
                stop => break stop.map(Some),
            }
        };
        let _ = chunks.finalize(); // what it gives leave to send goes out with everything else
        match verdict {
            Ok(Some(UniNext::More)) => true,
            Ok(Some(UniNext::Stop(code))) => {
                let _ = self.quic.recv_stream(id).stop(varint(code.0));
                false
            }
            Ok(None) => false,
            Err(fatal) => {
                self.fail(fatal);
                false
            }
        }
    }

    /// What the engine has to say after what came.
    pub(super) fn after_events(&mut self, answer: &mut Answer, on: &mut impl FnMut(u32, Event<'_>)) {
        while let Some(id) = self.engine.next_unblocked() {
            self.unblocked(super::answers::stream_id(id), answer, on);
        }
        while let Some(control) = self.engine.next_control() {
            if let Control::GoAway(first) = control {
                self.going = true;
                self.rejected(first, on);
            }
        }
        self.open_own();
        self.flush_own();
    }

    /// Opens our own unidirectional streams as far as the server allows and as they are needed.
    pub(super) fn open_own(&mut self) {
        if !self.is_established() || self.own.iter().all(Option::is_some) {
            return;
        }
        for (which, stream) in OWN.into_iter().zip(&mut self.own) {
            if stream.is_none() && !self.engine.out(which).is_empty() {
                *stream = self.quic.streams().open(Dir::Uni);
            }
        }
    }

    /// Writes what waits for them.
    fn flush_own(&mut self) {
        if !self.engine.has_out() {
            return;
        }
        for (which, id) in OWN.into_iter().zip(self.own) {
            let out = self.engine.out(which);
            if let (Some(id), false) = (id, out.is_empty())
                && let Ok(n) = self.quic.send_stream(id).write(out)
            {
                out.drain(..n);
            }
        }
    }
}
