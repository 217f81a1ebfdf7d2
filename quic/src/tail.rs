//! What is left to write on streams whose tasks are done: the peer's flow control did not let it out at once.
use quinn_proto::{Connection, StreamId, VarInt, WriteError};
use std::collections::HashMap;

/// The tails of one connection's streams: a head or trailers, or the last small piece of a body. Bounded by the number
/// of streams and the size of a head.
#[derive(Debug, Default)]
pub struct Tails {
    of: HashMap<u64, Vec<u8>>,
}

impl Tails {
    /// `bytes` are to be written on stream `id`, and end it.
    pub fn add(&mut self, id: u64, bytes: Vec<u8>) {
        self.of.insert(id, bytes);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The stream is gone; whether it had one.
    pub fn remove(&mut self, id: u64) -> bool {
        self.of.remove(&id).is_some()
    }

    /// All streams are gone.
    pub fn clear(&mut self) {
        self.of = HashMap::new();
    }

    /// Stream `id` can be written to. One that its peer does not want any more is reset with `code`.
    pub fn flush(&mut self, quic: &mut Connection, id: StreamId, code: VarInt) {
        let Some(bytes) = self.of.get_mut(&u64::from(id)) else { return };
        let mut stream = quic.send_stream(id);
        let ended = loop {
            if bytes.is_empty() {
                break stream.finish().is_ok();
            }
            match stream.write(bytes) {
                Ok(n) => {
                    bytes.drain(..n);
                }
                Err(WriteError::Blocked) => return,
                Err(_) => break false,
            }
        };
        if !ended {
            let _ = stream.reset(code);
        }
        self.of.remove(&u64::from(id));
    }
}
