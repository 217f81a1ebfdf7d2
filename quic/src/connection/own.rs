//! Unidirectional streams: the peer's control and QPACK streams, and ours.
use super::{Connection, varint};
use crate::{
    h3::{Own, Uni, UniNext},
    inflow::{Inflow, State},
};
use quinn_proto::{Dir, StreamId};
use std::rc::Rc;

/// Ours.
const OWN: [Own; 3] = [Own::Control, Own::Encoder, Own::Decoder];

impl Connection {
    pub(super) fn accept_uni(self: &Rc<Self>) {
        loop {
            let id = self.quic().streams().accept(Dir::Uni);
            let Some(id) = id else { return };
            self.uni.borrow_mut().push((id, Uni::default()));
            self.read_uni(id);
        }
    }

    pub(super) fn read_uni(self: &Rc<Self>, id: StreamId) {
        let at = self.uni.borrow().iter().position(|(known, _)| *known == id);
        let Some(at) = at else { return };
        let (_, mut uni) = self.uni.borrow_mut().swap_remove(at);
        if self.advance_uni(id, &mut uni) {
            self.uni.borrow_mut().push((id, uni));
        }
    }

    /// Whether it goes on.
    fn advance_uni(self: &Rc<Self>, id: StreamId, uni: &mut Uni) -> bool {
        let mut inflow = Inflow::default();
        loop {
            inflow.fill(self, id);
            let chunk = inflow.take();
            let fin = inflow.is_last();
            if chunk.is_empty() && !fin {
                return match inflow.state() {
                    State::Reset(_) => {
                        let lost = self.engine().uni_was_reset(uni);
                        if let Err(fatal) = lost {
                            self.fail(fatal);
                        }
                        false
                    }
                    state => state == State::Open,
                };
            }
            let next = self.engine().receive_uni(uni, &chunk, fin, self.core.now_ms());
            match next {
                Ok(UniNext::More) if fin => return false,
                Ok(UniNext::More) => {}
                Ok(UniNext::Stop(code)) => {
                    let _ = self.quic().recv_stream(id).stop(varint(code.0));
                    return false;
                }
                Err(fatal) => {
                    self.fail(fatal);
                    return false;
                }
            }
        }
    }

    /// Opens our own unidirectional streams as far as the peer allows and as they are needed.
    pub(super) fn open_own(&self) {
        let mut own = self.own.get();
        if own.iter().all(Option::is_some) {
            return;
        }
        let mut quic = self.quic();
        for (which, stream) in OWN.into_iter().zip(&mut own) {
            if stream.is_none() && !self.engine().out(which).is_empty() {
                *stream = quic.streams().open(Dir::Uni);
                if let Some(id) = *stream {
                    let _ = quic.send_stream(id).set_priority(i32::MAX);
                }
            }
        }
        self.own.set(own);
    }

    /// Writes what waits for our unidirectional streams.
    pub(super) fn flush_own(&self) {
        let mut engine = self.engine();
        if !engine.has_out() {
            return;
        }
        let mut quic = self.quic();
        for (which, id) in OWN.into_iter().zip(self.own.get()) {
            let out = engine.out(which);
            if let (Some(id), false) = (id, out.is_empty())
                && let Ok(n) = quic.send_stream(id).write(out)
            {
                out.drain(..n);
            }
        }
    }
}
