//! What has come on a stream and was taken from QUIC, but not worked through yet.
use crate::connection::Connection;
use bytes::Bytes;
use quinn_proto::{ReadError, StreamId};
use std::rc::Rc;

/// The most that is taken at once, bytes.
const CHUNK: usize = 64 * 1024;

/// How far the peer's direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// More may come.
    #[default]
    Open,
    /// Nothing comes behind what was taken.
    Finished,
    /// The peer gave it up, with this code.
    Reset(u64),
    /// It is over: stopped by us, or its connection is gone.
    Closed,
}

/// Two pieces at most: the second shows whether the first is the last.
#[derive(Debug, Default)]
pub struct Inflow {
    first: Bytes,
    second: Bytes,
    state: State,
}

impl Inflow {
    /// Takes more, if all is worked through.
    pub fn fill(&mut self, connection: &Rc<Connection>, id: StreamId) {
        if self.first.is_empty() {
            self.first = std::mem::take(&mut self.second);
        }
        if !self.second.is_empty() || self.state != State::Open {
            return;
        }
        let mut quic = connection.quic();
        let mut stream = quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            self.state = State::Closed;
            return;
        };
        while self.second.is_empty() {
            match chunks.next(CHUNK) {
                Ok(Some(chunk)) if self.first.is_empty() => self.first = chunk.bytes,
                Ok(Some(chunk)) => self.second = chunk.bytes,
                Ok(None) => {
                    self.state = State::Finished;
                    break;
                }
                Err(ReadError::Blocked) => break,
                Err(ReadError::Reset(code)) => {
                    self.state = State::Reset(code.into());
                    break;
                }
            }
        }
        let credit = chunks.finalize().should_transmit();
        drop(quic);
        if credit {
            connection.touch();
        }
    }

    /// Whether the peer has reset the stream, where nothing more is read before something else happens.
    pub fn is_reset(&mut self, connection: &Rc<Connection>, id: StreamId) -> bool {
        if self.state == State::Open
            && let Ok(Some(code)) = connection.quic().recv_stream(id).received_reset()
        {
            self.state = State::Reset(code.into());
        }
        matches!(self.state, State::Reset(_))
    }

    /// The piece that is first in line.
    pub fn first(&self) -> &Bytes {
        &self.first
    }

    /// The first `n` bytes of it are done with.
    pub fn advance(&mut self, n: usize) {
        let n = n.min(self.first.len());
        if n == self.first.len() {
            self.first = std::mem::take(&mut self.second);
        } else {
            bytes::Buf::advance(&mut self.first, n);
        }
    }

    /// Takes the first piece out.
    pub fn take(&mut self) -> Bytes {
        let second = std::mem::take(&mut self.second);
        std::mem::replace(&mut self.first, second)
    }

    /// Whether nothing follows the first piece.
    pub fn is_last(&self) -> bool {
        self.state == State::Finished && self.second.is_empty()
    }

    /// How far the peer's direction is.
    pub fn state(&self) -> State {
        self.state
    }
}
